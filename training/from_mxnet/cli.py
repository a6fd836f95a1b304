"""``crystal-search import-mxnet PREFIX EPOCH --out MODEL_FOLDER``."""

from __future__ import annotations

import datetime
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from client_app.model import load_model
from client_app.model_folders import default_model_folder
from crystal_search.archives import Name
from crystal_search.atomic import write_atomically
from crystal_search.classes import NAMES
from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.extras import require
from training import export
from training.chops import WINDOW
from training.from_mxnet.network import View, read_checkpoint, to_onnx
from training.outputs import BY_KEY
from training.records.classes import WHITE, class_names, read_classes

_log = logging.getLogger("import-mxnet")
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _numbers(_context: Any, option: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"{text!r} is not one number, or one a channel with commas between")
    if option.name == "std" and 0 in numbers:
        raise click.BadParameter("nothing can be divided by 0")
    return numbers


@click.command("import-mxnet")
@click.argument("prefix")
@click.argument("epoch", type=click.IntRange(0, 9999))
@click.option("--out", type=_FOLDER, required=True, help="The model folder to write to.")
@click.option(
    "--classes",
    metavar="FILE|LIST",
    help="What the outputs mean, in order: a file with a class a line, names with commas between, or 13, 5, marco. "
    "[default: PREFIX-classes.txt, or 13]",
)
@click.option("--window", type=click.IntRange(32, 1024), default=WINDOW, show_default=True, help="Side in px of what the network sees.")
@click.option(
    "--image-width", type=click.IntRange(64, 10_000), default=export.IMAGE_WIDTH, show_default=True, help="Of images, as it saw them."
)
@click.option(
    "--um-per-px", type=click.FloatRange(0.0, 1000.0, min_open=True), default=export.UM_PER_PX, show_default=True, help="The same."
)
@click.option(
    "--white",
    type=click.FloatRange(0.0, min_open=True),
    default=WHITE,
    show_default=True,
    help="Value of brightness 1, an image's 92nd percentile, in what it was trained on: that of our record files; some 200 for raw images.",
)
@click.option(
    "--mean", default="0", show_default=True, callback=_numbers, help="What ImageRecordIter took off: one number, or one a channel."
)
@click.option("--std", default="1", show_default=True, callback=_numbers, help="What it divided by.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="What it multiplied by.")
@click.option("--drop-from", type=_FOLDER, help="Model folder whose drop finder is taken; default the one that ships.")
@click.option("--licence", default="not stated: ask whoever trained it", show_default=True, help="Of the weights, for model.toml.")
def import_mxnet(
    prefix: str,
    epoch: int,
    out: Path,
    classes: str | None,
    window: int,
    image_width: int,
    um_per_px: float,
    white: float,
    mean: Sequence[float],
    std: Sequence[float],
    scale: float,
    drop_from: Path | None,
    licence: str,
) -> None:
    """Makes a model folder of an MXNet checkpoint, PREFIX-symbol.json and PREFIX-0007.params; MXNet itself is not needed.

    Its probabilities are MXNet's own. It is classified with chop by chop; its threshold has to be found anew (`calibrate`).
    """
    require("import-mxnet", "onnx")
    _check_out(out)
    names = _names(prefix, classes)
    checkpoint = read_checkpoint(prefix, epoch)
    network = to_onnx(checkpoint, window, View(white, mean, std, scale), names)
    finder = load_model(drop_from or default_model_folder())
    told = finder.spec.drop
    record = {
        "imported_from": [f"{file.name} {export.sha256(file)}" for file in checkpoint.files],
        "outputs": names,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "parameters": sum(int(array.size) for array in checkpoint.weights.values()),
    }
    with _whole_or_nothing(out):
        write_atomically(out / export.DROP_FILE, finder.drop.content)
        write_atomically(out / export.CHOPS_FILE, network)
        tables = {
            "um_per_px": um_per_px,
            "image_width": image_width,
            "drop": export.drop_settings(out, told.side) | {"threshold": told.threshold, "min_area": told.min_area},
            "chops": export.padded_chop_settings(out, window),
            "calibration": {"temperature": 1.0},
            "licences": {"weights": licence, "training_data": "not stated: the lab's own that trained it"},
            "training": {"chops": record, "drop": {"from": finder.reference.name}},
        }
        export.write_settings(out, tables)
        load_model(out)
    click.echo(f"wrote {out}: {len(names)} outputs, {record['parameters']} weights; try crystal-search score IMAGES --model {out}")


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[None]:
    """Takes back what was written into ``out``, which was no folder or an empty one, so that the same command can be given again."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _check_out(out: Path) -> None:
    try:
        msgspec.convert(out.resolve().name, Name)
    except msgspec.ValidationError as error:
        raise UsageError(f"--out {out}: a model can not have this name ({error})") from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is there already: name a new folder")


def _names(prefix: str, told: str | None) -> list[str]:
    """The class of each output. Raises ``UsageError`` where what is told and the file beside the checkpoint contradict each other."""
    beside = Path(f"{prefix}-classes.txt")
    known = read_classes(beside) if beside.is_file() else None
    if told is None:
        names = known or list(NAMES)
    elif told in BY_KEY:
        names = list(BY_KEY[told].answers_as)
    elif (Path(told).suffix or len(Path(told).parts) > 1) and not Path(told).is_file():
        raise UsageError(f"--classes {told}: no such file")
    else:
        names = read_classes(Path(told)) if Path(told).is_file() else class_names(told.split(","), "--classes")
    if known is not None and names != known:
        raise UsageError(
            f"--classes names the outputs otherwise than {beside}, which was written with the checkpoint: leave one of them out"
        )
    if names != [name for name in NAMES if name in names]:
        _log.warning("the outputs stand in another order than the table of classes: the model folder has the table's")
    return names
