"""``crystal-search train``: the networks of a model folder, from drawn wells."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from training import chops, drop, export, loop, shards

_FOLDER = click.Path(file_okay=False, path_type=Path)
#: Seeds in a shard: a well gives one view of a drop, but many chops.
DROP_SHARD, CHOPS_SHARD = 250, 50


@dataclass(frozen=True, slots=True)
class Run:
    """What both trainings are told."""

    out: Path
    work: Path
    epochs: int
    steps: int | None
    batch: int
    rate: float
    seed: int
    held_out: int
    workers: int
    resume: bool

    def plan(self, examples: int) -> loop.Plan:
        """The plan: an epoch shows as many examples as there are, unless its steps are given."""
        return loop.Plan(self.epochs, self.steps or max(1, examples // self.batch), self.batch, self.rate, self.seed)

    def examples(self, draw: shards.Draw, folder: Path, count: int, size: int) -> tuple[shards.Arrays, shards.Arrays]:
        """Training and held-out examples, drawn where they are missing."""
        there = partial(shards.draw_shards, draw, size=size, workers=self.workers)
        validation = there(folder / "validation", self.held_out, seed=shards.VALIDATION_SEED, title="drawing held-out examples")
        training = there(folder / "training", count, seed=1, title="drawing examples")
        return shards.load(training), shards.load(validation)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that make a :class:`Run`."""
    work_help = "Where drawn examples and checkpoints are kept. Take a new one when training/synthetic has changed."
    for option in (
        click.option("--resume", is_flag=True, help="Go on with the training in the work folder."),
        click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that draw wells."),
        click.option("--held-out", type=click.IntRange(1), default=2000, show_default=True, help="Examples kept for validation."),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the weights and of the order of examples."),
        click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="First learning rate."),
        click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Examples a step."),
        click.option("--steps", type=click.IntRange(1), help="Steps an epoch; otherwise as many as show every example once."),
        click.option("--work", type=_FOLDER, default=Path("runs/train"), show_default=True, help=work_help),
        click.option("--out", type=_FOLDER, required=True, help="The model folder to write to."),
    ):
        command = option(command)
    return command


@click.group()
def train() -> None:
    """Trains a network on drawn wells and puts it into a model folder.

    Every epoch ends with a checkpoint: a training that was killed goes on with --resume, also with more examples or epochs than before.
    With --epochs 0 examples are drawn and nothing else happens.
    """


@train.command("drop")
@click.option("--images", type=click.IntRange(1), default=20000, show_default=True, help="Wells to draw.")
@click.option("--epochs", type=click.IntRange(0), default=12, show_default=True, help="Epochs in all.")
@_options
def train_drop(images: int, **options: Any) -> None:
    """Trains the drop finder."""
    run = Run(**options)
    _need_tensorflow()
    folder = drop.work_folder(run.work)
    data, validation = run.examples(drop.drawer(), folder, images, DROP_SHARD)
    if run.epochs == 0:
        return
    import keras

    from training.networks import drop_unet

    keras.utils.set_random_seed(run.seed)
    model = drop_unet(side=drop.SIDE)
    model.compile(keras.optimizers.Adam(run.rate, clipnorm=1.0), drop.loss)
    started, plan = time.monotonic(), run.plan(len(data["pixels"]))
    rows = _fit(model, partial(drop.batch, data), partial(drop.validate, validation), folder / "fit", plan, run.resume)
    run.out.mkdir(parents=True, exist_ok=True)
    export.export_onnx(model, run.out / export.DROP_FILE, [validation["pixels"][:8].astype(np.float32)[..., np.newaxis]])
    record = _record(data, plan, rows[-1], time.monotonic() - started, model.count_params())
    export.write_settings(run.out, {"drop": export.drop_settings(run.out, drop.SIDE), "training": {"drop": record}})
    click.echo(f"wrote {run.out / export.DROP_FILE}")


@train.command("chops")
@click.option("--chops", "count", type=click.IntRange(1), default=40000, show_default=True, help="Chops to draw.")
@click.option("--epochs", type=click.IntRange(0), default=8, show_default=True, help="Epochs in all.")
@_options
def train_chops(count: int, **options: Any) -> None:
    """Trains the chop classifier."""
    run = Run(**options)
    _need_tensorflow()
    folder = chops.work_folder(run.work)
    data, validation = run.examples(chops.drawer(), folder, count, CHOPS_SHARD)
    if run.epochs == 0:
        return
    import keras

    from training.networks import chop_squeezenet

    keras.utils.set_random_seed(run.seed)
    model = chop_squeezenet()
    model.compile(keras.optimizers.Adam(run.rate, clipnorm=1.0), chops.loss)
    started, plan = time.monotonic(), run.plan(len(data["pixels"]))
    rows = _fit(model, chops.Balanced(data), partial(chops.validate, validation, chops.WINDOW), folder / "fit", plan, run.resume)
    run.out.mkdir(parents=True, exist_ok=True)
    larger = np.random.default_rng(run.seed).uniform(0, 1.2, (1, 245, 310, 1)).astype(np.float32)
    export.export_onnx(model, run.out / export.CHOPS_FILE, [chops.centred(validation, chops.WINDOW, 0, 4), larger])
    temperature = chops.temperature(chops.logits(model, validation), validation["labels"])
    record = _record(data, plan, rows[-1], time.monotonic() - started, model.count_params())
    tables = {
        "chops": export.chop_settings(run.out, chops.WINDOW),
        "calibration": {"temperature": temperature},
        "training": {"chops": record},
    }
    export.write_settings(run.out, tables)
    click.echo(f"wrote {run.out / export.CHOPS_FILE}")


def _need_tensorflow() -> None:
    """Imports TensorFlow on two threads, or ends with one line that says how to get it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise click.ClickException("training needs TensorFlow: pip install 'crystal-search[training]'") from error
    try:
        tf.config.threading.set_intra_op_parallelism_threads(2)
        tf.config.threading.set_inter_op_parallelism_threads(2)
    except RuntimeError:
        return  # TensorFlow is in use already, as in a notebook: its threads stay as they are


def _fit(model: Any, draw: loop.Draw, validate: loop.Validate, folder: Path, plan: loop.Plan, resume: bool) -> list[dict[str, float]]:
    """One row of figures an epoch; a folder with another training ends the program with one line."""
    try:
        return loop.fit(model, draw, validate, folder, plan, resume=resume, title=folder.parent.name)
    except FileExistsError as error:
        raise click.ClickException(str(error)) from error


def _record(data: shards.Arrays, plan: loop.Plan, row: dict[str, float], seconds: float, parameters: int) -> dict[str, Any]:
    """How a network was trained, for ``model.toml``."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "examples": len(data["pixels"]),
        "painter": [str(version) for version in data["painter"]],
        "epochs": plan.epochs,
        "steps": plan.steps,
        "batch": plan.batch,
        "rate": plan.rate,
        "seed": plan.seed,
        "seconds_of_last_run": round(seconds),
        "parameters": parameters,
        "versions": export.versions(),
        "held_out_figures": {name: round(value, 4) for name, value in row.items() if name not in ("epoch", "rate")},
    }


if __name__ == "__main__":
    train()
