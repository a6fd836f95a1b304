"""Masks that people drew, for the drop finder: FOLDER/images/NAME.jpg (or PNG, TIFF) and FOLDER/masks/NAME.png (P7).

A mask has its image's size. Black and fully transparent pixels are background, all others the drop, in whatever form GIMP or another
tool writes PNG: gray, palette (its colours count, not their numbers), RGB, with alpha or without. A mask without any drop pixel says
that the well holds no drop. A table FOLDER/labels.csv may name plates (columns image and plate) and empty wells (column label,
``empty_well``), which then need no mask. Nobody draws the well: its part of the network learns from drawn wells alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.decode import decode_image
from client_app.errors import ImageError, one_line
from client_app.preprocess import drop_input
from crystal_search.csv_table import read_csv
from crystal_search.errors import UsageError
from training.datasets.scored_image import plate_and_well
from training.datasets.split import split_plates
from training.drop import DROP, WELL_UNKNOWN, small_mask
from training.evaluation.judgement import EMPTY_WELL
from training.shards import Arrays

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
#: The test part is the evaluation's: masks are too few for a third part.
SHARES = {"training": 0.8, "validation": 0.2}
#: Of the split, so that trainings of different seeds can be compared.
_SEED = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask (None: a well that is said to be empty). Without a plate, the image counts as one of its own."""

    name: str
    image: Path
    mask: Path | None
    plate: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One pair as the network sees it: ``pixels`` float16, ``mask`` uint8 (side, side); ``extent``: height and width of the image in it."""

    pixels: npt.NDArray[np.float16]
    mask: npt.NDArray[np.uint8]
    extent: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Masks:
    """A folder's examples in the form of ``training.drop.draw_examples``, one line for each file that was left out, and notes."""

    training: Arrays
    validation: Arrays
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    sha256: str
    plates: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_masks(folder: Path, side: int) -> Masks:
    """All pairs of a folder, split by plate. Raises ``UsageError`` with one line where too few are left for training and validation."""
    pairs, left_out = find_pairs(folder)
    notes: list[str] = []
    examples: dict[str, Example] = {}
    digest = hashlib.sha256()
    for pair in pairs:
        try:
            contents = [pair.image.read_bytes(), pair.mask.read_bytes() if pair.mask else b""]
            examples[pair.name] = example = read_pair(pair, contents[0], contents[1], side)
        except (ImageError, OSError) as error:
            left_out.append(f"{pair.image}: {error if isinstance(error, ImageError) else one_line(error)}")
            continue
        digest.update(repr([pair.name, pair.plate, *(hashlib.sha256(content).hexdigest() for content in contents)]).encode())
        if pair.mask and not pair.label and not (example.mask & DROP).any():
            notes.append(f"{pair.mask} is empty: taken as a well without a drop")
    kept = [pair for pair in pairs if pair.name in examples]
    plates = {pair.name: pair.plate or f"image {pair.name}" for pair in kept}
    kinds = {name: "drop" if (example.mask & DROP).any() else "empty" for name, example in examples.items()}
    parts = split_plates([(plates[pair.name], kinds[pair.name]) for pair in kept], _SEED, SHARES)
    if len(parts) < 2:
        found = "no image with a mask" if not kept else f"one plate only, {next(iter(parts))}"
        why = "; the first problem: " + left_out[0] if left_out and not kept else ""
        raise UsageError(f"{folder}: {found}, training and validation need two{why}")
    chosen = {part: [examples[pair.name] for pair in kept if parts[plates[pair.name]] == part] for part in SHARES}
    return Masks(
        _arrays(chosen["training"]),
        _arrays(chosen["validation"]),
        tuple(left_out),
        tuple(notes),
        digest.hexdigest(),
        {part: sorted(plate for plate, place in parts.items() if place == part) for part in SHARES},
    )


def find_pairs(folder: Path) -> tuple[list[Pair], list[str]]:
    """The pairs of a folder by name, and one line for each file or row that has no partner. Raises ``UsageError``."""
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise UsageError(f"{folder} has no folder {part}: images belong in images/, masks of the same names as PNG in masks/")
    rows, problems = _labels(folder)
    images = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    masks = {path.stem: path for path in sorted((folder / "masks").iterdir()) if path.suffix.lower() == ".png"}
    others = {path.stem: path for path in sorted((folder / "masks").iterdir()) if path.is_file() and path.stem not in masks}
    pairs: dict[str, Pair] = {}
    for image in images:
        name = image.stem
        plate, label = rows.pop(image.name, rows.pop(name, ("", "")))
        plate = plate or plate_and_well(image.name)[0]
        if name in pairs:
            problems.append(f"{image}: {pairs[name].image.name} has the same name, and a mask belongs to one of them only")
        elif name in masks or label == EMPTY_WELL:
            pairs[name] = Pair(name, image, masks.get(name), plate, label)
        elif name in others:
            problems.append(f"{others[name]} is no PNG: export the mask as PNG")
        else:
            problems.append(f"{image} has no mask masks/{name}.png")
    stems = {image.stem for image in images}
    problems += [f"{mask} has no image in images/" for name, mask in masks.items() if name not in stems]
    problems += [f"{folder / 'labels.csv'}: no such image {name}" for name in rows]
    return list(pairs.values()), problems


def _labels(folder: Path) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Plate and label by image, from ``labels.csv`` where there is one."""
    file = folder / "labels.csv"
    rows: dict[str, tuple[str, str]] = {}
    problems: list[str] = []
    for line in read_csv(file, ["image"]) if file.exists() else ():
        name = line.cells["image"].replace("\\", "/").rpartition("/")[2]
        said = (line.cells.get("plate", ""), line.cells.get("label", "").lower())
        if rows.setdefault(name, said) != said:
            problems.append(f"{file} line {line.number}: {name} stands there twice, and not the same")
    return rows, problems


def read_pair(pair: Pair, image_bytes: bytes, mask_bytes: bytes, side: int) -> Example:
    """The pair as the network sees it.

    Raises ``ImageError`` with one line for what can not be read, a mask of another size, and one that says otherwise than the label.
    """
    image = decode_image(image_bytes)
    view = drop_input(image, side)
    mask = np.zeros((side, side), np.uint8)
    if pair.mask:
        drawn = read_mask(mask_bytes, image.size)
        if pair.label and drawn.any() == (pair.label == EMPTY_WELL):
            raise ImageError(f"its mask is {'not ' * bool(drawn.any())}empty, but labels.csv calls it {pair.label}")
        mask[: view.height, : view.width] = small_mask(drawn, view.width, view.height) * np.uint8(DROP)
    mask |= np.uint8(WELL_UNKNOWN)
    return Example(view.pixels[..., 0].astype(np.float16), mask, (view.height, view.width))


def read_mask(content: bytes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The drop's pixels (height, width) of a mask. Raises ``ImageError`` where it is no PNG of ``size`` = (width, height)."""
    try:
        mask = Image.open(io.BytesIO(content), formats=["PNG"])
        if mask.size != size:
            raise ImageError(f"its mask has {mask.width} x {mask.height} px, the image {size[0]} x {size[1]}")
        return drop_pixels(mask)
    except ImageError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise ImageError("its mask is no whole PNG") from error


def drop_pixels(mask: Image.Image) -> npt.NDArray[np.bool_]:
    """Where a mask of any mode is neither black nor transparent: (height, width)."""
    if mask.mode in ("P", "PA") or "transparency" in mask.info:
        mask = mask.convert("RGBA")
    pixels = np.asarray(mask)
    if mask.mode in ("LA", "RGBA"):
        return np.asarray((pixels[..., :-1] != 0).any(axis=-1) & (pixels[..., -1] != 0))
    return np.asarray((pixels != 0).any(axis=-1) if pixels.ndim == 3 else pixels != 0)


def _arrays(examples: Sequence[Example]) -> Arrays:
    return {
        "painter": np.array(["masks that people drew"]),
        "pixels": np.stack([example.pixels for example in examples]),
        "masks": np.stack([example.mask for example in examples]),
        "extents": np.array([example.extent for example in examples], np.int16),
    }
