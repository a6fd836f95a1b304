"""``crystal-search synthetic``: drawn wells as a folder of pictures with labels, UV mates, masks and crystal boxes.

The folder is what ``crystal-search dataset build --labels`` and ``crystal-search evaluate --labels`` read. Every picture is a pure
function of the options; a run that was stopped goes on with the same command.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from crystal_search.atomic import PARTIAL_SUFFIX, write_atomically
from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.plate import Well
from crystal_search.service import Stop, stopped_by_signals
from training.evaluation.judgement import EMPTY_WELL
from training.shards import painter_version
from training.synthetic import (
    DROP_CLASSES,
    IMAGERS,
    UNSEEN_IMAGERS,
    SyntheticWell,
    draw_time_course,
    draw_uv_mate,
    mark_of,
    nature_of,
)

SET_JSON, LABELS_CSV, BOXES_JSON = "set.json", "labels.csv", "boxes.json"
IMAGES, UV, MASKS, TRUTH = "images", "uv", "masks", "truth"
IMAGERS_OF = {"training": IMAGERS, "unseen": UNSEEN_IMAGERS}
#: The wells of a block: every class once, clear drops and empty wells more often, as in a lab.
_BLOCK: tuple[str | None, ...] = (*DROP_CLASSES, "clear", None, None)
#: Share of the plates whose protein has a chromophore (P29), and the names of the two.
_CHROMOPHORE_SHARE = 0.15
PROTEIN, CHROMOPROTEIN = "synthetic protein", "synthetic chromoprotein"
#: Seeds of a set start here: no training and no validation draws them.
_FIRST_SEED = 1 << 40
_MOST_WELLS = 1 << 20
_PLATE_COLUMNS, _PLATE_ROWS = 12, 8
_COURSE, _PLATE = 301, 302
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Order:
    """What a set shall hold. ``width`` is that of the pictures in px; the rest as the options say."""

    wells: int
    seed: int = 1
    settings: str = "training"
    inspections: int = 1
    uv: bool = False
    masks: bool = False
    width: int = 1280
    wells_per_plate: int = 24


@dataclass(frozen=True, slots=True)
class PlannedWell:
    """A well that is to be drawn: where it lies, what it shares with its plate, and what is in it at each inspection."""

    plate: str
    well: str
    seed: int
    plate_seed: int
    imager: str
    chromophore: bool
    classes: tuple[str | None, ...]
    dryness: tuple[float, ...]

    def stem(self, inspection: int) -> str:
        """The name of its picture at ``inspection``, from 1, without a suffix."""
        return f"{self.plate}_{self.well}_{inspection}"


class CrystalBox(msgspec.Struct, frozen=True):
    """A crystal: corner, size in px, and class."""

    x: int
    y: int
    width: int
    height: int
    class_name: str


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one picture; ``label`` as in the labels file, ``nature`` of its crystals, empty where there is none."""

    stem: str
    label: str
    plate: str
    well: str
    inspection: int
    width: int
    height: int
    um_per_px: float | None
    imager: str
    protein: str
    nature: str
    dryness: float
    seed: int
    boxes: list[CrystalBox]


# ---- what is drawn ----------------------------------------------------------------------------------------------


def plan(order: Order) -> list[PlannedWell]:
    """The wells of a set, plate by plate; a set with more wells begins with the same ones."""
    return [_planned(order, index) for index in range(order.wells)]


def _planned(order: Order, index: int) -> PlannedWell:
    number, place = divmod(index, order.wells_per_plate)
    plate = np.random.default_rng([order.seed, _PLATE, number])
    imagers = IMAGERS_OF[order.settings]
    # Plates step through the imagers, so that even a small set shows them all.
    imager = imagers[(number + order.seed) % len(imagers)]
    block, position = divmod(index, len(_BLOCK))
    order_in_block = np.random.default_rng([order.seed, _COURSE, block]).permutation(len(_BLOCK))
    own = np.random.default_rng([order.seed, _COURSE, block, position])
    classes, dryness = course(own, _BLOCK[int(order_in_block[position])], order.inspections)
    return PlannedWell(
        plate=f"SYNTHETIC-{order.settings}-{order.seed}-{number + 1:03d}",
        well=Well(1 + place % _PLATE_COLUMNS, 1 + place // _PLATE_COLUMNS).label,
        seed=_FIRST_SEED + order.seed * _MOST_WELLS + index,
        plate_seed=_FIRST_SEED + order.seed * _MOST_WELLS + number,
        imager=imager,
        chromophore=bool(plate.random() < _CHROMOPHORE_SHARE),
        classes=classes,
        dryness=dryness,
    )


def course(rng: np.random.Generator, last: str | None, inspections: int) -> tuple[tuple[str | None, ...], tuple[float, ...]]:
    """Class and dryness at each inspection of a drop that ends as ``last`` (None: an empty well).

    Before, it was clear or held light precipitate, which clears or gives crystals; a null experiment dried out, a third of the others
    draw back a little towards the end.
    """
    onset, before, dries, dried = int(rng.integers(inspections)), rng.random(), rng.random() < 0.35, float(rng.uniform(0.08, 0.18))
    if last is None:
        return (None,) * inspections, (0.0,) * inspections
    hazy = before < 0.35 and last in (*CRYSTAL_CLASSES, "clear", "null_experiment")
    earlier = "precipitate_good" if hazy else "clear"
    classes = (earlier,) * onset + (last,) * (inspections - onset)
    if last == "null_experiment" and onset:
        steps = np.linspace(0.35, 0.5 + 2.0 * dried, inspections - onset)
        return classes, (0.0,) * onset + tuple(round(float(step), 3) for step in steps)
    end = dried if dries and inspections > 1 else 0.0
    return classes, tuple(round(end * number / max(inspections - 1, 1), 3) for number in range(inspections))


def label_of(well: SyntheticWell) -> str:
    """The label of a picture: its class, ``clear`` where nothing of that class came to lie in the drop, or ``empty_well``."""
    if well.class_name is None:
        return EMPTY_WELL
    if well.class_name == "clear_with_other_features" or (well.object_mask == mark_of(well.class_name)).any():
        return well.class_name
    return "clear"


def _truth(planned: PlannedWell, inspection: int, well: SyntheticWell) -> Truth:
    height, width = well.image.shape[:2]
    nature = nature_of(well, planned.chromophore)
    return Truth(
        stem=planned.stem(inspection),
        label=label_of(well),
        plate=planned.plate,
        well=planned.well,
        inspection=inspection,
        width=width,
        height=height,
        um_per_px=None if well.um_per_px is None else round(well.um_per_px, 5),
        imager=well.imager,
        protein=CHROMOPROTEIN if planned.chromophore else PROTEIN,
        nature=str(nature or ""),
        dryness=planned.dryness[inspection - 1],
        seed=planned.seed,
        boxes=[
            CrystalBox(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0, box.class_name)
            for box in well.boxes
            if box.class_name in CRYSTAL_CLASSES
        ],
    )


def _encoded(pixels: npt.NDArray[np.uint8], form: str) -> bytes:
    buffer = BytesIO()
    options: dict[str, Any] = {"quality": _JPEG_QUALITY, "subsampling": 0} if form == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


# ---- files ------------------------------------------------------------------------------------------------------


def files_of(out: Path, order: Order, stem: str) -> dict[str, Path]:
    """The files of one picture by folder; that of its truth comes last and is written last."""
    wanted = {IMAGES: ".jpg", **({UV: ".jpg"} if order.uv else {}), **({MASKS: ".png"} if order.masks else {}), TRUTH: ".json"}
    return {folder: out / folder / f"{stem}{suffix}" for folder, suffix in wanted.items()}


def draw_files(out: Path, order: Order, planned: PlannedWell) -> None:
    """Draws the pictures of a well that are not there yet; a picture is there when all its files are.

    Raises ``TryAgainLater`` with one line where they can not be written.
    """
    missing = [
        number
        for number in range(1, order.inspections + 1)
        if not all(path.exists() for path in files_of(out, order, planned.stem(number)).values())
    ]
    if not missing:
        return
    wells = draw_time_course(
        planned.seed, planned.classes, width=order.width, imager=planned.imager, plate=planned.plate_seed, dryness=planned.dryness
    )
    contents: dict[str, Callable[[int], bytes]] = {
        IMAGES: lambda number: _encoded(wells[number - 1].image, "JPEG"),
        UV: lambda number: _encoded(draw_uv_mate(wells[number - 1], chromophore=planned.chromophore, inspection=number), "JPEG"),
        MASKS: lambda number: _encoded(wells[number - 1].drop_mask.astype(np.uint8) * np.uint8(255), "PNG"),
        TRUTH: lambda number: msgspec.json.encode(_truth(planned, number, wells[number - 1])),
    }
    try:
        for number in missing:
            for folder, path in files_of(out, order, planned.stem(number)).items():
                if folder == TRUTH or not path.exists():
                    write_atomically(path, contents[folder](number))
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error


def claim(out: Path, order: Order) -> None:
    """Makes ``out`` the folder of this very set, without what a killed run left.

    Raises ``UsageError`` where it holds something else, ``TryAgainLater`` where it can not be written.
    """
    file = out / SET_JSON
    told = {"synthetic": True, "painter": painter_version(), **asdict(order)}
    try:
        if file.exists():
            there = json.loads(file.read_bytes())
            if not isinstance(there, dict) or there.get("synthetic") is not True:
                raise ValueError("it describes no synthetic set")
            if other := sorted(key for key in told if there.get(key) != told[key]):
                raise UsageError(f"{out} holds a synthetic set with another {', '.join(other)}: name another folder with --out")
        elif out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty and holds no synthetic set: name another folder with --out")
        for folder in (IMAGES, TRUTH, *([UV] if order.uv else []), *([MASKS] if order.masks else [])):
            (out / folder).mkdir(parents=True, exist_ok=True)
            for leftover in (out / folder).glob(f".*{PARTIAL_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        write_atomically(file, json.dumps(told, indent=1).encode())
    except ValueError as error:
        raise UsageError(f"{file} is damaged ({error}): name another folder with --out") from error
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error


def labels_csv(order: Order, truths: Iterable[Truth]) -> bytes:
    """The labels file; ``source`` is the imager, so that an evaluation tells imagers apart."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    uv = ["uv"] if order.uv else []
    table.writerow(["image", "label", "plate", "well", "inspection", *uv, "um_per_px", "protein", "source", "nature"])
    for truth in truths:
        mate = [f"{UV}/{truth.stem}.jpg"] if order.uv else []
        scale = "" if truth.um_per_px is None else f"{truth.um_per_px:.5f}"
        place = [truth.plate, truth.well, truth.inspection]
        table.writerow([f"{IMAGES}/{truth.stem}.jpg", truth.label, *place, *mate, scale, truth.protein, truth.imager, truth.nature])
    return text.getvalue().encode()


def boxes_json(truths: Sequence[Truth]) -> bytes:
    """The crystals' boxes in the form of COCO: images, categories, annotations with ``bbox`` x, y, width, height in px."""
    numbers = {name: number for number, name in enumerate(CRYSTAL_CLASSES, 1)}
    boxes = [(image, box) for image, truth in enumerate(truths, 1) for box in truth.boxes]
    return json.dumps(
        {
            "info": {"description": "synthetic wells of Crystal Search"},
            "images": [
                {"id": image, "file_name": f"{IMAGES}/{truth.stem}.jpg", "width": truth.width, "height": truth.height}
                for image, truth in enumerate(truths, 1)
            ],
            "categories": [{"id": number, "name": name, "supercategory": "crystal"} for name, number in numbers.items()],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": numbers[box.class_name],
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                }
                for number, (image, box) in enumerate(boxes, 1)
            ],
        }
    ).encode()


def write_tables(out: Path, order: Order, wells: Iterable[PlannedWell]) -> list[Truth]:
    """``boxes.json`` and, last, ``labels.csv`` of a set whose pictures are all there."""
    try:
        truths = [
            msgspec.json.decode((out / TRUTH / f"{well.stem(number)}.json").read_bytes(), type=Truth)
            for well in wells
            for number in range(1, order.inspections + 1)
        ]
        write_atomically(out / BOXES_JSON, boxes_json(truths))
        write_atomically(out / LABELS_CSV, labels_csv(order, truths))
    except msgspec.DecodeError as error:
        raise UsageError(f"a file in {out / TRUTH} is damaged ({error}): delete that folder and start again") from error
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error
    return truths


# ---- processes --------------------------------------------------------------------------------------------------


def _start_worker() -> None:
    """Others' work goes first, and Ctrl-C is the parent's matter."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    cv2.setNumThreads(1)  # the processes share the cores already


def draw_set(out: Path, order: Order, workers: int, stop: Stop) -> list[Truth]:
    """Draws what is missing of a set with ``workers`` low-priority processes and returns what is true of each picture.

    Raises ``UsageError`` where ``out`` holds something else, ``TryAgainLater`` when it was stopped or the disk is full; what is drawn
    stays.
    """
    claim(out, order)
    wells = plan(order)
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(min(workers, len(wells)), context, _start_worker) as pool,
        tqdm(total=len(wells), desc="drawing wells", unit="well", mininterval=1) as bar,
    ):
        pending = {pool.submit(draw_files, out, order, well) for well in wells}
        try:
            for done in _finished(pending, stop):
                done.result()
                bar.update()
        except BrokenProcessPool as error:
            raise TryAgainLater("a process that draws was killed (not enough memory?): start again, what is drawn stays") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return write_tables(out, order, wells)


def _finished(pending: set[Future[None]], stop: Stop) -> Iterator[Future[None]]:
    """The futures as they end, until all have or somebody asks to stop."""
    while pending:
        if stop.is_set():
            raise TryAgainLater("stopped: what is drawn stays, the same command goes on")
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        yield from done


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The set's folder; a set in it is gone on with."
)
@click.option("--wells", type=click.IntRange(1, _MOST_WELLS), required=True, help="Wells to draw.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Another seed, other wells.")
@click.option(
    "--settings",
    type=click.Choice(sorted(IMAGERS_OF)),
    default="training",
    show_default=True,
    help="Imagers, cameras and contents as training draws them, or such as it never does.",
)
@click.option("--inspections", type=click.IntRange(1, 99), default=1, show_default=True, help="Pictures of each drop as it changes.")
@click.option("--uv", is_flag=True, help="Also the UV mate of each picture.")
@click.option("--masks", is_flag=True, help="Also the drop's mask of each picture, as PNG of 0 and 255.")
@click.option("--width", type=click.IntRange(64, 4096), default=1280, show_default=True, help="Of the pictures, in px.")
@click.option(
    "--wells-per-plate",
    type=click.IntRange(1, _PLATE_COLUMNS * _PLATE_ROWS),
    default=24,
    show_default=True,
    help="A plate shares imager, light and protein.",
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Low-priority processes that draw.")
def synthetic(out: Path, workers: int, **options: Any) -> None:
    """Draws wells with labels, as a folder that `dataset build` and `evaluate` read.

    In --out lie images/, labels.csv, boxes.json (crystals, in COCO's form), truth/ (all that is known of each picture) and, where
    wanted, uv/ and masks/. labels.csv is written last. A run that was stopped goes on with the same command.
    """
    order = Order(**options)
    with stopped_by_signals() as stop:
        truths = draw_set(out, order, workers, stop)
    crystals = sum(truth.label in CRYSTAL_CLASSES for truth in truths)
    plates = len({truth.plate for truth in truths})
    click.echo(f"{len(truths)} pictures of {order.wells} wells on {plates} plates, {crystals} with crystals: {out / LABELS_CSV}")
