"""People's scores on Oracle (write-back rule 8): looking and scoring go through two accounts, and neither can do the other's work.

H2 plays Oracle with users and grants of its own; the way from the settings to a connection is the real one, down to the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from h2_xtaltrak import H2Connection, H2Error, H2Lab, _explain
from viewer_lab import PlateOf, make_viewer_lab

from crystal_search.doctor.examine import examine
from crystal_search.doctor.findings import Severity
from crystal_search.errors import EXIT_SETTINGS, CrystalSearchError, SettingsError
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak import oracle
from crystal_search.xtaltrak.oracle_connection import Login, login_of
from crystal_search.xtaltrak.scores import ScoreRow
from viewer.cli import serve
from viewer.lab import Lab
from viewer.person import Person, Role
from viewer.scoring import enter, take_back

BERTA = Person("Berta", Role.SCORER)
SETTINGS = """[xtaltrak]
dialect = "oracle"
dsn = "h2:1/x"
user = "READER"
[viewer]
scoring = true
user = "SCORES"
password_file = "scores-password"
"""


class Driver:
    """H2 in the place of Oracle's driver: it logs the user of the settings in, and notes who came."""

    def __init__(self, h2: H2Lab) -> None:
        self._h2 = h2
        self.logins: list[str] = []

    def acquire(self, login: Login) -> Any:
        self.logins.append(login.user)
        try:
            return _Pooled(self._h2.connect(login.user, login.password))
        except Exception as error:
            raise SettingsError(f"{login.what}: {error}") from error


class _Pooled:
    def __init__(self, connection: H2Connection) -> None:
        self._connection = connection
        self.driver_connection = SimpleNamespace(version="19.3.0.0.0")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def h2() -> Iterator[H2Lab]:
    made = H2Lab(lock_seconds=1, dictionary=True)
    for user in ("READER", "SCORES"):
        made.execute(f"CREATE USER {user} PASSWORD '{user.lower()}-secret'")
        made.execute(f"GRANT SELECT ON SCHEMA PUBLIC TO {user}")
    made.execute(
        "CREATE VIEW PEOPLE_SCORES AS SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES "
        "WHERE SCOREDBY <> 'ARTscore'"
    )
    made.execute("INSERT INTO DICT_CHECK_OPTIONS VALUES ('PEOPLE_SCORES')")
    made.execute("GRANT INSERT, DELETE ON I_SCORES TO SCORES")  # what the view lets through in Oracle
    made.execute("INSERT INTO I_INSPECTIONS VALUES (1, 'P1', 1, NULL, 1, 1, 1)")
    made.execute("INSERT INTO I_IMAGES VALUES (1, 'a.jpg')")
    made.execute("INSERT INTO PLATES VALUES (1, 'P1', 'plate', NULL, NULL)")
    yield made
    made.close()


@pytest.fixture
def driver(h2: H2Lab, monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver(h2)
    monkeypatch.setattr(oracle, "pool_of", lambda login: SimpleNamespace(acquire=lambda: made.acquire(login)))
    monkeypatch.setattr(oracle, "driver_errors", lambda: (H2Error,))
    monkeypatch.setattr(oracle, "explain_oracle", lambda error, what, doing, section: _explain(error, f"{what}, {doing}"))
    return made


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYSTAL_SEARCH_ORACLE_PASSWORD", "reader-secret")
    monkeypatch.delenv("CRYSTAL_SEARCH_VIEWER_PASSWORD", raising=False)
    (tmp_path / "scores-password").write_text("scores-secret\n")
    (tmp_path / "scores-password").chmod(0o600)
    (tmp_path / "images").mkdir()
    file = tmp_path / "crystal-search.toml"
    file.write_text(SETTINGS)
    return file


def changed(file: Path, **viewer: Any) -> Settings:
    loaded = load_settings(file)
    loaded = loaded.model_copy(update={"viewer": loaded.viewer.model_copy(update=viewer)})
    # H2 can not write through a view: the statement meets the table itself
    names = {"PEOPLE_SCORES": "I_SCORES"}
    return loaded.model_copy(update={"xtaltrak": loaded.xtaltrak.model_copy(update={"names": names})})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


def test_looking_and_scoring_are_two_users(h2: H2Lab, driver: Driver, settings_file: Path, ledger: Ledger) -> None:
    lab = Lab(changed(settings_file), ledger)
    assert lab.query("doctor_user") == [("READER",)]
    assert set(driver.logins) == {"READER"}, "looking opens no other account"
    driver.logins.clear()
    entered = enter(lab, BERTA, "action-1", "23", [(1, "a.jpg")], set())
    assert "SCORES" in driver.logins
    assert h2.execute("SELECT SCORE, SCOREDBY FROM I_SCORES") == [("23", "Berta")]
    with lab.people_scores() as people:
        assert people._xtaltrak.query("doctor_user") == [("SCORES",)]
    assert take_back(lab, BERTA, entered.action).left == ()
    assert h2.execute("SELECT SCORE FROM I_SCORES") == []


def test_the_looking_connection_can_not_write(h2: H2Lab, driver: Driver, settings_file: Path, ledger: Ledger) -> None:
    """Neither by our own check, nor, where that were left out, by the database."""
    row = ScoreRow(score_id=1, inspection_id=1, image_name="a.jpg", score="23", scored_at="2026-11-20 10:00:00", scorer="Berta")
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    with Lab(changed(settings_file), ledger)._for_reading() as looking:
        with pytest.raises(CrystalSearchError, match="only reads"):
            looking.execute("person_insert", values)
        looking._reads_only = False  # type: ignore[attr-defined]
        with pytest.raises(CrystalSearchError, match="Not enough rights"):
            looking.execute("person_insert", values)
    assert h2.execute("SELECT SCOREID FROM I_SCORES") == []


def test_the_scoring_account_changes_no_row(h2: H2Lab, driver: Driver, settings_file: Path, ledger: Ledger) -> None:
    """It needs INSERT and DELETE, never UPDATE: nobody's score can be overwritten with it."""
    h2.execute("INSERT INTO I_SCORES VALUES (5, 1, '11', NULL, 'a.jpg', 'Carl')")
    enter(Lab(changed(settings_file), ledger), BERTA, "action-1", "23", [(1, "a.jpg")], set())
    with pytest.raises(H2Error, match="Not enough rights"):
        h2.connect("SCORES", "scores-secret").execute("UPDATE I_SCORES SET SCORE = '01'")
    assert {row[0] for row in h2.execute("SELECT SCOREDBY FROM I_SCORES")} == {"Carl", "Berta"}


def test_the_password_of_each_account_is_its_own(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_settings(settings_file)
    looking, scoring = login_of(loaded.xtaltrak), login_of(loaded.xtaltrak, loaded.viewer)
    assert (looking.user, looking.password, scoring.user, scoring.password) == ("READER", "reader-secret", "SCORES", "scores-secret")
    monkeypatch.setenv("CRYSTAL_SEARCH_VIEWER_PASSWORD", "from the environment")
    assert login_of(loaded.xtaltrak, loaded.viewer).password == "from the environment"
    assert login_of(loaded.xtaltrak).password == "reader-secret"
    monkeypatch.delenv("CRYSTAL_SEARCH_VIEWER_PASSWORD")
    (settings_file.parent / "scores-password").unlink()
    with pytest.raises(SettingsError, match=r"^viewer\.password_file: .* can not be read"):
        login_of(loaded.xtaltrak, loaded.viewer)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('user = "SCORES"\n', "", "viewer.user is missing"),
        ('user = "SCORES"\n', 'user = "reader"\n', "viewer.user is reader, as xtaltrak.user"),
        ('password_file = "scores-password"\n', "", "no password for SCORES: set CRYSTAL_SEARCH_VIEWER_PASSWORD or viewer.password_file"),
        ('user = "SCORES"\n', 'user = "NOBODY"\n', "XtalTrak NOBODY@h2:1/x: "),
    ],
)
def test_serve_says_at_once_that_nobody_could_score(driver: Driver, settings_file: Path, old: str, new: str, says: str) -> None:
    assert old in SETTINGS
    settings_file.write_text(SETTINGS.replace(old, new))
    result = CliRunner().invoke(serve, ["--settings", str(settings_file), "--port", "0"])
    assert isinstance(result.exception, SettingsError)
    assert result.exception.exit_code == EXIT_SETTINGS
    (line,) = str(result.exception).splitlines()
    assert says in line


def test_with_scoring_off_no_second_account_is_asked_for(driver: Driver, settings_file: Path, ledger: Ledger) -> None:
    lab = Lab(changed(settings_file, scoring=False, user=""), ledger)
    assert lab.query("viewer_plate", {"barcode": "P1"})[0][:2] == ("P1", "plate")
    assert driver.logins == ["READER"]


def test_the_embedded_xtaltrak_asks_for_no_account(tmp_path: Path) -> None:
    made = make_viewer_lab(tmp_path, (PlateOf("P2", 2, 2, (1,)),))
    with made.ledger() as opened:
        key = made.id("P2", "A01")
        enter(Lab(made.settings, opened), BERTA, "action-1", "23", [(key, made.name(key))], set())
    assert [row[5] for row in made.scores()] == ["Berta"]


# ---- doctor -----------------------------------------------------------------------------------------------------------

GRANTS = {"PEOPLE_SCORES": ("INSERT", "DELETE"), "I_SCORES": ("SELECT",), "I_IMAGES": ("SELECT",), "ARTSCORE_SEQ": ("SELECT",)}


@pytest.fixture
def granted(h2: H2Lab, driver: Driver) -> H2Lab:
    """The dictionary says what `dba-script --viewer` grants."""
    for table in (*GRANTS, "ARTSCORES_OWN"):
        h2.execute("INSERT INTO ALL_SYNONYMS VALUES ('PUBLIC', :name, 'XTALTRAK', :name)", name=table)
    for table, privileges in GRANTS.items():
        for privilege in privileges:
            h2.execute("INSERT INTO ALL_TAB_PRIVS VALUES ('SCORES', 'XTALTRAK', :name, :what)", name=table, what=privilege)
    return h2


def of_viewer(file: Path) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.what) for finding in examine(load_settings(file)) if finding.check == "viewer"]


def test_doctor_says_that_the_account_is_as_it_should_be(granted: H2Lab, settings_file: Path) -> None:
    assert of_viewer(settings_file) == [(Severity.OK, "SCORES may add and take back people's scores, and nothing else")]


BROKEN: dict[str, tuple[str, Severity, str]] = {
    "no view": ("DROP VIEW PEOPLE_SCORES", Severity.ERROR, "PEOPLE_SCORES is not there, or SCORES has no grant on it"),
    "a view of everything": (
        "CREATE OR REPLACE VIEW PEOPLE_SCORES AS SELECT * FROM I_SCORES",
        Severity.ERROR,
        "XTALTRAK.PEOPLE_SCORES does not leave out the rows of our scorer 'ARTscore'",
    ),
    "a view of ours only": (
        "CREATE OR REPLACE VIEW PEOPLE_SCORES AS SELECT * FROM I_SCORES WHERE SCOREDBY = 'ARTscore'",
        Severity.ERROR,
        "XTALTRAK.PEOPLE_SCORES does not leave out the rows of our scorer 'ARTscore'",
    ),
    "no check option": ("DELETE FROM DICT_CHECK_OPTIONS", Severity.ERROR, "XTALTRAK.PEOPLE_SCORES lacks WITH CHECK OPTION"),
    "no grant": (
        "DELETE FROM ALL_TAB_PRIVS WHERE PRIVILEGE = 'DELETE'",
        Severity.ERROR,
        "SCORES lacks DELETE on XTALTRAK.PEOPLE_SCORES",
    ),
    "a grant on the table": (
        "INSERT INTO ALL_TAB_PRIVS VALUES ('PUBLIC', 'XTALTRAK', 'I_SCORES', 'UPDATE')",
        Severity.WARNING,
        "SCORES may UPDATE on XTALTRAK.I_SCORES, which the viewer never needs",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_doctor_finds_what_is_wrong_with_the_account(granted: H2Lab, settings_file: Path, what: str) -> None:
    sql, severity, says = BROKEN[what]
    granted.execute(sql)
    assert of_viewer(settings_file) == [(severity, says)]


def test_doctor_says_that_the_account_is_missing(granted: H2Lab, settings_file: Path) -> None:
    settings_file.write_text(SETTINGS.replace('user = "SCORES"\n', ""))
    ((severity, what),) = of_viewer(settings_file)
    assert severity is Severity.ERROR
    assert what.startswith("viewer.user is missing")
    settings_file.write_text(SETTINGS.replace('user = "SCORES"\n', "").replace("scoring = true", "scoring = false"))
    assert of_viewer(settings_file) == []
