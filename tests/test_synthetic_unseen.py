"""What training never draws stays out of it; drops dry; wells of a plate resemble each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.synthetic import IMAGERS, UNSEEN_IMAGERS, draw_chops, draw_time_course, draw_well
from training.synthetic.camera import draw_camera
from training.synthetic.unseen import draw_unseen_camera

SMALL = 320


def test_no_imager_is_both_seen_and_unseen() -> None:
    assert len(UNSEEN_IMAGERS) >= 3
    assert not set(UNSEEN_IMAGERS) & set(IMAGERS)


def test_training_draws_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("an unseen style was drawn")

    for name in ("draw_unseen_style", "draw_unseen_camera", "draw_variation"):
        monkeypatch.setattr(f"training.synthetic.drawing.{name}", forbidden)
    assert {draw_well(seed, width=48).imager for seed in range(60)} <= set(IMAGERS)
    assert {draw_well(seed, width=48, plate=seed).imager for seed in range(30)} <= set(IMAGERS)
    assert draw_chops(3, window=96, per_well=2)
    with pytest.raises(AssertionError, match="unseen style"):
        draw_well(1, width=48, imager=UNSEEN_IMAGERS[0])


def test_cameras_of_the_two_kinds_have_no_setting_in_common() -> None:
    seen = [draw_camera(np.random.default_rng(seed)) for seed in range(2000)]
    unseen = [draw_unseen_camera(np.random.default_rng(seed)) for seed in range(300)]
    for name in ("gamma", "gain"):
        low, high = (edge(getattr(camera, name) for camera in seen) for edge in (min, max))
        values = [getattr(camera, name) for camera in unseen]
        assert not [value for value in values if low <= value <= high], name
        assert min(values) < low
        assert max(values) > high
    assert min(camera.noise for camera in unseen) > max(camera.noise for camera in seen)
    assert max(camera.quality for camera in unseen) < min(camera.quality for camera in seen)
    assert max(camera.focus for camera in unseen) > max(camera.focus for camera in seen)


@pytest.mark.parametrize("imager", UNSEEN_IMAGERS)
def test_an_unseen_imager_is_drawn_by_name_with_its_truth(imager: str) -> None:
    for name in ("crystals_overnucleated", None):
        well, again = (draw_well(11, name, width=SMALL, imager=imager) for _ in range(2))
        assert np.array_equal(well.image, again.image)
        assert well.imager == imager
        assert well.class_name == name
        assert not (well.drop_mask & ~well.well_mask).any()
        assert not well.object_mask[~well.drop_mask].any()
        assert well.drop_mask.any() == well.object_mask.any() == bool(well.boxes) == (name is not None)
    seen = {draw_well(seed, None, width=96).image.shape[:2] for seed in range(40)}
    assert well.image.shape[0] not in {round(height * SMALL / width) for height, width in seen}, "no training imager has this format"


def colour(image: np.ndarray) -> np.ndarray:
    return np.percentile(image.reshape(-1, 3), 80, axis=0)


def test_wells_of_a_plate_share_imager_and_light() -> None:
    alone = [draw_well(seed, "clear", width=96) for seed in range(8)]
    plate = [draw_well(seed, "clear", width=96, plate=77) for seed in range(8)]
    assert len({well.imager for well in alone}) > 1
    assert len({(well.imager, well.um_per_px, well.image.shape) for well in plate}) == 1
    assert len({well.image.tobytes() for well in plate}) == 8
    same_imager = [draw_well(seed, "clear", width=96, imager=plate[0].imager) for seed in range(8)]
    apart, together = (np.std([colour(well.image) for well in wells], axis=0).mean() for wells in (same_imager, plate))
    assert together < 0.5 * apart


def brightness(image: np.ndarray, where: np.ndarray) -> float:
    return float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[where].mean())


def test_a_drop_clears_precipitates_grows_a_crystal_and_dries() -> None:
    names = ["precipitate", "clear", "crystals_harvestable", "null_experiment", "null_experiment"]
    for seed in (6, 9):
        course = draw_time_course(seed, names, width=SMALL, imager="vmxi_gray", dryness=[0, 0, 0, 0.4, 0.9])
        assert [well.class_name for well in course] == names
        assert [bool(well.object_mask.any()) for well in course] == [True, False, True, True, True]
        first, *_, drying, dry = (well.drop_mask for well in course)
        assert not (drying & ~first).any(), "it draws back within its outline"
        assert not (dry & ~drying).any()
        # The radius loses a half of the dryness: areas 0.8^2 and 0.55^2, a little less where a dent cuts in.
        assert 0.5 < drying.sum() / first.sum() < 0.7
        assert 0.2 < dry.sum() / first.sum() < 0.33


def test_what_dries_grows_darker_and_leaves_a_stain() -> None:
    wet, dry = draw_time_course(6, ["clear", "clear"], width=SMALL, imager="vmxi_gray", dryness=[0, 0.7])
    away = dry.well_mask & ~wet.drop_mask
    core = cv2.erode(dry.drop_mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    before, after = (brightness(well.image, core) / brightness(well.image, away) for well in (wet, dry))
    assert after < 0.85 * before
    left = wet.drop_mask & ~cv2.dilate(dry.drop_mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    bare = draw_well(6, None, width=SMALL, imager="vmxi_gray").image
    stain = brightness(bare, left) / brightness(bare, away) - brightness(dry.image, left) / brightness(dry.image, away)
    assert stain > 0.01
    assert np.array_equal(draw_time_course(6, ["clear"], width=SMALL, imager="vmxi_gray")[0].image, wet.image), "wet drops are as ever"


def test_a_dryness_that_does_not_fit_is_refused_in_one_line() -> None:
    for dryness in ([0.1], [0.0, 1.2], [-0.1, 0.0]):
        with pytest.raises(ValueError, match="not one number from 0 to 1 for each of 2 inspections"):
            draw_time_course(1, ["clear", "clear"], width=48, dryness=dryness)
