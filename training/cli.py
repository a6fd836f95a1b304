"""``crystal-search train``: the networks of a model folder, from drawn wells, a lab's own images, or both."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from crystal_search.cli import main
from crystal_search.errors import CrystalSearchError, UsageError
from training import backend, drop, export, run, sources
from training.cli_chops import train_chops
from training.kept_weights import Start
from training.masks import Masks, read_masks
from training.options import training_options
from training.run import Run
from training.sources import DRAWN_FROM

_log = logging.getLogger("train")
_FOLDER = click.Path(file_okay=False, path_type=Path)
#: Seeds in a shard, and examples to draw for a network that knows nothing.
DROP_SHARD, DRAWN_DROPS = 250, 20_000


@click.group()
def train() -> None:
    """Trains a network on drawn wells, your own images or both, and puts it into a model folder.

    Every epoch ends with a checkpoint: a training that was killed goes on with --resume, also with more examples or epochs than before.
    With --epochs 0 examples are drawn and nothing else happens. KERAS_BACKEND chooses tensorflow (default), torch or jax.
    """


@train.command("drop")
@click.option("--images", type=click.IntRange(0), help=f"Wells to draw. [default: {DRAWN_DROPS}, with --from {DRAWN_FROM}]")
@click.option("--data", type=_FOLDER, help="Folder with images/NAME.jpg and masks/NAME.png, in which all but black is the drop.")
@click.option("--filters", type=click.IntRange(1, 64), help="Filters of the U-Net's first level; the paper's had 64. [default: 8]")
@click.option("--side", type=click.IntRange(32, 1024), help="Side of the U-Net's view in px, a multiple of 32. [default: 128]")
@click.option("--epochs", type=click.IntRange(0), default=12, show_default=True, help="Epochs at most.")
@training_options
def train_drop(images: int | None, data: Path | None, filters: int | None, side: int | None, **options: Any) -> None:
    """Trains the drop finder."""
    told = Run(**options)
    if side and side % 32:
        raise UsageError(f"--side {side}: not a multiple of 32")
    start = told.start("drop")
    filters, side = _unet_size(filters, side, start)
    masks = _masks(data, side) if data else None
    count = (DRAWN_FROM if start else DRAWN_DROPS) if images is None else images
    if not count and not masks:
        raise UsageError("--images 0 and no --data: there is nothing to train on")
    folder = drop.work_folder(told.work)
    examples = folder if side == drop.SIDE else folder / f"side-{side}"  # examples of another side are other examples
    drawn = told.examples(drop.drawer(side), examples, count, DROP_SHARD) if count else None
    if told.epochs == 0:
        return
    own = (masks.training, masks.validation) if masks else None
    draw, validate = sources.mix(told, drop.batch, drop.validate, own, drawn)
    identity = {"network": "drop", "filters": filters, "side": side, "data": [masks.sha256] if masks else [], "drawn": bool(count)}
    if masks and count:
        identity["data_share"] = told.data_share
    trained = run.train_network(
        told, partial(_unet, filters, side), start, _compile_drop, draw, validate, folder, told.plan(sources.count(own, drawn)), identity
    )
    held_out = (own or drawn or ({}, {}))[1]
    probe = held_out["pixels"][:8].astype(np.float32)[..., np.newaxis]
    record = run.write_network(told, "drop", trained, export.DROP_FILE, [probe], start)
    record |= sources.record(own, drawn, told) | {"filters": filters}
    if masks and data:
        record["masks"] = {
            "folder": data.resolve().name,
            "sha256": masks.sha256,
            "training": len(masks.training["pixels"]),
            "validation": len(masks.validation["pixels"]),
            "left_out": len(masks.left_out),
        }
    licence = run.licence_of_data(told.out, [f"the masks in {data.resolve().name}"] if data else [], drawn=bool(count))
    export.write_settings(told.out, {"drop": export.drop_settings(told.out, side), "training": {"drop": record}, **licence})
    click.echo(f"wrote {told.out / export.DROP_FILE} (epoch {trained.epoch} of {len(trained.rows)})")
    if masks and masks.left_out:
        raise CrystalSearchError(f"{told.out} is written; {len(masks.left_out)} images, masks or rows were left out, one line each above")


def _unet(filters: int, side: int) -> Any:
    from training.networks import drop_unet

    return drop_unet(filters, side)


def _unet_size(filters: int | None, side: int | None, start: Start | None) -> tuple[int, int]:
    """Filters and side: as told, else those of the kept weights. Raises ``UsageError`` where the two differ."""
    there: dict[str, Any] = {}
    if start:
        there["filters"] = start.settings.get("training", {}).get("drop", {}).get("filters")
        there["side"] = start.settings.get("drop", {}).get("side")
        if start.weights:
            there |= {"filters": int(start.weights[0].shape[-1]), "side": start.side or there["side"]}
    for name, value in (("filters", filters), ("side", side)):
        if start and value and there[name] and value != there[name]:
            raise UsageError(f"--{name} {value}: {start.file} has {there[name]}")
    return filters or there.get("filters") or 8, side or there.get("side") or drop.SIDE


def _masks(folder: Path, side: int) -> Masks:
    masks = read_masks(folder, side)
    for line in masks.left_out:
        _log.warning("left out %s", line)
    for line in masks.notes:
        _log.warning("%s", line)
    return masks


def _compile_drop(model: Any, optimizer: Any) -> None:
    # Compiled as a whole, the U-Net is faster on TensorFlow; elsewhere Keras knows best.
    model.compile(optimizer, drop.loss, jit_compile=True if backend.compiles(model) else "auto")


train.add_command(train_chops)


if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
