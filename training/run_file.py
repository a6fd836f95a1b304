"""``run.json`` beside ``model.toml``: one training as ``crystal-search evaluate --compare`` reads it. Clients pass it over."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from crystal_search.atomic import write_atomically
from crystal_search.errors import UsageError
from training import loop
from training.run import Trained
from training.timing import epoch_seconds

FILE = "run.json"


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a training was and came to (P14). Figures are of the exported epoch; accuracies 0 to 1, None where they do not exist.

    ``megabytes`` are 2 ** 20 bytes of its weights in float32, ``images_seen`` counts an image each time that it was shown, ``data`` are the
    SHA-256 of the data sets. ``seconds`` are those of all epochs, each counted once however often the training was killed.
    """

    format: int = 1
    name: str
    network: str
    outputs: list[str]
    window: int
    seed: int
    parameters: int
    weight_layers: int
    megabytes: float
    epochs: int
    exported_epoch: int
    images_seen: int
    seconds: float
    training_accuracy: float | None
    accuracy: float | None
    top5: float | None
    loss: float | None
    data: list[str]
    date: str
    versions: str


def write(out: Path, trained: Trained, record: dict[str, Any], fit: Path) -> None:
    """Writes the run of the model folder ``out``, whose checkpoints are in ``fit``. Raises ``TryAgainLater`` on a full disk."""
    from training.zoo import weight_layers

    figures, plan = trained.figures, trained.plan
    seconds = sum(seconds for epoch, seconds in epoch_seconds(fit).items() if epoch <= len(trained.rows))
    run = RunFile(
        name=out.resolve().name,
        network=record["network"],
        outputs=record["outputs"],
        window=record["window"],
        seed=plan.seed,
        parameters=record["parameters"],
        weight_layers=weight_layers(trained.model),
        megabytes=round(record["parameters"] * 4 / 2**20, 2),
        epochs=len(trained.rows),
        exported_epoch=trained.epoch,
        images_seen=len(trained.rows) * plan.steps * plan.batch,
        seconds=round(seconds, 1),
        training_accuracy=_number(figures.get("training_accuracy")),
        accuracy=_number(figures.get("accuracy")),
        top5=_number(figures.get("top5")),
        loss=_number(figures.get(loop.LOSS)),
        data=[data["sha256"] for data in record.get("data_sets", {}).values()],
        date=record["date"],
        versions=record["versions"],
    )
    write_atomically(out / FILE, msgspec.json.format(msgspec.json.encode(run), indent=1))


def read(path: Path) -> RunFile:
    """The run of a model folder, or the run file itself. Raises ``UsageError`` with one line for what is none."""
    file = path / FILE if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunFile)
    except OSError as error:
        raise UsageError(f"{file}: can not be read ({error.strerror}): `crystal-search train chops` writes one into each model") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{file} is no run file ({error})") from error


def _number(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None
