"""What only a live Oracle can show: grants, the view's check option, the table's lock, its dictionary. NOT YET RUN against one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest
from live_oracle import PASSWORD, LiveLab, dba_statements

from crystal_search import settings
from crystal_search.doctor.examine import examine_database, what_forbids_writing
from crystal_search.doctor.findings import Severity
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.settings import Search
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.images import START
from crystal_search.xtaltrak.oracle_connection import pool_of
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable

OURS = ScoreRow(score_id=1_000_000_001, inspection_id=1, image_name="a", score="23", scored_at="2024-01-02 12:00:00", scorer="ARTscore")


def test_the_dba_script_is_filled_in_everywhere() -> None:
    filled = dba_statements(settings.XtalTrak(), "CS_OWNER_1", "CS_ACCOUNT_1", "Secret")
    assert filled[0].startswith("CREATE USER CS_ACCOUNT_1 IDENTIFIED BY")
    assert not [sql for sql in filled if "XTALTRAK" in sql or "change-this" in sql]


@pytest.fixture(scope="module")
def made() -> Iterator[LiveLab]:
    lab = LiveLab()
    yield lab
    lab.close()


@pytest.fixture
def lab(made: LiveLab) -> LiveLab:
    made.clear()
    made.execute("INSERT INTO I_INSPECTIONS VALUES (1, 'CI000001', 1, DATE '2024-01-02', 1, 1, 1)")
    made.execute("INSERT INTO I_IMAGES VALUES (1, 'a')")
    return made


@pytest.mark.oracle
def test_doctor_is_content_with_what_the_dba_set_up(lab: LiveLab) -> None:
    with lab.xtaltrak() as xtaltrak:
        findings = examine_database(lab.section, xtaltrak, Path("nowhere"))
    assert [finding for finding in findings if finding.severity is not Severity.OK and finding.check != "images"] == []


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("make", "unmake", "check"),
    [
        (
            "CREATE TRIGGER T_SCORED BEFORE INSERT ON I_SCORES FOR EACH ROW BEGIN NULL; END;",
            "DROP TRIGGER T_SCORED",
            "triggers",
        ),
        ("CREATE UNIQUE INDEX ONE_EACH ON I_SCORES (INSPECTID, IMAGENAME)", "DROP INDEX ONE_EACH", "keys"),
        ("ALTER TABLE I_SCORES ADD REASON VARCHAR2(9) NOT NULL", "ALTER TABLE I_SCORES DROP COLUMN REASON", "columns"),
        (
            "ALTER TABLE I_SCORES ADD CONSTRAINT VOCABULARY CHECK (SCORE IN ('01', '11'))",
            "ALTER TABLE I_SCORES DROP CONSTRAINT VOCABULARY",
            "codes",
        ),
        ("INSERT INTO I_SCORES VALUES (1, 1, '11', NULL, NULL, 'Berta')", "DELETE FROM I_SCORES", "dates"),
    ],
)
def test_doctor_finds_what_forbids_writing(lab: LiveLab, make: str, unmake: str, check: str) -> None:
    lab.execute(make)
    try:
        with lab.xtaltrak() as xtaltrak:
            assert [finding.check for finding in what_forbids_writing(lab.section, xtaltrak)] == [check]
    finally:
        lab.execute(unmake)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "sql", ["UPDATE {o}.I_SCORES SET SCORE = '01'", "DELETE FROM {o}.I_SCORES", "INSERT INTO {o}.I_SCORES (SCOREID) VALUES (1)"]
)
def test_our_account_can_not_touch_a_persons_row(lab: LiveLab, sql: str) -> None:
    with lab.xtaltrak() as xtaltrak, pytest.raises(oracledb.DatabaseError, match=r"ORA-(01031|41900)"):
        xtaltrak._connection.cursor().execute(sql.format(o=lab.owner))


@pytest.mark.oracle
def test_the_view_takes_our_scorer_only(lab: LiveLab) -> None:
    sql = f"INSERT INTO {lab.owner}.ARTSCORES_OWN (SCOREID, INSPECTID, SCOREDBY) VALUES (1000000001, 1, 'Berta')"
    with lab.xtaltrak() as xtaltrak, pytest.raises(oracledb.DatabaseError, match="ORA-01402"):
        xtaltrak._connection.cursor().execute(sql)
    with lab.xtaltrak(scorer="Robot") as xtaltrak, pytest.raises(SettingsError, match="takes another scorer"):
        ScoreTable(xtaltrak, "drop").insert([(ScoreRow.from_json(OURS.to_json().replace("ARTscore", "Robot")), [])])


@pytest.mark.oracle
def test_a_person_waits_for_our_lock_and_then_scores(lab: LiveLab) -> None:
    person = lab.connect()
    done = threading.Event()

    def scores() -> None:
        person.execute("INSERT INTO I_SCORES VALUES (1, 1, '11', SYSDATE, 'a', 'Berta')")
        person.commit()
        done.set()

    with lab.xtaltrak() as xtaltrak:
        table = ScoreTable(xtaltrak, "drop")
        with table.locked():
            thread = threading.Thread(target=scores)
            thread.start()
            assert not done.wait(2), "a person scored under our lock"
            table.insert([(OURS, [])])
        thread.join(60)
        assert done.is_set()
        one_drop = table.of_drop(1)
        assert one_drop is not None
        assert [row.score_id for row in one_drop.rows] == [1, OURS.score_id]
    person.close()


@pytest.mark.oracle
def test_names_are_paged_as_they_are_compared(lab: LiveLab) -> None:
    """Whatever the language of the session: a page that was sorted otherwise would leave images out."""
    for name in ("B", "b", "ä", "Z", "_"):
        lab.execute("INSERT INTO I_IMAGES VALUES (1, :image)", image=name)
    found, after = [], START
    with lab.xtaltrak() as xtaltrak:
        while (page := xtaltrak.find_images(Search(name="all", only_unscored=False), after, 1)).last:
            found.append(page.last.image_name)
            after = page.last
    assert sorted(found) == sorted(["B", "Z", "_", "a", "b", "ä"])


@pytest.mark.oracle
def test_a_wrong_password_and_an_unknown_service(lab: LiveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    pool_of.cache_clear()
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(SettingsError, match="user name or password is wrong"):
        open_xtaltrak(lab.section)
    dsn = lab.section.dsn.rpartition("/")[0] + "/NOSUCHSERVICE"
    with pytest.raises(SettingsError, match="no such service"):
        open_xtaltrak(lab.section.model_copy(update={"dsn": dsn}))


@pytest.mark.oracle
def test_a_killed_session_is_one_line_and_the_next_one_works(lab: LiveLab) -> None:
    with lab.xtaltrak() as xtaltrak:
        cursor = xtaltrak._connection.cursor()
        cursor.execute("SELECT SYS_CONTEXT('USERENV', 'SID') FROM DUAL")
        ((sid,),) = cursor.fetchall()
        ((serial,),) = lab.execute("SELECT SERIAL# FROM V$SESSION WHERE SID = :s", s=int(sid))
        lab.execute(f"ALTER SYSTEM KILL SESSION '{sid},{serial}' IMMEDIATE")
        with pytest.raises(TryAgainLater, match="the connection is lost"):
            xtaltrak.query("doctor_user")
    with lab.xtaltrak() as xtaltrak:
        assert xtaltrak.query("doctor_user") == [(lab.account,)]
