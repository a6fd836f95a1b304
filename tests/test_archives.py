"""Work units and results come from strangers: whatever an archive tries, it is refused with one clear line."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystal_search import archives
from crystal_search.archives import (
    ArchiveError,
    ChopResult,
    ImageResult,
    Manifest,
    ModelReference,
    Results,
    Status,
    WorkImage,
    check_results,
    open_work_unit,
    random_id,
    read_image_result,
    read_overlay,
    read_results,
    sha256_hex,
    work_unit_name,
    write_results,
    write_work_unit,
)
from crystal_search.errors import TryAgainLater

MODEL = ModelReference(name="tiny-1", sha256="0" * 64)
JPEG = b"\xff\xd8\xff\xe0 picture"
IDS = ["a" * 32, "b" * 32]


def manifest(count: int = 2, **changes: Any) -> tuple[Manifest, dict[str, bytes]]:
    """A work unit's manifest and files."""
    files = {f"{number:032x}.jpg": f"image {number}".encode() for number in range(count)}
    images = [WorkImage(id=name[:32], file=name, sha256=sha256_hex(content)) for name, content in files.items()]
    return Manifest(**({"format_version": 1, "name": "wu_test_1", "model": MODEL, "images": images} | changes)), files


def results(*images: ImageResult, **changes: Any) -> Results:
    filled = {
        "format_version": 1,
        "work_unit": "wu_test_1",
        "client_version": "0.1.0",
        "model": MODEL,
        "runtime": "onnxruntime",
        "provider": "CPU",
    }
    return Results(**(filled | {"images": list(images) or [scored(IDS[0]), failed(IDS[1])]} | changes))


def scored(image_id: str, **changes: Any) -> ImageResult:
    fields = {
        "id": image_id,
        "status": Status.SCORED,
        "drop_box": (10, 20, 300, 400),
        "class_name": "precipitate",
        "score": "13",
        "probability": 0.93,
        "crystal_probability": 0.02,
        "outline": [(10, 20), (300, 100), (100, 400)],
        "class_probabilities": {"precipitate": 0.93, "clear": 0.4},
        "chops": [ChopResult(box=(10, 20, 170, 180), class_name="precipitate", probability=0.93)],
    }
    return ImageResult(**(fields | changes))


def failed(image_id: str) -> ImageResult:
    return ImageResult(id=image_id, status=Status.FAILED, reason="not an image")


def refuse(function: Callable[[], object], *words: str) -> None:
    """``function`` raises one clear line that holds ``words``."""
    with pytest.raises(ArchiveError) as error:
        function()
    line = str(error.value)
    assert "\n" not in line
    assert 10 < len(line) < 500
    for word in words:
        assert word in line


def zip_with(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of duplicate names, which are what one test is about
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
    return path


def open_all(path: Path) -> Manifest:
    """What a client does: read the manifest and every image."""
    with open_work_unit(path) as unit:
        for image in unit.manifest.images:
            unit.read_image(image)
        return unit.manifest


@pytest.fixture
def work_unit(tmp_path: Path) -> Path:
    write_work_unit(tmp_path / "wu.zip", *manifest())
    return tmp_path / "wu.zip"


@pytest.fixture
def result(tmp_path: Path) -> Path:
    write_results(tmp_path / "result.zip", results(), {IDS[0]: JPEG})
    return tmp_path / "result.zip"


# ---- the way there and back -------------------------------------------------------------------------------------


def test_a_work_unit_comes_back_as_it_went(work_unit: Path) -> None:
    wanted, files = manifest()
    with open_work_unit(work_unit) as unit:
        assert unit.manifest == wanted
        assert {image.file: unit.read_image(image) for image in unit.manifest.images} == files


def test_a_work_unit_is_stored_not_deflated_and_has_no_dates(work_unit: Path) -> None:
    with zipfile.ZipFile(work_unit) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, work_unit: Path) -> None:
    write_work_unit(tmp_path / "again.zip", *manifest())
    assert (tmp_path / "again.zip").read_bytes() == work_unit.read_bytes()


def test_results_come_back_as_they_went(result: Path) -> None:
    assert read_results(result) == results()
    assert read_overlay(result, IDS[0]) == JPEG
    assert read_overlay(result, IDS[1]) is None


def test_one_image_of_a_result(result: Path) -> None:
    assert read_image_result(result, IDS[0]) == scored(IDS[0])
    assert read_image_result(result, "c" * 32) is None


def test_a_clear_drop_whose_rim_is_more_probable(tmp_path: Path) -> None:
    said = {"class_name": "clear", "score": "01", "probability": 0.5, "class_probabilities": {"clear": 0.5, "rim": 0.9}}
    write_results(tmp_path / "r.zip", results(scored(IDS[0], **said), failed(IDS[1])), {})
    assert read_results(tmp_path / "r.zip").images[0].class_probabilities == {"clear": 0.5, "rim": 0.9}


def test_a_class_that_is_left_out_has_0(tmp_path: Path) -> None:
    """At a threshold of 0 even the rounded probability of the class that scored may be 0."""
    said = {"probability": 4e-7, "class_probabilities": {"clear": 0.99}}
    write_results(tmp_path / "r.zip", results(scored(IDS[0], **said), failed(IDS[1])), {})
    assert read_results(tmp_path / "r.zip").images[0].probability == 4e-7


def test_results_of_clients_without_outline_and_classes_are_read(tmp_path: Path, result: Path) -> None:
    def older(found: dict[str, Any]) -> None:
        for image in found["images"]:
            del image["outline"], image["class_probabilities"]

    image = read_results(document(tmp_path / "old.zip", "results.json", older, result)).images[0]
    assert (image.outline, image.class_probabilities) == ([], {})


def test_64_images_are_allowed(tmp_path: Path) -> None:
    wanted, files = manifest(64)
    write_work_unit(tmp_path / "wu.zip", wanted, files)
    assert len(open_all(tmp_path / "wu.zip").images) == 64


def test_ids_tell_nothing_and_differ() -> None:
    ids = {random_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(identifier) == 32 and set(identifier) <= set("0123456789abcdef") for identifier in ids)


def test_a_batch_name_that_does_not_fit_is_refused() -> None:
    assert work_unit_name("plate-7", 3) == "wu_plate-7_3"
    with pytest.raises(ValueError, match="can not be part of a work unit's name"):
        work_unit_name("../etc", 1)


# ---- what a writer may not do -----------------------------------------------------------------------------------


def test_65_images_are_not_written(tmp_path: Path) -> None:
    wanted, files = manifest(65)
    refuse(lambda: write_work_unit(tmp_path / "wu.zip", wanted, files), "wu.zip", "64")
    assert list(tmp_path.iterdir()) == []


def test_a_work_unit_over_the_limit_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_WORK_UNIT_BYTES", 64 * 1024 + 1500)
    big = b"x" * 1500
    wanted, _ = manifest(1, images=[WorkImage(id=IDS[0], file=f"{IDS[0]}.jpg", sha256=sha256_hex(big))])
    refuse(lambda: write_work_unit(tmp_path / "wu.zip", wanted, {f"{IDS[0]}.jpg": big}), "MB of images")
    assert list(tmp_path.iterdir()) == []


def test_manifest_and_files_must_match(tmp_path: Path) -> None:
    wanted, files = manifest()
    files.popitem()
    refuse(lambda: write_work_unit(tmp_path / "wu.zip", wanted, files), "do not match")


def test_an_overlay_needs_its_image(tmp_path: Path) -> None:
    refuse(lambda: write_results(tmp_path / "r.zip", results(), {"c" * 32: JPEG}), "c" * 32, "belongs to no image")


def test_numbers_beyond_the_format_are_not_written(tmp_path: Path) -> None:
    refuse(lambda: write_results(tmp_path / "r.zip", results(scored(IDS[0], probability=1.5)), {}), "r.zip", "probability")
    assert list(tmp_path.iterdir()) == []


# ---- hostile ZIP files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "/etc/passwd",
        "a/../../evil.jpg",
        "..",
        "C:\\evil.jpg",
        "..\\evil.jpg",
        "overlays/a/b.jpg",
        "sub/a.jpg",
        ".hidden",
        "a\nb.jpg",
        "a.jpg ",
    ],
)
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b"{}"), (name, b"evil")])
    refuse(lambda: open_all(path), "wu.zip", "refused entry name")
    refuse(lambda: read_results(path), "wu.zip", "refused entry name")


def test_folders_are_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b"{}"), ("overlays/", b"")])
    refuse(lambda: open_all(path), "refused entry name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = (kind | 0o777) << 16
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b"{}"), (info, b"/etc/passwd")])
    refuse(lambda: open_all(path), "a.jpg is not a plain file")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b"{}"), ("a.jpg", b"one"), ("a.jpg", b"other")])
    refuse(lambda: open_all(path), "same name twice")


def test_encrypted_entries_are_refused(tmp_path: Path, work_unit: Path) -> None:
    content = bytearray(work_unit.read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    work_unit.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"^wu.zip: 0+1.jpg is encrypted$"):
        open_all(work_unit)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_nobody_asked_for_is_refused(tmp_path: Path, method: int) -> None:
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b"{}")], method)
    refuse(lambda: open_all(path), "compressed in an unknown way")


def test_a_zip_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "wu.zip", [(f"{n}.jpg", bytes(33 * 2**20)) for n in range(2)], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    refuse(lambda: open_all(path), "unpacks to more than 64 MB")


def test_a_zip_bomb_that_lies_about_its_size_is_never_unpacked(tmp_path: Path) -> None:
    """The directory claims 10 bytes where 40 MB of zeros come out."""
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", bytes(40 * 2**20))], zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    directory = content.rfind(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    refuse(lambda: open_all(path), "wu.zip", "manifest.json")


def test_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_with(tmp_path / "wu.zip", [(f"{n}.jpg", b"") for n in range(5000)])

    def read(*_: object, **__: object) -> None:
        raise AssertionError("the directory was read")

    monkeypatch.setattr(archives.zipfile, "ZipFile", read)
    refuse(lambda: open_all(path), "5000 entries")
    content = bytearray(path.read_bytes())
    content[-14:-10] = struct.pack("<HH", 3, 3)  # the count lies, the directory's size does not
    path.write_bytes(content)
    refuse(lambda: open_all(path), "a directory of")


def test_sizes_that_are_hidden_in_a_zip64_record_are_refused(work_unit: Path) -> None:
    content = work_unit.read_bytes()
    locator = b"PK\x06\x07" + bytes(16)
    work_unit.write_bytes(content[:-22] + locator + content[-22:])
    refuse(lambda: open_all(work_unit), "no plain end")


def test_an_error_of_the_reader_is_not_taken_for_one_of_the_archive(work_unit: Path) -> None:
    with pytest.raises(OSError, match="of the caller"), archives.open_work_unit(work_unit):
        raise OSError("of the caller")


def test_a_manifest_beyond_its_own_limit_is_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "wu.zip", [("manifest.json", b" " * (9 * 2**20))], zipfile.ZIP_DEFLATED)
    refuse(lambda: open_all(path), "manifest.json is larger than")


def test_a_file_over_the_limit_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "wu.zip"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    refuse(lambda: open_all(path), "larger than 64 MB")


def test_more_than_65_entries_are_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "wu.zip", [(f"{n}.jpg", b"") for n in range(66)])
    refuse(lambda: open_all(path), "66 entries, at most 65")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_archives_are_refused(work_unit: Path, share: float) -> None:
    content = work_unit.read_bytes()
    work_unit.write_bytes(content[: int(len(content) * share)])
    refuse(lambda: open_all(work_unit), "wu.zip", "not a readable ZIP archive")


def test_what_is_no_archive_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello", encoding="ascii")
    refuse(lambda: open_all(tmp_path / "text.zip"), "not a readable ZIP archive")
    refuse(lambda: open_all(tmp_path / "none.zip"), "no such file")
    refuse(lambda: open_all(tmp_path), "can not be read")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_disk_that_fails_says_nothing_about_the_archive(work_unit: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with open_work_unit(work_unit) as unit, monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, "read", fail)
        with pytest.raises(TryAgainLater, match=rf"wu\.zip: .*\.jpg can not be read \({os.strerror(number)}\)"):
            unit.read_image(unit.manifest.images[0])
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(TryAgainLater, match=rf"wu\.zip: can not be read \({os.strerror(number)}\)"):
        open_all(work_unit)


def test_an_impossible_place_in_an_archive_is_the_archives_fault(work_unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    refuse(lambda: open_all(work_unit), "Invalid argument")


def test_a_name_that_is_said_to_be_text_and_is_not(work_unit: Path) -> None:
    """Bit 11 of the flags says that a name is UTF-8; the directory is right, the header before the image is not."""
    content = bytearray(work_unit.read_bytes())
    header = content.index(b"PK\x03\x04", 1)
    content[header + 6 : header + 8] = struct.pack("<H", 0x800)
    content[header + 30] = 0xFF
    work_unit.write_bytes(content)
    refuse(lambda: open_all(work_unit), "can not be read", "utf-8")


def test_a_nested_archive_is_just_an_image_that_is_none(tmp_path: Path, work_unit: Path) -> None:
    inner = work_unit.read_bytes()
    wanted, _ = manifest(1, images=[WorkImage(id=IDS[0], file=f"{IDS[0]}.jpg", sha256=sha256_hex(inner))])
    write_work_unit(tmp_path / "outer.zip", wanted, {f"{IDS[0]}.jpg": inner})
    with open_work_unit(tmp_path / "outer.zip") as unit:
        assert unit.read_image(unit.manifest.images[0]) == inner


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_any_damage_is_either_noticed_or_harmless(tmp_path: Path, chance: random.Random, flips: int) -> None:
    """Flip bytes anywhere: nothing but ``ArchiveError`` comes out, and no image that is not the one promised."""
    wanted, files = manifest()
    path = tmp_path / "damaged.zip"
    write_work_unit(path, wanted, files)
    content = bytearray(path.read_bytes())
    for _ in range(flips):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)
    try:
        with open_work_unit(path) as unit:
            for image in unit.manifest.images:
                assert sha256_hex(unit.read_image(image)) == image.sha256
    except ArchiveError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


# ---- hostile documents ------------------------------------------------------------------------------------------


def document(path: Path, name: str, change: Callable[[dict[str, Any]], object], source: Path) -> Path:
    """A copy of the archive ``source`` with a changed JSON document."""
    with zipfile.ZipFile(source) as archive:
        entries: list[tuple[str | zipfile.ZipInfo, bytes]] = [(entry, archive.read(entry)) for entry in archive.namelist()]
    content = json.loads(dict(entries)[name])  # type: ignore[arg-type]
    change(content)
    return zip_with(path, [(entry, json.dumps(content).encode() if entry == name else data) for entry, data in entries])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format_version=2), "format version 2, this program reads 1"),
        (lambda d: d.pop("format_version"), "format_version"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d.update(threshold=float("nan")), "manifest.json"),
        (lambda d: d.update(threshold=1.5), "threshold"),
        (lambda d: d.update(step=0), "step"),
        (lambda d: d.update(chops=-1), "chops"),
        (lambda d: d.update(name="../../evil"), "name"),
        (lambda d: d.update(overlays=["everything"]), "overlays"),
        (lambda d: d.update(images=[]), "images"),
        (lambda d: d["images"].extend(d["images"] * 32), "images"),
        (lambda d: d["images"][1].update(id=d["images"][0]["id"]), "two images with the same id"),
        (lambda d: d["images"][1].update(file=d["images"][0]["file"]), "two images with the same file"),
        (lambda d: d["images"][0].update(file="../../evil.jpg"), "file"),
        (lambda d: d["images"][0].update(file="manifest.json"), "file"),
        (lambda d: d["images"][0].update(um_per_px=0), "um_per_px"),
        (lambda d: d["images"][0].update(um_per_px=float("inf")), "manifest.json"),
        (lambda d: d["images"][0].update(sha256="1" * 64), "does not match its SHA-256"),
        (lambda d: d["images"][0].update(file="c" * 32 + ".png"), "is missing"),
    ],
)
def test_manifests_that_break_the_format_are_refused(
    tmp_path: Path, work_unit: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    refuse(lambda: open_all(document(tmp_path / "evil.zip", "manifest.json", change, work_unit)), "evil.zip", words)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: bytes) -> None:
    refuse(lambda: open_all(zip_with(tmp_path / "wu.zip", [("manifest.json", text)])), "wu.zip")


def test_an_archive_without_manifest_is_refused(tmp_path: Path) -> None:
    refuse(lambda: open_all(zip_with(tmp_path / "wu.zip", [("a.jpg", b"")])), "manifest.json is missing")


def _first(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda d: d["images"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format_version=7), "format version 7"),
        (_first(surprise=1), "surprise"),
        (_first(probability=float("nan")), "results.json"),
        (_first(probability=-0.1), "probability"),
        (_first(crystal_probability=None), "without drop box or crystal probability"),
        (_first(class_name="gold"), "scored without a known class"),
        (_first(score="23"), "score 23 is not that of precipitate"),
        (_first(probability=None), "scored without a known class, score and probability"),
        (_first(drop_box=[10, 20, 10, 400]), "impossible box"),
        (_first(drop_box=[-1, 20, 30, 400]), "impossible box"),
        (_first(drop_box=[0, 0, 10, 70_000]), "impossible box"),
        (_first(drop_box=None), "without drop box"),
        (_first(status="unsure"), "status unsure with a score"),
        (_first(status="no_drop", class_name=None, score=None, probability=None), "no_drop with a drop"),
        (_first(status="failed"), "status failed with a score"),
        (_first(reason="but"), "a reason belongs to status failed"),
        (_first(chops=[{"box": [0, 0, 5, 5], "class_name": "gold", "probability": 0.5}]), "unknown class 'gold'"),
        (_first(chops=[{"box": [5, 0, 5, 5], "class_name": "clear", "probability": 0.5}]), "impossible box"),
        (_first(outline=[[10, 20], [300, 400]]), "an outline of 2 corners"),
        (_first(outline=[[10, 20], [300, 400], [9, 400]]), "its outline leaves its drop box at 9,400"),
        (_first(outline=[[10, 20]] * 65), "outline"),
        (_first(class_probabilities={"gold": 0.5}), "unknown class 'gold'"),
        (_first(class_probabilities={"precipitate": 1.5}), "class_probabilities"),
        (_first(class_probabilities={"precipitate": 0.5, "clear": 0.93}), "is not the largest of precipitate"),
        (lambda d: d["images"][1].update(outline=[[1, 1], [2, 2], [3, 1]]), "status failed with a drop"),
        (lambda d: d["images"][1].update(class_probabilities={"clear": 0.5}), "status failed with a drop"),
        (lambda d: d["images"][1].update(reason=None), "a reason belongs to status failed"),
        (lambda d: d["images"][1].update(reason="two\nlines"), "reason"),
    ],
)
def test_results_that_contradict_themselves_are_refused(
    tmp_path: Path, result: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    refuse(lambda: read_results(document(tmp_path / "evil.zip", "results.json", change, result)), "evil.zip", words)


@pytest.mark.parametrize("name", [f"overlays/{'c' * 32}.jpg", f"overlays/{IDS[0]}.png", f"{IDS[0]}.jpg", "readme.txt"])
def test_foreign_files_in_a_result_are_refused(tmp_path: Path, result: Path, name: str) -> None:
    with zipfile.ZipFile(result) as archive:
        content = archive.read("results.json")
    path = zip_with(tmp_path / "evil.zip", [("results.json", content), (name, JPEG)])
    refuse(lambda: read_results(path), "does not belong in a result")


def test_an_overlay_must_be_a_jpeg(tmp_path: Path) -> None:
    write_results(tmp_path / "r.zip", results(), {IDS[0]: b"<html><script>"})
    refuse(lambda: read_results(tmp_path / "r.zip"), "is not a JPEG")


# ---- results against their work unit ----------------------------------------------------------------------------


def matching(**changes: Any) -> Manifest:
    return manifest(images=[WorkImage(id=i, file=f"{i}.jpg", sha256="0" * 64) for i in IDS], **changes)[0]


def test_a_result_that_answers_its_work_unit() -> None:
    check_results(results(), matching(threshold=0.85))


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        ({"name": "wu_test_2"}, {}, "answers wu_test_1, not wu_test_2"),
        ({"model": ModelReference(name="tiny-1", sha256="1" * 64)}, {}, "scored with model tiny-1"),
        ({}, {"images": [scored(IDS[0])]}, "1 missing, 0 foreign"),
        ({}, {"images": [scored(IDS[0]), failed(IDS[1]), failed("c" * 32)]}, "0 missing, 1 foreign"),
        ({}, {"images": [failed(IDS[1]), scored(IDS[0])]}, "not the work unit's images in order"),
        ({}, {"images": [scored(IDS[0]), scored(IDS[0])]}, "1 missing"),
        ({"chops": 0}, {}, "1 chops, 0 were asked for"),
        ({"threshold": 0.93}, {}, "not above the threshold 0.93"),
    ],
)
def test_a_result_that_answers_something_else_is_refused(wanted: dict[str, Any], given: dict[str, Any], words: str) -> None:
    refuse(lambda: check_results(results(**given), matching(**wanted)), words)


def test_zip_files_hold_what_the_format_says(result: Path) -> None:
    """The JSON is for other programs too: plain names, lists and numbers."""
    with zipfile.ZipFile(io.BytesIO(result.read_bytes())) as archive:
        content = msgspec.json.decode(archive.read("results.json"))
    assert content["images"][0]["drop_box"] == [10, 20, 300, 400]
    assert content["images"][0]["status"] == "scored"
