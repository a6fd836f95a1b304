"""Training that can be killed at any moment: one checkpoint an epoch, figures in a CSV file, curves in a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import trange

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Draw = Callable[[np.random.Generator, int], Batch]
Validate = Callable[[Any], dict[str, float]]
#: The learning rate falls stepwise (P13): share of the epochs from which on, factor.
STEPS = ((0.0, 1.0), (0.5, 0.3), (0.75, 0.1), (0.9, 0.02))


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how: ``steps`` batches of ``batch`` examples an epoch, ``rate`` the first learning rate."""

    epochs: int
    steps: int
    batch: int
    rate: float
    seed: int


def learning_rate(plan: Plan, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    return plan.rate * next(factor for share, factor in reversed(STEPS) if epoch >= share * plan.epochs)


def weights_file(folder: Path, epoch: int) -> Path:
    """The weights after ``epoch`` epochs, with the optimiser's state."""
    return folder / f"epoch_{epoch:03d}.weights.h5"


@contextmanager
def ahead(draw: Draw, rng: np.random.Generator, batch: int, steps: int) -> Iterator[Iterator[Batch]]:
    """``steps`` batches, the next one made in a thread while one is used."""

    def batches(pool: ThreadPoolExecutor) -> Iterator[Batch]:
        following = pool.submit(draw, rng, batch)
        for step in range(steps):
            made = following.result()
            if step + 1 < steps:
                following = pool.submit(draw, rng, batch)
            yield made

    with ThreadPoolExecutor(1) as pool:
        yield batches(pool)


def fit(
    model: Any,
    draw: Draw,
    validate: Validate,
    folder: Path,
    plan: Plan,
    *,
    resume: bool = False,
    title: str = "training",
) -> list[dict[str, float]]:
    """Trains a compiled model and returns one row of figures an epoch.

    ``draw`` makes a batch; each epoch has its own random numbers, made from the seed and the epoch, so that a resumed training sees
    what an uninterrupted one would have seen. Where ``folder`` holds more epochs than asked for, the model gets the weights of the
    last one asked for: that is how an earlier epoch is exported. Raises ``FileExistsError`` when ``folder`` holds a training and
    ``resume`` is off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_figures(folder)[: plan.epochs]
    done = len(rows)
    if done and not resume:
        raise FileExistsError(f"{folder} holds a training of {done} epochs: add --resume to go on with it, or take another --work folder")
    if done:
        model.optimizer.build(model.trainable_variables)  # its state has a place only then
        model.load_weights(weights_file(folder, done))
    for epoch in range(done, plan.epochs):
        rng = np.random.default_rng([plan.seed, epoch])
        model.optimizer.learning_rate = learning_rate(plan, epoch)
        losses = []
        with ThreadPoolExecutor(1) as pool, trange(plan.steps, desc=f"{title} {epoch + 1}/{plan.epochs}", mininterval=5) as bar:
            following = pool.submit(draw, rng, plan.batch)
            for step in bar:
                inputs, targets = following.result()
                if step + 1 < plan.steps:
                    following = pool.submit(draw, rng, plan.batch)
                losses.append(float(np.asarray(model.train_on_batch(inputs, targets)).ravel()[0]))
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        rows.append({"epoch": float(epoch + 1), "rate": learning_rate(plan, epoch), "loss": float(np.mean(losses)), **validate(model)})
        partial = folder / f"epoch_{epoch + 1:03d}.part.weights.h5"
        model.save_weights(partial)
        partial.replace(weights_file(folder, epoch + 1))
        write_figures(folder, rows)
        print(json.dumps({name: round(value, 4) for name, value in rows[-1].items()}), flush=True)
    return rows


def read_figures(folder: Path) -> list[dict[str, float]]:
    """The rows of the folder's ``curves.csv``; none where there is no such file."""
    figures = folder / "curves.csv"
    if not figures.exists():
        return []
    with figures.open(newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def write_figures(folder: Path, rows: list[dict[str, float]]) -> None:
    """Writes ``curves.csv`` (one row an epoch) and draws it as ``curves.png``."""
    partial = folder / "curves.csv.part"
    with partial.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(folder / "curves.csv")
    draw_curves(rows, folder / "curves.png")


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """One small panel for each figure over the epochs, as PNG."""
    from matplotlib.figure import Figure

    names = [name for name in rows[0] if name != "epoch"]
    figure = Figure(figsize=(3 * len(names), 2.6), layout="constrained")
    for panel, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
        panel.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=".")
        panel.set_title(name)
        panel.set_xlabel("epoch")
    figure.savefig(path, dpi=100)
