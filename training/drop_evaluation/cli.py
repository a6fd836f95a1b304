"""``crystal-search evaluate-drops MODEL_FOLDER --outlines FILE --images DIR``: how well does the model find drops?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from PIL import Image
from tqdm import tqdm

from client_app.errors import ImageError
from client_app.model import load_model
from crystal_search import __version__
from crystal_search.atomic import write_atomically
from crystal_search.errors import UsageError
from training.drop_evaluation.measure import GOOD, Figures, Found, by_source, find, read_outlined
from training.drop_evaluation.outlines import load_outlines
from training.drop_evaluation.sheet import sheet, tile, words, worst_first
from training.evaluation.cli import writing
from training.evaluation.results import Interval


def table_lines(rows: Sequence[Figures]) -> Iterator[str]:
    """One line for all images, the certain ones, and each source."""
    good = f"above {GOOD}"
    width = max(len(row.name) for row in rows)
    yield f"{'':{width}}  drops  mask IoU               {good}  box IoU                {good}  empty wells: no drop"
    for row in rows:
        shares = (f"{100 * share:.0f} %" if row.drops else "-" for share in (row.good_masks, row.good_boxes))
        masks, boxes = shares
        empty = f"{row.no_drop} of {row.empty}" if row.empty else "-"
        yield f"{row.name:{width}}  {row.drops:5}  {_text(row.mask_iou):21}  {masks:>9}  {_text(row.box_iou):21}  {boxes:>9}  {empty}"


def _text(number: Interval) -> str:
    if np.isnan(number.value):
        return "-"
    return f"{number.value:.3f}" + ("" if np.isnan(number.low) else f" ({number.low:.3f}-{number.high:.3f})")


def failure_lines(found: Sequence[Found]) -> Iterator[str]:
    """Every image that failed, the worst first."""
    for one in worst_first(found):
        if one.failed:
            yield f"{one.outline.file}: {words(one)}" + ("" if one.outline.certain else f" (outline not certain: {one.outline.note})")


def record(model: str, left_out: int, rows: Sequence[Figures], found: Sequence[Found]) -> dict[str, Any]:
    """What ``drops.json`` holds."""
    images = [
        {
            "file": one.outline.file,
            "certain": one.outline.certain,
            "empty": one.empty,
            "box": one.box.as_tuple() if one.box else None,
            "mask_iou": one.mask_iou,
            "box_iou": one.box_iou,
            "failed": one.failed,
        }
        for one in found
    ]
    return {"version": __version__, "model": model, "left_out": left_out, "figures": rows, "images": images}


@click.command("evaluate-drops")
@click.argument("model_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--outlines", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON: polygons by image.")
@click.option("--images", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where the images lie.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for drops.json and the sheet drops.png.")
@click.option("--bootstrap", type=click.IntRange(0, 100_000), default=1000, show_default=True, help="Resamples for the intervals.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resamples.")
def evaluate_drops(model_folder: Path, outlines: Path, images: Path, out: Path | None, bootstrap: int, seed: int) -> None:
    """Compare the drops that a model finds with outlines that a person drew.

    Masks are compared at the drop network's resolution, boxes in px of the original. A missed drop has overlap 0; in an empty well it is
    right to find none. Intervals come from drawing images: where most are of one plate they are too narrow.
    """
    model = load_model(model_folder, threads=2)
    drawn = load_outlines(outlines)
    found: list[Found] = []
    tiles: dict[str, Image.Image] = {}
    for outline in tqdm(drawn, unit="image", disable=None):
        try:
            image = read_outlined(outline, images)
            one = find(model, outline, image)
        except ImageError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            continue
        found.append(one)
        if out:
            tiles[outline.file] = tile(one, image)
    if not found:
        raise UsageError(f"none of the {len(drawn)} images that {outlines} names can be used: is {images} the right folder?")
    rows = by_source(found, bootstrap, seed)
    for line in table_lines(rows):
        click.echo(line)
    failed = list(failure_lines(found))
    click.echo(
        f"\n{len(failed)} of {len(found)} failed (overlap at most {GOOD}, or a drop in an empty well); {len(drawn) - len(found)} left out"
    )
    for line in failed:
        click.echo(line)
    if out:
        name = f"{model.reference.name} {model.reference.sha256[:12]}"
        content = msgspec.json.encode(record(name, len(drawn) - len(found), rows, found))
        with writing(out):
            write_atomically(out / "drops.json", msgspec.json.format(content, indent=1))
            write_atomically(out / "drops.png", sheet([tiles[one.outline.file] for one in worst_first(found)]))
        click.echo(str(out / "drops.png"))
