"""``crystal-search train``: the networks of a model folder, from drawn wells, a lab's own images, or both."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from crystal_search.classes import NAMES
from crystal_search.cli import main
from crystal_search.errors import CrystalSearchError, UsageError
from training import backend, chops, drop, export, loop, mixture, run, shards
from training.datasets.loading import DataSet, read_dataset
from training.kept_weights import Start
from training.masks import Masks, read_masks
from training.options import training_options
from training.run import Run

_log = logging.getLogger("train")
_FOLDER = click.Path(file_okay=False, path_type=Path)
#: Seeds in a shard: a well gives one view of a drop, but many chops.
DROP_SHARD, CHOPS_SHARD = 250, 50
#: Examples to draw: for a network that knows nothing, and beside a lab's images for one that has learnt already.
DRAWN_DROPS, DRAWN_CHOPS, DRAWN_FROM = 20_000, 40_000, 10_000


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
    draw, validate = _mix(told, drop.batch, drop.validate, own, drawn)
    identity = {"network": "drop", "filters": filters, "side": side, "data": [masks.sha256] if masks else [], "drawn": bool(count)}
    if masks and count:
        identity["data_share"] = told.data_share
    trained = run.train_network(
        told, partial(_unet, filters, side), start, _compile_drop, draw, validate, folder, told.plan(_count(own, drawn)), identity
    )
    held_out = (own or drawn or ({}, {}))[1]
    probe = held_out["pixels"][:8].astype(np.float32)[..., np.newaxis]
    record = run.write_network(told, "drop", trained, export.DROP_FILE, [probe], start)
    record |= _sources(own, drawn, told) | {"filters": filters}
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


@train.command("chops")
@click.option("--chops", "count", type=click.IntRange(0), help=f"Chops to draw. [default: {DRAWN_CHOPS}, with --from {DRAWN_FROM}]")
@click.option("--data", type=_FOLDER, multiple=True, help="Data set of `crystal-search dataset build`; may stand more than once.")
@click.option(
    "--balance",
    type=click.Choice(["shares", "data"]),
    default="shares",
    show_default=True,
    help="How often classes are shown: in fixed shares, rare ones more often than they occur, or as in the data.",
)
@click.option("--epochs", type=click.IntRange(0), default=8, show_default=True, help="Epochs at most.")
@training_options
def train_chops(count: int | None, data: tuple[Path, ...], balance: str, **options: Any) -> None:
    """Trains the chop classifier."""
    told = Run(**options)
    start = told.start("chops")
    sets = [read_dataset(folder, chops.WINDOW) for folder in data]
    count = (DRAWN_FROM if start else DRAWN_CHOPS) if count is None else count
    if not count and not sets:
        raise UsageError("--chops 0 and no --data: there is nothing to train on")
    folder = chops.work_folder(told.work)
    drawn = told.examples(chops.drawer(), folder, count, CHOPS_SHARD) if count else None
    own = (shards.join([one.training for one in sets]), shards.join([one.validation for one in sets])) if sets else None
    missing = _missing_classes(own, drawn)
    if told.epochs == 0:
        return
    from training.networks import chop_squeezenet

    # One picker for each source, made once: it sorts the chops by class.
    pickers = {id(part[0]): chops.Balanced(part[0], as_in_data=balance == "data") for part in (own, drawn) if part}
    draw, validate = _mix(told, lambda part, rng, size: pickers[id(part)](rng, size), _validate_chops, own, drawn)
    identity: dict[str, Any] = {"network": "chops", "window": chops.WINDOW, "balance": balance, "drawn": bool(count)}
    identity["data"] = [one.sha256 for one in sets]
    if sets and count:
        identity["data_share"] = told.data_share
    plan = told.plan(_count(own, drawn))
    trained = run.train_network(told, chop_squeezenet, start, _compile_chops, draw, validate, folder, plan, identity)
    held_out = (own or drawn or ({}, {}))[1]
    larger = np.random.default_rng(told.seed).uniform(0, 1.2, (1, 245, 310, 1)).astype(np.float32)
    probes = [chops.centred(held_out, chops.WINDOW, 0, 4), larger]
    record = run.write_network(told, "chops", trained, export.CHOPS_FILE, probes, start)
    record |= _sources(own, drawn, told) | {"balance": balance, "classes_without_examples": missing}
    if sets:
        record["data_sets"] = {f"{number}": _set_record(one) for number, one in enumerate(sets, 1)}
    tables: dict[str, Any] = {
        "chops": export.chop_settings(told.out, chops.WINDOW),
        "calibration": {"temperature": chops.temperature(chops.logits(trained.model, held_out), held_out["labels"])},
        "training": {"chops": record},
        **run.licence_of_data(told.out, [f"the data set {one.name}" for one in sets], drawn=bool(count)),
    }
    if sets and not count:
        tables["drop_types"] = sorted({kind for one in sets for kind in one.drop_types}) or ["vapour diffusion"]
    export.write_settings(told.out, tables)
    click.echo(f"wrote {told.out / export.CHOPS_FILE} (epoch {trained.epoch} of {len(trained.rows)})")


def _compile_chops(model: Any, optimizer: Any) -> None:
    model.compile(optimizer, chops.loss)


def _validate_chops(data: shards.Arrays, model: Any) -> dict[str, float]:
    return chops.validate(data, chops.WINDOW, model)


def _missing_classes(own: tuple[shards.Arrays, ...] | None, drawn: tuple[shards.Arrays, ...] | None) -> list[str]:
    """The classes that no training chop shows; says so in one line, and in another which ones only drawn chops show."""
    shown = [chops.counts(part[0]["labels"]) if part else {} for part in (own, drawn)]
    missing = [name for name in NAMES if not any(name in there for there in shown)]
    if missing:
        _log.warning("no chops of %s: the network can not learn these", ", ".join(missing))
    if own and drawn and (rare := [name for name in NAMES if name in shown[1] and name not in shown[0]]):
        _log.warning("no chops of %s in the data: only drawn ones teach these", ", ".join(rare))
    return missing


def _set_record(data: DataSet) -> dict[str, Any]:
    """What ``model.toml`` says of a data set."""
    return {
        "name": data.name,
        "sha256": data.sha256,
        "cut_with": str(data.record.get("model", {}).get("name", "")),
        "drop_types": data.drop_types,
        "training": chops.counts(data.training["labels"]),
        "validation": chops.counts(data.validation["labels"]),
    }


# ---- both ---------------------------------------------------------------------------------------------------------


def _mix(
    told: Run,
    draw: Callable[[shards.Arrays, np.random.Generator, int], loop.Batch],
    validate: Callable[[shards.Arrays, Any], dict[str, float]],
    own: tuple[shards.Arrays, shards.Arrays] | None,
    drawn: tuple[shards.Arrays, shards.Arrays] | None,
) -> tuple[loop.Draw, loop.Validate]:
    """Batches and held-out figures of the lab's own examples, of drawn ones, or of both."""
    if own and drawn:
        batches = mixture.Mixed(partial(draw, own[0]), partial(draw, drawn[0]), told.data_share)
        return batches, mixture.Both(partial(validate, own[1]), partial(validate, drawn[1]))
    training, held_out = own or drawn or ({}, {})
    return partial(draw, training), partial(validate, held_out)


def _count(*sources: tuple[shards.Arrays, shards.Arrays] | None) -> int:
    return sum(len(part[0]["pixels"]) for part in sources if part)


def _sources(
    own: tuple[shards.Arrays, shards.Arrays] | None, drawn: tuple[shards.Arrays, shards.Arrays] | None, told: Run
) -> dict[str, Any]:
    """How many examples of which kind, for ``model.toml``."""
    painters: Sequence[str] = [str(version) for version in drawn[0]["painter"]] if drawn else []
    found: dict[str, Any] = {"examples": _count(own, drawn), "drawn": _count(drawn), "painter": painters}
    return found | ({"data_share": told.data_share} if own and drawn else {})


if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
