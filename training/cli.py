"""``crystal-search train``: the networks of a model folder, from drawn wells."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from training import chops, drop, export, loop, shards

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What both trainings take."""
    for option in (
        click.option("--resume", is_flag=True, help="Go on with the training in the work folder."),
        click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that draw wells."),
        click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Examples a step."),
        click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="First learning rate; it falls stepwise."),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the weights and of the order of examples."),
        click.option("--steps", type=click.IntRange(1), default=None, help="Steps an epoch [default: as many as show each example once]."),
        click.option("--held-out", type=click.IntRange(1), default=2000, show_default=True, help="Examples kept for validation."),
        click.option("--work", type=_FOLDER, default=Path("runs/train"), show_default=True,
                     help="Where drawn examples and checkpoints are kept. Take a new one when training/synthetic has changed."),
        click.option("--out", type=_FOLDER, required=True, help="The model folder to write to."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def train() -> None:
    """Trains a network on drawn wells and puts it into a model folder.

    An epoch's end is a checkpoint: kill a training and start it again with --resume. With --epochs 0 examples are drawn and nothing else
    happens.
    """


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
        return  # already in use, as in a notebook: its threads stay as they are


def _data(draw: shards.Draw, folder: Path, count: int, held_out: int, size: int, workers: int) -> tuple[shards.Arrays, shards.Arrays]:
    """Training and held-out examples, drawn where they are missing."""
    there = partial(shards.draw_shards, draw, size=size, workers=workers)
    validation = there(folder / "validation", held_out, seed=shards.VALIDATION_SEED, title="drawing held-out examples")
    training = there(folder / "training", count, seed=1, title="drawing examples")
    return shards.load(training), shards.load(validation)


def _fit(model: Any, draw: Any, validate: Any, folder: Path, plan: loop.Plan, resume: bool, title: str) -> tuple[list[dict[str, float]], float]:
    """Rows of figures and seconds of this run."""
    started = time.monotonic()
    try:
        rows = loop.fit(model, draw, validate, folder, plan, resume=resume, title=title)
    except FileExistsError as error:
        raise click.ClickException(str(error)) from error
    return rows, time.monotonic() - started


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
        "held_out_figures": {name: round(value, 4) for name, value in row.items() if name != "epoch"},
    }


@train.command("drop")
@click.option("--images", type=click.IntRange(1), default=20000, show_default=True, help="Wells to draw.")
@click.option("--epochs", type=click.IntRange(0), default=12, show_default=True)
@_options
def train_drop(
    images: int, epochs: int, out: Path, work: Path, held_out: int, steps: int | None, seed: int, rate: float, batch: int, workers: int, resume: bool
) -> None:
    """Trains the drop finder."""
    _need_tensorflow()
    folder = drop.work_folder(work)
    data, validation = _data(drop.drawer(), folder, images, held_out, 250, workers)
    if epochs == 0:
        return
    import keras

    from training.networks import drop_unet

    keras.utils.set_random_seed(seed)
    model = drop_unet(side=drop.SIDE)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), drop.loss, jit_compile=True)
    plan = loop.Plan(epochs, steps or max(1, len(data["pixels"]) // batch), batch, rate, seed)
    rows, seconds = _fit(model, partial(drop.batch, data), partial(_validate_drop, validation), folder / "fit", plan, resume, "drop")
    out.mkdir(parents=True, exist_ok=True)
    export.export_onnx(model, out / export.DROP_FILE, [validation["pixels"][:8].astype(np.float32)[..., np.newaxis]])
    record = _record(data, plan, rows[-1], seconds, model.count_params())
    export.write_settings(out, {"drop": export.drop_settings(out, drop.SIDE), "training": {"drop": record}})
    click.echo(f"wrote {out / export.DROP_FILE}")


def _validate_drop(validation: shards.Arrays, model: Any) -> dict[str, float]:
    return drop.validate(model, validation)


@train.command("chops")
@click.option("--chops", "count", type=click.IntRange(1), default=40000, show_default=True, help="Chops to draw.")
@click.option("--epochs", type=click.IntRange(0), default=8, show_default=True)
@_options
def train_chops(
    count: int, epochs: int, out: Path, work: Path, held_out: int, steps: int | None, seed: int, rate: float, batch: int, workers: int, resume: bool
) -> None:
    """Trains the chop classifier."""
    _need_tensorflow()
    folder = chops.work_folder(work)
    data, validation = _data(chops.drawer(), folder, count, held_out, 50, workers)
    if epochs == 0:
        return
    import keras

    from training.networks import chop_squeezenet

    keras.utils.set_random_seed(seed)
    model = chop_squeezenet()
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), chops.loss)
    plan = loop.Plan(epochs, steps or max(1, len(data["pixels"]) // batch), batch, rate, seed)
    rows, seconds = _fit(model, chops.Balanced(data), partial(chops.validate, validation, chops.WINDOW), folder / "fit", plan, resume, "chops")
    out.mkdir(parents=True, exist_ok=True)
    larger = np.random.default_rng(seed).uniform(0, 1.2, (1, 245, 310, 1)).astype(np.float32)
    export.export_onnx(model, out / export.CHOPS_FILE, [chops.centred(validation, chops.WINDOW, 0, 4), larger])
    temperature = chops.temperature(chops.logits(model, validation), validation["labels"])
    record = _record(data, plan, rows[-1], seconds, model.count_params())
    tables = {"chops": export.chop_settings(out, chops.WINDOW), "calibration": {"temperature": temperature}, "training": {"chops": record}}
    export.write_settings(out, tables)
    click.echo(f"wrote {out / export.CHOPS_FILE}")


if __name__ == "__main__":
    train()
