"""Training that can be killed at any moment: one checkpoint an epoch, figures in a CSV file, curves in a picture."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError, UsageError
from training import checkpoints, timing
from training.average import Average, averaged
from training.rates import levels, planned_level, stagnation_level

_log = logging.getLogger("train")

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Draw = Callable[[np.random.Generator, int], Batch]
Validate = Callable[[Any], dict[str, float]]
Rows = list[dict[str, float]]
#: The figure that tells stagnation and the best epoch.
LOSS = "held_out_loss"
TRAINING_JSON = "training.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how: at most ``epochs`` epochs of ``steps`` batches of ``batch`` examples.

    ``rate`` is the first learning rate, ``last_rate`` the last (None: a fiftieth of the first). With a ``patience`` of n, n epochs
    without a smaller held-out loss lower the rate, and end the training at the last one; with 0 the rate falls as planned.
    ``average`` is the decay of the weights' moving average, 0 for none.
    """

    epochs: int
    steps: int
    batch: int
    rate: float
    seed: int
    last_rate: float | None = None
    patience: int = 0
    average: float = 0.0


def learning_rate(plan: Plan, epoch: int, rows: Sequence[Mapping[str, float]] = ()) -> float:
    """The learning rate of an epoch, counted from 0, after the epochs of ``rows``."""
    rates = levels(plan.rate, plan.last_rate)
    if plan.patience:
        level = stagnation_level([row.get(LOSS, math.nan) for row in rows], plan.patience)
    else:
        level = planned_level(epoch, plan.epochs, len(rates), equal=plan.last_rate is not None)
    return rates[min(level, len(rates) - 1)]


def has_stagnated(plan: Plan, rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether the held-out loss stagnates at the last learning rate, too."""
    if not plan.patience:
        return False
    return stagnation_level([row.get(LOSS, math.nan) for row in rows], plan.patience) >= len(levels(plan.rate, plan.last_rate))


def best_epoch(rows: Sequence[Mapping[str, float]]) -> int:
    """The epoch (from 1) with the smallest held-out loss, the first of equals; the last one where no loss is a number."""
    losses = [row.get(LOSS, math.nan) for row in rows]
    numbers = [loss for loss in losses if math.isfinite(loss)]
    return losses.index(min(numbers)) + 1 if numbers else len(rows)


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
    identity: Mapping[str, Any] | None = None,
) -> Rows:
    """Trains a compiled model and returns one row of figures an epoch.

    ``draw`` makes a batch; each epoch has its own random numbers, made from the seed and the epoch, for the batches and for dropout,
    so that a resumed training ends as an uninterrupted one would have. With an average, it is what is validated and what the
    model has in the end. Where ``folder`` holds more epochs than asked for, the model gets the weights of the last one asked for: that is
    how an earlier epoch is exported. ``identity`` is what may not change between the parts of a training.

    Raises ``UsageError`` when ``folder`` holds a training and ``resume`` is off, or one of another identity; ``TryAgainLater`` on a
    full disk (the epochs before stay); ``CrystalSearchError`` when the loss is no number any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.sweep(folder)
    rows = read_figures(folder)[: plan.epochs]
    if rows and not resume:
        raise UsageError(f"{folder} holds a training of {len(rows)} epochs: add --resume to go on with it, or take another --work folder")
    _claim(folder, identity, going_on=bool(rows))
    average = Average(plan.average, model.get_weights()) if plan.average else None
    rows = _go_back(folder, rows, model, average)
    for epoch in range(len(rows), plan.epochs):
        if has_stagnated(plan, rows):
            _log.info("%s: no better for %d epochs at the last rate: stopped after epoch %d", title, plan.patience, epoch)
            break
        rate, started = learning_rate(plan, epoch, rows), time.monotonic()
        loss = _run_epoch(model, draw, plan, epoch, rate, average, title)
        if not math.isfinite(loss):
            raise CrystalSearchError(f"the loss is no number in epoch {epoch + 1}: lower --rate and go on with --resume")
        with averaged(model, average):
            figures = validate(model)
        rows.append({"epoch": float(epoch + 1), "rate": rate, "loss": loss, **figures})
        checkpoints.save(checkpoints.path_of(folder, epoch + 1), model, average)
        timing.note(folder, epoch + 1, time.monotonic() - started)
        write_figures(folder, rows)  # from here on the epoch counts
        checkpoints.thin_out(folder, epoch + 1, best_epoch(rows))
        print(json.dumps({name: float(f"{value:.4g}") for name, value in rows[-1].items()}), flush=True)
    if average:
        model.set_weights(average.weights)
    return rows


def go_to(model: Any, folder: Path, epoch: int, plan: Plan) -> None:
    """Gives the model the weights after ``epoch`` epochs, averaged where the plan says so. Raises ``DamagedCheckpoint``."""
    average = Average(plan.average, model.get_weights()) if plan.average else None
    checkpoints.load(folder, epoch, model, average)
    if average:
        model.set_weights(average.weights)


def _run_epoch(model: Any, draw: Draw, plan: Plan, epoch: int, rate: float, average: Average | None, title: str) -> float:
    """The mean loss of one epoch's batches; the next batch is drawn while one is learnt."""
    rng = np.random.default_rng([plan.seed, epoch])
    _reseed(model, plan.seed, epoch)
    model.optimizer.learning_rate = rate
    losses = []
    with ahead(draw, rng, plan.batch, plan.steps) as batches:
        for inputs, targets in (bar := tqdm(batches, f"{title} {epoch + 1}/{plan.epochs}", plan.steps, mininterval=5)):
            losses.append(float(np.asarray(model.train_on_batch(inputs, targets)).ravel()[0]))
            if average:
                average.update(model.get_weights())
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return float(np.mean(losses))


def _reseed(model: Any, seed: int, epoch: int) -> None:
    """Starts dropout's random numbers anew, so that they do not depend on how many epochs ran in this process."""
    numbers = np.random.default_rng([seed, epoch, 1])
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(np.array([numbers.integers(2**31), 0], dtype=str(variable.dtype)))


def _go_back(folder: Path, rows: Rows, model: Any, average: Average | None) -> Rows:
    """Loads the last checkpoint that is whole, and returns its rows: an epoch whose checkpoint is damaged is trained again."""
    while rows:
        try:
            checkpoints.load(folder, len(rows), model, average)
        except checkpoints.DamagedCheckpoint as error:
            _log.warning("%s: epoch %d is trained again", error, len(rows))
            rows = rows[:-1]
        else:
            break
    return rows


def _claim(folder: Path, identity: Mapping[str, Any] | None, *, going_on: bool) -> None:
    """Makes ``folder`` this training's. Raises ``UsageError`` with the first difference where it holds another."""
    if identity is None:
        return
    file = folder / TRAINING_JSON
    if going_on and file.exists():  # earlier versions wrote none
        try:
            there = dict(json.loads(file.read_bytes()))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{file} is damaged: take another --work folder") from error
        for name, value in json.loads(json.dumps(dict(identity))).items():
            if there.get(name) != value:
                raise UsageError(
                    f"{folder} holds another training ({name}: {_short(there.get(name))} there, {_short(value)} here): "
                    "give the same options, or take another --work folder"
                )
    write_atomically(file, json.dumps(dict(identity), indent=1).encode())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_figures(folder: Path) -> Rows:
    """The rows of the folder's ``curves.csv``; none where there is no such file. Raises ``UsageError`` for a damaged one."""
    figures = folder / "curves.csv"
    if not figures.exists():
        return []
    try:
        with figures.open(newline="") as stream:
            return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(stream)]
    except (ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"{figures} is damaged: take another --work folder") from error


def write_figures(folder: Path, rows: Rows) -> None:
    """Writes ``curves.csv`` (one row an epoch) and draws it as ``curves.png``. Raises ``TryAgainLater`` on a full disk."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=names, restval="nan")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "curves.csv", text.getvalue().encode())
    draw_curves(rows, folder / "curves.png")


def draw_curves(rows: Rows, path: Path) -> None:
    """One small panel for each figure over the epochs, as PNG."""
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "epoch"]
    columns = min(len(names), 6)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * lines), layout="constrained")
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, names, strict=False):
        panel.plot([row["epoch"] for row in rows], [row.get(name, math.nan) for row in rows], marker=".")
        panel.set_title(name)
        panel.set_xlabel("epoch")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_atomically(path, picture.getvalue())
