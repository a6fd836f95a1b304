"""One training from the command line: what both networks are told, and the way from examples to a model folder."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from crystal_search.archives import Name
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from training import backend, export, loop, shards
from training.kept_weights import SUFFIXES, Start, keep, put, read_start
from training.rates import levels

_log = logging.getLogger("train")

#: First learning rates: of weights that are random, and of such that have learnt already.
RATE, RATE_FROM = 2e-3, 2e-4


@dataclass(frozen=True, slots=True)
class Run:
    """What both trainings are told; see the command line's help."""

    out: Path
    work: Path
    epochs: int
    steps: int | None
    batch: int
    rate: float | None
    seed: int
    held_out: int
    workers: int
    resume: bool
    last_rate: float | None = None
    patience: int = 0
    average: float = 0.0
    take: str = "best"
    precision: str = "float32"
    source: Path | None = None
    data_share: float = 0.33

    @property
    def first_rate(self) -> float:
        """The first learning rate, smaller by default where the weights have learnt already."""
        return self.rate or (RATE_FROM if self.source else RATE)

    def plan(self, examples: int) -> loop.Plan:
        """The plan: an epoch shows as many examples as there are, unless its steps are given."""
        steps = self.steps or max(1, examples // self.batch)
        return loop.Plan(self.epochs, steps, self.batch, self.first_rate, self.seed, self.last_rate, self.patience, self.average)

    def examples(self, draw: shards.Draw, folder: Path, count: int, size: int) -> tuple[shards.Arrays, shards.Arrays]:
        """Training and held-out examples, drawn where they are missing."""
        there = partial(shards.draw_shards, draw, size=size, workers=self.workers)
        validation = there(folder / "validation", self.held_out, seed=shards.VALIDATION_SEED, title="drawing held-out examples")
        training = there(folder / "training", count, seed=1, title="drawing examples")
        return shards.load(training), shards.load(validation)

    def start(self, network: str) -> Start | None:
        """Checks everything that needs no examples, and returns the kept weights to start from, where some are named.

        Raises ``UsageError`` and ``SettingsError`` with one line for what can not be used.
        """
        try:
            levels(self.first_rate, self.last_rate)
        except ValueError as error:
            raise UsageError(f"--last-rate: {error}") from error
        try:
            msgspec.convert(self.out.resolve().name, Name)
        except msgspec.ValidationError as error:
            raise UsageError(f"--out {self.out}: a model can not have this name ({error})") from error
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out {self.out} is a file: name a folder")
        if self.source and self.out.resolve() in (self.source.resolve(), self.source.resolve().parent):
            raise UsageError(f"--out {self.out} is what --from starts from, and stays as it is: name another folder")
        export.read_settings(self.out)
        backend.start(self.seed, compiled=network == "drop")
        return read_start(self.source, network) if self.source else None


@dataclass(frozen=True, slots=True)
class Trained:
    """A network after training: the exported epoch's weights in float32, its figures and all rows."""

    model: Any
    epoch: int
    rows: loop.Rows
    figures: Mapping[str, float]
    seconds: float
    plan: loop.Plan
    before: Mapping[str, float]  #: figures of the weights that it started from; empty where they were random


def train_network(
    run: Run,
    build: Callable[[], Any],
    start: Start | None,
    compile_network: Callable[[Any, Any], None],
    draw: loop.Draw,
    validate: loop.Validate,
    folder: Path,
    plan: loop.Plan,
    identity: Mapping[str, Any],
) -> Trained:
    """Trains the network that ``build`` makes, in the work folder ``folder``, and takes the best or the last epoch's weights."""
    import keras

    started = time.monotonic()
    keras.utils.set_random_seed(run.seed)
    with backend.precision(run.precision):
        model = build()
    if start:
        put(start, model)
    compile_network(model, keras.optimizers.Adam(plan.rate, clipnorm=1.0))
    before = validate(model) if start else {}
    told = {"seed": run.seed, "average": run.average, "from": start.sha256 if start else "", **identity}
    rows = loop.fit(model, draw, validate, folder / "fit", plan, resume=run.resume, title=folder.name, identity=told)
    epoch = loop.best_epoch(rows) if run.take == "best" else len(rows)
    if epoch != len(rows):
        loop.go_to(model, folder / "fit", epoch, plan)
    plain = build()  # float32, whatever it was trained in
    plain.set_weights(model.get_weights())
    figures = rows[epoch - 1] if run.precision == "float32" else {**rows[epoch - 1], **validate(plain)}
    if start and not figures[loop.LOSS] < before[loop.LOSS]:
        _log.warning("no epoch is better on held-out examples than %s, from which this started", start.file)
    return Trained(plain, epoch, rows, figures, time.monotonic() - started, plan, before)


def write_network(
    run: Run,
    network: str,
    trained: Trained,
    file: str,
    examples: Sequence[npt.NDArray[np.float32]],
    start: Start | None,
    exported: Callable[[Any], Any] = lambda model: model,
) -> dict[str, Any]:
    """Writes ONNX and Keras weights into the model folder and returns what ``model.toml`` says of the training, but for its data.

    ``exported`` makes of the trained network the one that clients run. The rest of the folder comes from the model that the training
    started from, where it has none of its own.
    """
    try:
        run.out.mkdir(parents=True, exist_ok=True)
        if start and start.folder:
            export.inherit(run.out, start.folder)
        weights = run.out / f"{network}{SUFFIXES[0]}"
        keep(trained.model, weights)
        difference = export.export_onnx(exported(trained.model), run.out / file, examples)
    except OSError as error:
        raise TryAgainLater(f"can not write to {run.out} ({error.strerror}): the training is kept, add --resume") from error
    except ValueError as error:
        raise CrystalSearchError(str(error)) from error
    plan = trained.plan
    record: dict[str, Any] = {
        "weights": weights.name,
        "weights_sha256": export.sha256(weights),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "epochs": len(trained.rows),
        "exported_epoch": trained.epoch,
        "steps": plan.steps,
        "batch": plan.batch,
        "rate": plan.rate,
        "last_rate": min(row["rate"] for row in trained.rows),
        "patience": plan.patience,
        "average": plan.average,
        "seed": plan.seed,
        "precision": run.precision,
        "seconds_of_last_run": round(trained.seconds),
        "parameters": trained.model.count_params(),
        "backend": backend.choose_backend(),
        "versions": export.versions(),
        "difference_to_onnx": float(f"{difference:.2g}"),
        "held_out_figures": {name: round(value, 4) for name, value in trained.figures.items() if name not in ("epoch", "rate")},
    }
    if start:
        loss_before = round(trained.before[loop.LOSS], 4)
        record["from"] = {"model": start.name, "file": start.file.name, "sha256": start.sha256, loop.LOSS: loss_before}
    return record


def licence_of_data(folder: Path, sources: Sequence[str], *, drawn: bool) -> dict[str, Any]:
    """The table ``licences`` with the photographs that this training used; what it said of others stays."""
    said = str(export.read_settings(folder).get("licences", {}).get("training_data", export.DRAWN_ONLY if drawn else ""))
    mine = f"photographs of {', '.join(sources)}: their owners' rights, not part of this folder"
    if not sources or mine in said:
        return {}
    return {"licences": {"training_data": "; ".join(filter(None, [said.replace("; no photograph was used", ""), mine]))}}
