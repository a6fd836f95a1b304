"""``crystal-search benchmark archive``: that every image goes through every stage, and what is said of it. Speed is not tested."""

from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner

from benchmarks.archive.fill import GENERATION, people_score, rows
from benchmarks.archive.report import STAGES, Report, Span, lines, parts
from benchmarks.archive.run import Archive, Stopped
from benchmarks.cli import benchmark
from benchmarks.machine import Machine
from crystal_search.crystaltrak_names import parse_image_name
from crystal_search.service import Stop
from crystal_search.settings import XtalTrak
from crystal_search.xtaltrak.embedded import create_embedded


def test_every_image_goes_through_every_stage(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    done = CliRunner().invoke(
        benchmark, ["archive", "--images", "300", "--json", str(tmp_path / "a.json"), "--folder", str(folder)], catch_exceptions=False
    )
    assert done.exit_code == 0
    report = msgspec.json.decode((tmp_path / "a.json").read_bytes(), type=Report)
    assert report.finished
    assert [(span.stage, span.first) for span in report.spans[:3]] == [("fill", 0), ("fill", 100), ("fill", 200)]
    for stage in STAGES:
        counted = sum(span.rows for span in report.spans if span.stage == stage)
        assert counted - 300 in ((0,) if stage in ("fill", "generator") else (1,)), "and the one that came meanwhile"
    # Of the ledger's numbers 1 to 301, those that leave 2 or 7 when divided by 9 are unsure or without a drop: 34 and 33 of them.
    assert report.written == 301 - 34 - 33
    assert report.real_time_seconds is not None
    assert list(folder.iterdir()) == [], "the databases are gone"
    assert "stand-ins: no image files" in done.output
    assert "234 scores written" in done.output


def test_a_small_archive_has_three_parts_of_nearly_one_size(tmp_path: Path) -> None:
    """A part of two rows says nothing about speed."""
    for images in (300, 20_000, 2_999_999):
        part = Archive(tmp_path, images, Stop(), say=lambda _: None, save=lambda _: None).part
        assert 2 * part < images <= 3 * part
        assert images - 2 * part > part - 3


def test_stopped_it_keeps_what_was_measured(tmp_path: Path) -> None:
    stop = Stop()
    saved: list[Report] = []

    def save(report: Report) -> None:
        saved.append(report)
        if any(span.stage == "results" for span in report.spans):
            stop.set()

    archive = Archive(tmp_path, 300, stop, say=lambda _: None, save=save)
    try:
        archive.run()
    except Stopped:
        pass
    else:
        raise AssertionError("it went on")
    assert "results" in {span.stage for span in saved[-1].spans}
    assert "import" not in {span.stage for span in saved[-1].spans}
    assert "stopped before the end" in list(lines(saved[-1]))


def test_first_middle_and_last(tmp_path: Path) -> None:
    machine = Machine(processor="p", processors=2, system="s", python="3.11", versions={})
    spans = [
        Span(stage="import", first=first, rows=1_000_000, seconds=seconds, processor_seconds=1.0)
        for first, seconds in ((0, 80.0), (1_000_000, 90.0), (2_000_000, 100.0))
    ]
    report = Report(
        date="d",
        machine=machine,
        stand_ins="",
        images=3_000_000,
        images_per_work_unit=32,
        page=10_000,
        rows_per_transaction=500,
        spans=spans,
    )
    assert parts(report, "finalizer") is None
    found = parts(report, "import")
    assert found is not None
    assert [span.first for span in found] == [0, 1_000_000, 2_000_000]
    (line,) = (line for line in lines(report) if line.startswith("import"))
    assert line.split() == ["import", "12500", "11111", "10000", "0.80", "90.0"]  # 10 000 of 12 500 a second


def test_the_archive_is_one_that_imagers_could_have_made(tmp_path: Path) -> None:
    found = [row for start in (0, GENERATION - 2, 7 * GENERATION + 5) for row, _ in zip(rows(start), range(4), strict=False)]
    assert len({row["image_name"] for row in found}) == 12
    for row in found:
        name = parse_image_name(row["image_name"])
        drop = name.drop
        assert (drop.barcode, drop.well.column, drop.well.row, drop.subwell) == (row["barcode"], row["col"], row["row"], row["subwell"])
        assert name.inspection_number == row["number"]
        assert row["taken_at"].startswith(f"{name.taken_on:%Y-%m-%d} ")


def test_people_score_drops_that_are_through(tmp_path: Path) -> None:
    section = XtalTrak(database=tmp_path / "x.sqlite")
    with create_embedded(section) as xtaltrak:
        xtaltrak.execute("insert_plate", {"barcode": "P"})
        assert people_score(section.database, 0, GENERATION - 1) == 0
