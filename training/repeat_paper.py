"""The paper's comparison of networks (its Tables 2 and 3) on drawn wells: ``python -m training.repeat_paper --work DIR --out FILE.md``.

One set of wells, split by plate; every network sees the same number of chops; then all score the wells of the test plates. Each step is one
of the project's commands, and is left out where its result is there, so that a run that was killed goes on with the same command.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from client_app.model_folders import default_model_folder
from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError
from training.evaluation.judgement import EMPTY_WELL
from training.run_file import FILE

#: Contour thresholds of the rules (P9 to P11) are lengths in px for chops of 232 px.
_RULES = {"crystal": 240, "precipitate": 450, "other": 300, "rim": 180}
_RULES_SIDE = 232


@dataclass(frozen=True, slots=True)
class Size:
    """How large a comparison is: wells to draw, px of a chop, epochs of ``steps`` batches, px from window to window, seeds of
    SqueezeNet (the others have one)."""

    wells: int
    window: int
    epochs: int
    steps: int
    batch: int
    step: int
    seeds: tuple[int, ...] = (1, 2, 3)


#: ``small`` is what two processors manage in an hour: so few chops that small batches teach more. ``medium`` takes a graphics card and 16
#: processors ten minutes, ``full`` a graphics card, or days.
SIZES = {
    "small": Size(384, 128, 4, 64, 8, 112),
    "medium": Size(3200, 128, 10, 150, 64, 96),
    "full": Size(9600, 224, 100, 1000, 32, 64),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One training: a network of ``--network`` and classes of ``--classes`` with a seed, and the thresholds to score at."""

    network: str
    classes: str
    seed: int
    thresholds: tuple[float, ...] = (0.85,)

    @property
    def name(self) -> str:
        return f"{self.network}-{self.classes}-{self.seed}"


def entries(size: Size) -> list[Entry]:
    """The paper's rows, the fast ones first: SqueezeNet at two thresholds, AlexNet with 13 and 5 classes, ResNet, VggNet, AlexNet as for
    MARCO, of which only the classes are MARCO's here."""
    squeezenets = [Entry("squeezenet-1.0", "13", seed, (0.85, 0.80)) for seed in size.seeds]
    others = [("alexnet", "13"), ("alexnet", "5"), ("resnet-50", "13"), ("vggnet-16", "13"), ("alexnet", "marco")]
    return [*squeezenets, *(Entry(network, classes, 1) for network, classes in others)]


def _call(*arguments: object) -> None:
    """One of the program's commands in a process of its own, which gives its memory back."""
    command = [sys.executable, "-m", "crystal_search", *map(str, arguments)]
    print(f"$ crystal-search {shlex.join(command[3:])}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise CrystalSearchError(f"this step failed; the same command goes on from here: crystal-search {shlex.join(command[3:])}")


def make_data(work: Path, size: Size, workers: int) -> Path:
    """Wells, and the data set of their chops; returns its folder."""
    wells, data = work / "wells", work / "data"
    if not (wells / "labels.csv").exists():
        _call("synthetic", "--out", wells, "--wells", size.wells, "--seed", 28, "--workers", workers)
    if not (data / "dataset.json").exists():
        side = size.window + 8
        rules = [part for name, length in _RULES.items() for part in ("--threshold", f"{name}={round(length * side / _RULES_SIDE)}")]
        shares = [part for name, share in (("training", 0.7), ("validation", 0.15), ("test", 0.15)) for part in ("--share", name, share)]
        drops = [row for row in _rows(wells) if row["label"] != EMPTY_WELL]
        _write_table(work / "drops.csv", drops)
        source = ["--labels", work / "drops.csv", "--images", wells, "--without-uv", "visible alone"]
        _call("dataset", "build", *source, *rules, *shares, "--window", size.window, "--workers", workers, "--out", data)
    return data


def test_wells(work: Path, data: Path) -> tuple[list[Path], Path]:
    """The pictures of the test plates and their labels file."""
    plates = set(json.loads((data / "dataset.json").read_bytes())["plates"]["test"])
    rows = [row for row in _rows(work / "wells") if row["plate"] in plates]
    _write_table(work / "test-labels.csv", rows)
    return [work / "wells" / row["image"] for row in rows], work / "test-labels.csv"


def _rows(wells: Path) -> list[dict[str, str]]:
    with (wells / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _write_table(table: Path, rows: Sequence[dict[str, str]]) -> None:
    columns = ("image", "label", "plate", "well", "um_per_px")
    lines = [",".join(columns)] + [",".join(row[column] for column in columns) for row in rows]
    write_atomically(table, "\n".join([*lines, ""]).encode())


def train_and_score(work: Path, size: Size, entry: Entry, data: Path, wells: Sequence[Path], workers: int) -> None:
    """Makes the model folder of one entry with its run file and scores; ``workers`` wells are scored at once, each on one processor."""
    out = work / "models" / entry.name
    told = ["--network", entry.network, "--classes", entry.classes, "--window", size.window, "--seed", entry.seed]
    length = ["--epochs", size.epochs, "--steps", size.steps, "--batch", size.batch]
    if not (out / FILE).exists():
        runs, finder = work / "runs" / entry.name, ["--drop-from", default_model_folder(), "--replace-anyway"]
        _call("train", "chops", "--chops", 0, "--data", data, *told, *length, "--work", runs, "--out", out, "--resume", *finder)
    for threshold in entry.thresholds:
        scores = out / "scores" / f"c{100 * threshold:.0f}"
        if not (scores / "scores.csv").exists():
            rule = ["--threshold", threshold, "--step", size.step, "--workers", workers]
            _call("score", *wells, "--model", out, *rule, "--out", scores)


@click.command()
@click.option("--size", "chosen", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for wells, models and scores.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Markdown file with both tables.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Processes that draw and cut.")
@click.option("--together", type=click.IntRange(1, 64), default=1, show_default=True, help="Networks that train and score side by side.")
@click.option("--at-once", type=click.IntRange(1, 256), default=1, show_default=True, help="Wells that each network scores at once.")
@click.option("--tables-only", is_flag=True, help="Make the tables of the networks that are finished.")
def main(chosen: str, work: Path, out: Path, workers: int, together: int, at_once: int, tables_only: bool) -> None:
    """Repeat the paper's comparison on drawn wells."""
    size = SIZES[chosen]
    data = make_data(work, size, workers)
    wells, labels = test_wells(work, data)
    if not tables_only:
        with ThreadPoolExecutor(together) as pool:
            begun = [pool.submit(train_and_score, work, size, entry, data, wells, at_once) for entry in entries(size)]
        for one in begun:
            one.result()
    folders = [work / "models" / entry.name for entry in entries(size)]
    finished = [folder for folder in folders if (folder / FILE).exists()]
    _call("evaluate", "--compare", *finished, "--labels", labels, "--out", work / "comparison")
    write_atomically(out, (work / "comparison" / "comparison.md").read_bytes())


if __name__ == "__main__":
    main()
