"""The paper's networks (P12): their size and depth, training with thirteen, five and four outputs, and a client that scores with them."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from heavy import heavy
from tiny_dataset import write_dataset

from client_app.model import load_model
from crystal_search.classes import BY_NAME, NAMES, Group
from crystal_search.cli import crystal_search
from training import chops, loop
from training.outputs import FIVE, MARCO, SHUT_OUT, THIRTEEN
from training.run_file import read
from training.zoo import ZOO, weight_layers

keras = heavy("keras")

pytestmark = [
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tf2onnx"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow"),
]
SHIPPED = Path(__file__).parent.parent / "models" / "synthetic-2"


@pytest.fixture(autouse=True)
def freed() -> Iterator[None]:
    """Keras keeps networks of half a gigabyte otherwise."""
    yield
    keras.backend.clear_session()
    gc.collect()


#: Published parameters of the networks with 1000 outputs, and the width of what their last layer sees.
PUBLISHED = {
    "alexnet": (62_378_344, 4096),
    "vggnet-16": (138_357_544, 4096),
    "resnet-50": (25_557_032, 2048),
    "squeezenet-1.0": (1_248_424, 512),
    "squeezenet-1.1": (1_235_496, 512),
}


@pytest.mark.parametrize(
    ("name", "layers", "megabytes"),
    [("alexnet", 8, 223), ("vggnet-16", 16, 513), ("resnet-50", 50, 90), ("squeezenet-1.0", 18, 2.9), ("squeezenet-1.1", 18, None)],
)
def test_size_and_depth_are_the_papers(name: str, layers: int, megabytes: float | None) -> None:
    model = ZOO[name].build(13, 224, 3)
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    published, width = PUBLISHED[name]
    assert parameters == published - 987 * (width + 1) == ZOO[name].parameters
    assert weight_layers(model) == layers == ZOO[name].layers
    if megabytes:
        assert model.count_params() * 4 / 2**20 == pytest.approx(megabytes, rel=0.03)
        assert ZOO[name].megabytes == megabytes


def test_squeezenets_figures_are_those_of_thirteen_outputs() -> None:
    assert (ZOO["squeezenet-1.0"].parameters, ZOO["squeezenet-1.1"].parameters) == (742_093, 729_165)


# ---- outputs ------------------------------------------------------------------------------------------------------


def test_five_outputs_are_the_groups_and_rim() -> None:
    assert FIVE.names == ("crystal", "precipitate", "other", "clear", "rim")
    labels = FIVE.labels(np.arange(13))
    assert [FIVE.names[label] for label in labels] == ["rim" if name == "rim" else str(BY_NAME[name].group) for name in NAMES]


def test_marcos_outputs_are_four_and_a_rim_is_clear() -> None:
    assert MARCO.names == ("crystal", "precipitate", "other", "clear")
    assert MARCO.names[MARCO.labels(np.array([NAMES.index("rim")]))[0]] == "clear"


def test_what_a_network_does_not_know_is_shut_out() -> None:
    table = FIVE.as_table(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]], np.float32))
    known = {"crystals_harvestable": 1.0, "precipitate": 2.0, "other": 3.0, "clear": 4.0, "rim": 5.0}
    assert table[0].tolist() == [known.get(name, SHUT_OUT) for name in NAMES]
    assert chops.softmax(table)[0, NAMES.index("crystals_bad_form")] < 1e-40


def test_figures_of_five_outputs_by_hand() -> None:
    logits = np.log(np.array([[0.9, 0.04, 0.03, 0.02, 0.01], [0.3, 0.4, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.2, 0.5]], np.float32))
    labels = np.array([NAMES.index(name) for name in ("crystals_bad_form", "crystals_overnucleated", "clear")], np.uint8)
    found = chops.figures(logits, labels, outputs=FIVE)
    assert found["held_out_loss"] == pytest.approx(-np.log([0.9, 0.3, 0.2]).mean(), rel=1e-5)
    assert (found["accuracy"], found["group_accuracy"]) == pytest.approx((1 / 3, 2 / 3))
    assert (found["crystals_found"], found["crystals_false"]) == (0.5, 0.0)
    assert np.isnan(found["top5"])


def test_top5_counts_the_five_most_probable() -> None:
    logits = np.tile(np.arange(13, dtype=np.float32), (2, 1))  # class 12 is the likeliest, 8 the fifth
    assert chops.figures(logits, np.array([8, 7], np.uint8))["top5"] == 0.5


# ---- training and scoring -----------------------------------------------------------------------------------------


#: The large ones take minutes and gigabytes: CRYSTAL_SEARCH_LARGE_NETWORKS=1 trains all four.
TRAINED = [("squeezenet-1.0", "13"), ("squeezenet-1.1", "5")]
if os.environ.get("CRYSTAL_SEARCH_LARGE_NETWORKS"):
    TRAINED += [("alexnet", "5"), ("vggnet-16", "13"), ("resnet-50", "marco")]


@pytest.mark.parametrize(("network", "classes"), TRAINED)
def test_each_trains_and_scores_a_well(network: str, classes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "draw_curves", lambda *_: None)
    data = write_dataset(tmp_path / "data", side=72)
    out = tmp_path / f"lab-{network}"
    told = ["train", "chops", "--network", network, "--classes", classes, "--window", 64, "--chops", 0, "--data", data, "--out", out]
    told += ["--epochs", 1, "--steps", 1, "--batch", 2, "--work", tmp_path / "runs", "--drop-from", SHIPPED]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output
    run = read(out)
    outputs = {"13": THIRTEEN, "5": FIVE, "marco": MARCO}[classes]
    assert (run.network, run.outputs, run.weight_layers, run.images_seen) == (network, list(outputs.names), ZOO[network].layers, 2)
    model = load_model(out)
    assert not model.spec.chops.dense_exact
    session = onnxruntime.InferenceSession(str(out / "chops.onnx"), providers=["CPUExecutionProvider"])
    answer = session.run(None, {session.get_inputs()[0].name: np.ones((3, 64, 64, 1), np.float32)})[0]
    assert answer.shape == (3, 1, 1, 13)
    assert {NAMES[place] for place in np.flatnonzero(answer[0, 0, 0] > SHUT_OUT)} == set(outputs.answers_as)
    well = Path(__file__).parent.parent / "demo" / "images" / "gsk_crystals_6488.jpeg"
    told = ["score", well, "--model", out, "--out", tmp_path / "scores", "--threshold", 0, "--workers", 1]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output
    row = (tmp_path / "scores" / "scores.csv").read_text().splitlines()[1].split(",")
    assert row[1] == "scored"
    assert row[2] in {"clear" if name == "rim" else name for name in outputs.answers_as}
    assert json.loads((tmp_path / "scores" / "scored.json").read_text())["images"] == 1


def test_a_window_too_small_for_a_network_is_one_line(tmp_path: Path) -> None:
    told = ["train", "chops", "--network", "alexnet", "--window", "48", "--out", str(tmp_path / "m")]
    done = CliRunner().invoke(crystal_search, told)
    assert "at least 64 px" in str(done.exception)


def test_groups_of_the_outputs_are_those_of_the_table() -> None:
    assert FIVE.groups.tolist() == [list(Group).index(group) for group in (*Group, Group.CLEAR)]
