"""`crystal-search doctor`: every trouble that a lab's database can have is a line with its remedy, and nothing is written meanwhile.

Oracle is played by H2 with a dictionary made by hand (``data/oracle_dictionary.sql``); the acceptance kit asks a real one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from generator_lab import image_name
from h2_xtaltrak import H2Lab, H2XtalTrak
from scored_lab import Lab

from crystal_search import settings
from crystal_search.doctor.cli import doctor
from crystal_search.doctor.dictionary import Dictionary
from crystal_search.doctor.examine import examine_database, what_forbids_writing
from crystal_search.doctor.findings import Finding, Severity, exit_code, ok, warning
from crystal_search.doctor.guard import WriteGuard
from crystal_search.doctor.tables import REQUIRED
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded, load_images
from crystal_search.xtaltrak.names import resolve_names, tables
from finalizer.cli import set_autoscore

SECTION = settings.XtalTrak()


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is not Severity.OK]


# ---- a lab's Oracle ---------------------------------------------------------------------------------------------------


class Site:
    """XtalTrak's schema as the DBA of the facts would have set it up, of which a test breaks a part."""

    def __init__(self) -> None:
        self.lab = H2Lab(lock_seconds=1, dictionary=True)
        self.do(
            "CREATE VIEW ARTSCORES_OWN AS SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES "
            "WHERE SCOREDBY = 'ARTscore'"
        )
        self.do("INSERT INTO DICT_CHECK_OPTIONS VALUES ('ARTSCORES_OWN')")
        for table in tables():
            self.do("INSERT INTO ALL_SYNONYMS VALUES ('PUBLIC', :name, 'XTALTRAK', :name)", name=table)
            self.grant(table, "SELECT")
        for privilege in ("INSERT", "UPDATE", "DELETE"):
            self.grant("ARTSCORES_OWN", privilege)
        self.inspect(1, "2024-01-02 10:00:00")

    def do(self, sql: str, **params: Any) -> None:
        self.lab.execute(sql, **params)

    def grant(self, table: str, privilege: str, to: str = "CRYSTAL_SEARCH") -> None:
        self.do("INSERT INTO ALL_TAB_PRIVS VALUES (:who, 'XTALTRAK', :name, :what)", who=to, name=table, what=privilege)

    def revoke(self, table: str, privilege: str) -> None:
        self.do("DELETE FROM ALL_TAB_PRIVS WHERE TABLE_NAME = :name AND PRIVILEGE = :what", name=table, what=privilege)

    def inspect(self, number: int, day: str | None) -> None:
        self.do("INSERT INTO I_INSPECTIONS VALUES (:n, 'CI022987', 3, TO_DATE(:d, 'YYYY-MM-DD HH24:MI:SS'), 1, 1, 1)", n=number, d=day)

    def score(self, number: int, score: str | None, day: str | None, scorer: str | None = "Berta") -> None:
        sql = "INSERT INTO I_SCORES VALUES (:n, 1, :s, TO_DATE(:d, 'YYYY-MM-DD HH24:MI:SS'), NULL, :w)"
        self.do(sql, n=number, s=score, d=day, w=scorer)

    def examine(self, section: settings.XtalTrak = SECTION) -> list[Finding]:
        with H2XtalTrak(self.lab.connect(), resolve_names(section.names), section.scorer) as xtaltrak:
            return [f for f in examine_database(section, xtaltrak, Path("nowhere")) if f.check != "images"]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.lab.close()


def test_a_lab_that_is_set_up_as_documented_has_no_finding(site: Site) -> None:
    site.score(7, "11", "2024-01-03 00:00:00")
    findings = site.examine()
    assert bad(findings) == []
    assert [finding.check for finding in findings if finding.check != "connection"] == [
        "mapping", "grants", "triggers", "triggers", "keys", "view", "numbers", "codes", "dates",
    ]  # fmt: skip
    (mapping,) = (finding for finding in findings if finding.check == "mapping")
    assert mapping.what.startswith(f"{len(tables())} of {len(tables())} ")


def test_tables_that_only_some_sites_have_are_looked_for_where_the_settings_name_them(site: Site) -> None:
    section = SECTION.model_copy(update={"details": ["conditions"]})
    (finding,) = bad(site.examine(section))
    assert (finding.check, finding.severity, finding.forbids_writing) == ("mapping", Severity.WARNING, False)
    assert finding.what.startswith("WELL_CONDITIONS (for WELL_CONDITIONS) is not there")


#: What is broken, and the finding: its check, what it says, whether it forbids writing.
BROKEN: dict[str, tuple[str, str, str, bool]] = {
    "a table that is not there": ("DELETE FROM ALL_SYNONYMS WHERE SYNONYM_NAME = 'I_IMAGES'", "mapping", "I_IMAGES", True),
    "a table for data sets only": ("DELETE FROM ALL_SYNONYMS WHERE SYNONYM_NAME = 'SAMPLES'", "mapping", "SAMPLES", False),
    "no view": ("DROP VIEW ARTSCORES_OWN", "mapping", "ARTSCORES_OWN", True),
    "no sequence": ("DROP SEQUENCE ARTSCORE_SEQ", "mapping", "ARTSCORE_SEQ", True),
    "a column of another name": (
        "ALTER TABLE I_INSPECTIONS ALTER COLUMN I_ROW RENAME TO R",
        "mapping",
        "no column I_ROW",
        True,
    ),
    "a number that is a text": (
        "ALTER TABLE I_INSPECTIONS ALTER COLUMN COL VARCHAR2(3)",
        "mapping",
        "VARCHAR2, not a number",
        True,
    ),
    "a date that is a text": ("ALTER TABLE I_INSPECTIONS ALTER COLUMN INSPECTDATE VARCHAR2(20)", "mapping", "not a date", True),
    "a text with blanks at its end": ("ALTER TABLE I_IMAGES ALTER COLUMN IMAGENAME CHAR(200)", "mapping", "end with blanks", True),
    "a grant to read": ("DELETE FROM ALL_TAB_PRIVS WHERE TABLE_NAME = 'I_IMAGES'", "grants", "lacks SELECT on XTALTRAK.I_IMAGES", True),
    "a grant to lock": ("UPDATE ALL_TAB_PRIVS SET PRIVILEGE = 'READ' WHERE TABLE_NAME = 'I_SCORES'", "grants", "lacks SELECT on", True),
    "a grant to write": (
        "DELETE FROM ALL_TAB_PRIVS WHERE TABLE_NAME = 'ARTSCORES_OWN' AND PRIVILEGE IN ('DELETE', 'UPDATE')",
        "grants",
        "lacks DELETE, UPDATE on XTALTRAK.ARTSCORES_OWN",
        True,
    ),
    "a grant too many": (
        "INSERT INTO ALL_TAB_PRIVS VALUES ('PUBLIC', 'XTALTRAK', 'I_SCORES', 'UPDATE')",
        "grants",
        "may UPDATE on XTALTRAK.I_SCORES, which it never needs",
        False,
    ),
    "a trigger": (
        "INSERT INTO SYS.DBA_TRIGGERS VALUES ('T_SCORED', 'XTALTRAK', 'I_SCORES', 'ENABLED')",
        "triggers",
        "XTALTRAK.I_SCORES has a trigger that we do not know: T_SCORED",
        True,
    ),
    "a key on the image": ("ALTER TABLE I_SCORES ADD CONSTRAINT ONE UNIQUE (INSPECTID, IMAGENAME)", "keys", "IMAGENAME, INSPECTID", True),
    "an index on the inspection": ("CREATE UNIQUE INDEX ONE_EACH ON I_SCORES (INSPECTID)", "keys", "same INSPECTID, whoever", True),
    "a column of the site's": ("ALTER TABLE I_SCORES ADD REASON VARCHAR2(9) NOT NULL", "columns", "REASON has to be given a value", True),
    "the view of another scorer": (
        "CREATE OR REPLACE VIEW ARTSCORES_OWN AS SELECT * FROM I_SCORES WHERE SCOREDBY = 'Robot'",
        "view",
        "not made for our scorer 'ARTscore'",
        True,
    ),
    "a view that takes anything": ("DELETE FROM DICT_CHECK_OPTIONS", "view", "lacks WITH CHECK OPTION", True),
    "numbers that clash": ("INSERT INTO I_SCORES VALUES (1000000001, 1, '11', SYSDATE, NULL, 'B')", "numbers", "up to 1000000001", True),
    "numbers that do not fit": ("ALTER TABLE I_SCORES ALTER COLUMN SCOREID NUMBER(9)", "numbers", "takes 9 digits", True),
    "codes that do not fit": ("ALTER TABLE I_SCORES ALTER COLUMN SCORE VARCHAR2(1)", "codes", "takes 1 characters", True),
    "codes that are not allowed": (
        "ALTER TABLE I_SCORES ADD CONSTRAINT VOCABULARY CHECK (SCORE IN ('01', '02', '11', '12', '13', '21', '22', '31', '32', '33'))",
        "codes",
        "(VOCABULARY), not 23, 34",
        True,
    ),
    "a score before its inspection": (
        "INSERT INTO I_SCORES VALUES (5, 1, '11', DATE '2024-01-02', NULL, 'Berta')",
        "dates",
        "1 are not dated after their inspection",
        True,
    ),
    "a score at the very moment": (
        "INSERT INTO I_SCORES VALUES (5, 1, '11', TO_DATE('2024-01-02 10:00:00', 'YYYY-MM-DD HH24:MI:SS'), NULL, 'Berta')",
        "dates",
        "1 are not dated after their inspection",
        True,
    ),
    "a score without a date": ("INSERT INTO I_SCORES VALUES (5, 1, '11', NULL, NULL, NULL)", "dates", "1 have no date", True),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_with_a_database_is_found(site: Site, what: str) -> None:
    broken, check, says, forbids = BROKEN[what]
    site.do(broken)
    found = [finding for finding in bad(site.examine()) if finding.check == check]
    assert len(found) == 1
    assert says in found[0].what
    assert found[0].forbids_writing is forbids
    assert len(found[0].what.splitlines()) == 1
    assert found[0].remedy


def test_what_is_as_it_should_be_is_not_found(site: Site) -> None:
    """Triggers that are off or known, keys with the scorer, roles, our own rows, a condition that allows ours."""
    site.do("INSERT INTO SYS.DBA_TRIGGERS VALUES ('T_OFF', 'XTALTRAK', 'I_SCORES', 'DISABLED')")
    site.do("INSERT INTO SYS.DBA_TRIGGERS VALUES ('T_KNOWN', 'XTALTRAK', 'I_SCORES', 'ENABLED')")
    site.do("INSERT INTO SYS.DBA_TRIGGERS VALUES ('T_ELSEWHERE', 'XTALTRAK', 'PLATES', 'ENABLED')")
    site.do("ALTER TABLE I_SCORES ADD CONSTRAINT ONE_EACH UNIQUE (INSPECTID, IMAGENAME, SCOREDBY)")
    site.do("ALTER TABLE I_SCORES ADD CONSTRAINT ANYTHING CHECK (SCORE IS NULL OR LENGTH(SCORE) = 2)")
    site.revoke("I_SCORES", "SELECT")
    site.grant("I_SCORES", "SELECT", to="READERS")
    site.do("INSERT INTO SESSION_ROLES VALUES ('READERS')")
    site.score(8, None, None, "ARTscore")
    site.score(9, "11", "2024-01-02 10:00:01")
    section = SECTION.model_copy(update={"known_triggers": ["T_KNOWN"]})
    assert bad(site.examine(section)) == []


def test_an_account_that_may_read_and_write_everything(site: Site) -> None:
    site.do("DELETE FROM ALL_TAB_PRIVS")
    site.do("INSERT INTO SESSION_PRIVS VALUES ('SELECT ANY TABLE'), ('SELECT ANY SEQUENCE'), ('UPDATE ANY TABLE')")
    found = [finding for finding in bad(site.examine()) if finding.check == "grants"]
    assert "lacks DELETE, INSERT on XTALTRAK.ARTSCORES_OWN" in {f.what.removeprefix("our account ") for f in found}
    assert sum("may UPDATE on" in finding.what for finding in found) == len(tables()) - 2


def test_triggers_that_our_account_can_not_see_forbid_writing(site: Site) -> None:
    site.do("DROP TABLE SYS.DBA_TRIGGERS")
    found = [finding for finding in bad(site.examine()) if finding.check == "triggers"]
    assert "GRANT SELECT ON SYS.DBA_TRIGGERS TO CRYSTAL_SEARCH" in found[0].remedy
    assert all(finding.forbids_writing for finding in found)
    site.do("UPDATE DICT_OWNER SET OWNER = 'CRYSTAL_SEARCH'")  # a schema of our own: we see them
    assert not [finding for finding in bad(site.examine()) if finding.check == "triggers"]
    site.do("INSERT INTO ALL_TRIGGERS VALUES ('T', 'CRYSTAL_SEARCH', 'I_SCORES', 'ENABLED')")
    assert [finding.what for finding in bad(site.examine()) if finding.check == "triggers"] == [
        "CRYSTAL_SEARCH.I_SCORES has a trigger that we do not know: T"
    ]


def test_names_with_a_schema_need_no_synonym(site: Site) -> None:
    site.do("DELETE FROM ALL_SYNONYMS")
    site.do("CREATE SCHEMA XTALTRAK")
    names = {table: f"XTALTRAK.{table}" for table in tables()}
    with H2XtalTrak(site.lab.connect(), resolve_names(names)) as xtaltrak:
        dictionary = Dictionary(xtaltrak)
        assert all(str(dictionary.place(table)) == f"XTALTRAK.{table}" for table in tables())
    assert tuple(table for table in REQUIRED if table in tables()) == REQUIRED


def test_synonyms_in_a_ring_end(site: Site) -> None:
    site.do("INSERT INTO ALL_SYNONYMS VALUES ('A', 'A', 'B', 'B'), ('B', 'B', 'A', 'A')")
    with H2XtalTrak(site.lab.connect(), resolve_names({"PLATES": "A.A"})) as xtaltrak:
        assert Dictionary(xtaltrak).place("PLATES") is None


# ---- codes --------------------------------------------------------------------------------------------------------------


def test_some_codes_of_the_site_are_unknown(site: Site) -> None:
    for number, score in enumerate(["11", "23", "45", "45", "XX"]):
        site.score(number, score, "2024-02-01 00:00:00")
    (found,) = bad(site.examine())
    assert found.severity is Severity.WARNING
    assert "45 (2), XX (1)" in found.what


def test_a_site_that_numbers_differently_forbids_writing_until_it_is_mapped(site: Site) -> None:
    for number, score in enumerate(["9", "7", "0"]):
        site.score(number, score, "2024-02-01 00:00:00")
    (found,) = bad(site.examine())
    assert (found.check, found.forbids_writing) == ("codes", True)
    assert "xtaltrak.codes" in found.remedy
    mapped = settings.XtalTrak(codes={"crystals_harvestable": "9", "crystals_bad_form": "7", "clear": "0"})
    assert bad(site.examine(mapped)) == []


def test_a_mapping_that_throws_groups_together(site: Site) -> None:
    (found,) = bad(site.examine(settings.XtalTrak(codes={"precipitate": "2"})))
    assert (found.check, found.severity) == ("codes", Severity.WARNING)
    assert "different groups share the score 2" in found.what


# ---- the embedded XtalTrak ----------------------------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """A settings file beside an embedded XtalTrak with two images."""
    file = tmp_path / "crystal-search.toml"
    file.write_text("")
    configured = settings.load_settings(file)
    for column in (1, 2):
        path = configured.paths.images / "CI022987" / "3" / image_name(column, 1, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")
    with create_embedded(configured.xtaltrak) as xtaltrak:
        load_images(xtaltrak, configured.paths.images)
    return file


def run(file: Path, *more: str) -> Result:
    return CliRunner().invoke(doctor, ["--settings", str(file), *more], env={"COLUMNS": "200"})


def found_in(result: Result) -> list[dict[str, Any]]:
    return [finding for finding in json.loads(result.output) if finding["severity"] != "ok"]


def change(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file.parent / "xtaltrak.sqlite")) as connection, connection:
        for sql in statements:
            connection.execute(sql)


def test_the_embedded_database_is_well(embedded: Path) -> None:
    before = {
        path: path.read_bytes() for path in embedded.parent.rglob("*") if path.is_file() and path.suffix not in ("-shm", ".sqlite-shm")
    }
    result = run(embedded)
    assert result.exit_code == 0
    assert "2 rows from all over XtalTrak, each with its file" in result.output
    assert found_in(run(embedded, "--json")) == []
    after = {path: path.read_bytes() for path in before}
    assert after == before, "nothing is changed"


@pytest.mark.parametrize(
    ("sql", "check", "code"),
    [
        ("CREATE TRIGGER T AFTER INSERT ON I_SCORES BEGIN DELETE FROM PLATES; END", "triggers", 3),
        ("CREATE UNIQUE INDEX ONE_EACH ON I_SCORES (INSPECTID, IMAGENAME)", "keys", 3),
        ("DROP TABLE I_IMAGES", "mapping", 3),
        ("INSERT INTO I_SCORES VALUES (1, 1, '11', NULL, NULL, 'Berta')", "dates", 3),
        ("INSERT INTO I_SCORES VALUES (1, 1, '99', '2030-01-01 00:00:00', NULL, 'Berta')", "codes", 3),
        ("DROP TABLE SAMPLES", "mapping", 1),
        ("DELETE FROM I_IMAGES", "images", 1),
        ("UPDATE I_IMAGES SET IMAGENAME = 'Thumbs.db' WHERE INSPECTID = 1", "images", 1),
        ("UPDATE I_INSPECTIONS SET COL = COL + 6", "images", 3),
    ],
)
def test_what_is_wrong_with_the_embedded_database_is_found(embedded: Path, sql: str, check: str, code: int) -> None:
    change(embedded, "PRAGMA foreign_keys = OFF", sql)
    result = run(embedded, "--json")
    assert {finding["check"] for finding in found_in(result)} >= {check}
    assert result.exit_code == code
    assert "*" in run(embedded).output or code == 1 or check == "images"


def test_files_that_are_gone(embedded: Path) -> None:
    images = embedded.parent / "images" / "CI022987" / "3"
    (images / image_name(1, 1, 1)).unlink()
    (found,) = found_in(run(embedded, "--json"))
    assert found["severity"] == "warning"
    assert "1 of 2 rows have no file" in found["what"]
    (images / image_name(2, 1, 1)).unlink()
    (found,) = found_in(result := run(embedded, "--json"))
    assert "none of 2 rows has its file" in found["what"]
    assert result.exit_code == 3
    images.rmdir()
    (embedded.parent / "images" / "CI022987").rmdir()
    result = run(embedded, "--json")
    assert found_in(result)[0]["what"].endswith("is empty")
    assert result.exit_code == 4


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "crystal-search.toml"
    file.write_text("")
    (tmp_path / "images" / "x").mkdir(parents=True)
    result = run(file, "--json")
    (found,) = found_in(result)
    assert (found["check"], result.exit_code) == ("connection", 3)
    assert not (tmp_path / "xtaltrak.sqlite").exists()


def test_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTAL_SEARCH_ORACLE_PASSWORD", "x")
    file = tmp_path / "crystal-search.toml"
    file.write_text('[xtaltrak]\ndialect = "oracle"\nuser = "U"\ndsn = "127.0.0.1:1/X"\n')
    (tmp_path / "images" / "x").mkdir(parents=True)
    result = run(file, "--json")
    (found,) = found_in(result)
    assert (found["check"], found["severity"], result.exit_code) == ("connection", "away", 4)


def test_a_database_that_goes_away_in_the_middle(site: Site) -> None:
    class Going(H2XtalTrak):
        def query(self, name: str, params: Any = None) -> list[tuple[Any, ...]]:
            if name == "doctor_keys":
                raise TryAgainLater("H2: the connection is lost; try again later")
            return super().query(name, params)

    with Going(site.lab.connect(), resolve_names({})) as xtaltrak:
        findings = examine_database(SECTION, xtaltrak, Path("nowhere"))
        assert [finding.check for finding in bad(findings)] == ["keys"]
        assert findings[-1].severity is Severity.AWAY
        assert exit_code(findings) == 4
        with pytest.raises(TryAgainLater):
            what_forbids_writing(SECTION, xtaltrak)


def test_a_password_that_all_may_read(embedded: Path) -> None:
    secret = embedded.parent / "password"
    secret.write_text("x\n")
    secret.chmod(0o644)
    embedded.write_text('[xtaltrak]\npassword_file = "password"\n')
    (found,) = found_in(run(embedded, "--json"))
    assert found["remedy"] == f"chmod 600 {secret}"
    secret.chmod(0o600)
    assert found_in(run(embedded, "--json")) == []


def test_the_worst_finding_is_the_exit_code() -> None:
    away = Finding("x", Severity.AWAY, "x")
    wrong = Finding("x", Severity.ERROR, "x")
    assert exit_code([ok("x", "x")]) == 0
    assert exit_code([warning("x", "x", "y"), ok("x", "x")]) == 1
    assert exit_code([warning("x", "x", "y"), wrong, ok("x", "x")]) == 3
    assert exit_code([away, wrong]) == 4


# ---- nothing is written -------------------------------------------------------------------------------------------------


@pytest.fixture
def ready(tmp_path: Path) -> Lab:
    """A lab with an approved batch, and its settings file."""
    lab = Lab(tmp_path / "lab").create()
    lab.inspect(("A01a", 1), ("B01a", 1))
    lab.batch({("A01a", 1): "crystals_harvestable", ("B01a", 1): "clear"})
    lab.finalize()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\n')
    return lab


def import_scores(lab: Lab, *more: str) -> Result:
    return CliRunner().invoke(set_autoscore, ["--once", "--settings", str(lab.root / "crystal-search.toml"), *more])


def configure(lab: Lab, lines: str) -> None:
    (lab.root / "crystal-search.toml").write_text(f'[paths]\nstate = "state"\n[xtaltrak]\n{lines}\n')


FORBIDDING = {
    "a trigger": ("CREATE TRIGGER T_AUDIT AFTER INSERT ON I_SCORES BEGIN SELECT 1; END", "T_AUDIT"),
    "a key on the image": ("CREATE UNIQUE INDEX ONE_EACH ON I_SCORES (INSPECTID, IMAGENAME)", "ONE_EACH"),
    "a person's score without a date": ("INSERT INTO I_SCORES VALUES (1, 1, '11', NULL, NULL, 'Berta')", "have no date"),
    "codes of another numbering": ("INSERT INTO I_SCORES VALUES (1, 1, '7', '2030-01-01 00:00:00', NULL, 'Berta')", "7 (1)"),
}


@pytest.mark.parametrize("what", FORBIDDING)
def test_no_score_is_written_where_rule_6_forbids_it(ready: Lab, what: str) -> None:
    sql, says = FORBIDDING[what]
    ready.execute(sql)
    before = ready.scores()
    result = import_scores(ready)
    assert isinstance(result.exception, SettingsError)
    (line,) = str(result.exception).splitlines()
    assert line.startswith("no score is written: ")
    assert says in line
    assert ready.scores() == before
    assert "nothing would be written: " in import_scores(ready, "--dry-run").output
    assert ready.scores() == before


def test_what_an_admin_has_looked_at_is_allowed(ready: Lab) -> None:
    ready.execute("CREATE TRIGGER T_AUDIT AFTER INSERT ON I_SCORES BEGIN SELECT 1; END")
    ready.person("A01a", 1, "11", days=-400)
    configure(ready, 'known_triggers = ["T_AUDIT"]\naccept_dates = true')
    assert import_scores(ready).exit_code == 0
    assert ready.shown() == {"A01a": [("11", "Berta")], "B01a": [("01", "ARTscore")]}


def test_a_mapping_that_names_no_table_writes_nothing(ready: Lab) -> None:
    configure(ready, 'names = { I_SCORES = "SCORES" }')
    result = import_scores(ready)
    assert isinstance(result.exception, SettingsError)
    assert "SCORES" in str(result.exception).splitlines()[0]
    assert ready.scores() == []


def test_a_site_with_codes_of_its_own_gets_them_and_its_people_are_understood(ready: Lab) -> None:
    configure(ready, 'codes = { crystals_harvestable = "9", clear = "0" }')
    assert import_scores(ready).exit_code == 0
    assert ready.shown() == {"A01a": [("9", "ARTscore")], "B01a": [("0", "ARTscore")]}
    before = ready.scores()
    assert import_scores(ready).exit_code == 0
    assert ready.scores() == before


def test_the_guard_looks_again_after_some_hours(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("crystal_search.doctor.guard.time.monotonic", lambda: clock[0])
    guard = WriteGuard(ready.settings.xtaltrak)
    with open_xtaltrak(ready.settings.xtaltrak) as xtaltrak:
        guard.check(xtaltrak)
        ready.execute("CREATE TRIGGER T_AUDIT AFTER INSERT ON I_SCORES BEGIN SELECT 1; END")
        guard.check(xtaltrak)
        clock[0] += 24 * 3600
        for _ in range(2):
            with pytest.raises(SettingsError, match="T_AUDIT"):
                guard.check(xtaltrak)
