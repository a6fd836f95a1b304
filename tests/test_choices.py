"""The experiments behind decisions 0011 and 0012: areas worked out by hand, both ways over a drop, and the table of means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_model import picture

from client_app.model_folders import default_model_folder
from crystal_search.classes import NAMES, Group
from training import choices
from training.choices import Look, Variant, measure, window_probabilities


@pytest.fixture(scope="module")
def session() -> Any:
    return onnxruntime.InferenceSession(str(default_model_folder() / "chops.onnx"), providers=["CPUExecutionProvider"])


def test_areas_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crystals 0.9, 0.5, 0 against clear 0.5, 0.1: of six pairs three are right, one ties. One of them has no drop: 0."""
    values = {"c1": (Group.CRYSTAL, 0.9), "c2": (Group.CRYSTAL, 0.5), "n1": (Group.CLEAR, 0.5), "n2": (Group.CLEAR, 0.1)}
    looks = [Look(Path(name), "drawn", group, (0, 0, 1, 1)) for name, (group, _) in values.items()]
    looks.append(Look(Path("lost"), "drawn", Group.CRYSTAL, None))

    def probabilities(_: Any, __: Variant, look: Look) -> np.ndarray:
        windows = np.zeros((2, len(NAMES)))
        windows[1, [NAMES.index("crystals_harvestable"), NAMES.index("crystals_bad_form")]] = values[look.path.name][1] / 2
        return windows

    monkeypatch.setattr(choices, "window_probabilities", probabilities)
    found = measure(None, Variant("any"), looks)
    assert found["drawn"]["crystal / clear"] == pytest.approx((3 + 0.5) / 6)
    assert np.isnan(found["drawn"]["other / clear"]), "no image of the group"


def test_one_pass_and_window_by_window_agree_where_nothing_is_padded(session: Any, tmp_path: Path) -> None:
    picture(("crystals_harvestable", 80, 60), size=(640, 480)).save(tmp_path / "a.png")
    look = Look(tmp_path / "a.png", "drawn", Group.CRYSTAL, (160, 120, 480, 360))
    dense = window_probabilities(session, Variant("any", window=224), look)
    alone = window_probabilities(session, Variant("any", window=224, padding="same"), look)  # what a padded network has to do
    assert dense.shape == alone.shape
    assert len(dense) > 100
    np.testing.assert_allclose(dense, alone, atol=1e-5)


def test_a_second_scale_adds_its_windows(session: Any, tmp_path: Path) -> None:
    Image.new("L", (640, 480), 90).save(tmp_path / "a.png")
    look = Look(tmp_path / "a.png", "drawn", Group.CLEAR, (160, 120, 480, 360))
    one = window_probabilities(session, Variant("any", window=224), look)
    two = window_probabilities(session, Variant("any", window=224, scales=(1.0, 0.5)), look)
    np.testing.assert_array_equal(two[: len(one)], one)
    assert len(two) > len(one)


def test_the_table_has_means_and_spreads_over_the_seeds(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for seed, area in ((1, 0.8), (2, 0.9)):
        parts = {part: {"crystal / clear": area} for part in ("drawn", "choosing", "judging")}
        run = {"name": "base", "held_out": {"group_accuracy": 0.7}, "measured": parts, "also": None}
        (tmp_path / "runs" / f"base-{seed}.json").write_text(json.dumps(run))
    text = CliRunner().invoke(choices.main, ["table", "--work", str(tmp_path)]).output
    assert text.count("| base | 2 | 0.700 ± 0.000 | 0.850 ± 0.050 |") == 3
