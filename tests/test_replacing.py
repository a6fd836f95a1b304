"""A model is not replaced by one that is worse on the lab's own test plates; run files and the comparison made of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_dataset import write_dataset

from crystal_search.classes import NAMES
from crystal_search.cli import crystal_search
from crystal_search.errors import CrystalSearchError, UsageError
from training import replacing
from training.datasets.loading import read_dataset
from training.evaluation.comparison.runs import differing, grouped, read_runs
from training.evaluation.comparison.tables import table_2, table_3
from training.evaluation.labels import read_labels
from training.outputs import THIRTEEN
from training.replacing import Rival, check_replacement, figure


def test_the_figure_is_the_mean_of_the_groups_by_hand() -> None:
    index = NAMES.index
    labels = np.array([index("crystals_bad_form"), index("clear"), index("clear"), index("rim"), index("clear")], np.uint8)
    probabilities = np.zeros((5, 13))
    probabilities[0, [index("crystals_harvestable"), index("crystals_overnucleated"), index("clear")]] = 0.3, 0.3, 0.4  # crystals in all
    probabilities[1:4, index("rim")] = 1.0
    probabilities[4, index("precipitate")] = 1.0
    assert figure(probabilities, labels) == pytest.approx((1 + 3 / 4) / 2)


class _Always:
    """A network that answers everything with one class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def predict_on_batch(self, pixels: np.ndarray) -> np.ndarray:
        return np.tile(np.eye(13, dtype=np.float32)[NAMES.index(self.name)] * 9, (len(pixels), 1, 1, 1))


def test_a_worse_model_is_refused_and_an_equal_one_is_not(tmp_path: Path) -> None:
    labels = np.array([NAMES.index("clear")] * 3 + [NAMES.index("precipitate")], np.uint8)
    test = {"pixels": np.zeros((4, 72, 72), np.uint8), "labels": labels}
    rival = Rival(test, 0.5, "lab-1")
    check_replacement(rival, _Always("rim"), THIRTEEN, 64, tmp_path)  # right in one group of two
    with pytest.raises(CrystalSearchError, match=r"4 chops of the test plates the new model gets 0\.0%.*lab-1 gets 50\.0%") as error:
        check_replacement(rival, _Always("other"), THIRTEEN, 64, tmp_path)
    assert error.value.exit_code == 1
    check_replacement(None, _Always("other"), THIRTEEN, 64, tmp_path)


def test_the_model_that_is_there_is_measured_on_the_test_plates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(__file__).parent.parent / "models" / "synthetic-2"
    with_test, without = write_dataset(tmp_path / "a", test=2), write_dataset(tmp_path / "b")
    sets = [read_dataset(folder, 224) for folder in (with_test, without)]
    found = replacing.rival_of(shipped, sets, 224)
    assert found is not None
    assert (found.name, len(found.test["labels"])) == ("synthetic-2", 4)
    assert replacing.rival_of(shipped, sets[1:], 224) is None
    assert replacing.rival_of(tmp_path / "new", sets, 224) is None
    with pytest.raises(UsageError, match="chops of 224 px, the new one on 64 px"):
        replacing.rival_of(shipped, [read_dataset(write_dataset(tmp_path / "c", side=72, test=1), 64)], 64)


# ---- comparison ---------------------------------------------------------------------------------------------------


def write_run(folder: Path, **changed: object) -> Path:
    """A model folder's run file and, at two thresholds, scores of four images of which `right` are right."""
    told = {
        "name": folder.name, "network": "squeezenet-1.0", "outputs": list(NAMES), "window": 128, "seed": 1, "parameters": 732685,
        "weight_layers": 18, "megabytes": 2.79, "epochs": 4, "exported_epoch": 4, "images_seen": 2048, "seconds": 240.0,
        "training_accuracy": 0.8, "accuracy": 0.5, "top5": 0.9, "loss": 1.5, "data": ["a" * 64], "date": "2026-11-25", "versions": "v",
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(told | changed))
    return folder


def add_scores(folder: Path, threshold: float, classes: list[str]) -> None:
    scores = folder / "scores" / f"c{threshold}"
    scores.mkdir(parents=True)
    head = "image,status,class,score,group,probability,crystal_probability\n"
    rows = [f"{n}.jpg,scored,{name},01,clear,0.9,0.1\n" if name else f"{n}.jpg,unsure,,,,,0.1\n" for n, name in enumerate(classes)]
    (scores / "scores.csv").write_text(head + "".join(rows))
    told = {"model": "m", "model_sha256": hashlib.sha256(b"m").hexdigest(), "threshold": threshold, "step": 112}
    (scores / "scored.json").write_text(json.dumps(told | {"images": 4, "seconds": 9.0, "processor_seconds": 2.0}))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    table = tmp_path / "labels.csv"
    names = ["crystals_harvestable", "clear", "clear", "precipitate_bad"]
    table.write_text("image,label\n" + "".join(f"{n}.jpg,{name}\n" for n, name in enumerate(names)))
    return table


def compare(tmp_path: Path, *arguments: object) -> Result:
    return CliRunner().invoke(crystal_search, ["evaluate", "--compare", *map(str, arguments), "--out", str(tmp_path / "out")])


def test_tables_2_and_3_by_hand(tmp_path: Path, labels: Path) -> None:
    one = write_run(tmp_path / "s1")
    two = write_run(tmp_path / "s2", seed=2, accuracy=0.7, training_accuracy=None, seconds=360.0)
    add_scores(one, 0.85, ["crystals_bad_form", "clear", "", "clear"])
    add_scores(one, 0.8, ["crystals_bad_form", "clear", "clear", "clear"])
    add_scores(two, 0.85, ["", "clear", "clear", "precipitate"])
    done = compare(tmp_path, one, two, "--labels", labels)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert done.output.startswith(text)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| squeezenet")]
    # seeds, accuracies in percent with the standard deviation, 240 s and 360 s of four epochs
    assert rows[0][:6] == ["squeezenet-1.0, 13 classes", "2", "80.0", "60.0 ± 14.1", "90.0 ± 0.0", "1.50 ± 0.00"]
    assert rows[0][6:] == ["732 685", "2.8", "18", "4", "2 048", "5.0 ± 1.4 min", "75.0 ± 21.2 s", "0.50 ± 0.00 s"]
    # crystals 1 and 0 of 1; clear 1 and 2 of 2; precipitate 0 and 1 of 1; weighted 2/4 and 3/4
    assert rows[1] == ["squeezenet-1.0, 13 classes", "0.85", "4", "50.0 ± 70.7", "50.0 ± 70.7", "-", "75.0 ± 35.4", "62.5 ± 17.7"]
    # of one run, with Wilson's interval: of 1 of 1, 0 of 1, 2 of 2 and 3 of 4
    assert rows[2][:3] == ["squeezenet-1.0, 13 classes", "0.8", "4"]
    assert rows[2][3:] == ["100.0 (21 to 100)", "0.0 (0 to 79)", "-", "100.0 (34 to 100)", "75.0 (30 to 95)"]
    assert "| *images of each group* | - | 4 | 1 | 1 | 0 | 2 | - |" in text
    assert "| *paper: AlexNet, 13 classes* | - | 2400 in all | 76.9 | 69.8 | 55.5 | 85.1 | 74.2 |" in text


def test_what_makes_no_fair_comparison_is_said(tmp_path: Path) -> None:
    runs = read_runs([str(write_run(tmp_path / "a")), str(write_run(tmp_path / "b", network="alexnet", images_seen=9))], None)
    assert differing(runs) == ["The runs differ in their images seen."]
    assert [group.title for group in grouped(runs)] == ["squeezenet-1.0, 13 classes", "alexnet, 13 classes"]
    assert "| alexnet, 13 classes | 1 |" in table_2(grouped(runs))
    assert "alexnet, 13" not in table_3(grouped(runs))


@pytest.mark.parametrize("content", ["{}", "no JSON", None])
def test_what_is_no_run_file_is_one_line(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "m").mkdir()
    if content:
        (tmp_path / "m" / "run.json").write_text(content)
    done = compare(tmp_path, tmp_path / "m")
    assert isinstance(done.exception, UsageError)
    assert "run.json" in str(done.exception)


def test_labels_are_needed_without_compare(tmp_path: Path) -> None:
    done = CliRunner().invoke(crystal_search, ["evaluate", "x.csv", "--out", str(tmp_path / "out")])
    assert "--labels is missing" in str(done.exception)


def test_scores_of_other_images_are_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("image,label\nz.jpg,clear\n")
    one = write_run(tmp_path / "s1")
    add_scores(one, 0.85, ["clear"])
    with pytest.raises(UsageError, match="names none of the images"):
        read_runs([str(one)], read_labels(other))
