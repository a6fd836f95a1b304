"""The UV mate tells protein from salt: what the both-images rule (P9) needs, and its exception for chromophores (P29)."""

from __future__ import annotations

import numpy as np
import pytest

from crystal_search.classes import CRYSTAL_CLASSES
from training.datasets.rules import Rules, contour_length
from training.synthetic import SyntheticWell, draw_well, mark_of
from training.synthetic.uv import SALT_SHARE, Nature, draw_uv_mate, nature_of

RULES = Rules()
SIDE = 168


def crystal_chops(well: SyntheticWell) -> list[tuple[slice, slice]]:
    """Squares of ``SIDE`` px around the three largest crystals."""
    boxes = [box for box in well.boxes if box.class_name in CRYSTAL_CLASSES]
    height, width = well.object_mask.shape
    found = []
    for box in sorted(boxes, key=lambda box: (box.x0 - box.x1) * (box.y1 - box.y0))[:3]:
        y = int(np.clip((box.y0 + box.y1) // 2 - SIDE // 2, 0, height - SIDE))
        x = int(np.clip((box.x0 + box.x1) // 2 - SIDE // 2, 0, width - SIDE))
        found.append((slice(y, y + SIDE), slice(x, x + SIDE)))
    assert found
    return found


@pytest.mark.parametrize("name", CRYSTAL_CLASSES)
def test_crystals_of_protein_pass_the_rule_for_both_images_and_others_do_not(name: str) -> None:
    passed: dict[Nature, list[bool]] = {nature: [] for nature in Nature}
    for seed in (101, 102, 103):
        well = draw_well(seed, name)
        for nature, verdicts in passed.items():
            uv = draw_uv_mate(well, nature=nature).astype(np.float32) / 255
            verdicts += [contour_length(uv[part], RULES.uv_contrast) > RULES.crystal_uv for part in crystal_chops(well)]
    assert all(passed[Nature.PROTEIN])
    # A glowing speck beside a crystal of salt passes for one, as it does in a real picture.
    assert sum(passed[Nature.SALT]) <= 1
    assert sum(passed[Nature.CHROMOPHORE]) <= 1


def test_the_geometry_is_that_of_the_visible_picture() -> None:
    well = draw_well(41, "crystals_harvestable", width=640)
    uv = draw_uv_mate(well, nature=Nature.PROTEIN)
    assert uv.dtype == np.uint8
    assert uv.shape == well.image.shape[:2]
    crystal = well.object_mask == mark_of("crystals_harvestable")
    drop = well.drop_mask & (well.object_mask == 0)
    around = well.well_mask & ~well.drop_mask
    assert uv[crystal].mean() > 3 * uv[drop].mean(), "crystals are bright"
    assert uv[drop].mean() > uv[around].mean(), "the drop glows faintly"
    assert np.median(uv) < 40, "the background is dark"


def test_precipitate_glows_but_has_no_edge_as_sharp_as_a_crystal() -> None:
    def steepest(uv: np.ndarray) -> float:
        return float(np.abs(np.diff(uv.astype(float), axis=1)).max())

    for seed in (3, 5):
        precipitate, crystal = draw_well(seed, "precipitate_bad", width=640), draw_well(seed, "crystals_harvestable", width=640)
        uv = draw_uv_mate(precipitate)
        covered = precipitate.object_mask == mark_of("precipitate_bad")
        assert uv[covered].mean() > uv[precipitate.well_mask & ~precipitate.drop_mask].mean() + 10
        assert steepest(uv) < steepest(draw_uv_mate(crystal, nature=Nature.PROTEIN))


def test_same_well_same_pixels_and_noise_of_its_own_at_each_inspection() -> None:
    well = draw_well(9, "crystals_bad_form", width=320)
    once, again, later = draw_uv_mate(well), draw_uv_mate(well), draw_uv_mate(well, inspection=1)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, later)
    assert np.corrcoef(once.ravel(), later.ravel())[0, 1] > 0.8, "and the same scene"


def test_another_size_has_the_same_geometry() -> None:
    well = draw_well(9, "crystals_harvestable", width=640)
    full, half = draw_uv_mate(well, nature=Nature.PROTEIN), draw_uv_mate(well, nature=Nature.PROTEIN, width=320)
    assert half.shape == (240 if full.shape[0] == 480 else round(full.shape[0] / 2), 320)
    reduced = full[: 2 * half.shape[0], :].reshape(half.shape[0], 2, 320, 2).mean(axis=(1, 3))
    assert np.corrcoef(reduced.ravel(), half.ravel())[0, 1] > 0.8


def test_a_share_of_the_crystals_is_salt_and_the_truth_says_which() -> None:
    wells = [draw_well(seed, "crystals_harvestable", width=48) for seed in range(120)]
    natures = [nature_of(well) for well in wells if well.class_name]
    salt = natures.count(Nature.SALT)
    assert set(natures) == {Nature.PROTEIN, Nature.SALT}
    assert 0.5 * SALT_SHARE < salt / len(natures) < 1.8 * SALT_SHARE  # four deviations of 120 draws each way
    assert nature_of(draw_well(1, "precipitate", width=48)) is None
    protein = next(well for well in wells if nature_of(well) is Nature.PROTEIN)
    assert nature_of(protein, chromophore=True) is Nature.CHROMOPHORE
    assert np.array_equal(draw_uv_mate(protein, chromophore=True), draw_uv_mate(protein, chromophore=True, nature=Nature.CHROMOPHORE))
