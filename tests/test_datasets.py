"""Which chops enter training and which plates make a part: P8 to P11 and the split, with values worked out by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystal_search.classes import NAMES
from crystal_search.geometry import Box
from training.chops import MARGIN, centred
from training.datasets.cut import as_bytes, drop_chops
from training.datasets.rules import Rules, contour_length, training_class, with_values
from training.datasets.scored_image import drop_type_of
from training.datasets.split import split_plates
from training.datasets.table1 import PAPER_CHOPS, PAPER_IMAGES

RULES = Rules()


def drawn(side: int = 0, brightness: float = 0.5, ground: float = 1.0, size: int = 168) -> np.ndarray:
    """A chop of even brightness with a square body of ``side`` px in its middle."""
    chop = np.full((size, size), ground, np.float32)
    first = (size - side) // 2
    chop[first : first + side, first : first + side] = brightness
    return chop


# ---- contours -----------------------------------------------------------------------------------------------------


# Of a body small against the background (deviation 20 px) only its outline counts. A square of 16 px and depth 0.5 lowers its
# surroundings by 0.5 x 16^2 / (2 pi 20^2) = 0.05; the line at -0.1 lies where smoothing leaves (0.1 + 0.05) / 0.5 = 0.3 of the depth,
# which at a straight edge is 0.52 deviations of 1.5 px, that is 0.8 px, outside.


def test_a_square_has_the_length_of_its_outline() -> None:
    # corners rounded off by two deviations, 3 px, cost (8 - 2 pi) 3 px
    assert contour_length(drawn(16)) == pytest.approx(4 * (16 + 2 * 0.8) - (8 - 2 * math.pi) * 3, rel=0.03)


def test_a_disc_has_the_length_of_its_circle() -> None:
    y, x = np.mgrid[:168, :168] - 83.5
    chop = np.where(np.hypot(x, y) < 9, 0.5, 1.0).astype(np.float32)
    assert contour_length(chop) == pytest.approx(2 * math.pi * (9 + 0.8), rel=0.06)


def test_a_step_in_brightness_has_two_lines_and_one_on_either_side() -> None:
    step = np.concatenate([np.full((84, 168), 0.5, np.float32), np.ones((84, 168), np.float32)])
    assert contour_length(step) == pytest.approx(4 * 167)


def test_what_is_brighter_than_the_drop_counts_as_what_is_darker() -> None:
    assert contour_length(drawn(60, 1.4)) == pytest.approx(contour_length(drawn(60, 0.6)), rel=1e-3)


def test_noise_a_slope_of_light_and_nothing_have_no_contours() -> None:
    noise = 1 + np.random.default_rng(1).normal(0, 0.03, (168, 168))
    slope = np.tile(np.linspace(0.8, 1.2, 168), (168, 1))
    assert [contour_length(np.asarray(chop, np.float32)) for chop in (drawn(), noise, slope)] == [0, 0, 0]


# ---- rules --------------------------------------------------------------------------------------------------------


def judged(
    name: str, visible: np.ndarray, uv: np.ndarray | None, rules: Rules = RULES, *, border: bool = False, plate: str = "P"
) -> str | None:
    glowing = None if uv is None else contour_length(uv, rules.uv_contrast)
    return training_class(
        name, contour_length(visible), glowing, border=border, chromophore=rules.has_chromophore(plate, ["myoglobin"]), rules=rules
    )


BODY, NOTHING = drawn(40), drawn()
GLOWING, DARK = drawn(12, 0.8, ground=0.05), drawn(ground=0.05)


@pytest.mark.parametrize("name", ["crystals_harvestable", "crystals_bad_form", "crystals_overnucleated"])
def test_a_crystal_must_show_in_the_visible_chop_and_in_its_uv_mate(name: str) -> None:
    assert judged(name, BODY, GLOWING) == name
    assert judged(name, BODY, DARK) is None  # salt
    assert judged(name, NOTHING, GLOWING) is None  # the crystal lies in the chop beside
    assert judged(name, BODY, None) is None  # P9 wants both


def test_crystals_with_chromophores_are_judged_by_the_visible_chop_alone() -> None:
    for listed in ("Myoglobin", "CI000007"):
        rules = Rules(chromophores=(listed,))
        assert judged("crystals_harvestable", BODY, DARK, rules, plate="CI000007") == "crystals_harvestable"
        assert judged("crystals_harvestable", BODY, None, rules, plate="CI000007") == "crystals_harvestable"
        assert judged("crystals_harvestable", NOTHING, GLOWING, rules, plate="CI000007") is None
    assert judged("crystals_harvestable", BODY, DARK, Rules(chromophores=("CI0000",)), plate="CI000007") is None


def test_a_lab_without_uv_images_may_judge_by_the_visible_chop_but_a_dark_mate_still_counts() -> None:
    rules = Rules(without_uv="visible alone")
    assert judged("crystals_harvestable", BODY, None, rules) == "crystals_harvestable"
    assert judged("crystals_harvestable", BODY, DARK, rules) is None


@pytest.mark.parametrize("name", list(NAMES[3:10]))
def test_precipitate_and_other_enter_only_above_their_threshold(name: str) -> None:
    assert judged(name, drawn(70), None) == name
    assert judged(name, NOTHING, None) is None
    threshold = RULES.precipitate if "precipitate" in name else RULES.other
    assert training_class(name, threshold, None, border=False, chromophore=False, rules=RULES) is None
    assert training_class(name, threshold + 0.1, None, border=False, chromophore=False, rules=RULES) == name


def test_only_border_chops_of_clear_drops_with_contours_are_rim() -> None:
    edge = np.concatenate([np.full((80, 168), 0.4, np.float32), np.ones((88, 168), np.float32)])
    assert judged("clear", edge, None, border=True) == "rim"
    assert judged("clear", edge, None, border=False) == "clear"
    assert judged("clear", NOTHING, None, border=True) == "clear"
    assert judged("clear_with_other_features", edge, None, border=True) == "clear_with_other_features"
    assert judged("precipitate", edge, None, border=True) == "precipitate"


def test_thresholds_are_changed_by_name() -> None:
    assert with_values(RULES, ["rim=5", "crystal=7.5"]) == Rules(rim=5.0, crystal=7.5)
    for wrong in ("rims=5", "rim", "rim=much", "rim=-1", "rim=nan", "without_uv=1"):
        with pytest.raises(ValueError, match=r"rim|NAME"):
            with_values(RULES, [wrong])


# ---- chops --------------------------------------------------------------------------------------------------------


def test_a_drop_that_fills_the_papers_image_gives_its_90_chops_of_which_34_lie_at_the_edge() -> None:
    pixels = np.arange(2056 * 2452, dtype=np.float32).reshape(2056, 2452)
    chops, edges = drop_chops(pixels, Box(0, 0, 2452, 2056), 256)
    assert len(chops) == 90  # 10 columns, 9 rows
    assert sum(edges) == 2 * 10 + 2 * 7
    assert {chop.shape for chop in chops} == {(256, 256)}
    assert chops[0][0, 0] == pixels[0, 0]
    assert chops[-1][-1, -1] == pixels[-1, -1]


def test_a_drop_smaller_than_a_chop_grows_into_the_image_then_by_its_edge() -> None:
    pixels = np.arange(30 * 100, dtype=np.float32).reshape(30, 100)
    (chop,), (edge,) = drop_chops(pixels, Box(40, 10, 60, 20), 40)
    assert edge
    # 20 px of width grow by 10 to both sides; 10 px of height by 15, of which 5 lie above and 5 below the image
    expected = np.pad(pixels[:, 30:70], ((5, 5), (0, 0)), mode="edge")
    np.testing.assert_array_equal(chop, expected)


def test_chops_are_kept_as_training_reads_them() -> None:
    chop = np.linspace(0, 1.6, 40 * 40, dtype=np.float32).reshape(40, 40)
    data = {"pixels": as_bytes(chop)[np.newaxis]}
    read = centred(data, 40 - MARGIN, 0, 1)[0, ..., 0]
    np.testing.assert_allclose(read, chop[4:-4, 4:-4], atol=0.5 * 1.6 / 255 + 1e-6)


# ---- split --------------------------------------------------------------------------------------------------------

LABELS = st.lists(st.tuples(st.sampled_from([f"plate {n}" for n in range(12)]), st.sampled_from(NAMES[:4])), min_size=1, max_size=80)


@settings(max_examples=60)
@given(labels=LABELS, seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
def test_every_plate_is_in_one_part_the_same_for_a_seed_whatever_the_order_of_rows(labels, seed, shuffle) -> None:  # type: ignore[no-untyped-def]
    parts = split_plates(labels, seed)
    assert set(parts) == {plate for plate, _ in labels}
    again = list(labels)
    shuffle.shuffle(again)
    assert split_plates(again, seed) == parts
    assert len(set(parts.values())) == min(3, len(parts))  # no part is empty that need not be
    assert len(parts) > 1 or set(parts.values()) == {"training"}


def test_another_seed_makes_another_split() -> None:
    labels = [(f"plate {n}", "clear") for n in range(30)]
    assert len({tuple(sorted(split_plates(labels, seed).items())) for seed in range(4)}) == 4


def test_shares_and_classes_come_out_as_far_as_plates_allow() -> None:
    # 100 plates with 8 clear drops each, every tenth with 2 crystals: 80, 10 and 10 plates, 8, 1 and 1 of those with crystals
    labels = [(f"plate {n}", "clear") for n in range(100) for _ in range(8)]
    labels += [(f"plate {n}", "crystals_harvestable") for n in range(0, 100, 10) for _ in range(2)]
    parts = split_plates(labels, 7)
    assert Counter(parts.values()) == {"training": 80, "validation": 10, "test": 10}
    assert Counter(parts[f"plate {n}"] for n in range(0, 100, 10)) == {"training": 8, "validation": 1, "test": 1}


def test_a_part_without_a_share_stays_empty() -> None:
    labels = [(f"plate {n}", "clear") for n in range(10)]
    assert Counter(split_plates(labels, 1, {"training": 1, "validation": 1, "test": 0}).values()) == {"training": 5, "validation": 5}
    with pytest.raises(ValueError, match="shares"):
        split_plates(labels, 1, {"training": 0, "validation": 0})


# ---- words --------------------------------------------------------------------------------------------------------


def test_drop_types() -> None:
    assert [drop_type_of(text) for text in ("", "Vapour-Diffusion", "in_meso", " microbatch ")] == [
        "vapour diffusion",
        "vapour diffusion",
        "in meso",
        "microbatch",
    ]
    with pytest.raises(ValueError, match="unknown drop type 'sitting'"):
        drop_type_of("sitting")


def test_the_papers_table_adds_up() -> None:
    assert sum(PAPER_IMAGES.values()) == 33872
    assert sum(PAPER_CHOPS.values()) == 324651
