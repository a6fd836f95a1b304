"""What the lab's DBA runs: with the names of the site, and no more rights than the write-back rules give (rules 1, 2 and 7)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sql_lint import lint

from crystal_search.cli import crystal_search

DOCS = Path(__file__).parents[1] / "docs" / "how-to" / "oracle-dba.sql"
WRITES = {"INSERT", "UPDATE", "DELETE"}


def run(folder: Path, settings: str, *options: str) -> Result:
    path = folder / "crystal-search.toml"
    path.write_text(settings)
    return CliRunner().invoke(crystal_search, ["dba-script", "--settings", str(path), *options])


def statements(script: str) -> list[str]:
    return [part.strip() for part in re.sub(r"--.*", "", script).split(";") if part.strip()]


def grants(script: str) -> dict[str, set[str]]:
    """What the account may do, by object."""
    found = (re.fullmatch(r"GRANT ([A-Z, ]+) ON (\S+) TO \S+", sql) for sql in statements(script))
    return {match[2]: set(match[1].split(", ")) for match in found if match}


def test_the_documents_have_the_script_without_settings(tmp_path: Path) -> None:
    assert run(tmp_path, "").output == DOCS.read_text()


def test_the_account_may_write_what_is_ours_and_read_the_rest(tmp_path: Path) -> None:
    may = grants(run(tmp_path, "").output)
    assert {name: rights for name, rights in may.items() if rights & WRITES} == {
        "ARTSCORES_OWN": {"SELECT", *WRITES},
        "ARTSCORES": {"SELECT", "INSERT", "DELETE"},
        "ARTSCORE_REGIONS": {"SELECT", "INSERT", "DELETE"},
        "ARTSCORE_PICTURES": {"SELECT", "INSERT", "DELETE"},
    }
    assert may["I_SCORES"] == {"SELECT"}


SITE = """
[xtaltrak]
scorer = "O'Robot"
[xtaltrak.names]
I_SCORES = "VENDOR.SCORES"
"I_SCORES.SCOREDBY" = "WHO"
ARTSCORES = "OURS"
"""


def test_the_names_are_those_of_the_settings(tmp_path: Path) -> None:
    script = run(tmp_path, SITE, "--owner", "LAB", "--account", "ROBOT").output
    assert "FROM VENDOR.SCORES\nWHERE WHO = 'O''Robot'\nWITH CHECK OPTION;" in script
    assert "ALTER SESSION SET CURRENT_SCHEMA = LAB;" in script
    assert grants(script)["VENDOR.SCORES"] == {"SELECT"}
    assert "CREATE SYNONYM ROBOT.OURS FOR LAB.OURS;" in script
    assert "FOR LAB.VENDOR" not in script, "what has a schema needs no synonym"
    assert "SCOREDBY" not in script
    assert [line for sql in statements(script) for line in lint(sql)] == []


def test_the_way_back_drops_all_that_was_made(tmp_path: Path) -> None:
    made = re.findall(r"^CREATE (VIEW|SEQUENCE|TABLE|USER) (\w+)", run(tmp_path, SITE).output, re.MULTILINE)
    dropped = re.findall(r"^DROP (VIEW|SEQUENCE|TABLE|USER) (\w+)", run(tmp_path, SITE, "--remove").output, re.MULTILINE)
    assert sorted(made) == sorted(dropped)
    assert len(made) == 7


@pytest.mark.parametrize("name", ["lab", "LAB;DROP USER X", "A" * 31, ""])
@pytest.mark.parametrize("option", ["--owner", "--account"])
def test_a_name_that_is_none_is_a_usage_error(tmp_path: Path, option: str, name: str) -> None:
    result = run(tmp_path, "", option, name)
    assert result.exit_code != 0
    assert result.output == ""


def test_what_a_site_knows_of_wells_may_be_read(tmp_path: Path) -> None:
    script = run(tmp_path, '[xtaltrak]\ndetails = ["project", "conditions"]\n').output
    assert grants(script)["WELL_CONDITIONS"] == {"SELECT"}
    assert "SAMPLE_FAMILIES" not in script
