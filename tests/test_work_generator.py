"""The work generator: what goes out, what does not and why, in which order, and that nothing is lost or doubled."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from answering_grid import AnsweringGrid
from click.testing import CliRunner
from generator_lab import MODEL_TOML, SIX_DROPS, Lab, TakingGrid, image_name, make_lab, picture
from sqlalchemy import Engine, event, update

from assimilator.assimilate import assimilate
from crystal_search.archives import MAX_WORK_UNIT_BYTES
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.ledger.results import find_work_unit, give_up
from crystal_search.ledger.schema import images
from crystal_search.service import Stop
from crystal_search.settings import Search, load_settings
from crystal_search.status import status
from crystal_search.xtaltrak import XtalTrak, open_xtaltrak
from crystal_search.xtaltrak.embedded import load_images
from crystal_search.xtaltrak.images import Key, Page, Protect
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from work_generator import files, generate, packing
from work_generator.cli import work_generator


def change(lab: Lab, text: str) -> None:
    """Write other settings over the lab's; the model stays."""
    lab.settings_file.write_text(f'[paths]\nstate = "state"\nimages = "images"\n[scoring]\nmodel = "model"\n{text}')
    lab.settings = load_settings(lab.settings_file)


def add(lab: Lab, *drop: int, name: str = "") -> Path:
    """One more image, on disk and in XtalTrak."""
    path = lab.image(*drop).with_name(name or image_name(*drop))
    path.write_bytes(picture(99))
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, lab.settings.paths.images)
    return path


def put_into_xtaltrak(lab: Lab, inspection_id: int, name: str) -> None:
    """An image that XtalTrak has, whatever its name and wherever its file."""
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        xtaltrak._connection.execute("INSERT INTO I_IMAGES VALUES (?, ?)", (inspection_id, name))


# ---- what goes out ------------------------------------------------------------------------------------------------


def test_a_plate_goes_out_once(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="[generator]\nimages_per_work_unit = 4\n")
    assert not lab.round()
    assert [len(manifest.images) for manifest in lab.grid.manifests()] == [4, 2]
    assert lab.sent_images() == sorted(image_name(*drop) for drop in product((1, 2), (1, 2, 3), (1,)))
    assert lab.counts() == {"in_work": 6}
    assert lab.counts("work_units") == {"submitted": 2}
    assert not lab.round()
    assert len(lab.grid.manifests()) == 2


def test_a_volunteer_learns_nothing_but_pixels(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.image(1, 1, 1).write_bytes(picture(1, comment=b"CI022987"))
    lab.round()
    (path,) = lab.grid.folder.glob("*.zip")
    content = path.read_bytes()
    assert b"CI022987" not in content
    assert b"121121" not in content
    (manifest,) = lab.grid.manifests()
    ids = [image.id for image in manifest.images]
    assert all(re.fullmatch(r"[0-9a-f]{32}", number) for number in ids)
    assert ids == sorted(ids)  # random order: neighbours on the plate are none in the work unit
    assert all(image.file == f"{image.id}.jpg" for image in manifest.images)


def test_the_manifest_says_what_the_settings_ask(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1)], "step = 50\nthreshold = 0.8\nchops = 7\noverlays = ['crystal', 'unsure']\n")
    add(lab, 1, 1, 1, name=image_name(1, 1, 1, profile="E0"))
    lab.round()
    (manifest,) = lab.grid.manifests()
    assert (manifest.step, manifest.threshold, manifest.chops, manifest.overlays) == (50, 0.8, 7, ["crystal", "unsure"])
    assert manifest.model.name == "tiny"
    assert manifest.model.sha256 == hashlib.sha256(MODEL_TOML.encode()).hexdigest()
    assert sorted(image.um_per_px or 0.0 for image in manifest.images) == [0.0, 1.131]  # by profile; E0 is not known


def test_other_settings_are_another_pass_over_the_images(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.round()
    change(lab, "threshold = 0.8\n")
    lab.round()
    assert [manifest.threshold for manifest in lab.grid.manifests()] in ([0.85, 0.8], [0.8, 0.85])
    assert lab.counts() == {"in_work": 12}


def test_what_was_claimed_before_the_settings_changed_goes_out_as_it_was_asked(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="[generator]\nimages_per_work_unit = 3\nmax_open_work_units = 1\n")
    lab.round()
    change(lab, "threshold = 0.8\n")
    lab.round()
    assert sorted((manifest.threshold, len(manifest.images)) for manifest in lab.grid.manifests()) == [(0.8, 6), (0.85, 3), (0.85, 3)]


def test_a_drop_that_a_person_scored_stays_out(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        xtaltrak._connection.execute("INSERT INTO I_SCORES (INSPECTID, SCORE, SCOREDBY) VALUES (1, '01', NULL)")
    lab.round()
    assert lab.counts() == {"in_work": 5}


# ---- what does not, and why ---------------------------------------------------------------------------------------


def test_bad_images_are_noted_with_the_reason_and_the_rest_goes_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lab = make_lab(tmp_path, list(product((1, 2, 3), (1, 2), (1,))))
    lab.image(1, 1, 1).unlink()
    lab.image(1, 2, 1).write_bytes(b"")
    lab.image(2, 1, 1).write_bytes(b"not an image")
    lab.image(2, 2, 1).unlink()
    lab.image(2, 2, 1).mkdir()
    other_drop = image_name(9, 9, 1)
    for name in ("odd.jpg", "../3/" + image_name(1, 1, 4), other_drop):
        put_into_xtaltrak(lab, 1, name)
    lab.round()
    assert lab.reasons() == {
        image_name(1, 1, 1): "missing: no such file below the image root",
        image_name(1, 2, 1): "empty: the file has no content",
        image_name(2, 1, 1): "unreadable: neither JPEG, PNG nor TIFF",
        image_name(2, 2, 1): "unreadable: Is a directory",
        "odd.jpg": "malformed name: 1 fields joined by _, a CrystalTrak name has 18",
        "../3/" + image_name(1, 1, 4): "malformed name: a path, not a file name",
        other_drop: "contradiction: the name says plate CI022987 drop I09a, XtalTrak CI022987 A01a",
    }
    assert lab.sent_images() == [image_name(3, 1, 1), image_name(3, 2, 1)]
    assert "6 images claimed, 3 refused (1 contradiction, 2 malformed name)" in caplog.text
    assert "2 images" in caplog.text
    told = CliRunner().invoke(status, ["--settings", str(lab.settings_file)])
    assert told.exit_code == 0
    assert "no such file below the image root" in told.output


def test_a_work_unit_of_which_nothing_is_left_is_cancelled(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1)])
    lab.image(1, 1, 1).write_bytes(b"no image")
    lab.round()
    assert lab.counts("work_units") == {"cancelled": 1}
    assert lab.grid.manifests() == []
    assert lab.counts() == {"refused": 1}


def inspected(lab: Lab, hours: float | None) -> None:
    """Every image is of an inspection so many hours ago, or of an unknown day."""
    when = None if hours is None else datetime.now() - timedelta(hours=hours)
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(update(images).values(inspected_at=when))


@pytest.mark.parametrize("hours", [1, 47, None])
def test_images_that_come_late_go_out_by_themselves(tmp_path: Path, hours: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path)
    content = lab.image(1, 1, 1).read_bytes()
    lab.image(1, 1, 1).unlink()
    lab.image(1, 2, 1).write_bytes(b"")
    lab.image(1, 3, 1).write_bytes(content[:10])
    lab.round()
    assert lab.counts() == {"in_work": 3, "refused": 3}
    inspected(lab, hours)
    put_into_xtaltrak(lab, 1, "odd.jpg")
    reads = []
    original = files.read_bare
    monkeypatch.setattr(files, "read_bare", lambda *args: (reads.append(args), original(*args))[1])
    with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        generator = generate.Generator(lab.settings, ledger, xtaltrak, lab.grid)
        for _ in range(3):
            assert not generate.run_round(generator)
        assert lab.counts() == {"in_work": 3, "refused": 4}
        assert len(reads) == 2, "the empty and the damaged one, once"
        assert len(lab.rows("SELECT * FROM batches")) == 2
        for row in (1, 2, 3):
            lab.image(1, row, 1).write_bytes(content)
        assert not generate.run_round(generator)
    assert lab.counts() == {"in_work": 6, "refused": 1}
    assert len(lab.sent_images()) == 6


def test_images_that_come_too_late_wait_to_be_asked_for(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    content = lab.image(1, 1, 1).read_bytes()
    lab.image(1, 1, 1).unlink()
    lab.round()
    inspected(lab, 49)
    lab.image(1, 1, 1).write_bytes(content)
    lab.round()
    assert lab.counts() == {"in_work": 5, "refused": 1}
    change(lab, "[generator]\nretry_hours = 50\n")
    lab.round()
    assert lab.counts() == {"in_work": 6}


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("step", ["stat", "read_bytes"])
def test_a_disk_that_fails_on_one_file_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: str) -> None:
    lab = make_lab(tmp_path)
    original = getattr(Path, step)

    def fail(path: Path, *args: object, **options: object) -> object:
        if path == lab.image(2, 1, 1):
            raise OSError(number, os.strerror(number), str(path))
        return original(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        with pytest.raises(TryAgainLater, match=rf"{image_name(2, 1, 1)}: can not be read \({os.strerror(number)}\)"):
            lab.round()
    assert "refused" not in lab.counts()
    lab.round()
    assert lab.counts() == {"in_work": 6}


def test_an_image_that_vanishes_between_claim_and_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path)
    original = packing.Packer._pack

    def vanish_first(*args: Any) -> Any:
        lab.image(2, 3, 1).unlink(missing_ok=True)
        return original(*args)

    monkeypatch.setattr(packing.Packer, "_pack", vanish_first)
    lab.round()
    assert lab.counts() == {"in_work": 5, "refused": 1}
    (manifest,) = lab.grid.manifests()
    assert len(manifest.images) == 5


def test_refused_images_are_tried_again_when_asked(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    content = lab.image(1, 1, 1).read_bytes()
    lab.image(1, 1, 1).unlink()
    lab.image(1, 2, 1).write_bytes(b"")
    lab.round()
    lab.image(1, 1, 1).write_bytes(content)
    lab.round()
    assert lab.counts() == {"in_work": 4, "refused": 2}
    options = ["--settings", str(lab.settings_file), "--once", "--retry-refused"]
    assert CliRunner().invoke(work_generator, options, catch_exceptions=False).exit_code == 0
    assert lab.counts() == {"in_work": 5, "refused": 1}
    assert list(lab.reasons()) == [image_name(1, 2, 1)]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None, lambda path: path.write_text("")], ids=["empty", "missing", "a file"])
def test_an_image_root_that_is_away_refuses_no_image(tmp_path: Path, make: Callable[[Path], object]) -> None:
    lab = make_lab(tmp_path)
    root = lab.settings.paths.images
    root.rename(tmp_path / "elsewhere")
    make(root)
    with pytest.raises(TryAgainLater, match="is it mounted") as caught:
        lab.round()
    assert len(str(caught.value).splitlines()) == 1
    assert lab.counts() == {}


def test_an_image_root_that_goes_away_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path)
    monkeypatch.setattr(files.Disk, "check", lambda disk: disk.image_root.rename(tmp_path / "elsewhere"))
    with pytest.raises(TryAgainLater, match="is it mounted"):
        lab.round()
    assert lab.counts() == {"claimed": 6}


def something_else(root: Path) -> None:
    (root / "lost+found").mkdir(parents=True)


def links_into_nothing(root: Path) -> None:
    plate = root / "CI022987" / "3"
    plate.mkdir(parents=True)
    for drop in SIX_DROPS:
        (plate / image_name(*drop)).symlink_to("/nonexistent/image.jpg")


@pytest.mark.parametrize("make", [something_else, links_into_nothing])
def test_an_image_root_without_any_plate_refuses_no_image(tmp_path: Path, make: Callable[[Path], None]) -> None:
    lab = make_lab(tmp_path)
    root = lab.settings.paths.images
    root.rename(tmp_path / "elsewhere")
    make(root)
    with pytest.raises(TryAgainLater, match="has none of XtalTrak's plates") as caught:
        lab.round()
    assert len(str(caught.value).splitlines()) == 1
    assert lab.counts() == {"claimed": 6}
    shutil.rmtree(root)
    (tmp_path / "elsewhere").rename(root)
    lab.round()
    assert lab.counts() == {"in_work": 6}


def test_an_image_root_that_loses_its_plates_while_they_are_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path)
    root = lab.settings.paths.images
    original = packing.Packer._pack

    def unmounted(*args: Any) -> Any:
        root.rename(tmp_path / "elsewhere")
        something_else(root)
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(packing.Packer, "_pack", unmounted)
        with pytest.raises(TryAgainLater, match="has none of XtalTrak's plates"):
            lab.round()
    assert lab.counts() == {"in_work": 6}
    shutil.rmtree(root)
    (tmp_path / "elsewhere").rename(root)
    lab.round()
    assert len(lab.sent_images()) == 6


def test_plates_whose_images_were_deleted_hold_nothing_up(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    for drop in SIX_DROPS:
        lab.image(*drop).unlink()
    lab.round()
    assert lab.counts() == {"refused": 6}


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    (tmp_path / "model" / "model.toml").unlink()
    with pytest.raises(SettingsError, match=r"scoring\.model.*no model") as caught:
        lab.round()
    assert len(str(caught.value).splitlines()) == 1


def started(lab: Lab, *options: str) -> str:
    """What a start of the command ends with."""
    result = CliRunner().invoke(work_generator, ["--settings", str(lab.settings_file), "--once", *options])
    return str(result.exception) if result.exception else result.output


@pytest.mark.parametrize("network", ["drop", "chops"])
def test_a_damaged_model_sends_nothing(tmp_path: Path, network: str) -> None:
    lab = make_lab(tmp_path)
    (tmp_path / "model" / f"{network}.onnx").write_text("damaged")
    assert (
        started(lab) == f"scoring.model: {tmp_path}/model/{network}.onnx does not match its SHA-256 in model.toml: install this model again"
    )
    (tmp_path / "model" / f"{network}.onnx").unlink()
    assert f"{network}.onnx: No such file" in started(lab)
    assert not lab.settings.paths.state.exists()


@pytest.mark.parametrize("content", ['name = "tiny"\n', MODEL_TOML.replace("drop.onnx", "../drop.onnx")])
def test_a_model_that_no_client_can_read_sends_nothing(tmp_path: Path, content: str) -> None:
    lab = make_lab(tmp_path)
    (tmp_path / "model" / "model.toml").write_text(content)
    told = started(lab)
    assert told.startswith(f"scoring.model: {tmp_path}/model/model.toml: ")
    assert len(told.splitlines()) == 1


def test_a_step_that_the_model_does_not_know_sends_nothing(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="step = 48\n")
    assert started(lab) == "scoring.step: model tiny does not work in steps of 48 px: choose one of 16, 50"


def test_failed_images_go_out_again_when_asked(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1), (1, 2, 1)], "[generator]\nimages_per_work_unit = 1\n")
    lab.round()
    first = lab.rows("SELECT name FROM work_units ORDER BY id")[0]["name"]
    with lab.ledger() as ledger, ledger.begin() as connection:
        known = find_work_unit(connection, first)
        assert known is not None
        assert give_up(connection, known, "broken")
    assert lab.counts() == {"in_work": 1, "failed": 1}
    assert lab.counts("work_units") == {"gave_up": 1, "submitted": 1}
    started(lab, "--retry-failed")
    assert lab.counts() == {"in_work": 2}
    assert lab.counts("work_units") == {"gave_up": 1, "submitted": 2}
    with lab.ledger() as ledger, ledger.begin() as connection:
        ended = find_work_unit(connection, first)
        assert ended is not None
        assert ended.images == {}
        assert not give_up(connection, ended, "broken")
    started(lab, "--retry-failed")
    assert lab.counts("work_units") == {"gave_up": 1, "submitted": 2}
    assert lab.counts() == {"in_work": 2}


def test_a_grid_that_lost_its_spool_gets_its_work_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lab = make_lab(tmp_path, settings="[generator]\nimages_per_work_unit = 2\n")
    lab.round()
    assert len(lab.grid.submitted) == 3
    lab.round()
    assert len(lab.grid.submitted) == 3, "what the grid has is left alone"
    shutil.rmtree(lab.grid.folder)
    ended = lab.grid.submitted[0][0]
    (lab.settings.work_units / f"{ended}.zip").unlink()  # by the assimilator, whose transaction we do not see yet
    lab.round()
    assert lab.grid.submitted[3:] == lab.grid.submitted[1:3]
    assert "2 work units that the grid had lost are sent again" in caplog.text
    lab.assimilated()
    lab.round()
    assert len(lab.grid.submitted) == 5


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    assert started(lab) == ""
    assert started(lab).startswith("nothing to do: ")
    assert len(started(lab).splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--retry-failed",)])
def test_a_state_folder_that_is_a_file(tmp_path: Path, options: tuple[str, ...]) -> None:
    lab = make_lab(tmp_path)
    lab.settings_file.write_text(lab.settings_file.read_text() + f'[ledger]\nurl = "sqlite:///{tmp_path}/ledger.sqlite"\n')
    lab.settings.paths.state.write_text("a file")
    assert started(lab, *options) == f"paths.state: {lab.settings.paths.state} is not a folder"


def test_a_round_takes_one_page_of_a_real_time_search(tmp_path: Path) -> None:
    search = '[[search]]\nname = "new"\npriority = "realtime"\n[[search]]\nname = "old"\n'
    lab = make_lab(tmp_path, settings=f"[generator]\npage = 4\n{search}")
    with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        generator = generate.Generator(lab.settings, ledger, xtaltrak, lab.grid)
        assert generate.run_round(generator)
        assert lab.counts() == {"in_work": 4}
        assert not generate.run_round(generator)
    assert lab.counts() == {"in_work": 6}
    assert {priority for _, priority in lab.grid.submitted} == {100}


# ---- sizes --------------------------------------------------------------------------------------------------------


def test_a_work_unit_holds_at_most_64_mb(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1), (1, 2, 1), (1, 3, 1)])
    large = picture(1, "PNG", (2900, 2900), compress_level=0)  # 25.2 MB of three bytes a pixel: two of them fit
    for row in (1, 2, 3):
        lab.image(1, row, 1).write_bytes(large)
    lab.round()
    assert sorted(len(manifest.images) for manifest in lab.grid.manifests()) == [1, 2]
    assert max(path.stat().st_size for path in lab.grid.folder.glob("*.zip")) <= MAX_WORK_UNIT_BYTES


def test_an_image_that_fits_in_no_work_unit(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1), (1, 2, 1)])
    with lab.image(1, 1, 1).open("r+b") as file:
        file.truncate(MAX_WORK_UNIT_BYTES)
    lab.round()
    assert lab.reasons() == {image_name(1, 1, 1): "too large: more than 63 MB"}
    assert lab.counts() == {"in_work": 1, "refused": 1}


def test_images_that_grow_while_they_are_packed_wait_for_the_next_work_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path)
    limit = 3 * len(files.read_bare(lab.image(1, 1, 1), lab.settings.paths.images).content)
    monkeypatch.setattr(packing, "MAX_IMAGE_BYTES", limit)
    monkeypatch.setattr(files, "file_size", lambda path, root: 1)
    lab.round()
    assert [len(manifest.images) for manifest in lab.grid.manifests()] == [3, 3]
    assert lab.counts() == {"in_work": 6}


# ---- order --------------------------------------------------------------------------------------------------------

TWO_SEARCHES = """
[generator]
images_per_work_unit = 1
max_open_work_units = 4
[[search]]
name = "archive"
[[search]]
name = "new"
barcode = "NEW*"
priority = "realtime"
"""


def add_new_plate(lab: Lab, subwell: int) -> None:
    path = lab.settings.paths.images / "NEW1" / "1" / image_name(1, 1, subwell, barcode="NEW1", number=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(3))
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, lab.settings.paths.images)


def test_real_time_work_goes_first_and_does_not_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lab = make_lab(tmp_path, settings=TWO_SEARCHES)
    add_new_plate(lab, 1)
    lab.round()
    assert [priority for _, priority in lab.grid.submitted] == [100, 0, 0, 0]
    assert lab.counts() == {"claimed": 3, "in_work": 4}
    assert "archive work waits" in caplog.text
    for subwell in (2, 3):
        add_new_plate(lab, subwell)
    lab.round()
    assert [priority for _, priority in lab.grid.submitted[4:]] == [100, 100]
    assert lab.rows("SELECT DISTINCT priority FROM batches WHERE search = 'new'") == [{"priority": 100}]
    lab.assimilated()
    lab.round()
    assert [priority for _, priority in lab.grid.submitted[6:]] == [0, 0, 0]
    assert lab.counts() == {"in_work": 9}


def test_archive_work_is_interrupted_for_new_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path, settings=TWO_SEARCHES.replace("max_open_work_units = 4\n", ""))
    monkeypatch.setattr(generate, "ARCHIVE_TURN_SECONDS", 2)

    def now() -> float:  # a second for each work unit
        return len(lab.grid.submitted)

    assert lab.round(now)
    assert len(lab.grid.submitted) == 2
    add_new_plate(lab, 1)
    while lab.round(now):
        pass
    assert [priority for _, priority in lab.grid.submitted] == [0, 0, 100, 0, 0, 0, 0]


# ---- how far a search has read ------------------------------------------------------------------------------------


def test_a_search_does_not_start_from_the_beginning_each_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "LOOK_BACK", 2)
    lab = make_lab(tmp_path)
    lab.round()
    (cursor,) = lab.rows("SELECT inspection_id, image_name FROM cursors")
    assert cursor == {"inspection_id": 6, "image_name": image_name(2, 3, 1)}
    for number, subwell in ((3, 9), (4, 8), (7, 7)):  # late: before the look-back, within it, new
        with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
            if number == 7:
                xtaltrak._connection.execute("INSERT INTO I_INSPECTIONS VALUES (7, 'CI022987', 3, NULL, 9, 1, 7)")
            name = image_name(9, 1, subwell) if number == 7 else image_name(*[(1, 3), (2, 1)][number - 3], 1, profile="E0")
            xtaltrak._connection.execute("INSERT INTO I_IMAGES VALUES (?, ?)", (number, name))
        lab.image(1, 1, 1).with_name(name).write_bytes(picture(5))
    lab.round()
    assert lab.counts() == {"in_work": 8}
    options = ["--settings", str(lab.settings_file), "--once", "--rescan"]
    assert CliRunner().invoke(work_generator, options, catch_exceptions=False).exit_code == 0
    assert lab.counts() == {"in_work": 9}


def test_a_search_that_was_cut_short_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(tmp_path, settings="[generator]\npage = 2\n")
    asked = []
    original = XtalTrak.find_images

    def note(self: XtalTrak, search: Search, after: Key, limit: int, protect: Protect) -> Page:
        asked.append(after.inspection_id)
        return original(self, search, after, limit, protect)

    monkeypatch.setattr(XtalTrak, "find_images", note)
    stop = Stop()
    lab.grid.before = lambda name: stop.set()
    with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        generator = generate.Generator(lab.settings, ledger, xtaltrak, lab.grid, stop)
        assert generate.run_round(generator)
        assert asked == [-1]
        lab.grid.before = lambda name: None
        assert not generate.run_round(replace(generator, stop=Stop()))
        assert asked == [-1, 2, 4, 6]
        assert not generate.run_round(replace(generator, stop=Stop()))
        assert asked[4:] == [6 - generate.LOOK_BACK, 2, 4, 6]


def test_an_xtaltrak_that_was_restored_from_a_backup_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its imagers may give numbers once more that the search takes for read."""
    lab = make_lab(tmp_path)
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        xtaltrak._connection.execute("INSERT INTO I_INSPECTIONS VALUES (2100, 'CI022987', 4, NULL, 9, 1, 1)")
    put_into_xtaltrak(lab, 2100, "odd.jpg")
    lab.round()
    lab.round()
    assert "restored" not in caplog.text
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        xtaltrak._connection.execute("DELETE FROM I_IMAGES WHERE IMAGENAME = 'odd.jpg'")
    with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        generator = generate.Generator(lab.settings, ledger, xtaltrak, lab.grid)
        for _ in range(2):
            generate.run_round(generator)
    (told,) = [record.getMessage() for record in caplog.records if "restored" in record.getMessage()]
    assert told.startswith("search 'everything unscored' has read up to INSPECTID 2100, XtalTrak ends at 6: ")


# ---- killed, stopped, twice at once -------------------------------------------------------------------------------


def run_and_die(lab: Lab, step: int) -> bool:
    """One round in a child process that is killed before its ``step``-th step; whether it came that far."""
    child = os.fork()
    if child == 0:
        steps = 0

        def next_step(*_args: object, **_options: object) -> None:
            nonlocal steps
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", next_step)
        event.listen(Engine, "commit", next_step)
        fsync, rename = os.fsync, Path.replace
        os.fsync = lambda file: (next_step(), fsync(file))[1]
        Path.replace = lambda self, target: (next_step(), rename(self, target), next_step())[1]  # type: ignore[method-assign]
        lab.grid.before = next_step
        code = 1
        try:
            lab.round()
            code = 0
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


#: A round has about 90 steps; each is worth a kill, which takes a minute. Here every so many of them.
STRIDE = 6


def test_killed_before_any_step_the_next_run_goes_on(tmp_path: Path) -> None:
    template = make_lab(tmp_path / "template", [(1, 1, 1), (1, 2, 1), (1, 3, 1)], "[generator]\nimages_per_work_unit = 2\n")
    template.image(1, 2, 1).write_bytes(b"no image")
    kills = 0
    for step in count(1, STRIDE):
        folder = tmp_path / str(step)
        shutil.copytree(template.folder, folder)
        lab = Lab(folder, TakingGrid(folder / "taken"), load_settings(folder / "crystal-search.toml"))
        if not run_and_die(lab, step):
            break
        kills += 1
        lab.round()
        assert lab.sent_images() == [image_name(1, 1, 1), image_name(1, 3, 1)], f"killed before step {step}"
        assert lab.counts() == {"in_work": 2, "refused": 1}
        assert set(lab.counts("work_units")) == {"submitted"}
    assert kills > 80 // STRIDE


def test_killed_again_and_again(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="[generator]\nimages_per_work_unit = 2\n")
    deaths = sum(run_and_die(lab, step) for step in (12, 25, 31, 18, 22, 40, 15))
    assert deaths >= 3
    lab.round()
    assert lab.sent_images() == sorted(image_name(*drop) for drop in product((1, 2), (1, 2, 3), (1,)))


def command(lab: Lab, *options: str) -> subprocess.Popen[bytes]:
    program = "from crystal_search.cli import main; main()"
    arguments = ["work-generator", "--settings", str(lab.settings_file), *options]
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE)


def local_grid_images(lab: Lab) -> list[str]:
    """The image files' random ids in the local grid's spool."""
    lab.grid.folder.mkdir(exist_ok=True)
    for path in lab.settings.grid_spool.glob("*/work_unit.zip"):
        (lab.grid.folder / f"{path.parent.name}.zip").write_bytes(path.read_bytes())
    return lab.sent_images()


def test_two_generators_at_once_and_one_killed(tmp_path: Path) -> None:
    drops = list(product((1, 2, 3, 4), range(1, 7), (1,)))
    lab = make_lab(tmp_path, drops, "[generator]\nimages_per_work_unit = 1\n")
    killed = command(lab, "--once")
    end = time.monotonic() + 120
    while not list(lab.settings.grid_spool.glob("wu_*")) and time.monotonic() < end:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    both = [command(lab, "--once"), command(lab, "--once")]
    for one in both:
        _, told = one.communicate(timeout=120)
        assert one.returncode == 0, told
    assert local_grid_images(lab) == sorted(image_name(*drop) for drop in drops)
    assert lab.counts() == {"in_work": len(drops)}


def test_a_service_stops_cleanly_on_sigterm(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    service = command(lab)
    end = time.monotonic() + 120
    while not list(lab.settings.grid_spool.glob("wu_*")) and time.monotonic() < end:
        time.sleep(0.02)
    service.terminate()
    _, told = service.communicate(timeout=120)
    assert service.returncode == 0
    assert told.decode().splitlines()[-1].endswith("stopped by a signal")
    assert lab.counts("work_units") == {"submitted": 1}


def test_a_search_that_finds_nothing_does_not_read_all_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "LOOK_BACK", 2)
    lab = make_lab(tmp_path, settings='[[search]]\nname = "new"\nbarcode = "NEW*"\n')
    asked = []
    original = XtalTrak.find_images

    def note(self: XtalTrak, search: Search, after: Key, limit: int, protect: Protect) -> Page:
        asked.append(after.inspection_id)
        return original(self, search, after, limit, protect)

    monkeypatch.setattr(XtalTrak, "find_images", note)
    for _ in range(3):
        assert not lab.round()
    assert asked == [-1, 6 - 2, 6 - 2], "from the beginning once, then from a little before the newest inspection"
    add_new_plate(lab, 1)
    lab.round()
    assert lab.sent_images() == [image_name(1, 1, 1, barcode="NEW1", number=1)]


def test_another_model_is_another_pass_and_the_old_scores_stay(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, [(1, 1, 1)])
    for score in ("clear", "crystals_harvestable"):
        lab.grid = AnsweringGrid(lab.grid.folder, answer=score)
        lab.round()
        with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
            table = ScoreTable(xtaltrak, "drop")
            assimilate(lab.settings, ledger, lab.grid)
            finalize_round(lab.settings, ledger, table, Stop())
            assert set_autoscore_round(lab.settings, ledger, table, Stop()) == []
            rows = table.between(0, 2**62)
        model = tmp_path / "model" / "model.toml"
        model.write_text(model.read_text().replace('name = "tiny"', 'name = "better"'))
    kept = lab.rows(
        "SELECT model_name, class_name FROM artscores JOIN images ON image_id = images.id JOIN scorings ON scoring_id = scorings.id"
    )
    assert [tuple(row.values()) for row in kept] == [("tiny", "clear"), ("better", "crystals_harvestable")]
    assert [(row.score, row.scorer) for row in rows] == [("23", "ARTscore")], "XtalTrak shows the newer one"
    assert [row["action"] for row in lab.rows("SELECT action FROM writes ORDER BY id")] == ["insert", "update"], "undo knows the older one"


def test_an_image_of_this_morning_is_queued_within_a_minute_of_a_backfill(tmp_path: Path) -> None:
    settings = "[generator]\nimages_per_work_unit = 1\npage = 40\n" + TWO_SEARCHES.partition("max_open_work_units = 4\n")[2]
    lab = make_lab(tmp_path, list(product(range(1, 13), range(1, 9), (1,))), settings)
    arrived_at = 40  # in the middle of the second turn

    def arrive(_: str) -> None:
        if len(lab.grid.submitted) == arrived_at:
            add_new_plate(lab, 1)

    lab.grid.before = arrive
    while lab.round(now=lambda: len(lab.grid.submitted)):  # a second for each work unit
        pass
    priorities = [priority for _, priority in lab.grid.submitted]
    assert len(priorities) == 97
    assert priorities.index(100) - arrived_at <= 60
