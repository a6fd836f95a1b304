"""Boxes for object detectors from scored images (P32): COCO, YOLO, and chops in a folder for each class."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import msgspec
from PIL import Image

from client_app.artscore import Chop
from client_app.decode import Photo
from crystal_search.archives import Status
from crystal_search.atomic import atomic_file, write_atomically
from crystal_search.classes import CLASSES, NAMES, Group
from crystal_search.errors import UsageError
from crystal_search.geometry import Box

FOLDER, PARTS, COCO, YOLO, CHOPS = "labels", "parts", "coco.json", "yolo", "chops"
#: There while a run is under way: what it was told.
UNFINISHED = "unfinished.json"
#: Side in px of the pictures in class folders, as the paper has them.
CHOP_SIDE = 256
_GROUP = {c.name: str(c.group) for c in CLASSES}


class Form(StrEnum):
    """What can be written."""

    COCO = "coco"
    YOLO = "yolo"
    CHOPS = "chops"


class LabelBox(msgspec.Struct, frozen=True):
    """A box in px of the file, half-open; ``kind`` is ``region`` (connected crystals) or ``chop`` (one of the best windows)."""

    x0: int
    y0: int
    x1: int
    y1: int
    class_name: str
    probability: float
    kind: str


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of one image of ``width`` x ``height`` px; no box where it has no drop."""

    image: str
    width: int
    height: int
    boxes: list[LabelBox]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen in one image: boxes are in px of ``photo.pixels``."""

    photo: Photo
    status: Status
    chops: Sequence[Chop]
    regions: Sequence[Chop]


class Labels:
    """Writes what was seen into ``out``/labels, image by image, so that a run that was killed loses nothing.

    ``made_by`` is what else the labels depend on: a run goes on only with those that the same ``forms`` and ``made_by`` began.
    """

    def __init__(self, out: Path, forms: Sequence[Form], made_by: str = "") -> None:
        self._top = out / FOLDER
        self._forms = forms
        self._told = msgspec.json.encode([sorted(forms), made_by])

    def refuse_others(self) -> None:
        """Raises ``UsageError`` where other labels lie: they may have been corrected by hand, and old boxes would mix with fresh ones."""
        if not self._top.exists() or self._goes_on():
            return
        raise UsageError(f"{self._top} holds labels of another run, perhaps corrected by hand: name another --out, or move them away")

    def begin(self) -> None:
        """Notes what the labels are made by."""
        write_atomically(self._top / UNFINISHED, self._told)

    def _goes_on(self) -> bool:
        begun = self._top / UNFINISHED
        return begun.is_file() and begun.read_bytes() == self._told

    def has(self, image: str) -> bool:
        """Whether this image's labels are written."""
        return self._part(image).is_file()

    def add(self, image: str, look: Look) -> None:
        """The labels of one image. An unsure one gets none: what the program does not dare to say is no ground truth."""
        boxes = [] if look.status is Status.UNSURE else [*_boxes(look, look.regions, "region"), *_boxes(look, _loose(look), "chop")]
        labelled = Labelled(image=image, width=look.photo.width, height=look.photo.height, boxes=boxes)
        if Form.CHOPS in self._forms and look.status is not Status.UNSURE:
            for number, box in enumerate(_boxes(look, _true(look), "chop")):
                self._write_chop(image, number, look.photo, box)
        write_atomically(self._part(image), msgspec.json.encode([str(look.status), labelled]))

    def finish(self, images: Iterable[str]) -> int:
        """Writes the tables of ``images`` and returns how many of them have labels; unsure and failed ones have none.

        Raises ``TryAgainLater`` on a full disk; the same command goes on.
        """
        read = [msgspec.json.decode(self._part(image).read_bytes(), type=tuple[str, Labelled]) for image in images if self.has(image)]
        known = [labelled for status, labelled in read if status != Status.UNSURE]
        if Form.COCO in self._forms:
            write_atomically(self._top / COCO, msgspec.json.encode(coco(known)))
        if Form.YOLO in self._forms:
            for labelled in known:
                write_atomically(self._top / YOLO / "labels" / yolo_name(labelled.image), yolo(labelled).encode())
            write_atomically(self._top / YOLO / "classes.txt", "".join(f"{name}\n" for name in NAMES).encode())
        shutil.rmtree(self._top / PARTS, ignore_errors=True)
        (self._top / UNFINISHED).unlink(missing_ok=True)
        return len(known)

    def _part(self, image: str) -> Path:
        return self._top / PARTS / f"{image}.json"

    def _write_chop(self, image: str, number: int, photo: Photo, box: LabelBox) -> None:
        x, y = photo.pixels.width / photo.width, photo.pixels.height / photo.height
        part = photo.pixels.crop((round(box.x0 * x), round(box.y0 * y), round(box.x1 * x), round(box.y1 * y)))
        name = f"{image.replace('/', '__')}_{number}.png"
        with atomic_file(self._top / CHOPS / box.class_name / name) as file:
            part.resize((CHOP_SIDE, CHOP_SIDE), Image.Resampling.BICUBIC).save(file, "PNG")


def _loose(look: Look) -> list[Chop]:
    """The best chops but for those that share their place with crystals: one place has one label."""
    return [chop for chop in look.chops if not any(_half_in(chop.box, region.box) for region in look.regions)]


def _true(look: Look) -> list[Chop]:
    """The best chops but for those that say something else where a region says crystals."""
    loose = _loose(look)
    return [chop for chop in look.chops if _GROUP[chop.class_name] == Group.CRYSTAL or chop in loose]


def _half_in(chop: Box, region: Box) -> bool:
    width = min(chop.x1, region.x1) - max(chop.x0, region.x0)
    height = min(chop.y1, region.y1) - max(chop.y0, region.y0)
    return width > 0 and height > 0 and 2 * width * height >= min(chop.width * chop.height, region.width * region.height)


def _boxes(look: Look, chops: Iterable[Chop], kind: str) -> list[LabelBox]:
    in_file = [(look.photo.in_file(chop.box), chop) for chop in chops]
    return [LabelBox(*box.as_tuple(), chop.class_name, round(chop.probability, 6), kind) for box, chop in in_file]


def coco(images: Sequence[Labelled]) -> dict[str, object]:
    """COCO's detection format: ``bbox`` is x, y, width, height in px; categories are the table of classes, numbered from 1."""
    numbered = [(number, box) for number, labelled in enumerate(images, 1) for box in labelled.boxes]
    return {
        "info": {"description": "ARTscores of Crystal Search: labels by a program, not by people"},
        "images": [{"id": n, "file_name": one.image, "width": one.width, "height": one.height} for n, one in enumerate(images, 1)],
        "categories": [{"id": n, "name": c.name, "supercategory": str(c.group)} for n, c in enumerate(CLASSES, 1)],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": NAMES.index(box.class_name) + 1,
                "bbox": [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0],
                "area": (box.x1 - box.x0) * (box.y1 - box.y0),
                "iscrowd": 0,
                "score": box.probability,
                "kind": box.kind,
            }
            for n, (image, box) in enumerate(numbered, 1)
        ],
    }


def yolo(labelled: Labelled) -> str:
    """One line a box: class from 0, centre and size as shares of the image's width and height."""
    lines = []
    for box in labelled.boxes:
        x, width = (box.x0 + box.x1) / 2 / labelled.width, (box.x1 - box.x0) / labelled.width
        y, height = (box.y0 + box.y1) / 2 / labelled.height, (box.y1 - box.y0) / labelled.height
        lines.append(f"{NAMES.index(box.class_name)} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n")
    return "".join(lines)


def yolo_name(image: str) -> str:
    """The file that YOLO looks for beside an image."""
    return PurePosixPath(image).with_suffix(".txt").as_posix()


def check_names(images: Iterable[str], forms: Sequence[Form]) -> None:
    """Raises ``UsageError`` where two images would share one YOLO file."""
    seen: dict[str, str] = {}
    for image in images if Form.YOLO in forms else ():
        other = seen.setdefault(yolo_name(image), image)
        if other != image:
            raise UsageError(f"{other} and {image} differ in their suffix only, which YOLO's labels can not tell apart: rename one")
