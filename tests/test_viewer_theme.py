"""The palette for colour-blind eyes: its colours stay apart for them."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from viewer.theme import colours_css

#: What eyes without one kind of cone see, in linear RGB: Machado, Oliveira & Fernandes (2009), severity 1.0.
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def seen(colour: str, eyes: np.ndarray) -> np.ndarray:
    """CIELAB of "#rrggbb" as those eyes see it."""
    coded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    changed = np.clip(eyes @ linear, 0, 1)
    return rgb2lab(np.where(changed <= 0.0031308, 12.92 * changed, 1.055 * changed ** (1 / 2.4) - 0.055).reshape(1, 1, 3))


@pytest.mark.parametrize("eyes", EYES.values(), ids=EYES)
def test_frames_of_other_groups_stay_apart(eyes: np.ndarray) -> None:
    """A colour difference of 15 is several times what one sees between two patches side by side."""
    colours = dict(re.findall(r"^\.safe \.k-(\w+) \{ --c: (#\w{6}); \}$", colours_css(), re.MULTILINE))
    del colours["rim"]  # no frame has it
    assert len(colours) == 12
    kinds = {colour: name for name, colour in colours.items()}
    assert len(kinds) == 5, "crystals, precipitate, null experiment, other, clear"
    for one, other in combinations(kinds, 2):
        assert float(deltaE_ciede2000(seen(one, eyes), seen(other, eyes)).item()) > 15, (kinds[one], kinds[other])
