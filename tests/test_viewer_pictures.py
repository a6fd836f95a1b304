"""Thumbnails: small ones of large images, made once for all who ask, kept within a limit, made again when they are gone."""

from __future__ import annotations

import os
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewer_lab import BIG, PLATE, PlateOf, ViewerLab, make_viewer_lab

import viewer.pictures
from crystal_search.errors import TryAgainLater
from viewer.ahead import Ahead
from viewer.lab import Lab
from viewer.pictures import SHEET_COLUMNS, TILE, BrokenImage, Picture, PictureCache, picture
from viewer.plate_view import inspection_drops
from viewer.shared import Shared

ENOUGH = 10**9


def image(folder: Path, name: str = "a.jpg", size: tuple[int, int] = (1024, 768), colour: tuple[int, int, int] = (200, 40, 40)) -> Picture:
    """Left half of one colour, right half white."""
    drawn = Image.new("RGB", size, (255, 255, 255))
    drawn.paste(colour, (0, 0, size[0] // 2, size[1]))
    drawn.save(folder / name, quality=95)
    return picture(folder, name)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ---- what they show ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(2560, 1920), (2448, 2048), (1000, 3000), (320, 240), (64, 48), (1, 1)])
def test_copies_keep_the_shape_and_the_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    cache = PictureCache(tmp_path / "cache", ENOUGH)
    of = image(tmp_path, size=size)
    for content, most in ((cache.thumbnail(of), (320, 240)), (cache.screen(of), (1280, 1280))):
        height, width = pixels(content).shape[:2]
        factor = min(1.0, most[0] / size[0], most[1] / size[1])
        assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
        assert 0.89 * factor * size[0] <= width <= most[0]  # a tenth less saves three quarters of the work
        assert height <= most[1]
        if size[0] >= 64:
            assert pixels(content)[height // 2, width // 4] == pytest.approx((200, 40, 40), abs=12)
            assert pixels(content)[height // 2, 3 * width // 4] == pytest.approx((255, 255, 255), abs=12)


def test_a_thumbnail_does_not_cost_a_whole_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An imager's image of 5 megapixels is decoded to an eighth: what is resampled is as large as the thumbnail."""
    resampled: list[tuple[int, int]] = []
    real = Image.Image.thumbnail

    def note(self: Image.Image, *args: Any, **more: Any) -> None:
        resampled.append(self.size)
        real(self, *args, **more)

    of = image(tmp_path, size=(2560, 1920))
    monkeypatch.setattr(Image.Image, "thumbnail", note)
    PictureCache(tmp_path / "cache", ENOUGH).thumbnail(of)
    assert resampled == [(320, 240)]


def test_a_sheet_has_each_drop_at_its_place_and_broken_ones_dark(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "cache", ENOUGH)
    red, blue = image(tmp_path), image(tmp_path, "b.jpg", colour=(30, 60, 200))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    tiles = [None] * SHEET_COLUMNS + [red, None, picture(tmp_path, "broken.jpg"), blue]
    sheet = pixels(cache.sheet("f" * 40, tiles))
    assert sheet.shape[:2] == (2 * TILE[1], SHEET_COLUMNS * TILE[0])

    def left(place: int) -> list[int]:
        row, column = divmod(place, SHEET_COLUMNS)
        return list(sheet[row * TILE[1] + TILE[1] // 2, column * TILE[0] + TILE[0] // 4])

    assert left(SHEET_COLUMNS) == pytest.approx([200, 40, 40], abs=14)
    assert left(SHEET_COLUMNS + 3) == pytest.approx([30, 60, 200], abs=14)
    for empty in (0, SHEET_COLUMNS + 1, SHEET_COLUMNS + 2):
        assert left(empty) == pytest.approx([23, 25, 28], abs=6)
    with pytest.raises(BrokenImage, match=r"broken\.jpg: the file is no readable image; copy it again"):
        cache.thumbnail(picture(tmp_path, "broken.jpg"))


def test_an_image_that_changes_on_the_disk_gets_another_thumbnail(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "cache", ENOUGH)
    before = cache.thumbnail(image(tmp_path))
    after = cache.thumbnail(image(tmp_path, colour=(30, 60, 200)))
    assert pixels(before)[100, 60] == pytest.approx((200, 40, 40), abs=12)
    assert pixels(after)[100, 60] == pytest.approx((30, 60, 200), abs=12)


# ---- made once ---------------------------------------------------------------------------------------------------------


def test_many_who_ask_at_once_wait_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    all_there = threading.Barrier(9)
    real = viewer.pictures._reduced_copy

    def slow(path: Path, *args: Any) -> bytes:
        made.append(path)
        time.sleep(0.3)
        return real(path, *args)

    monkeypatch.setattr(viewer.pictures, "_reduced_copy", slow)
    cache = PictureCache(tmp_path / "cache", ENOUGH)
    tiles = [image(tmp_path, f"{name}.jpg") for name in "ab"]
    found: list[bytes] = []

    def ask() -> None:
        all_there.wait(60)
        found.append(cache.sheet("e" * 40, tiles))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    all_there.wait(60)
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert sorted(path.name for path in made) == ["a.jpg", "b.jpg"]


def test_what_is_under_way_is_shared_and_then_forgotten() -> None:
    shared = Shared()
    entered, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def make() -> int:
        calls.append(1)
        entered.set()
        assert go_on.wait(60)
        return len(calls)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get("a", make))) for _ in range(5)]
    threads[0].start()
    assert entered.wait(60)
    for thread in threads[1:]:
        thread.start()
    assert shared.get("b", lambda: 7) == 7, "another key does not wait"
    deadline = time.monotonic() + 60
    while sum(thread.is_alive() for thread in threads) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)  # all four have come as far as the wait
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert found == [1] * 5
    assert shared.get("a", make) == 2, "the next one asks anew"


def test_an_error_is_everybodys_and_not_kept() -> None:
    shared = Shared()

    def away() -> int:
        raise TryAgainLater("away")

    with pytest.raises(TryAgainLater):
        shared.get("a", away)
    assert shared.get("a", lambda: 3) == 3


# ---- kept within a limit -----------------------------------------------------------------------------------------------


def fill(folder: Path, count: int, size: int = 1000) -> list[Path]:
    """Files of ``size`` bytes; the first was used longest ago, though it was written last."""
    made = []
    for at in range(count):
        path = folder / f"{at % 3:02}" / f"{at}.thumbnail.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (1_700_000_000 + 100 * at, 1_700_100_000 - 100 * at))
        made.append(path)
    return made


def test_what_was_used_longest_ago_goes_until_the_rest_fits(tmp_path: Path) -> None:
    files = fill(tmp_path, 10)
    cache = PictureCache(tmp_path, 4500)
    assert cache.prune() == 6
    assert kept(tmp_path) == sorted(files[6:])
    assert sum(path.stat().st_size for path in kept(tmp_path)) <= 4500
    assert cache.prune() == 0
    assert PictureCache(tmp_path / "nowhere", 10).prune() == 0


def test_what_is_looked_at_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system itself notes no reading, too: that of a file which was read today and not written since."""
    now = time.time()
    cache = PictureCache(tmp_path / "cache", ENOUGH)
    pictures = [image(tmp_path, f"{name}.jpg") for name in "abc"]
    for at, one in enumerate(pictures):
        cache.thumbnail(one)
        os.utime(cache._path(one.key, "thumbnail"), (now + 100 + at, now))
    monkeypatch.setattr("viewer.pictures.time.time", lambda: now + 1000)
    cache.thumbnail(pictures[0])
    cache._most_bytes = cache._path(pictures[0].key, "thumbnail").stat().st_size + 10
    cache.prune()
    assert [path.name for path in kept(tmp_path / "cache")] == [f"{pictures[0].key}.thumbnail.jpg"]


def test_a_cache_that_fills_prunes_itself(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "cache", 20_000)
    for at in range(30):
        cache.thumbnail(image(tmp_path, f"{at}.jpg", colour=(8 * at, 100, 200)))
    one = len(cache.thumbnail(image(tmp_path, "x.jpg")))
    assert 30 * one > 2 * 20_000, "else nothing is shown"
    # it looks again after each tenth of the limit that was written
    assert sum(path.stat().st_size for path in kept(tmp_path / "cache")) <= 20_000 * 1.1 + one


def test_a_file_that_is_deleted_meanwhile_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another viewer prunes the same folder: its room counts as free, and who asks for the picture gets it anew."""
    files = fill(tmp_path / "cache", 10)
    real = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: (real(self), real(self))[0] if self in files[:2] else real(self))
    cache = PictureCache(tmp_path / "cache", 7500)
    assert cache.prune() == 1, "two were another's work"
    monkeypatch.undo()
    assert kept(tmp_path / "cache") == sorted(files[3:])
    of = image(tmp_path)
    first = cache.thumbnail(of)
    for damage in (Path.unlink, lambda path: path.write_bytes(b"")):  # pruned; what a power cut leaves
        damage(cache._path(of.key, "thumbnail"))
        assert cache.thumbnail(of) == first


def test_a_full_disk_only_makes_it_slower(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert Image.open(BytesIO(PictureCache(tmp_path / "cache", ENOUGH).thumbnail(image(tmp_path)))).size == (320, 240)
    (line,) = {record.getMessage() for record in caplog.records}
    assert "a thumbnail can not be kept" in line


# ---- made ahead --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> ViewerLab:
    return make_viewer_lab(tmp_path, (PlateOf(PLATE, 6, 4, (1, 2, 3), 2), PlateOf(BIG, 3, 2, (1,))))


def test_new_images_have_thumbnails_before_anybody_opens_the_plate(lab: ViewerLab) -> None:
    with lab.ledger() as ledger:
        of = Lab(lab.settings, ledger)
        cache = PictureCache(lab.settings.thumbnails, ENOUGH)
        ahead = Ahead(of, cache)
        assert ahead.round() == 2 + 2 + 1, "72 drops make two sheets"
        for barcode, number in ((PLATE, 1), (PLATE, 2), (BIG, 1)):
            assert all(cache.has_sheet(version) for version in inspection_drops(of, barcode, number).sheets.versions)
        assert ahead.round() == 0
        few = Lab(lab.with_viewer(worklist_inspections=1).settings, ledger)
        assert Ahead(few, PictureCache(lab.folder / "other", ENOUGH)).round() == 2, "only the newest inspection, of the plate imaged last"


def test_it_ends_at_once_and_waits_while_somebody_asks(lab: ViewerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.ahead._QUIET_SECONDS", 3600.0)
    with lab.ledger() as ledger:
        cache = PictureCache(lab.settings.thumbnails, ENOUGH)
        ahead = Ahead(Lab(lab.settings, ledger), cache)
        ahead.somebody_asks()
        threading.Timer(0.3, ahead.stop).start()
        assert ahead.round() == 0
    assert kept(lab.settings.thumbnails) == []
