"""A look at a model on real images while it is being chosen: a sheet of drop boxes, how well they fit, how crystals rank.

``python -m training.look MODEL_FOLDER IMAGES --out DIR``, where ``IMAGES`` holds a ``labels.csv`` with the columns ``file`` and ``label``
(crystal, precipitate, other, clear, empty_well) and, if known, ``um_per_px``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from client_app.artscore import artscore
from client_app.classify import calibrated, region
from client_app.drop import find_drop
from client_app.model import FloatArray, Model, load_model
from client_app.preprocess import gray, normalise_chops, working_size
from crystal_search.classes import CLASSES, NAMES, Group
from crystal_search.geometry import Box, window_grid

_TILE = 240


@dataclass(frozen=True, slots=True)
class Looked:
    """What a model says about one image; ``best`` (13,) is each class's largest probability over the windows, zeros without a drop."""

    file: str
    label: str
    drop: Box | None
    class_name: str | None
    crystal_probability: float
    best: npt.NDArray[np.float64]


def dense_logits(model: Model, pixels: FloatArray, window: int, step: int) -> FloatArray:
    """Logits (n, classes) of the windows of ``pixels`` in reading order from one pass over all of it: exact without padding."""
    chops = model.spec.chops
    class_map = model.chops(pixels[np.newaxis, ..., np.newaxis])[0]
    cells, every = (window - chops.receptive_field) // chops.stride + 1, step // chops.stride
    windows = np.lib.stride_tricks.sliding_window_view(class_map, (cells, cells), axis=(0, 1))[::every, ::every]
    return np.asarray(windows.mean(axis=(-2, -1)).reshape(-1, class_map.shape[-1]), dtype=np.float32)


def look(model: Model, path: Path, file: str, label: str, um_per_px: float | None) -> Looked:
    """Finds the drop of one image and classifies its windows."""
    with Image.open(path) as opened:
        image = opened.convert("L")
    drop = find_drop(model, image)
    if drop is None:
        return Looked(file, label, None, None, 0.0, np.zeros(len(NAMES)))
    spec, answers = model.spec, []
    for scale in spec.scales:
        width, height = working_size(image.width, image.height, um_per_px, spec.um_per_px / scale, round(spec.image_width * scale))
        box = drop.box.scaled(width / image.width, height / image.height, width, height)
        grid = window_grid(box, width, height, spec.chops.window, spec.chops.step)
        answers.append(dense_logits(model, region(normalise_chops(gray(image, (width, height))), grid), grid.window, grid.step))
    probabilities = calibrated(np.concatenate(answers), spec.calibration)
    score = artscore(probabilities, spec.threshold)
    return Looked(file, label, drop.box, score.class_name, score.crystal_probability, probabilities.max(axis=0))


def auc(high: Iterable[float], low: Iterable[float]) -> float:
    """Probability that a value of ``high`` exceeds one of ``low``, ties counted as half."""
    a, b = np.array(list(high))[:, np.newaxis], np.array(list(low))[np.newaxis, :]
    return float((a > b).mean() + 0.5 * (a == b).mean()) if a.size and b.size else float("nan")


def _scale(text: str) -> float | None:
    """A scale as ``labels.csv`` gives it; an uncertain one (``"2.8?"``) counts as unknown."""
    try:
        return float(text)
    except ValueError:
        return None


def sheet(looks: list[Looked], images: Path, path: Path, columns: int = 8) -> None:
    """A sheet of small pictures with the drop's box, the label, the class and the crystal probability."""
    height = round(_TILE * 0.8)
    picture = Image.new("RGB", (columns * _TILE, -(-len(looks) // columns) * height))
    draw = ImageDraw.Draw(picture)
    for number, one in enumerate(looks):
        x, y = number % columns * _TILE, number // columns * height
        with Image.open(images / one.file) as image:
            factor = min(_TILE / image.width, height / image.height)
            picture.paste(image.convert("RGB").resize((round(image.width * factor), round(image.height * factor))), (x, y))
        if one.drop:
            corners = [offset + factor * value for offset, value in zip((x, y, x, y), one.drop.as_tuple(), strict=True)]
            draw.rectangle(corners, outline=(0, 255, 0))
        text = one.class_name or ("unsure" if one.drop else "no drop")
        draw.text((x + 2, y), f"{one.label}: {text} {one.crystal_probability:.2f}", fill=(255, 0, 0))
    picture.save(path)


def summary(looks: list[Looked]) -> list[str]:
    """Lines of figures: drops found, crystal AUC against each label, classes given to each label."""
    labels = sorted({one.label for one in looks})
    crystals = [one.crystal_probability for one in looks if one.label == "crystal"]
    lines = []
    for label in labels:
        chosen = [one for one in looks if one.label == label]
        groups = {group: sum(one.class_name is not None and _group(one.class_name) is group for one in chosen) for group in Group}
        given = ", ".join(f"{group.value} {count}" for group, count in groups.items())
        found = sum(one.drop is not None for one in chosen)
        unsure = sum(one.drop is not None and one.class_name is None for one in chosen)
        line = f"{label:12} images {len(chosen)}, drops {found}, given: {given}, unsure {unsure}"
        if label != "crystal":
            line += f"; crystal AUC against it {auc(crystals, [one.crystal_probability for one in chosen]):.3f}"
        lines.append(line)
    empty = [one.crystal_probability for one in looks if one.label in ("clear", "empty_well")]
    rest = [one.crystal_probability for one in looks if one.label in ("precipitate", "other")]
    lines.append(f"crystal AUC against clear and empty {auc(crystals, empty):.3f}, against precipitate and other {auc(crystals, rest):.3f}")
    return lines


def box_overlaps(looks: list[Looked], outlines: Path) -> list[float]:
    """IoU of each drop's box with the box around its outline, 0 for a drop that was not found.

    ``outlines`` is a file such as ``tests/data/drop_outlines.json``.
    """
    found = {one.file: one.drop for one in looks}
    overlaps = []
    for image in json.loads(outlines.read_text(encoding="utf-8"))["images"]:
        corners = np.array([corner for polygon in image["polygons"] for corner in polygon])
        if corners.size and image["file"] in found:
            overlaps.append(_overlap(found[image["file"]], Box(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())))
    return overlaps


def _overlap(found: Box | None, true: Box) -> float:
    """Intersection over union of two boxes."""
    if found is None:
        return 0.0
    width = min(found.x1, true.x1) - max(found.x0, true.x0)
    height = min(found.y1, true.y1) - max(found.y0, true.y0)
    shared = max(width, 0) * max(height, 0)
    return shared / (found.width * found.height + true.width * true.height - shared)


def _group(name: str) -> Group:
    return CLASSES[NAMES.index(name)].group


@click.command()
@click.argument("model_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for look.csv and sheet.png.")
@click.option("--outlines", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Drop outlines to measure the boxes with.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Show every n-th image on the sheet.")
def main(model_folder: Path, images: Path, out: Path, outlines: Path | None, every: int) -> None:
    """Shows what a model says about labelled images."""
    model = load_model(model_folder, threads=2)
    out.mkdir(parents=True, exist_ok=True)
    with (images / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    looks = [look(model, images / row["file"], row["file"], row["label"], _scale(row.get("um_per_px", ""))) for row in rows]
    with (out / "look.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "drop", "class", "crystal_probability", *NAMES])
        for one in looks:
            box = " ".join(map(str, one.drop.as_tuple())) if one.drop else ""
            writer.writerow(
                [one.file, one.label, box, one.class_name or "", f"{one.crystal_probability:.4f}", *(f"{p:.4f}" for p in one.best)]
            )
    sheet(sorted(looks, key=lambda one: -one.crystal_probability)[::every], images, out / "sheet.png")
    click.echo("\n".join(summary(looks)))
    if outlines:
        overlaps = np.array(box_overlaps(looks, outlines))
        click.echo(f"drop boxes: {len(overlaps)}, mean IoU {overlaps.mean():.3f}, above 0.7: {(overlaps > 0.7).sum()}")


if __name__ == "__main__":
    main()
