"""XtalTrak: statements filled in from the mapping, the embedded database, and paging through a search."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from generator_lab import image_name, picture
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crystal_search import settings
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from crystal_search.settings import Search
from crystal_search.xtaltrak import XtalTrak, open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded, import_folder, load_images
from crystal_search.xtaltrak.images import START, Protect, like_pattern
from crystal_search.xtaltrak.load import load
from crystal_search.xtaltrak.names import DEFAULT_NAMES, resolve_names, statement

SQL = Path(__file__).parents[1] / "crystal_search" / "xtaltrak" / "sql"
ALL = Search(name="all", only_unscored=False)


@pytest.fixture
def section(tmp_path: Path) -> settings.XtalTrak:
    return settings.XtalTrak(database=tmp_path / "lab" / "xtaltrak.sqlite")


@pytest.fixture
def xtaltrak(section: settings.XtalTrak) -> Iterator[XtalTrak]:
    with create_embedded(section) as made:
        yield made


def put(root: Path, name: str, content: bytes = b"pixels", folder: str = "CI022987/3") -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---- statements and names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SQL.glob("*/*.sql")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_statement_can_be_filled_in_and_is_one(path: Path) -> None:
    text = re.sub(r"--.*", "", statement(path.parent.name, path.stem, {**DEFAULT_NAMES, "SCORER": "'ARTscore'"})).strip()
    assert "{" not in text
    if text.startswith("CREATE TRIGGER"):  # the statements of its body end with semicolons
        assert re.fullmatch(r"CREATE TRIGGER [^;]*\nBEGIN\n.*;\nEND", text, re.DOTALL)
        assert text.count("CREATE") == text.count("BEGIN") == text.count("END") == 1
    else:
        assert ";" not in text


def test_tables_and_columns_stand_in_statements_as_placeholders_only() -> None:
    # a bare name would be the one that a site's mapping does not reach
    for path in SQL.glob("*/*.sql"):
        bare = re.sub(r"--.*|\{[^}]*\}", "", path.read_text())
        words = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", bare))
        assert not words & {part for name in DEFAULT_NAMES for part in name.split(".")}, path


def test_names_of_a_site_are_filled_in() -> None:
    names = resolve_names({"I_SCORES": "CRYSTAL.SCORES", "I_SCORES.SCOREDBY": "WHO"})
    text = statement("oracle", "find_images", names)
    assert "CRYSTAL.SCORES s" in text
    assert "s.WHO <> :scorer" in text
    assert "SCOREDBY" not in text


def test_a_placeholder_that_nobody_knows() -> None:
    names = {key: value for key, value in DEFAULT_NAMES.items() if key != "I_IMAGES.IMAGENAME"}
    with pytest.raises(SettingsError, match=r"find_images.sql: unknown placeholder \{I_IMAGES.IMAGENAME\}"):
        statement("sqlite", "find_images", names)


def test_a_mapping_of_names_that_do_not_exist_is_one_line_each() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve_names({"I_SCORE": "X", "I_SCORES.SCORED": "Y", "I_SCORES.SCORE": "A.B"})
    assert len(str(caught.value).splitlines()) == 3


def test_the_embedded_database_takes_a_sites_names(tmp_path: Path) -> None:
    section = settings.XtalTrak(database=tmp_path / "x.sqlite", names={"I_IMAGES": "PICTURES", "I_IMAGES.IMAGENAME": "FILE_NAME"})
    put(tmp_path / "images", image_name(1, 1, 1))
    with create_embedded(section) as xtaltrak:
        assert load_images(xtaltrak, tmp_path / "images").added == 1
        assert len(xtaltrak.find_images(ALL, START, 10).images) == 1
    with closing(sqlite3.connect(section.database)) as connection:
        assert connection.execute("SELECT FILE_NAME FROM PICTURES").fetchall() == [(image_name(1, 1, 1),)]


def test_the_embedded_database_has_no_schemas(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no schemas"):
        create_embedded(settings.XtalTrak(database=tmp_path / "x.sqlite", names={"PLATES": "CRYSTAL.PLATES"}))


def test_there_is_no_embedded_database(section: settings.XtalTrak) -> None:
    with pytest.raises(SettingsError, match="crystal-search load"):
        open_xtaltrak(section)
    assert not section.database.exists()


# ---- the embedded database ----------------------------------------------------------------------------------------


def test_an_embedded_database_that_vanishes_is_away(section: settings.XtalTrak) -> None:
    """A service waits for it; only one that was never there is a mistake in the settings."""
    create_embedded(section).close()
    open_xtaltrak(section).close()
    aside = section.database.rename(section.database.with_name("aside"))
    with pytest.raises(TryAgainLater, match="is not there any more; is its disk mounted"):
        open_xtaltrak(section)
    aside.rename(section.database)
    open_xtaltrak(section).close()


def test_the_tables_are_those_of_the_facts(xtaltrak: XtalTrak, section: settings.XtalTrak) -> None:
    with closing(sqlite3.connect(section.database)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        columns = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}
    assert {key for key in DEFAULT_NAMES if "." not in key} == tables
    for key in DEFAULT_NAMES:
        table, _, column = key.partition(".")
        assert not column or column in columns[table]
    assert columns["I_SCORES"] == {"SCOREID", "INSPECTID", "SCORE", "SCOREDATE", "IMAGENAME", "SCOREDBY"}


def test_loading_a_plate(xtaltrak: XtalTrak, section: settings.XtalTrak, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for drop in ((2, 1, 1), (1, 2, 3), (1, 1, 4), (1, 1, 1)):
        put(root, image_name(*drop))
    put(root, image_name(1, 1, 1, profile="UV"))
    assert load_images(xtaltrak, root).added == 5
    assert load_images(xtaltrak, root).added == 0
    page = xtaltrak.find_images(ALL, START, 100)
    # people's order: column, row, subwell; two images of the first drop's one inspection
    assert [(image.inspection_id, image.drop.label) for image in page.images] == [
        (1, "A01a"),
        (1, "A01a"),
        (2, "A01d"),
        (3, "B01c"),
        (4, "A02a"),
    ]
    assert {(image.inspection.number, image.inspection.taken_at) for image in page.images} == {(3, datetime(2012, 11, 21))}
    with closing(sqlite3.connect(section.database)) as connection:  # what the statements of other rooms will find
        assert connection.execute("SELECT BARCODE, PROJECT_ID FROM PLATES").fetchall() == [("CI022987", None)]
        assert connection.execute("SELECT * FROM I_PLATE_INSPECTIONS").fetchall() == [("CI022987", 3, "2012-11-21 00:00:00", 0, 0)]


def test_a_later_inspection_gets_larger_numbers(xtaltrak: XtalTrak, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(root, image_name(8, 8, 4))
    load_images(xtaltrak, root)
    put(root, image_name(1, 1, 1, number=4), folder="CI022987/4")
    load_images(xtaltrak, root)
    assert [image.inspection.number for image in xtaltrak.find_images(ALL, START, 9).images] == [3, 4]


def test_what_is_malformed_or_misplaced_is_told_and_skipped(xtaltrak: XtalTrak, tmp_path: Path) -> None:
    root = tmp_path / "images"
    put(root, image_name(1, 1, 1))
    put(root, "Thumbs.db")
    put(root, image_name(1, 1, 3), folder="CI022987/4")
    put(root, image_name(99, 1, 3))
    put(root, ".hidden.part")
    report = load_images(xtaltrak, root)
    assert report.added == 1
    assert len(report.skipped) == 3
    assert all(len(line.splitlines()) == 1 for line in report.skipped)
    assert any("its name says CI022987/3" in line for line in report.skipped)


def test_an_image_root_that_is_not_there(xtaltrak: XtalTrak, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: can not be read"):
        load_images(xtaltrak, tmp_path / "nowhere")


def test_a_flat_folder_is_brought_into_the_layout(tmp_path: Path) -> None:
    flat, root = tmp_path / "flat", tmp_path / "images"
    put(flat, image_name(1, 1, 1), folder="")
    put(flat, image_name(1, 1, 1, number=12), folder="deeper")
    put(flat, "notes.txt", folder="")
    report = import_folder(flat, root)
    assert (report.added, len(report.skipped)) == (2, 1)
    assert (root / "CI022987" / "3" / image_name(1, 1, 1)).read_bytes() == b"pixels"
    assert (root / "CI022987" / "12" / image_name(1, 1, 1, number=12)).is_file()
    assert import_folder(flat, root).added == 0
    (flat / image_name(1, 1, 1)).unlink()
    put(flat, image_name(1, 1, 1), b"other pixels", folder="")
    assert "another image of that name" in import_folder(flat, root).skipped[0]
    assert (root / "CI022987" / "3" / image_name(1, 1, 1)).read_bytes() == b"pixels"


def test_the_command_brings_a_plate_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "crystal-search.toml"
    file.write_text("")
    flat = tmp_path / "flat"
    put(flat, image_name(1, 1, 1), picture(1), folder="")
    result = CliRunner().invoke(load, [str(flat), "--settings", str(file)])
    assert (result.exit_code, result.exception) == (0, None)
    assert "1 images new" in caplog.text
    put(flat, "Thumbs.db", folder="")
    assert CliRunner().invoke(load, [str(flat), "--settings", str(file)]).exit_code == 1
    with open_xtaltrak(settings.load_settings(file).xtaltrak) as xtaltrak:
        assert len(xtaltrak.find_images(ALL, START, 9).images) == 1


def test_two_writers_queue(xtaltrak: XtalTrak, section: settings.XtalTrak) -> None:
    done: list[int] = []

    def write() -> None:
        with open_xtaltrak(section) as other:
            done.append(other.execute("insert_plate", {"barcode": "B"}))

    with xtaltrak.transaction():
        xtaltrak.execute("insert_plate", {"barcode": "A"})
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.2)
        assert not done
    thread.join()
    assert done == [1]


def test_a_transaction_that_fails_leaves_nothing(xtaltrak: XtalTrak) -> None:
    with pytest.raises(sqlite3.Error), xtaltrak.transaction():
        xtaltrak.executemany("insert_plate", [{"barcode": "A"}, {"barcode": None}])
    assert xtaltrak.execute("insert_plate", {"barcode": "A"}) == 1


def test_a_locked_database_is_one_line_and_try_again_later(section: settings.XtalTrak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystal_search.databases.BUSY_SECONDS", 0.1)
    with create_embedded(section) as first, open_xtaltrak(section) as second, first.transaction():
        with pytest.raises(TryAgainLater, match="another program holds it locked") as caught:
            second.execute("insert_plate", {"barcode": "B"})
        assert len(str(caught.value).splitlines()) == 1


# ---- searches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [("*", None), ("CI*", "CI%"), ("CI02298?", "CI02298_"), ("A_1", r"A\_1"), ("100%*", r"100\%%"), ("a\\b", r"a\\b"), ("[CI]", "[CI]")],
)
def test_globs_become_like_patterns(glob: str, pattern: str | None) -> None:
    assert like_pattern(glob) == pattern


@dataclass(frozen=True)
class Inspected:
    """A row of I_INSPECTIONS with its images."""

    inspection_id: int
    barcode: str
    subwell: int
    number: int
    taken_at: datetime | None
    images: tuple[str, ...]


def fill(xtaltrak: XtalTrak, rows: list[Inspected], scores: list[tuple[int, str | None, str | None]]) -> None:
    """Replace the whole content by ``rows`` and ``scores`` (INSPECTID, IMAGENAME, SCOREDBY)."""
    connection = xtaltrak._connection
    with xtaltrak.transaction():
        for table in ("I_SCORES", "I_IMAGES", "I_INSPECTIONS"):
            connection.execute(f"DELETE FROM {table}")
        for row in rows:
            moment = row.taken_at and row.taken_at.isoformat(sep=" ")
            values = (row.inspection_id, row.barcode, row.number, moment, 1, 1, row.subwell)
            connection.execute("INSERT INTO I_INSPECTIONS VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            connection.executemany("INSERT INTO I_IMAGES VALUES (?, ?)", [(row.inspection_id, name) for name in row.images])
        connection.executemany("INSERT INTO I_SCORES (INSPECTID, IMAGENAME, SCOREDBY) VALUES (?, ?, ?)", scores)


def page_through(xtaltrak: XtalTrak, search: Search, limit: int, protect: Protect = "drop") -> list[tuple[int, str]]:
    after, found, pages = START, [], 0
    while True:
        page = xtaltrak.find_images(search, after, limit, protect)
        found += [(image.inspection_id, image.image_name) for image in page.images]
        pages += 1
        assert len(page.images) <= limit
        if not page.more:
            return found
        assert page.last is not None
        assert page.last > after
        after = page.last


barcodes = st.sampled_from(["CI1", "CI2", "ci1", "C%1", "C_1", "C\\1", "CI12", "Ä*"])
moments = st.none() | st.integers(0, 72).map(lambda hours: datetime(2024, 1, 1) + timedelta(hours=hours))
names = st.sets(st.sampled_from(["a", "b", "B", "a_b", "ä", "z" * 255]) | st.just(image_name(1, 1, 1)), max_size=3)


@st.composite
def labs(draw: st.DrawFn) -> tuple[list[Inspected], list[tuple[int, str | None, str | None]]]:
    """Random inspections of few drops, so that they meet, and random scores of people, nobody and our scorer."""
    keys = draw(st.sets(st.tuples(barcodes, st.integers(1, 2), st.integers(1, 3)), max_size=8))
    ids = draw(st.lists(st.integers(1, 40), min_size=len(keys), max_size=len(keys), unique=True))
    rows = [
        Inspected(number, barcode, subwell, inspection, draw(moments), tuple(draw(names)))
        for number, (barcode, subwell, inspection) in zip(ids, sorted(keys), strict=True)
    ]
    scorers = st.sampled_from(["ARTscore", "Anna", "", None, "artscore"])
    scored = st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(["a", "b", None]), scorers), max_size=4) if ids else st.just([])
    return rows, draw(scored)


globs = st.sampled_from(["*", "CI*", "CI?", "C_1", "C%1", "C\\1", "C?1", "*1", "ci1", "Ä*", "Ä\\*", "?", "*?*?*"])
days = st.none() | st.integers(0, 3).map(lambda day: date(2024, 1, 1) + timedelta(days=day))


@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lab=labs(),
    glob=globs,
    first=days,
    last=days,
    unscored=st.booleans(),
    protect=st.sampled_from(["drop", "image"]),
    limit=st.integers(1, 5),
)
def test_paging_gives_exactly_the_images_that_match_in_order(
    xtaltrak: XtalTrak,
    lab: tuple[list[Inspected], list[tuple[int, str | None, str | None]]],
    glob: str,
    first: date | None,
    last: date | None,
    unscored: bool,
    protect: Protect,
    limit: int,
) -> None:
    if first and last and first > last:
        first, last = last, first
    rows, scores = lab
    fill(xtaltrak, rows, scores)
    by_id = {row.inspection_id: row for row in rows}
    regex = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in glob), re.DOTALL)
    people = [(by_id[inspection], image) for inspection, image, scorer in scores if scorer != "ARTscore"]

    def scored(row: Inspected, name: str) -> bool:
        if protect == "drop":
            return any((other.barcode, other.subwell) == (row.barcode, row.subwell) for other, _ in people)
        return any(other is row and image in (None, name) for other, image in people)

    expected = [
        (row.inspection_id, name)
        for row in rows
        for name in row.images
        if regex.fullmatch(row.barcode)
        and (first is None or (row.taken_at is not None and row.taken_at.date() >= first))
        and (last is None or (row.taken_at is not None and row.taken_at.date() <= last))
        and not (unscored and scored(row, name))
    ]
    search = Search(name="x", barcode=glob, taken_from=first, taken_to=last, only_unscored=unscored)
    assert page_through(xtaltrak, search, limit, protect) == sorted(expected)


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("C_1", ["C_1"]),
        ("C%1", ["C%1"]),
        ("C\\1", ["C\\1"]),
        ("C?1", ["C%1", "C\\1", "C_1", "CX1"]),
        ("CX*", ["CX1", "CXX1"]),
        ("cx1", ["cx1"]),
        ("*x1", ["cx1"]),
        ("*", ["C%1", "C\\1", "CX1", "CXX1", "C_1", "cx1"]),
        ("[C]*", []),
    ],
)
def test_only_star_and_question_mark_are_special_in_a_barcode(xtaltrak: XtalTrak, glob: str, found: list[str]) -> None:
    every = ["C_1", "C%1", "C\\1", "CX1", "CXX1", "cx1"]
    fill(xtaltrak, [Inspected(number, barcode, 1, 1, None, (barcode,)) for number, barcode in enumerate(every)], [])
    assert sorted(name for _, name in page_through(xtaltrak, Search(name="x", barcode=glob), 9)) == sorted(found)


def test_a_score_protects_its_own_drop_only(xtaltrak: XtalTrak) -> None:
    drops = [("P", 1), ("P", 3), ("Q", 1)]
    fill(xtaltrak, [Inspected(number, *drop, 1, None, ("a",)) for number, drop in enumerate(drops)], [(0, "a", "Anna")])
    xtaltrak._connection.execute("INSERT INTO I_INSPECTIONS VALUES (7, 'P', 1, NULL, 2, 1, 1), (8, 'P', 1, NULL, 1, 2, 1)")
    xtaltrak._connection.execute("INSERT INTO I_IMAGES VALUES (7, 'a'), (8, 'a')")  # another column, another row
    assert [number for number, _ in page_through(xtaltrak, Search(name="x"), 9)] == [1, 2, 7, 8]


def test_a_null_scorer_is_a_person_and_our_own_score_is_none(xtaltrak: XtalTrak) -> None:
    row = Inspected(1, "P", 1, 1, None, ("a", "b"))
    later = Inspected(2, "P", 1, 2, None, ("c",))
    unscored = Search(name="x")
    fill(xtaltrak, [row, later], [(1, "a", "ARTscore")])
    assert len(page_through(xtaltrak, unscored, 9)) == 3
    fill(xtaltrak, [row, later], [(1, "a", None)])
    assert page_through(xtaltrak, unscored, 9) == []
    assert page_through(xtaltrak, unscored, 9, "image") == [(1, "b"), (2, "c")]


def test_profile_and_imager_are_judged_by_name_and_what_can_not_be_judged_is_passed_on(xtaltrak: XtalTrak) -> None:
    hf, uv = image_name(1, 1, 1), image_name(1, 1, 1, profile="E0")
    fill(xtaltrak, [Inspected(1, "P", 1, 1, None, (hf, uv, "odd.jpg"))], [])

    def found(**restricts: object) -> set[str]:
        return {name for _, name in page_through(xtaltrak, Search.model_validate({"name": "x", **restricts}), 1)}

    assert found() == {hf, uv, "odd.jpg"}
    assert found(profiles=["HF"]) == {hf, "odd.jpg"}
    assert found(profiles=["HF", "E0"], imagers=[222]) == {hf, uv, "odd.jpg"}
    assert found(imagers=[223]) == {"odd.jpg"}


def test_a_row_that_is_no_drop_is_told_and_the_rest_goes_on(xtaltrak: XtalTrak) -> None:
    fill(xtaltrak, [Inspected(1, "P", 1, 1, None, ("a",)), Inspected(2, "", 1, 1, None, ("b",))], [])
    xtaltrak._connection.execute("INSERT INTO I_INSPECTIONS VALUES (3, 'P', 1, NULL, 99, 1, 1)")
    xtaltrak._connection.execute("INSERT INTO I_IMAGES VALUES (3, 'c')")
    page = xtaltrak.find_images(ALL, START, 9)
    assert [image.image_name for image in page.images] == ["a"]
    assert ["column 99" in page.problems[1], "not a barcode" in page.problems[0]] == [True, True]
    assert page.last == (3, "c")


CHROMOPHORES = {
    "a plate": (["CI2"], {"CI2"}),
    "a project": (["Heme proteins"], {"CI1"}),
    "a sample": (["Myoglobin"], {"CI1"}),
    "in another case": (["myoGLOBIN"], {"CI1"}),
    "in lower case": (["myoglobin"], {"CI1"}),
    "several": (["CI2", "Heme proteins"], {"CI1", "CI2"}),
    "a part of a name": (["Myo", "CI"], set()),
}


@pytest.mark.parametrize("case", CHROMOPHORES)
@pytest.mark.parametrize("profiles", [["E0"], []], ids=["colour images", "left to people"])
def test_of_crystals_with_chromophores_the_colour_image_goes_out_or_none(xtaltrak: XtalTrak, case: str, profiles: list[str]) -> None:
    """P29: on these plates the profiles of their own count; a plate is named by its barcode, its project or a sample on it."""
    listed, with_chromophore = CHROMOPHORES[case]
    plates = ("CI1", "CI2", "CI3")
    images = {
        plate: (image_name(1, 1, 1).replace("CI022987", plate), image_name(1, 1, 1, profile="E0").replace("CI022987", plate))
        for plate in plates
    }
    fill(xtaltrak, [Inspected(number, plate, 1, 1, None, images[plate]) for number, plate in enumerate(plates, 1)], [])
    with xtaltrak.transaction():
        for sql in (
            "INSERT INTO PROJECTS VALUES (7, 'Heme proteins'), (8, 'Others')",
            "INSERT INTO PLATES (PLATE_ID, BARCODE, PROJECT_ID) VALUES (1, 'CI1', 7), (2, 'CI2', NULL), (3, 'CI3', 8)",
            "INSERT INTO SAMPLES VALUES (5, 'Lysozyme'), (6, 'Myoglobin')",
            "INSERT INTO PLATE_DROPS VALUES (1, 5), (1, 6), (3, 5)",
        ):
            xtaltrak._connection.execute(sql)
    search = Search(name="s", profiles=["HF"], only_unscored=False, chromophores=listed, chromophore_profiles=profiles)
    expected = {images[plate][0] for plate in plates if plate not in with_chromophore}
    if profiles:
        expected |= {images[plate][1] for plate in with_chromophore}
    assert {name for _, name in page_through(xtaltrak, search, 2)} == expected


def test_profiles_for_chromophores_without_any_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="chromophore_profiles without chromophores"):
        Search(name="s", chromophore_profiles=["CO"])


def test_a_page_is_found_by_key_and_not_by_reading_all_rows(xtaltrak: XtalTrak) -> None:
    params = {"after_inspection": 1, "after_image": "", "barcode": None, "taken_from": None, "taken_before": None}
    sql = statement("sqlite", "find_images", DEFAULT_NAMES)
    plan = [
        row[3]
        for row in xtaltrak._connection.execute(f"EXPLAIN QUERY PLAN {sql}", {**params, "unscored": "drop", "scorer": "A", "page_rows": 1})
    ]
    assert plan[0].startswith("SEARCH m USING PRIMARY KEY")
    assert not [step for step in plan if step.startswith("SCAN") or "B-TREE" in step], plan


# ---- a clumsy admin ------------------------------------------------------------------------------------------------


def test_a_database_without_our_tables_is_a_matter_of_the_settings(tmp_path: Path) -> None:
    section = settings.XtalTrak(database=tmp_path / "foreign.sqlite")
    with closing(sqlite3.connect(section.database)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    search = Search(name="x")
    with open_xtaltrak(section) as xtaltrak, pytest.raises(SettingsError, match=r"no such table.*xtaltrak\.names"):
        xtaltrak.find_images(search, START, 10)


def test_a_dangling_link_is_skipped_alone(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good = put(folder, image_name(1, 6, 1), folder="")
    (folder / image_name(1, 7, 1)).symlink_to(tmp_path / "gone.jpg")
    report = import_folder(folder, tmp_path / "images")
    assert report.added == 1
    assert len(report.skipped) == 1
    assert "can not be read" in report.skipped[0]
    assert good.is_file()


def test_a_folder_of_malformed_names_alone_is_told_name_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "in", "holiday.jpg", folder="")
    (tmp_path / "crystal-search.toml").write_text("")
    with caplog.at_level("INFO"):
        result = CliRunner().invoke(load, [str(tmp_path / "in"), "--settings", str(tmp_path / "crystal-search.toml")])
    assert result.exit_code == 1
    assert "skipped 'holiday.jpg'" in caplog.text
