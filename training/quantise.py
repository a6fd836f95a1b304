"""``crystal-search quantise``: a model folder whose chop network computes in int8, and how far its scores are from the other's."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from PIL import Image
from tqdm import tqdm

from client_app.classify import needed_size
from client_app.decode import decode_photo
from client_app.image import Wish, score_image
from client_app.model import Model, load_model
from client_app.model_folders import MODEL_VARIABLE, default_model_folder
from client_app.score import find_images
from crystal_search.archives import ImageResult, Status
from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME
from crystal_search.errors import UsageError
from crystal_search.extras import require
from training import export
from training.evaluation.cli import writing
from training.int8 import CALIBRATION_IMAGES, crops_of, quantise

#: Drawn wells to calibrate on: far from the seeds of training, held-out examples and calibration.
FIRST_SEED = 95_000_000
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two models on the same images with a drop: how many, how many of them in the same group or unsure in both, the largest difference of
    crystal probabilities, the names of those that differ, and how many images failed or had no drop, which are not compared."""

    images: int
    same_group: int
    crystal_difference: float
    others: tuple[str, ...]
    not_compared: int

    @classmethod
    def of(cls, names: Sequence[str], ours: Sequence[ImageResult], theirs: Sequence[ImageResult]) -> Agreement:
        """What the two say. The drop finder is the same in both, so that a well without a drop shows nothing."""
        compared = [
            (name, one, other)
            for name, one, other in zip(names, ours, theirs, strict=True)
            if not {one.status, other.status} & {Status.FAILED, Status.NO_DROP}
        ]
        others = tuple(name for name, one, other in compared if _group(one) != _group(other))
        differences = [abs((one.crystal_probability or 0.0) - (other.crystal_probability or 0.0)) for _, one, other in compared]
        return cls(len(compared), len(compared) - len(others), max(differences, default=0.0), others, len(names) - len(compared))


def _group(result: ImageResult) -> str:
    return str(BY_NAME[result.class_name].group if result.class_name else result.status)


def _drawn(seed: int) -> Image.Image:
    from training.synthetic import draw_well

    return Image.fromarray(draw_well(seed).image)


def _opened(model: Model, path: Path) -> Image.Image:
    return decode_photo(path.read_bytes(), needed_size(model.spec, None)).pixels


def _pictures(model: Model, calibrate_on: Sequence[Path]) -> Iterator[Callable[[], Image.Image]]:
    if calibrate_on:
        yield from (partial(_opened, model, path) for path in find_images(calibrate_on).values())
    else:
        yield from (partial(_drawn, seed) for seed in range(FIRST_SEED, FIRST_SEED + 2 * CALIBRATION_IMAGES))  # some wells are empty


def compare(one: Model, other: Model, files: dict[str, Path]) -> Agreement:
    """Score ``files`` (name -> file) with both models, each with its own step and threshold."""

    def results(model: Model) -> list[ImageResult]:
        wish = Wish(model.step(None), model.spec.threshold, 0, frozenset())
        bar = tqdm(files.values(), desc=model.spec.name, unit="image", disable=None)
        return [score_image(model, wish, "0" * 32, path.read_bytes, None)[0] for path in bar]

    return Agreement.of(list(files), results(one), results(other))


@click.command("quantise")
@click.option("--model", type=_FOLDER, envvar=MODEL_VARIABLE, help="Model folder in float32. [default: the one that came along]")
@click.option("--out", type=_FOLDER, required=True, help="Model folder to write to, which must not be there.")
@click.option("--calibrate-on", type=click.Path(path_type=Path), multiple=True, help="Images or folders. [default: drawn wells]")
@click.option("--compare-on", type=click.Path(path_type=Path), multiple=True, help="Images or folders to score with both models.")
def quantise_command(model: Path | None, out: Path, calibrate_on: tuple[Path, ...], compare_on: tuple[Path, ...]) -> None:
    """Make a model whose chop network computes in int8: faster on processors with VNNI, with scores that differ a little.

    It is a model of its own, with a name and a hash of its own, for --model and for the generator's settings. Say with --compare-on
    on which images its scores are to be compared with the other's; what comes out is printed and kept in its model.toml.
    """
    require("quantise", "onnx")
    source = model or default_model_folder()
    full = load_model(source)
    if out.exists():
        raise UsageError(f"{out} is there already: name a new folder")
    if "int8" in export.read_settings(source).get("training", {}):
        raise UsageError(f"{source} computes in int8 already: name the model that it was made of")
    files = find_images(compare_on) if compare_on else {}
    crops = crops_of(full, _pictures(full, calibrate_on), full.step(None))
    if not crops:
        raise UsageError("no drop is found in any image to calibrate on: name others with --calibrate-on")
    with writing(out):
        export.inherit(out, source)
        settings = export.read_settings(out)
        training = settings.get("training", {})
        kept = training.get("chops", {}).pop("weights", None)  # those are float32, and no training goes on from int8
        training.get("chops", {}).pop("weights_sha256", None)
        if kept:
            (out / kept).unlink(missing_ok=True)
        quantise((source / full.spec.chops.file).read_bytes(), crops, out / full.spec.chops.file)
        chops = settings["chops"] | {"sha256": export.sha256(out / full.spec.chops.file)}
        record: dict[str, Any] = {
            "of": full.reference.name,
            "of_sha256": full.reference.sha256,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "calibrated_on": f"{len(crops)} drops of {'images' if calibrate_on else f'drawn wells from seed {FIRST_SEED}'}",
        }
        _write(out, settings, chops, training | {"int8": record})
        if files:
            agreement = compare(full, load_model(out), files)
            click.echo(
                f"{agreement.same_group} of {agreement.images} images in the same group; "
                f"crystal probabilities differ by at most {agreement.crystal_difference:.3f}"
                + (f"; {agreement.not_compared} without a drop or not readable are left out" if agreement.not_compared else "")
            )
            for name in agreement.others:
                click.echo(f"  another group: {name}")
            record |= {
                "compared_images": agreement.images,
                "same_group": agreement.same_group,
                "crystal_difference": round(agreement.crystal_difference, 4),
            }
            _write(out, settings, chops, training | {"int8": record})
    click.echo(f"wrote {out}: {load_model(out).reference.sha256[:12]}")


def _write(folder: Path, settings: dict[str, Any], chops: dict[str, Any], training: dict[str, Any]) -> None:
    write_atomically(folder / export.SETTINGS_FILE, export.to_toml(settings | {"chops": chops, "training": training}).encode())
