"""The paper's comparison: which trainings and scorings it asks for, and that it goes on where it stopped."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from crystal_search.errors import CrystalSearchError
from training import repeat_paper
from training.repeat_paper import SIZES, entries


class Program:
    """Stands for the project's commands: writes what each would, and ``broken`` networks fail to train."""

    def __init__(self) -> None:
        self.called: list[list[str]] = []
        self.broken: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, *arguments: object) -> None:
        told = list(map(str, arguments))
        with self._lock:
            self.called.append(told)
        out = Path(told[told.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        match told[0]:
            case "synthetic":
                rows = [f"images/{plate}_{well}.jpg,clear,{plate},{well},2.262" for plate in ("p1", "p2") for well in ("A01", "A02")]
                (out / "labels.csv").write_text("\n".join(["image,label,plate,well,um_per_px", *rows, ""]))
            case "dataset":
                (out / "dataset.json").write_text(json.dumps({"plates": {"test": ["p2"]}}))
            case "train":
                if told[told.index("--network") + 1] in self.broken:
                    raise CrystalSearchError("this step failed")
                (out / "run.json").touch()
            case "score":
                (out / "scores.csv").touch()
            case "evaluate":
                (out / "comparison.md").write_text(" ".join(Path(folder).name for folder in told[2 : told.index("--labels")]))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    stand_in = Program()
    monkeypatch.setattr(repeat_paper, "_call", stand_in)
    return stand_in


def repeat(tmp_path: Path, *options: object) -> Result:
    told = ["--size", "small", "--work", tmp_path / "work", "--out", tmp_path / "tables.md", *options]
    return CliRunner().invoke(repeat_paper.main, list(map(str, told)))


def test_a_network_that_fails_stops_no_other_and_the_next_call_does_what_is_left(program: Program, tmp_path: Path) -> None:
    program.broken = {"resnet-50"}
    assert isinstance(repeat(tmp_path, "--together", 3, "--at-once", 4).exception, CrystalSearchError)
    assert not (tmp_path / "tables.md").exists()
    scored = [told for told in program.called if told[0] == "score"]
    assert len(scored) == 2 * 3 + 4  # SqueezeNet at two thresholds with three seeds; ResNet is missing
    assert all(told[1:3] == [str(tmp_path / "work" / "wells" / "images" / f"p2_{well}.jpg") for well in ("A01", "A02")] for told in scored)
    assert all(told[told.index("--workers") + 1] == "4" for told in scored)

    program.called.clear()
    program.broken = set()
    done = repeat(tmp_path)
    assert done.exit_code == 0, done.output
    assert [told[0] for told in program.called] == ["train", "score", "evaluate"]
    assert (tmp_path / "tables.md").read_text().split() == [entry.name for entry in entries(SIZES["small"])]


@pytest.mark.parametrize("size", list(SIZES))
def test_every_network_sees_the_same_number_of_chops(program: Program, tmp_path: Path, size: str) -> None:
    done = repeat(tmp_path, "--size", size)
    assert done.exit_code == 0, done.output
    trained = [told for told in program.called if told[0] == "train"]
    assert len(trained) == 8
    length = {tuple(told[told.index(name) + 1] for name in ("--epochs", "--steps", "--batch", "--window", "--data")) for told in trained}
    assert len(length) == 1
