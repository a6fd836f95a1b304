"""Oracle's statements: each runs unchanged on H2 in Oracle mode, and does there what SQLite's does in the embedded XtalTrak."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from h2_xtaltrak import NOT_ON_H2, OWN_TABLES, H2Lab, H2XtalTrak
from live_oracle import LiveLab

from crystal_search.errors import CrystalSearchError, TryAgainLater
from crystal_search.settings import Search
from crystal_search.settings import XtalTrak as Section
from crystal_search.xtaltrak.artscores import Artscore, ArtscoreTable, Region
from crystal_search.xtaltrak.embedded import create_embedded
from crystal_search.xtaltrak.images import START
from crystal_search.xtaltrak.oracle import OracleXtalTrak
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable
from crystal_search.xtaltrak.sqlite import SqliteXtalTrak

SQL = Path(__file__).parents[1] / "crystal_search" / "xtaltrak" / "sql" / "oracle"
#: Without what every lab has run when it was made.
STATEMENTS = sorted({path.stem for path in SQL.glob("*.sql")} - {*OWN_TABLES, "create_artscore_seq"})
#: A value for every bind that there is.
VALUES: dict[str, Any] = {
    "after": 0,
    "after_image": "",
    "after_inspection": -1,
    "after_score": -1,
    "barcode": r"CI\_%",
    "batch": "b",
    "before_score": "11",
    "before_scored_at": "2024-01-01 00:00:00",
    "best_x0": 1,
    "best_x1": 1,
    "best_y0": 1,
    "best_y1": None,
    "by_drop": 1,
    "class_name": "clear",
    "crystal_probability": 0.5,
    "drop_x0": 1,
    "drop_x1": 1,
    "drop_y0": 1,
    "drop_y1": None,
    "first": 1,
    "how_many": 2,
    "image_name": "a",
    "inspection_id": 1,
    "last": 5,
    "max_rows": 5,
    "model": "m",
    "model_sha256": "a",
    "own_ids": ",1,2,",
    "owner": "XTALTRAK",
    "page_inspections": 5,
    "page_rows": 5,
    "picture": b"x",
    "place": 1,
    "probability": 0.5,
    "score": "23",
    "score_id": 1_000_000_001,
    "scored_at": "2024-01-01 00:00:00",
    "scorer": "ARTscore",
    "status": "scored",
    "taken_at": "2024-01-01 00:00:00",
    "taken_before": "2024-01-01 00:00:00",
    "table_name": "I_SCORES",
    "taken_from": None,
    "unscored": "drop",
    "x0": 1,
    "x1": 1,
    "y0": 1,
    "y1": 1,
}


@pytest.fixture(scope="module", params=["h2", pytest.param("oracle", marks=pytest.mark.oracle)])
def lab(request: pytest.FixtureRequest) -> Iterator[H2Lab | LiveLab]:
    """Oracle, played by H2 or, where it is asked for, a real one."""
    made = H2Lab(lock_seconds=1, dictionary=True) if request.param == "h2" else LiveLab()
    yield made
    made.close()


@pytest.fixture
def oracle(lab: H2Lab | LiveLab) -> Iterator[OracleXtalTrak]:
    lab.clear()
    with lab.xtaltrak() as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[SqliteXtalTrak]:
    with create_embedded(Section(database=tmp_path / "x.sqlite")) as made:
        assert isinstance(made, SqliteXtalTrak)
        yield made


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_runs_unchanged(oracle: OracleXtalTrak, name: str) -> None:
    """On H2 all but those of the list, which really can not."""
    if isinstance(oracle, H2XtalTrak) and name in NOT_ON_H2:
        with pytest.raises(CrystalSearchError, match=rf"{name}\.sql"):
            oracle.query(name, VALUES)
    elif oracle._sql(name).startswith("SELECT"):
        oracle.query(name, VALUES)
    else:
        oracle.execute(name, VALUES)


def test_the_list_of_what_h2_can_not_run_is_not_stale() -> None:
    assert NOT_ON_H2.keys() <= set(STATEMENTS)


# ---- the same lab in both -------------------------------------------------------------------------------------------

PEOPLE = ("Anna", "artscore", "", None)
NAMES = ("a", "B", "b", "ä", "a_b")
BARCODES = ("CI1", "ci1", "C_1", "C%1", r"C\1", "CI12", "Ä1")


def fill(lab: H2Lab | LiveLab, embedded: SqliteXtalTrak, seed: int) -> list[int]:
    """The same random lab in both databases; returns its inspections. Few drops, so that they meet."""
    chance = random.Random(seed)
    plan: list[tuple[str, tuple[Any, ...]]] = []
    inspections = sorted(chance.sample(range(1, 40), 12))
    for number in inspections:
        day = chance.choice([None, "2024-01-01 00:00:00", "2024-01-02 12:00:00", "2024-01-03 23:59:59"])
        place = (chance.choice(BARCODES), number, day, 1, 1, chance.randint(1, 2))
        plan.append(("I_INSPECTIONS", (number, *place)))
        plan += [("I_IMAGES", (number, name)) for name in sorted({*chance.sample(NAMES, chance.randint(0, 3)), *chance.choice(["a", ""])})]
    for number in range(1, chance.randint(1, 6)):
        image = chance.choice([None, "a", "b"])
        day = chance.choice([None, "2024-01-02 00:00:00"])
        scorer = chance.choice([*PEOPLE, "ARTscore"])
        plan.append(("I_SCORES", (number, chance.choice(inspections), chance.choice([None, "11"]), day, image, scorer)))
    for table, values in plan:
        is_date = [number == 3 and table != "I_IMAGES" for number in range(len(values))]
        marks = ", ".join(f"TO_DATE(:v{n}, 'YYYY-MM-DD HH24:MI:SS')" if date else f":v{n}" for n, date in enumerate(is_date))
        lab.execute(f"INSERT INTO {table} VALUES ({marks})", **{f"v{n}": value for n, value in enumerate(values)})
        embedded._connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
    return inspections


def person(lab: H2Lab | LiveLab, embedded: SqliteXtalTrak, number: int, inspection: int, scorer: str | None) -> None:
    """Somebody scores all of an inspection."""
    lab.execute("INSERT INTO I_SCORES VALUES (:n, :i, '11', NULL, NULL, :w)", n=number, i=inspection, w=scorer)
    embedded._connection.execute("INSERT INTO I_SCORES VALUES (?, ?, '11', NULL, NULL, ?)", (number, inspection, scorer))


def score_rows(database: H2Lab | LiveLab | SqliteXtalTrak) -> list[tuple[Any, ...]]:
    """The score table. Oracle keeps an empty name as NULL: both are nobody's, and so a person's."""
    sql = "SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES ORDER BY SCOREID"
    rows = database._connection.execute(sql).fetchall() if isinstance(database, SqliteXtalTrak) else database.execute(sql)
    return [(*row[:4], str(row[4]), row[5] or None) for row in rows]


def searches(chance: random.Random) -> Iterator[Search]:
    for _ in range(15):
        first, last = sorted(chance.choices(["2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03"], k=2))
        dates = {"taken_from": first} if chance.random() < 0.3 else {}
        dates |= {"taken_to": last} if chance.random() < 0.3 else {}
        glob = chance.choice(["*", "*", "CI*", "C?1", "C_1", "C%1", r"C\1", "ci1", "Ä*"])
        yield Search.model_validate({"name": "any", "barcode": glob, "only_unscored": chance.random() < 0.6, **dates})


@pytest.mark.parametrize("seed", range(8))
def test_both_databases_find_the_same_images(lab: H2Lab | LiveLab, oracle: OracleXtalTrak, embedded: SqliteXtalTrak, seed: int) -> None:
    fill(lab, embedded, seed)
    chance = random.Random(seed)
    for search in searches(chance):
        protect, limit = chance.choice(["drop", "image"]), chance.randint(1, 4)
        after = START
        while True:
            expected = embedded.find_images(search, after, limit, protect)
            assert oracle.find_images(search, after, limit, protect) == expected
            if not expected.more:
                break
            assert expected.last is not None
            after = expected.last


@pytest.mark.parametrize("seed", range(8))
def test_both_databases_write_the_same_scores(lab: H2Lab | LiveLab, oracle: OracleXtalTrak, embedded: SqliteXtalTrak, seed: int) -> None:
    """Insert, update, take out, restore and delete in random order, some under wrong assumptions."""
    inspections = fill(lab, embedded, seed)
    chance = random.Random(seed)
    protect = chance.choice(["drop", "image"])
    tables = [ScoreTable(xtaltrak, protect) for xtaltrak in (oracle, embedded)]
    (first,) = tables[0].next_ids(1)
    embedded._connection.execute("UPDATE ARTSCORE_SEQ SET LAST_ID = ?", (first,))
    numbers = tables[0].next_ids(30)
    assert numbers == tables[1].next_ids(30) == list(range(first + 1, first + 31))
    known: list[ScoreRow] = []
    for number in numbers:
        if chance.random() < 0.2:
            person(lab, embedded, number - first + 10, chance.choice(inspections), chance.choice(PEOPLE))
        row = ScoreRow(
            score_id=number,
            inspection_id=chance.choice([*inspections, 41]),
            image_name=chance.choice(["a", "b"]),
            score=chance.choice(["01", "23"]),
            scored_at="2024-01-02 12:00:00",
            scorer="ARTscore",
        )
        old = chance.choice(known) if known else row
        new = ScoreRow.from_json(old.to_json().replace('"score":"01"', '"score":"33"'))
        own = chance.sample(numbers, 28)
        what = chance.choice(["insert", "insert", "update", "delete", "take out", "restore"])
        for table in tables:
            with table.locked():
                if what == "insert":
                    table.insert([(row, own)])
                elif what == "update":
                    table.update([(old, new, own)])
                elif what == "delete":
                    table.delete([old])
                elif what == "restore":
                    table.restore([(old, new)])
                else:
                    table.take_out([(old, own)])
        known.append(row)
        assert score_rows(lab) == score_rows(embedded), what
        assert [row.score_id for row in tables[0].displaced()] == [row.score_id for row in tables[1].displaced()]
    for number in inspections:
        drops = [now and (now.place, now.images, [row.score_id for row in now.rows]) for now in (table.of_drop(number) for table in tables)]
        assert drops[0] == drops[1]
    assert tables[0].named(0, 9) == tables[1].named(0, 9)
    after = {"after_inspection": -1, "page_inspections": 3, "scorer": "ARTscore"}
    assert [row[:9] for row in oracle.query("scored_images", after)] == [row[:9] for row in embedded.query("scored_images", after)]


def test_every_row_under_one_lock_is_written_or_none(lab: H2Lab | LiveLab, oracle: OracleXtalTrak) -> None:
    table = ScoreTable(oracle, "drop")
    lab.execute("INSERT INTO I_INSPECTIONS VALUES (1, 'P', 1, NULL, 1, 1, 1)")
    for name in ("a", "b"):
        lab.execute("INSERT INTO I_IMAGES VALUES (1, :name)", name=name)
    row = ScoreRow(score_id=1_000_000_001, inspection_id=1, image_name="a", score="01", scored_at="2024-01-01 00:00:00", scorer="ARTscore")
    too_long = ScoreRow(score_id=1_000_000_002, inspection_id=1, image_name="b", score="001", scored_at=None, scorer="ARTscore")
    ours = [row.score_id, too_long.score_id]
    with pytest.raises(CrystalSearchError, match=r"score_insert\.sql"), table.locked():
        table.insert([(row, ours), (too_long, ours)])
    assert score_rows(lab) == []
    assert table.row(row.score_id) is None, "nor is it left for the next commit"
    with table.locked():
        table.insert([(row, [])])
    assert table.row(row.score_id) == row


def test_a_person_at_work_keeps_us_waiting(lab: H2Lab | LiveLab, oracle: OracleXtalTrak) -> None:
    person = lab.connect()
    lab.person_lock(person)
    table = ScoreTable(oracle, "drop")
    with pytest.raises(TryAgainLater, match="another program holds it locked"), table.locked():
        raise AssertionError("two writers")
    person.close()
    with table.locked():
        pass


def test_both_databases_keep_the_same_artscores(lab: H2Lab | LiveLab, oracle: OracleXtalTrak, embedded: SqliteXtalTrak) -> None:
    """The tables of our own, and the view of both evaluations over them."""
    inspection = fill(lab, embedded, seed=3)[0]
    found = {"taken_at": "2024-01-01 09:30:00", "model": "m", "model_sha256": "a" * 64}
    region = Region((0, 1, 256, 257), "clear", 0.1)
    sure = Artscore(
        **found,
        inspection_id=inspection,
        image_name="a",
        status="scored",
        score="01",
        class_name="clear",
        probability=0.9,
        crystal_probability=1 / 3,
        drop_box=(0, 0, 9, 9),
        regions=(region, region),
    )
    lost = Artscore(
        **{**found, "taken_at": None},
        inspection_id=inspection,
        image_name="ä",
        status="no_drop",
        score=None,
        class_name=None,
        probability=None,
        crystal_probability=None,
        drop_box=None,
        regions=(),
    )
    columns = "EVALUATION, SCORE_CODE, SCORED_BY, STATUS_WORD, CLASS_PROBABILITY, BATCH_NAME, DROP_X1, BEST_Y1"
    said: list[Any] = []
    picture = b"\xff\xd8" * 50_000
    for xtaltrak in (oracle, embedded):
        table = ArtscoreTable(xtaltrak)
        table.insert("artscore", "b1", [sure.columns, lost.columns])
        table.insert("artscore", "b2", [sure.columns])
        table.insert("region", "b1", sure.region_columns)
        table.insert("picture", "b1", [(*sure.key, picture)])
        assert set(table.rows("artscore", "b1")) == {sure.columns, lost.columns}
        assert table.rows("region", "b1") == list(sure.region_columns)
        assert table.rows("picture", "b1") == [sure.key]
        assert table.batches("artscore") == {"b1": 2, "b2": 1}
        with pytest.raises((CrystalSearchError, sqlite3.IntegrityError)):
            table.insert("artscore", "b2", [sure.columns])
        cursor: Any = xtaltrak._connection.cursor()
        cursor.execute(
            f"SELECT {columns} FROM ARTSCORES_BOTH WHERE INSPECTION_ID = {inspection} ORDER BY PLACE_IN_ORDER, IMAGE_NAME, 6, 2, 3"
        )
        said.append([(*row[:2], row[2] or None, *row[3:]) for row in cursor.fetchall()])
        cursor.execute("SELECT PICTURE FROM ARTSCORE_PICTURES")
        assert bytes(cursor.fetchall()[0][0]) == picture
        assert table.delete("artscore", "b1") == 2
        assert table.rows("artscore", "b2") == [sure.columns]
    assert said[0] == said[1]
    assert [row[0] for row in said[0]][-3:] == ["automatic"] * 3
