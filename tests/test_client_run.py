"""The volunteer's program: work unit in, result out, whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from tiny_model import chop_network, encoded, picture, write_model

from client_app import run as run_module
from client_app.checkpoint import Checkpoint, Saved
from client_app.image import score_image
from client_app.main import client
from client_app.model import load_model
from client_app.run import run
from crystal_search import __version__
from crystal_search.archives import (
    ImageResult,
    Manifest,
    Results,
    Status,
    WorkImage,
    check_results,
    read_overlay,
    read_results,
    sha256_hex,
    write_work_unit,
)
from crystal_search.errors import SettingsError, TryAgainLater, UsageError

GOOD = encoded(picture(("crystals_harvestable", 96, 64)))
CLEAR = encoded(picture())
EMPTY = encoded(picture(drop=False))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def work_unit(path: Path, model: Path, *contents: bytes, **changes: Any) -> Manifest:
    """Write a work unit of these images and return its manifest."""
    files = {f"{number:032x}.png": content for number, content in enumerate(contents)}
    images = [WorkImage(id=name[:32], file=name, sha256=sha256_hex(content)) for name, content in files.items()]
    fields = {"format_version": 1, "name": "wu_test_1", "model": load_model(model).reference, "images": images} | changes
    manifest = Manifest(**fields)
    write_work_unit(path, manifest, files)
    return manifest


def without_seconds(results: Results) -> Results:
    return msgspec.structs.replace(results, images=[msgspec.structs.replace(image, seconds=0.0) for image in results.images])


def content_of(path: Path) -> tuple[Results, list[bytes | None]]:
    """Everything in a result archive but the seconds."""
    results = without_seconds(read_results(path))
    return results, [read_overlay(path, image.id) for image in results.images]


# ---- what comes out ---------------------------------------------------------------------------------------------


def test_the_result_answers_the_work_unit(tmp_path: Path, model: Path) -> None:
    manifest = work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, EMPTY)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    results = read_results(tmp_path / "out.zip")
    check_results(results, manifest)
    crystal, clear, empty = results.images
    assert (crystal.status, crystal.class_name, crystal.score) == (Status.SCORED, "crystals_harvestable", "23")
    assert crystal.probability == pytest.approx(1.0)
    assert crystal.crystal_probability == pytest.approx(1.0)
    assert crystal.drop_box == (64, 48, 192, 144)
    assert all(x in (64, 192) or y in (48, 144) for x, y in crystal.outline), "the drop is its box, whose edge is walked along"
    assert {x for x, _ in crystal.outline} >= {64, 192}
    assert {y for _, y in crystal.outline} >= {48, 144}
    assert crystal.class_probabilities["crystals_harvestable"] == pytest.approx(1.0)
    assert clear.class_probabilities["clear"] == pytest.approx(clear.probability)
    assert (empty.outline, empty.class_probabilities) == ([], {})
    assert crystal.chops[0].class_name == "crystals_harvestable"
    assert (clear.class_name, clear.score) == ("clear", "01")
    assert clear.crystal_probability == pytest.approx(0.0)
    assert (empty.status, empty.drop_box, empty.chops) == (Status.NO_DROP, None, [])
    assert results.client_version == __version__
    assert results.provider == "CPUExecutionProvider"
    assert all(image.seconds > 0 for image in results.images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zip", "out.zip"], "no checkpoint, no progress file is left"


def test_as_many_images_at_once_as_threads_and_the_same_result(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two images end only when both are under way; the order of the result is the manifest's, whatever ends first."""
    work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, EMPTY, b"no image", CLEAR)
    run(tmp_path / "in.zip", tmp_path / "one.zip", model, threads=1)
    together = threading.Barrier(2, timeout=60)
    original, begun = score_image, itertools.count()

    def slow_at_first(*arguments: Any) -> Any:
        if (number := next(begun)) < 2:
            together.wait()
        time.sleep(0.2 if number == 0 else 0.0)
        return original(*arguments)

    monkeypatch.setattr("client_app.run.score_image", slow_at_first)
    run(tmp_path / "in.zip", tmp_path / "two.zip", model, threads=2)
    assert content_of(tmp_path / "two.zip") == content_of(tmp_path / "one.zip")


def test_the_manifest_overrides_the_model(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, step=32, threshold=0.0, chops=2)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    (image,) = read_results(tmp_path / "out.zip").images
    assert len(image.chops) == 2
    assert {(chop.box[0] - image.chops[0].box[0]) % 32 for chop in image.chops} == {0}


def test_a_higher_threshold_makes_an_image_unsure(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, threshold=1.0)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    (image,) = read_results(tmp_path / "out.zip").images
    assert (image.status, image.class_name, image.probability) == (Status.UNSURE, None, None)
    assert image.crystal_probability == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        (["all"], [True, True, True, False]),
        ([], [False] * 4),
        (["crystal"], [True, False, False, False]),
        (["clear", "no_drop"], [False, True, True, False]),
        (["precipitate", "other", "unsure"], [False] * 4),
    ],
)
def test_overlays_are_drawn_for_those_who_ask(tmp_path: Path, model: Path, asked: list[str], drawn: list[bool]) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, EMPTY, b"broken", overlays=asked)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    _, overlays = content_of(tmp_path / "out.zip")
    assert [overlay is not None for overlay in overlays] == drawn


def test_overlays_of_unsure_images(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, overlays=["unsure"], threshold=1.0)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert content_of(tmp_path / "out.zip")[1][0] is not None


def test_a_uv_image_goes_the_same_way(tmp_path: Path, model: Path) -> None:
    image = WorkImage(id="a" * 32, file="a" * 32 + ".png", sha256=sha256_hex(GOOD), kind="uv")  # type: ignore[arg-type]
    manifest = Manifest(format_version=1, name="wu_test_1", model=load_model(model).reference, images=[image])
    write_work_unit(tmp_path / "in.zip", manifest, {image.file: GOOD})
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert read_results(tmp_path / "out.zip").images[0].status is Status.SCORED


def test_threads_do_not_change_the_result(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, CLEAR)
    run(tmp_path / "in.zip", tmp_path / "one.zip", model, threads=1)
    run(tmp_path / "in.zip", tmp_path / "two.zip", model, threads=2)
    assert content_of(tmp_path / "one.zip") == content_of(tmp_path / "two.zip")


# ---- one bad image fails alone ----------------------------------------------------------------------------------


BAD = {
    "empty": b"",
    "text": b"this is no image",
    "truncated": encoded(picture(), "JPEG")[:-50],
    "floating point": encoded(Image.new("F", (20, 20)), "TIFF"),
    "archive": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_image_fails_alone_with_one_line(tmp_path: Path, model: Path, kind: str) -> None:
    work_unit(tmp_path / "in.zip", model, CLEAR, BAD[kind], GOOD)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    before, bad, after = read_results(tmp_path / "out.zip").images
    assert (before.status, after.status) == (Status.SCORED, Status.SCORED)
    assert bad.status is Status.FAILED
    assert bad.reason is not None
    assert "\n" not in bad.reason
    assert len(bad.reason) > 10


def test_an_image_that_is_not_the_one_promised_fails_alone(tmp_path: Path, model: Path) -> None:
    images = [WorkImage(id=c * 32, file=c * 32 + ".png", sha256=sha256_hex(GOOD)) for c in "ab"]
    manifest = Manifest(format_version=1, name="wu_test_1", model=load_model(model).reference, images=images)
    write_work_unit(tmp_path / "in.zip", manifest, {images[0].file: GOOD, images[1].file: CLEAR})
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    good, bad = read_results(tmp_path / "out.zip").images
    assert good.status is Status.SCORED
    assert bad.reason is not None
    assert "SHA-256" in bad.reason


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("onnx\nfailed"), KeyError("x"), OSError(5, "Input/output error")])
def test_whatever_one_image_raises_the_others_are_scored(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from client_app import image as image_module

    original = image_module.find_drop

    def fragile(model: Any, image: Image.Image) -> Any:
        if np.asarray(image).min() < 30:  # the one with the dark crystal
            raise error
        return original(model, image)

    monkeypatch.setattr(image_module, "find_drop", fragile)
    work_unit(tmp_path / "in.zip", model, CLEAR, GOOD, EMPTY)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    images = read_results(tmp_path / "out.zip").images
    assert [image.status for image in images] == [Status.SCORED, Status.FAILED, Status.NO_DROP]
    assert images[1].reason is not None
    assert "\n" not in images[1].reason


def test_a_network_that_answers_nonsense_fails_the_images_not_the_program(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", chops=chop_network(add=float("nan")))
    work_unit(tmp_path / "in.zip", model, GOOD)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert read_results(tmp_path / "out.zip").images[0].reason == "the chop network's answer is not a number"


# ---- what a client refuses --------------------------------------------------------------------------------------


def test_another_model_than_the_one_asked_for_is_refused(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    other = write_model(tmp_path / "other", threshold="0.80")
    with pytest.raises(SettingsError, match="asks for model tiny-1") as error:
        run(tmp_path / "in.zip", tmp_path / "out.zip", other, threads=1)
    assert "--model" in str(error.value)
    assert not (tmp_path / "out.zip").exists()


def test_a_step_that_the_model_does_not_know_is_refused(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, step=50)
    with pytest.raises(SettingsError, match="steps of 50 px"):
        run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)


def test_paths_that_make_no_sense_are_refused(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    with pytest.raises(UsageError, match="no such work unit"):
        run(tmp_path / "none.zip", tmp_path / "out.zip", model, threads=1)
    with pytest.raises(UsageError, match="can not be the result"):
        run(tmp_path / "in.zip", tmp_path, model, threads=1)
    before = (tmp_path / "in.zip").read_bytes()
    with pytest.raises(UsageError, match="can not be the result"):
        run(tmp_path / "in.zip", tmp_path / "in.zip", model, threads=1)
    assert (tmp_path / "in.zip").read_bytes() == before


# ---- a client that is killed ------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no handler of errors may catch."""


def killed_after(count: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the client score ``count`` images, then kill it; returns the list of the ids that it began."""
    begun: list[str] = []
    original = run_module.score_image

    def counted(model: Any, wish: Any, image_id: str, *rest: Any) -> Any:
        if len(begun) == count:
            raise Killed
        begun.append(image_id)
        return original(model, wish, image_id, *rest)

    monkeypatch.setattr(run_module, "score_image", counted)
    return begun


def test_a_killed_client_goes_on_where_it_stopped(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, EMPTY, b"broken", GOOD)
    run(tmp_path / "in.zip", tmp_path / "undisturbed.zip", model, threads=1)
    with monkeypatch.context() as patch:
        begun = killed_after(3, patch)
        with pytest.raises(Killed):
            run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert not (tmp_path / "out.zip").exists()
    assert float((tmp_path / "fraction_done").read_text()) == pytest.approx(3 / 5)
    with monkeypatch.context() as patch:
        begun_later = killed_after(99, patch)
        run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert begun + begun_later == [image.id for image in manifest.images], "each image is scored once"
    assert content_of(tmp_path / "out.zip") == content_of(tmp_path / "undisturbed.zip")


def start_over(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many images a client scores that is started on what lies in ``tmp_path``."""
    with monkeypatch.context() as patch:
        begun = killed_after(99, patch)
        run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
        return len(begun)


@pytest.fixture
def killed(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client that was killed with two of three images done; its checkpoint folder."""
    work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, EMPTY)
    with monkeypatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(Killed):
            run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    folder = tmp_path / "out.zip.checkpoint"
    assert len(list(folder.iterdir())) == 2
    return folder


def test_a_checkpoint_spares_the_work(killed: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_over(tmp_path, model, monkeypatch) == 1
    assert not killed.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "swapped", "text", "other format", "no text", "folder"])
def test_a_damaged_checkpoint_is_ignored(killed: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    first, second = sorted(killed.iterdir())
    content = bytearray(first.read_bytes())
    if damage == "empty":
        first.write_bytes(b"")
    elif damage == "cut":
        first.write_bytes(content[:-1])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        first.write_bytes(content)
    elif damage == "swapped":
        first.write_bytes(second.read_bytes())
    elif damage == "text":
        first.write_text("hello", encoding="ascii")
    elif damage == "other format":
        payload = msgspec.msgpack.encode({"some": "thing"})
        first.write_bytes(hashlib.sha256(payload).digest() + payload)
    elif damage == "no text":
        payload = msgspec.msgpack.encode({"key": "abcd"}).replace(b"abcd", b"\xff\xfe\xfd\xfc")
        first.write_bytes(hashlib.sha256(payload).digest() + payload)
    elif damage == "folder":
        first.rename(first.with_suffix(".away"))
    assert start_over(tmp_path, model, monkeypatch) == 2
    run(tmp_path / "in.zip", tmp_path / "undisturbed.zip", model, threads=1)
    assert content_of(tmp_path / "out.zip") == content_of(tmp_path / "undisturbed.zip")


def test_a_checkpoint_of_another_work_unit_is_ignored(killed: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ids, but other images under them."""
    work_unit(tmp_path / "in.zip", model, CLEAR, GOOD, EMPTY)
    assert start_over(tmp_path, model, monkeypatch) == 3
    assert [image.class_name for image in read_results(tmp_path / "out.zip").images] == ["clear", "crystals_harvestable", None]


def test_a_checkpoint_of_another_model_is_ignored(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_model(tmp_path / "other", threshold="0.80")
    work_unit(tmp_path / "in.zip", other, GOOD, CLEAR, EMPTY)
    assert start_over(tmp_path, other, monkeypatch) == 3


def test_a_checkpoint_of_another_version_is_ignored(killed: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "__version__", "0.0.9")
    assert start_over(tmp_path, model, monkeypatch) == 3


def test_a_checkpoint_that_can_not_be_written_says_so(tmp_path: Path, model: Path) -> None:
    """It must not look like a bad work unit, which would never be tried again."""
    work_unit(tmp_path / "in.zip", model, GOOD)
    (tmp_path / "out.zip.checkpoint").write_text("in the way", encoding="ascii")
    with pytest.raises(TryAgainLater, match="can not write the checkpoint"):
        run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)


def test_a_result_that_is_there_is_left_alone(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    before = (tmp_path / "out.zip").stat().st_mtime_ns, (tmp_path / "out.zip").read_bytes()
    Checkpoint(tmp_path / "out.zip.checkpoint", "old").save(
        Saved(ImageResult(id="a" * 32, status=Status.NO_DROP), None, "CPUExecutionProvider")
    )
    assert start_over(tmp_path, tmp_path / "not even a model", monkeypatch) == 0
    assert ((tmp_path / "out.zip").stat().st_mtime_ns, (tmp_path / "out.zip").read_bytes()) == before
    assert not (tmp_path / "out.zip.checkpoint").exists(), "killed between result and cleaning up"


@pytest.mark.parametrize("old", [b"", b"some text"])
def test_what_is_no_result_of_this_work_unit_is_replaced(tmp_path: Path, model: Path, old: bytes) -> None:
    manifest = work_unit(tmp_path / "in.zip", model, GOOD)
    (tmp_path / "out.zip").write_bytes(old)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    check_results(read_results(tmp_path / "out.zip"), manifest)


def test_a_result_of_another_work_unit_is_replaced(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    manifest = work_unit(tmp_path / "in.zip", model, GOOD, CLEAR, name="wu_test_2")
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    check_results(read_results(tmp_path / "out.zip"), manifest)


# ---- a full disk ------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_when_the_result_is_written(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portable variant: the system says "no space" when the result, and not yet a checkpoint, is written."""
    work_unit(tmp_path / "in.zip", model, GOOD, CLEAR)
    real = os.fsync

    def full(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().name.startswith(".out.zip."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TryAgainLater, match=r"disk full while writing .*out\.zip"):
            run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fraction_done", "in.zip", "out.zip.checkpoint"]
    assert start_over(tmp_path, model, monkeypatch) == 0, "nothing was lost"


def _can_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return subprocess.run([unshare, "--user", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="needs user namespaces to mount a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path, model: Path) -> None:
    """A disk that holds the checkpoints of ten images, but not the result as well. Then it grows."""
    work_unit(tmp_path / "in.zip", model, *[encoded(picture(("precipitate", 96, 64), size=(1024, 768)))] * 10)
    run(tmp_path / "in.zip", tmp_path / "undisturbed.zip", model, threads=1)
    result, overlays = content_of(tmp_path / "undisturbed.zip")
    page = 4096
    checkpoints = sum(1 + (len(msgspec.json.encode(i)) + len(o or b"")) // page for i, o in zip(result.images, overlays, strict=True))
    size = page * (checkpoints + 3) + (tmp_path / "undisturbed.zip").stat().st_size // 2
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"'{sys.executable}' -m client_app '{tmp_path}/in.zip' '{disk}/out.zip' --model '{model}'"
    script = f"""
        mount -t tmpfs -o size={size} tmpfs '{disk}'
        {command}; echo "first $?"; ls '{disk}' '{disk}/out.zip.checkpoint'
        mount -o remount,size=8m '{disk}'
        {command}; echo "second $?"; ls '{disk}'
        cp '{disk}/out.zip' '{tmp_path}/saved.zip'
    """
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    first, second = done.stdout.split("second")
    assert "first 4" in first, done
    assert first.count("0.checkpoint") + first.count("9.checkpoint") == 2, "all ten images are done"
    assert "\nout.zip\n" not in first
    assert re.fullmatch(r"crystal-search-client: disk full while writing .*: free some space, .*\n", done.stderr)
    assert second.split() == ["0", "out.zip"]
    assert content_of(tmp_path / "saved.zip") == (result, overlays)


# ---- the program as it is started -------------------------------------------------------------------------------


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "client_app", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finished(path: Path) -> int:
    return len(list(path.glob("*.checkpoint")))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A work unit that takes a second or two."""
    path = tmp_path_factory.mktemp("many") / "in.zip"
    contents = [
        encoded(picture((name, 96, 64), size=(2048, 1536)), compress_level=1) for name in ("crystals_harvestable", "precipitate", "clear")
    ]
    work_unit(path, model, *contents * 4)
    return path


def test_a_client_that_is_killed_again_and_again_ends_with_the_same_result(tmp_path: Path, model: Path, many: Path) -> None:
    run(many, tmp_path / "undisturbed.zip", model, threads=1)
    chance = random.Random(7)
    folder, kills = tmp_path / "out.zip.checkpoint", 0
    for goal in (1, 6):
        process = start(many, tmp_path / "out.zip", "--model", model)
        while process.poll() is None and finished(folder) < goal:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.04))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert not (tmp_path / "out.zip").exists() or process.returncode == 0
    assert kills >= 1, "the test must have killed something"
    last = start(many, tmp_path / "out.zip", "--model", model)
    assert last.communicate() == ("", "")
    assert last.returncode == 0
    assert content_of(tmp_path / "out.zip") == content_of(tmp_path / "undisturbed.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip", "undisturbed.zip"]


def test_a_client_that_is_asked_to_stop_keeps_its_work(tmp_path: Path, model: Path, many: Path) -> None:
    process = start(many, tmp_path / "out.zip", "--model", model)
    while finished(tmp_path / "out.zip.checkpoint") < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _, errors = process.communicate()
    assert time.monotonic() - begin < 3
    assert process.returncode == 4
    assert errors == "crystal-search-client: stopped; start it again and it continues\n"
    assert finished(tmp_path / "out.zip.checkpoint") >= 2
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize(
    ("device", "words"), [((), ""), (("--device", "0"), "this onnxruntime has no provider for a GPU: using the CPU\n")], ids=["cpu", "gpu"]
)
def test_as_boinc_starts_it(tmp_path: Path, model: Path, device: tuple[str, ...], words: str) -> None:
    """The wrapper appends ``--nthreads``, and ``--device`` where a GPU is kept free for us; a quiet client writes nothing."""
    work_unit(tmp_path / "in.zip", model, GOOD)
    process = start(
        "in.zip", "out.zip", "--nthreads", "2.000000", *device, cwd=tmp_path, env=os.environ | {"CRYSTAL_SEARCH_MODEL": str(model)}
    )
    assert process.communicate() == ("", words)
    assert process.returncode == 0
    assert read_results(tmp_path / "out.zip").images[0].score == "23"


# ---- exit codes and messages ------------------------------------------------------------------------------------


def exits(capsys: pytest.CaptureFixture[str], code: int, words: str, *arguments: str | Path) -> None:
    """The client ends with ``code`` and one line."""
    assert client([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"crystal-search-client: [^\n]+\n", captured.err)
    assert words in captured.err


def test_exit_codes(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    (tmp_path / "text.zip").write_text("no archive", encoding="ascii")
    out = tmp_path / "out.zip"
    exits(capsys, 1, "not a readable ZIP archive", tmp_path / "text.zip", out, "--model", model)
    exits(capsys, 2, "no such work unit", tmp_path / "none.zip", out, "--model", model)
    exits(capsys, 2, "arguments are required", out)
    exits(capsys, 2, "not a number of threads", tmp_path / "in.zip", out, "--nthreads", "many")
    exits(capsys, 2, "unrecognized arguments", tmp_path / "in.zip", out, "--nonsense")
    exits(capsys, 3, "no model in", tmp_path / "in.zip", out, "--model", tmp_path)
    (tmp_path / "blocked.zip.checkpoint").write_bytes(b"")
    exits(capsys, 4, "can not write the checkpoint", tmp_path / "in.zip", tmp_path / "blocked.zip", "--model", model)
    exits(capsys, 2, "no such folder for the result", tmp_path / "in.zip", tmp_path / "nowhere" / "out.zip", "--model", model)
    assert not (tmp_path / "nowhere").exists()
    assert client([str(tmp_path / "in.zip"), str(out), "--model", str(model)]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_that_nobody_foresaw_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("client_app.main.run", broken)
    exits(capsys, 1, "unexpected ZeroDivisionError: two lines", tmp_path / "in.zip", tmp_path / "out.zip")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        client(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"crystal-search-client {__version__}\n"


def test_the_client_needs_little() -> None:
    """One executable of 40 MB: nothing but numpy, onnxruntime, Pillow, msgspec and the standard library may be loaded."""
    code = "import client_app.main, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in (
        "click",
        "tqdm",
        "pydantic",
        "sqlalchemy",
        "cv2",
        "scipy",
        "skimage",
        "keras",
        "tensorflow",
        "onnx'",
        "work_generator",
        "training",
    ):
        assert heavy not in modules
    code = "import client_app.main, sys; print(sorted(n for n in sys.modules if n.startswith('crystal_search.')))"
    rooms = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert rooms.strip() == str([f"crystal_search.{name}" for name in ("archives", "atomic", "classes", "errors", "geometry")])
