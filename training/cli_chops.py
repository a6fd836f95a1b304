"""``crystal-search train chops``: the chop classifier of a model folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from crystal_search.classes import NAMES
from crystal_search.errors import UsageError
from training import chops, export, run, run_file, shards, sources
from training.chop_networks import CHOICES, PADDING_FREE, ChopNetwork, answering_as_table, chop_network
from training.datasets.loading import DataSet, read_dataset
from training.options import training_options
from training.outputs import BY_KEY, THIRTEEN, Outputs
from training.replacing import check_replacement, rival_of
from training.run import Run, Trained
from training.sources import DRAWN_FROM, Parts

_log = logging.getLogger("train")
_FOLDER = click.Path(file_okay=False, path_type=Path)
#: Seeds in a shard, and examples to draw for a network that knows nothing.
CHOPS_SHARD, DRAWN_CHOPS = 50, 40_000
#: Training chops that the training accuracy is measured on.
_LOOKED_AT = 500


@click.command("chops")
@click.option("--chops", "count", type=click.IntRange(0), help=f"Chops to draw. [default: {DRAWN_CHOPS}, with --from {DRAWN_FROM}]")
@click.option("--data", type=_FOLDER, multiple=True, help="Data set of `crystal-search dataset build`; may stand more than once.")
@click.option(
    "--network",
    type=click.Choice(CHOICES),
    default=PADDING_FREE,
    show_default=True,
    help="The one that ships, which runs over a drop in one pass, or one of the paper's, which run chop by chop.",
)
@click.option(
    "--classes",
    type=click.Choice(list(BY_KEY)),
    default=THIRTEEN.key,
    show_default=True,
    help="13: all; 5: the four groups and rim; marco: MARCO's four.",
)
@click.option("--window", type=click.IntRange(32, 1024), default=chops.WINDOW, show_default=True, help="Side of a chop in px.")
@click.option(
    "--balance",
    type=click.Choice(["shares", "data"]),
    default="shares",
    show_default=True,
    help="How often classes are shown: in fixed shares, rare ones more often than they occur, or as in the data.",
)
@click.option("--drop-from", type=_FOLDER, help="Model folder whose drop finder the new model gets, where it has none of its own.")
@click.option("--replace-anyway", is_flag=True, help="Replace the model in --out even by one that is worse on the data sets' test plates.")
@click.option("--epochs", type=click.IntRange(0), default=8, show_default=True, help="Epochs at most.")
@training_options
def train_chops(
    count: int | None,
    data: tuple[Path, ...],
    network: str,
    classes: str,
    window: int,
    balance: str,
    drop_from: Path | None,
    replace_anyway: bool,
    **options: Any,
) -> None:
    """Trains the chop classifier.

    A model in --out is replaced only by one that is at least as good on the test plates of --data.
    """
    told, outputs = Run(**options), BY_KEY[classes]
    kind = chop_network(network, window, outputs)
    if kind.rate and told.rate is None and not told.source:
        told = replace(told, rate=kind.rate)
    start = told.start("chops")
    sets = [read_dataset(folder, window) for folder in data]
    rival = None if replace_anyway else rival_of(told.out, sets, window)
    count = (DRAWN_FROM if start else DRAWN_CHOPS) if count is None else count
    if not count and not sets:
        raise UsageError("--chops 0 and no --data: there is nothing to train on")
    folder = chops.work_folder(told.work, window)
    drawn = told.examples(chops.drawer(window), folder, count, CHOPS_SHARD) if count else None
    own = (shards.join([one.training for one in sets]), shards.join([one.validation for one in sets])) if sets else None
    missing = _missing_classes(own, drawn)
    if told.epochs == 0:
        return
    # One picker for each source, made once: it sorts the chops by class.
    parts = [part for part in (own, drawn) if part]
    pickers = {id(part[0]): chops.Balanced(part[0], window, as_in_data=balance == "data", outputs=outputs) for part in parts}
    looked_at = {id(part[1]): chops.some(part[0], _LOOKED_AT) for part in parts}

    def validate(held_out: shards.Arrays, model: Any) -> dict[str, float]:
        return chops.validate(held_out, window, model, outputs, looked_at[id(held_out)])

    draw, figures = sources.mix(told, lambda part, rng, size: pickers[id(part)](rng, size), validate, own, drawn)
    identity = _identity(told, kind, outputs, window, balance, sets, drawn=bool(count))
    plan = told.plan(sources.count(own, drawn))
    trained = run.train_network(told, kind.build, start, _compile_chops, draw, figures, folder, plan, identity)
    check_replacement(rival, trained.model, outputs, window, told.out)
    held_out = (own or drawn or ({}, {}))[1]
    exported = partial(answering_as_table, outputs=outputs)
    record = run.write_network(told, "chops", trained, export.CHOPS_FILE, _probes(kind, held_out, window, told.seed), start, exported)
    record |= sources.record(own, drawn, told) | {"balance": balance, "classes_without_examples": missing}
    record |= {"network": network, "outputs": list(outputs.names), "window": window}
    if sets:
        record["data_sets"] = {f"{number}": _set_record(one) for number, one in enumerate(sets, 1)}
    _write(told, trained, outputs, window, kind, sets, held_out, record, count)
    if drop_from and not (told.out / export.DROP_FILE).exists():
        export.take_drop(told.out, drop_from)
    run_file.write(told.out, trained, record, folder / "fit")
    click.echo(f"wrote {told.out / export.CHOPS_FILE} (epoch {trained.epoch} of {len(trained.rows)})")


def _write(
    told: Run,
    trained: Trained,
    outputs: Outputs,
    window: int,
    kind: ChopNetwork,
    sets: Sequence[DataSet],
    held_out: shards.Arrays,
    record: dict[str, Any],
    count: int,
) -> None:
    """``model.toml``."""
    temperature = chops.temperature(chops.logits(trained.model, held_out, window), outputs.labels(held_out["labels"]))
    tables: dict[str, Any] = {
        "chops": kind.settings(told.out, window),
        "calibration": {"temperature": temperature},
        "training": {"chops": record},
        **run.licence_of_data(told.out, [f"the data set {one.name}" for one in sets], drawn=bool(count)),
    }
    if sets and not count:
        tables["drop_types"] = sorted({kind for one in sets for kind in one.drop_types}) or ["vapour diffusion"]
    export.write_settings(told.out, tables)


def _identity(
    told: Run, kind: ChopNetwork, outputs: Outputs, window: int, balance: str, sets: Sequence[DataSet], *, drawn: bool
) -> dict[str, Any]:
    """What may not change while a training is gone on with; the usual network is not named, as trainings of earlier versions do not."""
    identity: dict[str, Any] = {"network": "chops", "window": window, "balance": balance, "drawn": drawn}
    identity["data"] = [one.sha256 for one in sets]
    if sets and drawn:
        identity["data_share"] = told.data_share
    if kind.key != PADDING_FREE:
        identity["kind"] = kind.key
    if outputs is not THIRTEEN:
        identity["classes"] = outputs.key
    return identity


def _probes(kind: ChopNetwork, held_out: shards.Arrays, window: int, seed: int) -> list[chops.Pixels]:
    """What the exported network is compared with Keras on."""
    own = [chops.centred(held_out, window, 0, 4)]
    side = window * 11 // 10
    return own + ([np.random.default_rng(seed).uniform(0, 1.2, (1, side, side + 65, 1)).astype(np.float32)] if kind.any_size else [])


def _compile_chops(model: Any, optimizer: Any) -> None:
    model.compile(optimizer, chops.loss)


def _missing_classes(own: Parts | None, drawn: Parts | None) -> list[str]:
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
