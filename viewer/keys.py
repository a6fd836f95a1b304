"""Which key gives which class: digits for the three groups in which something grew, letters for clear."""

from __future__ import annotations

from collections.abc import Mapping

#: In the order of the groups: crystals best first, precipitate, other, clear. On every keyboard layout without Shift or AltGr.
CLASS_KEYS: Mapping[str, str] = {
    "crystals_harvestable": "1",
    "crystals_bad_form": "2",
    "crystals_overnucleated": "3",
    "precipitate_good": "4",
    "precipitate": "5",
    "precipitate_bad": "6",
    "phase_separation": "7",
    "spherulites": "8",
    "other": "9",
    "null_experiment": "0",
    "clear": "c",
    "clear_with_other_features": "f",
}
