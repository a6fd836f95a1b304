"""``crystal-search score``: folders in, a table and pictures out."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_model import encoded, picture, write_model

from client_app import score as module
from client_app.parallel import ended
from client_app.score import COLUMNS, find_images, in_parallel, score
from crystal_search.archives import ImageResult, Status
from crystal_search.cli import main
from crystal_search.errors import SettingsError, TryAgainLater, UsageError

CRYSTAL = encoded(picture(("crystals_harvestable", 96, 64)))
CLEAR = encoded(picture())
EMPTY = encoded(picture(drop=False))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    folder = tmp_path / "plate"
    (folder / "inspection 1").mkdir(parents=True)
    (folder / "A01.png").write_bytes(CRYSTAL)
    (folder / "A02.JPG").write_bytes(encoded(picture(), "JPEG", quality=98))
    (folder / "inspection 1" / "A01.tif").write_bytes(encoded(picture(drop=False), "TIFF"))
    (folder / "inspection 1" / "B01.jpeg").write_text("a text file", encoding="ascii")
    (folder / "notes.txt").write_text("not an image, and not called one", encoding="ascii")
    return folder


def call(model: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(score, [*map(str, arguments), "--model", str(model)], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- what comes out ---------------------------------------------------------------------------------------------


def test_the_table(tmp_path: Path, plate: Path, model: Path) -> None:
    call(model, plate, "--out", tmp_path / "out")
    text = (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "image,status,class,score,group,probability,crystal_probability,drop_x0,drop_y0,drop_x1,drop_y1,model"
    crystal, clear, empty, broken = rows(tmp_path / "out")
    name = crystal.pop("model")
    assert name.startswith("tiny-1 ")
    assert len(name) == len("tiny-1 ") + 12
    box = {"drop_x0": "64", "drop_y0": "48", "drop_x1": "192", "drop_y1": "144"}
    assert (
        crystal
        == {
            "image": "A01.png",
            "status": "scored",
            "class": "crystals_harvestable",
            "score": "23",
            "group": "crystal",
            "probability": "1.000000",
            "crystal_probability": "1.000000",
        }
        | box
    )
    assert (clear["image"], clear["class"], clear["score"], clear["group"], clear["crystal_probability"]) == (
        "A02.JPG",
        "clear",
        "01",
        "clear",
        "0.000000",
    )
    nothing = dict.fromkeys(COLUMNS, "") | {"model": name}
    assert empty == nothing | {"image": "inspection 1/A01.tif", "status": "no_drop"}
    assert broken == nothing | {"image": "inspection 1/B01.jpeg", "status": "failed"}


def test_pictures_mirror_the_folders(tmp_path: Path, plate: Path, model: Path) -> None:
    call(model, plate, "--out", tmp_path / "out")
    overlays = tmp_path / "out" / "overlays"
    found = sorted(path.relative_to(overlays).as_posix() for path in overlays.rglob("*") if path.is_file())
    assert found == ["A01.png.jpg", "A02.JPG.jpg", "inspection 1/A01.tif.jpg"]
    with Image.open(overlays / "A01.png.jpg") as image:
        assert image.format == "JPEG"


def test_the_summary_counts_and_says_where_the_table_lies(tmp_path: Path, plate: Path, model: Path) -> None:
    result = call(model, plate, "--out", tmp_path / "out")
    assert result.stdout == (f"4 images: 2 scored (1 crystal, 1 clear), 0 unsure, 1 no drop, 1 failed\n{tmp_path / 'out' / 'scores.csv'}\n")
    assert result.stderr == "inspection 1/B01.jpeg: not a JPEG, PNG or TIFF image\n", "no progress bar where nobody watches"


def test_nothing_else_is_left(tmp_path: Path, plate: Path, model: Path) -> None:
    call(model, plate, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["overlays", "scored.json", "scores.csv"]


def test_options_reach_the_scoring(tmp_path: Path, plate: Path, model: Path) -> None:
    call(model, plate / "A01.png", "--out", tmp_path / "out", "--threshold", "1.0", "--step", "32", "--um-per-px", "8", "--chops", "0")
    (row,) = rows(tmp_path / "out")
    assert (row["status"], row["class"], row["score"], row["group"], row["probability"]) == ("unsure", "", "", "", "")
    assert row["crystal_probability"] == "1.000000"


def test_workers_do_not_change_the_table(tmp_path: Path, plate: Path, model: Path) -> None:
    call(model, plate, "--out", tmp_path / "one", "--workers", "1")
    call(model, plate, "--out", tmp_path / "three", "--workers", "3")
    assert (tmp_path / "one" / "scores.csv").read_bytes() == (tmp_path / "three" / "scores.csv").read_bytes()


def test_an_unreadable_file_fails_alone(tmp_path: Path, plate: Path, model: Path) -> None:
    (plate / "dangling.jpg").symlink_to(plate / "none")
    call(model, plate, "--out", tmp_path / "out")
    assert {row["image"]: row["status"] for row in rows(tmp_path / "out")}["dangling.jpg"] == "failed"
    assert len(rows(tmp_path / "out")) == 5


def test_a_name_that_is_no_utf8_is_carried_through(tmp_path: Path, model: Path) -> None:
    name = os.fsencode(tmp_path) + b"/plate/\xe9.png"
    (tmp_path / "plate").mkdir()
    Path(os.fsdecode(name)).write_bytes(CLEAR)
    call(model, tmp_path / "plate", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "scores.csv").read_bytes().splitlines()[1].startswith(b"\xe9.png,scored,clear")


# ---- which images -----------------------------------------------------------------------------------------------


def names(*paths: Path) -> list[str]:
    return list(find_images(paths))


def test_images_are_found_at_any_depth_in_the_order_of_their_names(plate: Path) -> None:
    assert names(plate) == ["A01.png", "A02.JPG", "inspection 1/A01.tif", "inspection 1/B01.jpeg"]


def test_a_file_is_taken_whatever_its_name(plate: Path) -> None:
    assert names(plate / "notes.txt") == ["notes.txt"]


def test_an_image_that_is_given_twice_is_scored_once(plate: Path) -> None:
    assert names(plate, plate / "A01.png", plate / "inspection 1" / ".." / "A02.JPG") == names(plate)


def test_equal_names_get_their_folders(tmp_path: Path) -> None:
    for folder in ("x/one", "x/two", "y/one"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "A01.png").write_bytes(CLEAR)
    (tmp_path / "x/one/B01.png").write_bytes(CLEAR)
    assert names(tmp_path / "x/one", tmp_path / "x/two") == ["B01.png", "one/A01.png", "two/A01.png"]
    assert names(tmp_path / "x/one", tmp_path / "y/one") == ["B01.png", "x/one/A01.png", "y/one/A01.png"]


def test_pictures_of_earlier_runs_and_hidden_files_are_left_aside(tmp_path: Path, plate: Path, model: Path) -> None:
    (plate / "._A01.png").write_bytes(b"a Mac's shadow")
    (plate / ".thumbnails").mkdir()
    (plate / ".thumbnails" / "A01.png").write_bytes(CLEAR)
    before = names(plate)
    assert len(before) == 4
    call(model, plate, "--out", plate)
    call(model, plate, "--out", plate / "again")
    assert names(plate) == before


def test_a_folder_that_is_just_called_overlays_is_searched(plate: Path) -> None:
    (plate / "overlays").mkdir()
    (plate / "overlays" / "A01.png").write_bytes(CLEAR)
    assert "overlays/A01.png" in names(plate)


def test_a_path_that_does_not_exist(tmp_path: Path, plate: Path) -> None:
    with pytest.raises(UsageError, match=r"none: no such file or folder$"):
        names(plate, tmp_path / "none")


def test_scores_of_other_images_are_not_written_over(tmp_path: Path, plate: Path, model: Path) -> None:
    assert call(model, plate, "--out", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / "scores.csv").read_bytes()
    one = next(path for path in plate.rglob("*.*") if path.is_file())
    with pytest.raises(UsageError, match="holds scores of other images"):
        call(model, one, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no image in .*: looked for files ending in .jpeg, .jpg, .png, .tif, .tiff$"):
        names(tmp_path)


# ---- a run that is stopped --------------------------------------------------------------------------------------


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are really scored, by their content's class; the third one stops the program if ``stop`` is set."""
    seen: list[str] = []
    original = module.score_image

    def counted(*arguments: Any) -> Any:
        result, picture = original(*arguments)
        seen.append(result.class_name or str(result.status))
        return result, picture

    monkeypatch.setattr(module, "score_image", counted)
    return seen


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A bar that ends the program after some rows."""

    def bar(results: Any, **_: Any) -> Any:
        for number, row in enumerate(results):
            if number == after:
                raise KeyboardInterrupt
            yield row

    bar.write = lambda *_, **__: None  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "tqdm", bar)


@pytest.fixture
def stopped(tmp_path: Path, plate: Path, model: Path, monkeypatch: pytest.MonkeyPatch, scored: list[str]) -> Path:
    """A run that was stopped after some of four images; its output folder."""
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(click.Abort):
            call(model, plate, "--out", tmp_path / "out", "--workers", "1")
    assert not (tmp_path / "out" / "scores.csv").exists()
    assert 1 <= len(scored) < 4
    return tmp_path / "out"


def test_a_stopped_run_continues(stopped: Path, plate: Path, model: Path, scored: list[str], tmp_path: Path) -> None:
    call(model, plate, "--out", stopped)
    assert len(scored) == 4, "each image once"
    call(model, plate, "--out", tmp_path / "undisturbed")
    assert (stopped / "scores.csv").read_bytes() == (tmp_path / "undisturbed" / "scores.csv").read_bytes()
    assert not (stopped / "scores.partial").exists()


def test_an_image_that_changed_is_scored_again(stopped: Path, plate: Path, model: Path, scored: list[str]) -> None:
    done = len(scored)
    (plate / "A01.png").write_bytes(CLEAR)
    call(model, plate, "--out", stopped)
    assert len(scored) == done + 4 - (done - 1)
    assert rows(stopped)[0]["class"] == "clear"


def test_each_image_has_the_scale_that_a_table_gives_it(tmp_path: Path, model: Path) -> None:
    """The model works at 4 um/px with windows of 32 px: at 8 um/px they are 16 px of the picture, at 2 um/px 64 px, unknown 32 px."""
    plate = tmp_path / "plate"
    plate.mkdir()
    for name in ("coarse.png", "fine.png", "guess.png", "unsaid.png"):
        (plate / name).write_bytes(CRYSTAL)
    scales = tmp_path / "scales.csv"
    scales.write_text("file;um_per_px;plate\ncoarse.png;8;P1\nfine.png;2.0;P1\nguess.png;8?;P1\nother.png;1;P1\n", encoding="utf-8")
    seen: dict[str, float | None] = {}

    def spy(_: object, __: object, ___: str, read: Callable[[], bytes], um_per_px: float | None, ____: None) -> tuple[ImageResult, None]:
        seen[str(len(seen))] = um_per_px
        return ImageResult(id="0" * 32, status=Status.NO_DROP), None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "score_image", spy)
        call(model, plate, "--out", tmp_path / "out", "--scales", scales, "--um-per-px", "4", "--workers", "1")
    assert list(seen.values()) == [8.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("image,scale\nA01.png,1\n", "no column 'um_per_px'"),
        ("name,um_per_px\nA01.png,1\n", "no column 'image' or 'file'"),
        ("image,um_per_px\nB07.png,1\n", "names none of the 4 images"),
        ("image,um_per_px\nA01.png,big\n", "line 2: A01.png: um_per_px 'big' is not a scale"),
        ("image,um_per_px\nA01.png,2.8\nA01.png,2.9\n", "line 3: another scale for A01.png"),
    ],
)
def test_a_table_of_scales_that_makes_no_sense_is_refused(tmp_path: Path, plate: Path, model: Path, table: str, line: str) -> None:
    (tmp_path / "scales.csv").write_text(table, encoding="utf-8")
    with pytest.raises(UsageError, match=line):
        call(model, plate, "--out", tmp_path / "out", "--scales", tmp_path / "scales.csv")
    assert not (tmp_path / "out").exists()


def test_what_ended_well_comes_before_what_failed_at_the_same_moment() -> None:
    for _ in range(20):  # a set has no order of its own
        good: Future[int] = Future()
        bad: Future[int] = Future()
        good.set_result(1)
        bad.set_exception(ValueError("late"))
        results = ended({bad, good})
        assert next(results) == 1
        with pytest.raises(ValueError, match="late"):
            next(results)


@pytest.mark.parametrize("options", [["--threshold", "0.5"], ["--step", "32"], ["--chops", "1"], ["--um-per-px", "4"]])
def test_other_settings_start_anew(stopped: Path, plate: Path, model: Path, scored: list[str], options: list[str]) -> None:
    done = len(scored)
    call(model, plate, "--out", stopped, *options)
    assert len(scored) == done + 4


def test_another_model_starts_anew(stopped: Path, plate: Path, scored: list[str], tmp_path: Path) -> None:
    done = len(scored)
    call(write_model(tmp_path / "other", threshold="0.8"), plate, "--out", stopped)
    assert len(scored) == done + 4


def test_a_picture_that_is_gone_is_drawn_again(stopped: Path, plate: Path, model: Path) -> None:
    (stopped / "overlays" / "A01.png.jpg").unlink()
    call(model, plate, "--out", stopped)
    assert (stopped / "overlays" / "A01.png.jpg").is_file()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\n", b"{}\n[1,2,3]\nnull\n", b'["", [1, 2], {"image": []}]\n'])
def test_a_damaged_list_of_rows_is_passed_over(stopped: Path, plate: Path, model: Path, damage: bytes) -> None:
    (stopped / "scores.partial").write_bytes(damage)
    call(model, plate, "--out", stopped)
    assert len(rows(stopped)) == 4


def test_a_line_that_was_cut_short_costs_one_image(stopped: Path, plate: Path, model: Path, scored: list[str]) -> None:
    content = (stopped / "scores.partial").read_bytes()
    (stopped / "scores.partial").write_bytes(content[:-5])
    call(model, plate, "--out", stopped)
    assert len(scored) == 5
    assert len(rows(stopped)) == 4


def test_a_failed_image_is_tried_again(tmp_path: Path, plate: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed may have been a network drive."""
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        patch.setattr(module, "find_images", lambda *_: dict(reversed(find_images([plate]).items())))
        with pytest.raises(click.Abort):
            call(model, plate, "--out", tmp_path / "out", "--workers", "1")
    lines = [json.loads(line)[3] for line in (tmp_path / "out" / "scores.partial").read_text().splitlines()]
    assert lines[0]["status"] == "failed"
    (plate / "inspection 1" / "B01.jpeg").chmod(0o644)  # the same size and time
    original = module._read
    monkeypatch.setattr(module, "_read", lambda file: CLEAR if file.name == "B01.jpeg" else original(file))
    call(model, plate, "--out", tmp_path / "out")
    assert rows(tmp_path / "out")[3]["status"] == "scored"


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_a_step_that_the_model_does_not_know(tmp_path: Path, plate: Path, model: Path) -> None:
    with pytest.raises(SettingsError, match="choose one of 16, 32"):
        call(model, plate, "--out", tmp_path / "out", "--step", "50")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_can_not_be_written(tmp_path: Path, plate: Path, model: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TryAgainLater, match="can not write to"):
        call(model, plate, "--out", tmp_path / "file" / "out")


def program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of ``crystal-search score``."""
    monkeypatch.setattr(sys, "argv", ["crystal-search", "score", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_exit_codes_and_one_line_each(
    tmp_path: Path, plate: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "out")
    for code, words, arguments in [
        (2, "no such file or folder", (tmp_path / "none", *out, "--model", model)),
        (3, "no model in", (plate, *out, "--model", tmp_path)),
    ]:
        assert program(monkeypatch, *arguments) == code
        captured = capsys.readouterr()
        assert words in captured.err
        assert len(captured.err.splitlines()) == 1
        assert captured.out == ""
    assert program(monkeypatch, plate, *out, "--model", model) == 0, "a broken image is a row, not an error"
    assert "1 failed" in capsys.readouterr().out


# ---- as it is started, and killed -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number, name in enumerate(["crystals_harvestable", "precipitate", "clear"] * 4):
        (folder / f"{number:02}.png").write_bytes(encoded(picture((name, 96, 64), size=(2048, 1536)), compress_level=1))
    return folder


def test_a_run_that_is_stopped_and_killed_ends_with_the_same_table(tmp_path: Path, model: Path, many: Path) -> None:
    out, chance = tmp_path / "out", random.Random(3)
    command = [
        sys.executable,
        "-c",
        "from crystal_search.cli import main; main()",
        "score",
        str(many),
        "--out",
        str(out),
        "--model",
        str(model),
    ]
    for goal, number, code in [(2, signal.SIGTERM, 4), (5, signal.SIGKILL, -signal.SIGKILL)]:
        process = subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(list(out.glob("overlays/*.jpg"))) < goal:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.03))
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == code, "the test must have stopped something"
        assert not (out / "scores.csv").exists()
        assert "Traceback" not in errors
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    call(model, many, "--out", tmp_path / "undisturbed")
    assert (out / "scores.csv").read_bytes() == (tmp_path / "undisturbed" / "scores.csv").read_bytes()


# ---- in parallel ------------------------------------------------------------------------------------------------


def test_in_parallel_keeps_few_in_flight_and_loses_none() -> None:
    taken, lock, running, most = 0, threading.Lock(), 0, 0

    def items() -> Any:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return number * number

    results = in_parallel(work, items(), 3)
    first = next(results)
    assert taken <= 5, "the next ones are taken when there is room"
    assert sorted([first, *results]) == [n * n for n in range(40)]
    assert 1 < most <= 3


def test_an_error_in_parallel_comes_out() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise TryAgainLater("disk full")
        return number

    with pytest.raises(TryAgainLater, match="disk full"):
        list(in_parallel(work, range(100), 2))
