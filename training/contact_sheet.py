"""Drawn wells beside real ones, for the docs: ``python -m training.contact_sheet --out docs/images/synthetic-contact-sheet.jpg``.

The real pictures are the openly licensed ones of ``demo/images`` (see NOTICE); no other is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME
from crystal_search.errors import TryAgainLater, UsageError
from training.synthetic import UNSEEN_IMAGERS, Nature, SyntheticWell, draw_time_course, draw_uv_mate, draw_well

Picture = npt.NDArray[np.uint8]

OPEN_IMAGES = Path(__file__).parent.parent / "demo" / "images"
#: Docs stay light.
MOST_BYTES = 600_000
_COLUMNS = 8
_TILE, _CAPTION, _HEADING, _GAP = (196, 156), 16, 30, 4
_REAL, _DRAWN, _INK, _PAPER = (20, 90, 170), (190, 90, 0), (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """A picture, uint8 (h, w, 3) RGB, and what it is."""

    picture: Picture
    caption: str
    real: bool = False


@dataclass(frozen=True)
class Row:
    """Tiles under one heading, at most ``_COLUMNS``."""

    heading: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class _Kind:
    """An imager, its openly licensed pictures with what they show, and the classes that are drawn, with their seeds."""

    heading: str
    imager: str
    real: tuple[tuple[str, str], ...]
    drawn: tuple[tuple[str | None, int], ...]


_KINDS = (
    _Kind(
        "Rock Imager, colour",
        "rock_imager_1224",
        (("97wo_01A_1.jpg", "crystals"), ("97wo_01A_2.jpg", "crystals"), ("97wo_01A_3.jpg", "crystals")),
        (("crystals_harvestable", 1), ("crystals_bad_form", 2), ("precipitate_good", 3), ("phase_separation", 4), (None, 5)),
    ),
    _Kind(
        "Rock Imager, polarised (MARCO, GSK)",
        "rock_imager_polarised",
        (
            ("gsk_crystals_6488.jpeg", "crystals"),
            ("gsk_clear_220.jpeg", "clear"),
            ("gsk_precipitate_200.jpeg", "precipitate"),
            ("gsk_other_9123.jpeg", "other"),
        ),
        (("crystals_harvestable", 17), ("clear", 12), ("precipitate", 18), ("other", 14)),
    ),
    _Kind(
        "VMXi, gray",
        "vmxi_gray",
        (("small_crystals_2.jpg", "crystals"), ("A01_1.jpg", "crystals"), ("A02_crop.jpg", "crystals, cropped")),
        (
            ("crystals_overnucleated", 21),
            ("crystals_harvestable", 22),
            ("spherulites", 23),
            ("precipitate_bad", 24),
            ("clear_with_other_features", 25),
        ),
    ),
    _Kind(
        "Minstrel HT, round wells (no open picture to set beside)",
        "minstrel_ht_round",
        (),
        (
            ("clear", 31),
            ("crystals_harvestable", 32),
            ("crystals_bad_form", 33),
            ("precipitate", 34),
            ("precipitate_bad", 35),
            ("other", 36),
            ("null_experiment", 37),
            (None, 38),
        ),
    ),
    _Kind(
        "Minstrel HT, octagonal and square wells (no open picture to set beside)",
        "minstrel_ht_octagon",
        (),
        (
            ("clear", 41),
            ("crystals_harvestable", 42),
            ("crystals_bad_form", 43),
            ("crystals_overnucleated", 44),
            ("precipitate", 45),
            ("phase_separation", 46),
            ("spherulites", 47),
            (None, 48),
        ),
    ),
)


def _open_picture(folder: Path, name: str) -> Picture:
    try:
        with Image.open(folder / name) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except OSError as error:
        raise UsageError(f"{folder / name}: can not be read ({error.strerror or error})") from error


def _name(class_name: str | None) -> str:
    return "empty well" if class_name is None else BY_NAME[class_name].title.lower()


def _of_kind(kind: _Kind, folder: Path, width: int) -> Row:
    real = (Tile(_open_picture(folder, file), f"{Path(file).stem}: {what}", real=True) for file, what in kind.real)
    drawn = (Tile(draw_well(seed, name, imager=kind.imager, width=width).image, _name(name)) for name, seed in kind.drawn)
    return Row(kind.heading, (*real, *drawn))


def _others(width: int) -> Row:
    chosen = (
        ("gray_1266", "clear", 51),
        ("gray_1266", "crystals_overnucleated", 52),
        ("any", "crystals_harvestable", 54),
        ("any", "other", 55),
    )
    unseen = zip(UNSEEN_IMAGERS, ("crystals_bad_form", "crystals_harvestable", "precipitate", "clear"), (67, 62, 63, 64), strict=True)
    tiles = [Tile(draw_well(seed, name, imager=imager, width=width).image, f"{imager}: {_name(name)}") for imager, name, seed in chosen]
    tiles += [
        Tile(draw_well(seed, name, imager=imager, width=width).image, f"{imager.replace('unseen_', 'unseen, ')}: {_name(name)}")
        for imager, name, seed in unseen
    ]
    return Row("Other imagers, and four that training never draws (for tests)", tuple(tiles))


def _course(width: int) -> Row:
    names = ["precipitate_good", "clear", "clear", *["crystals_harvestable"] * 3, "null_experiment", "null_experiment"]
    dryness = [0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.4, 0.8]
    wells = draw_time_course(118, names, imager="minstrel_ht_octagon", width=width, dryness=dryness)
    tiles = tuple(Tile(well.image, f"{number}. {_name(well.class_name)}") for number, well in enumerate(wells, 1))
    return Row("Time course: a drop that precipitates, clears, grows crystals and dries", tiles)


def _as_colour(gray: Picture) -> Picture:
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def overlay(well: SyntheticWell) -> Picture:
    """The picture with what is true of it: the drop's outline green, what covers a pixel in its class's colour, boxes black."""
    picture = well.image.astype(np.float32)
    for value in np.unique(well.object_mask[well.object_mask > 0]):
        there = well.object_mask == value
        colour = np.array(list(BY_NAME.values())[int(value) - 1].colour, dtype=np.float32)
        picture[there] = 0.5 * picture[there] + 0.5 * colour
    drawn = np.clip(picture, 0, 255).astype(np.uint8)
    line = max(1, well.image.shape[1] // 320)
    contours = cv2.findContours(well.drop_mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(drawn, contours, -1, (0, 170, 60), 2 * line)
    for box in well.boxes:
        cv2.rectangle(drawn, (box.x0, box.y0), (box.x1, box.y1), (0, 0, 0), line)
    return drawn


def _truths(width: int) -> Row:
    protein, salt, precipitate = (
        draw_well(seed, name, imager="rock_imager_1224", width=width)
        for seed, name in ((82, "crystals_harvestable"), (83, "crystals_bad_form"), (84, "precipitate"))
    )
    return Row(
        "UV mates and ground truth",
        (
            Tile(protein.image, "crystals of protein"),
            Tile(_as_colour(draw_uv_mate(protein, nature=Nature.PROTEIN)), "the same, UV mate"),
            Tile(overlay(protein), "the same, with its truth"),
            Tile(salt.image, "crystals of salt"),
            Tile(_as_colour(draw_uv_mate(salt, nature=Nature.SALT)), "the same, UV mate: dark"),
            Tile(precipitate.image, "precipitate"),
            Tile(_as_colour(draw_uv_mate(precipitate)), "the same, UV mate"),
            Tile(overlay(precipitate), "the same, with its truth"),
        ),
    )


def rows(folder: Path, width: int) -> list[Row]:
    """The sheet's rows, wells drawn ``width`` px wide. Raises ``UsageError`` for a real picture that can not be read."""
    return [*(_of_kind(kind, folder, width) for kind in _KINDS), _others(width), _course(width), _truths(width)]


def _fitted(picture: Picture) -> Image.Image:
    """The picture within a tile, its proportions kept."""
    image = Image.fromarray(picture)
    image.thumbnail(_TILE, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return image


def sheet(content: list[Row]) -> Image.Image:
    """The rows below each other; captions of real pictures blue, of drawn ones orange."""
    high = _HEADING + _CAPTION + _TILE[1] + _GAP
    page = Image.new("RGB", (_COLUMNS * (_TILE[0] + _GAP) + _GAP, high * len(content) + _HEADING), _PAPER)
    pen = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(size=17), ImageFont.load_default(size=10.5)
    pen.text((_GAP, 6), "Real pictures have a blue frame and caption, drawn ones an orange caption", _INK, font=large)
    for place, row in enumerate(content):
        top = _HEADING + place * high
        pen.text((_GAP, top + 7), row.heading, _INK, font=large)
        for column, tile in enumerate(row.tiles):
            left = _GAP + column * (_TILE[0] + _GAP)
            image = _fitted(tile.picture)
            page.paste(image, (left, top + _HEADING + _CAPTION))
            if tile.real:
                corner = (left, top + _HEADING + _CAPTION, left + image.width - 1, top + _HEADING + _CAPTION + image.height - 1)
                pen.rectangle(corner, outline=_REAL, width=3)
            text = f"{'REAL' if tile.real else 'drawn'} {tile.caption}"
            while pen.textlength(text, font=small) > _TILE[0]:
                text = f"{text.rstrip('.')[:-1]}..."
            pen.text((left, top + _HEADING + 2), text, _REAL if tile.real else _DRAWN, font=small)
    return page


def as_jpeg(page: Image.Image, most_bytes: int = MOST_BYTES) -> bytes:
    """The page as JPEG, as good as ``most_bytes`` allow."""
    for quality in range(90, 30, -4):
        buffer = BytesIO()
        page.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= most_bytes:
            break
    return buffer.getvalue()


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JPEG to write.")
@click.option(
    "--real", type=click.Path(file_okay=False, path_type=Path), default=OPEN_IMAGES, help="Folder of the openly licensed pictures."
)
@click.option("--width", type=click.IntRange(64, 4096), default=1280, show_default=True, help="At which wells are drawn, in px.")
def contact_sheet(out: Path, real: Path, width: int) -> None:
    """Draws the contact sheet of the docs."""
    content = as_jpeg(sheet(rows(real, width)))
    try:
        write_atomically(out, content)
    except OSError as error:
        raise TryAgainLater(f"can not write {out} ({error.strerror})") from error
    click.echo(f"wrote {out}, {len(content) // 1000} kB")


if __name__ == "__main__":
    contact_sheet()
