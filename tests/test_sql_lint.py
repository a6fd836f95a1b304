"""Every statement for Oracle is fit for Oracle as far as a parser can tell, and has its twin for the embedded XtalTrak."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlglot
from sql_lint import lint

from crystal_search.xtaltrak.names import DEFAULT_NAMES, statement

SQL = Path(__file__).parents[1] / "crystal_search" / "xtaltrak" / "sql"
DBA = Path(__file__).parents[1] / "docs" / "how-to" / "oracle-dba.sql"
NAMES = {**DEFAULT_NAMES, "SCORER": "'ARTscore'"}
#: Of one database only, and why.
ALONE = {
    "oracle": {
        "session": "SQLite has no languages",
        "doctor_user": "SQLite has no accounts",
        "doctor_privileges": "likewise",
        "doctor_triggers_own": "likewise",
        "doctor_view": "the embedded XtalTrak makes its view itself",
        "doctor_sequence": "likewise its numbers",
    },
    "sqlite": {
        "create_artscores_own_": "Oracle's view has a check of its own, SQLite's has triggers",
        "create_i_": "the lab has them",
        "create_p": "likewise",
        "create_samples": "likewise",
        "create_sample_families": "likewise",
        "create_well_conditions": "likewise",
        "drop_": "the lab's DBA makes what is ours in Oracle, once (docs/how-to/oracle-dba.sql)",
        "start_": "likewise",
        "own_view": "likewise",
        "insert_": "the lab's imager fills XtalTrak",
        "set_plate_project": "likewise",
        "plate_inspections": "only `load` asks for it",
        "plate_known": "likewise",
    },
}


def stems(dialect: str) -> set[str]:
    return {path.stem for path in (SQL / dialect).glob("*.sql")}


@pytest.mark.parametrize("name", sorted(stems("oracle")))
def test_a_statement_for_oracle_passes(name: str) -> None:
    assert lint(statement("oracle", name, NAMES)) == []


@pytest.mark.parametrize("name", sorted(name for name in stems("sqlite") if "own_" not in name))
def test_a_statement_for_sqlite_can_be_parsed(name: str) -> None:
    assert len(sqlglot.parse(statement("sqlite", name, NAMES), read="sqlite")) == 1


@pytest.mark.parametrize(("dialect", "other"), [("oracle", "sqlite"), ("sqlite", "oracle")])
def test_each_statement_has_a_twin_with_the_same_parameters(dialect: str, other: str) -> None:
    alone = {name for name in stems(dialect) if any(name.startswith(start) for start in ALONE[dialect])}
    assert stems(dialect) - stems(other) == alone
    for name in stems(dialect) - alone:
        binds = [set(re.findall(r":([a-z][a-z0-9_]*)", re.sub(r"--.*", "", statement(d, name, NAMES)))) for d in (dialect, other)]
        assert binds[0] == binds[1], name


def test_what_the_dba_runs_passes() -> None:
    text = re.sub(r"--.*", "", DBA.read_text())
    made = [part.strip() for part in text.split(";") if part.strip()]
    assert len(made) > 10
    assert [line for part in made for line in lint(part)] == []


BAD = {
    "SELECT S.SCORE FROM I_SCORES AS S": "alias with AS",
    "SELECT S.SCORE AS X FROM I_SCORES S WHERE S.SCOREID = CAST(:a AS NUMBER(9))": "alias with AS",
    "SELECT 1": "SELECT without FROM",
    "SELECT A FROM T WHERE EXISTS (SELECT 1)": "SELECT without FROM",
    "SELECT A FROM T WHERE B = TRUE": "TRUE or FALSE",
    f"SELECT A FROM T WHERE B IN ({', '.join(map(str, range(1001)))})": "more than 1000",
    f"SELECT A FROM {'T' * 31}": "longer than 30",
    "SELECT T.COMMENT FROM T": "reserved word",
    "CREATE TABLE T (DATE VARCHAR2(9))": "reserved word",
    'SELECT "Score" FROM T': "quoted name",
    "SELECT A FROM T WHERE B = :number": "ORA-01745",
    "SELECT A FROM T ORDER BY A FETCH FIRST 5 ROWS ONLY": "page by ROWNUM",
    "SELECT A FROM T FETCH FIRST 5 ROWS ONLY FOR UPDATE": "page by ROWNUM",
    "SELECT A FROM T OFFSET 5 ROWS": "page by ROWNUM",
    "SELECT A FROM T WHERE ROWNUM <= 5 ORDER BY A": "counted before they are sorted",
    "SELECT A / 2 FROM T": "division",
    "SELECT A FROM T WHERE B = ''": "takes it for NULL",
    "SELECT A FROM T WHERE CAST(:day AS DATE) IS NULL": "TO_DATE",
    "INSERT INTO T (A) VALUES (1) ON CONFLICT DO NOTHING": "ON CONFLICT",
    "SELECT A FROM T WHERE (A, B) > (:a, :b)": "ORA-01796",
    "SELECT T.A FROM T CROSS JOIN U ON U.A = T.A": "CROSS JOIN with ON",
    "SELECT DISTINCT A FROM T FOR UPDATE": "FOR UPDATE with DISTINCT",
    "SELECT A FROM T; SELECT B FROM T": "2 statements",
    "SELECT A FROM T WHERE (": "can not be parsed",
    "LOCK TABLE I_SCORES IN EXCLUSIVE MODE": "can not be parsed",
}
GOOD = [
    "SELECT * FROM (SELECT T.A FROM T ORDER BY T.A) WHERE ROWNUM <= :n",
    f"SELECT A FROM T WHERE B IN ({', '.join(map(str, range(1000)))})",
    f"SELECT USER, SYSDATE FROM {'T' * 30}",
    "SELECT A FROM T WHERE (A, B) IN (SELECT C, D FROM U)",
    "SELECT TO_CHAR(A, 'YYYY') FROM T WHERE A >= TO_DATE(:day, 'YYYY-MM-DD')",
    "MERGE INTO T USING (SELECT CAST(:x AS NUMBER(12)) X FROM DUAL) S ON (T.A = S.X) WHEN MATCHED THEN UPDATE SET T.B = 1",
]


@pytest.mark.parametrize("sql", BAD, ids=lambda sql: sql[:50])
def test_what_oracle_refuses_is_found(sql: str) -> None:
    (line,) = lint(sql)
    assert BAD[sql] in line


@pytest.mark.parametrize("sql", GOOD, ids=lambda sql: sql[:50])
def test_what_oracle_takes_is_left_alone(sql: str) -> None:
    assert lint(sql) == []
