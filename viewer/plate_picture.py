"""A plate as one picture: every drop's image in a frame of its ARTscore's colour (P18), a person's score marked apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from crystal_search.classes import BY_NAME, CLASSES, Group
from crystal_search.plate import Drop
from crystal_search.score_codes import ScoreCodes

_TILE = 200  # px, the image inside its frame
_FRAME = 7
_GAP = 8
_CAPTION = 22
_HEAD = 44
_BACKGROUND = (250, 250, 250)
_INK = (30, 30, 30)
#: `unsure`, `no_drop`, `failed` and images not scored yet have no colour of the paper's: a thin dark line, no score's frame.
_UNSCORED = (70, 70, 70)
_PERSON = (0, 130, 70)
PAPERS_CODES = ScoreCodes({})


@dataclass(frozen=True, slots=True)
class PlateTile:
    """One drop of one inspection. ``image`` may be missing on the disk; ``person`` is a person's score in XtalTrak, such as ``"23"``."""

    drop: Drop
    image: Path | None
    status: str | None
    class_name: str | None
    probability: float | None
    person: str | None = None


def plate_picture(title: str, tiles: Sequence[PlateTile], codes: ScoreCodes = PAPERS_CODES) -> Image.Image:
    """The plate's rows and columns as far as they are used, drops of one well side by side, with a legend;
    ``codes`` are the site's scores, which it shows and reads.

    Raises ``ValueError`` for a plate without drops.
    """
    if not tiles:
        raise ValueError(f"{title}: no drops to draw")
    columns = sorted({(tile.drop.well.column, tile.drop.subwell) for tile in tiles})
    rows = sorted({tile.drop.well.row for tile in tiles})
    cell_width, cell_height = _TILE + 2 * _FRAME + _GAP, _TILE * 3 // 4 + 2 * _FRAME + _CAPTION + _GAP
    width = max(_GAP + len(columns) * cell_width, 760)
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * cell_height + 3 * _CAPTION), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 12), title, fill=_INK, font=ImageFont.load_default(18))
    for tile in tiles:
        x = _GAP + columns.index((tile.drop.well.column, tile.drop.subwell)) * cell_width
        y = _HEAD + rows.index(tile.drop.well.row) * cell_height
        _draw_tile(sheet, draw, tile, codes, x, y)
    _draw_legend(draw, _HEAD + len(rows) * cell_height)
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: PlateTile, codes: ScoreCodes, x: int, y: int) -> None:
    width, height = _TILE + 2 * _FRAME, _TILE * 3 // 4 + 2 * _FRAME
    if tile.class_name is None:
        draw.rectangle((x + _FRAME - 2, y + _FRAME - 2, x + width - _FRAME + 1, y + height - _FRAME + 1), fill=_UNSCORED)
    else:
        draw.rectangle((x, y, x + width - 1, y + height - 1), fill=BY_NAME[tile.class_name].colour, outline=_UNSCORED)
    sheet.paste(_thumbnail(tile.image, _TILE, _TILE * 3 // 4), (x + _FRAME, y + _FRAME))
    if tile.person is not None:
        try:
            colour = codes.class_of(tile.person).colour
        except ValueError:  # a site's own score: still a person's word
            colour = _UNSCORED
        draw.rectangle((x + width - 64, y + _FRAME, x + width - _FRAME - 1, y + _FRAME + 19), fill=_PERSON)
        draw.rectangle((x + width - 61, y + _FRAME + 3, x + width - 48, y + _FRAME + 16), fill=colour)
        draw.text((x + width - 42, y + _FRAME + 2), tile.person, fill=(255, 255, 255), font=ImageFont.load_default(14))
    draw.text((x + 2, y + height + 2), _caption(tile, codes), fill=_INK, font=ImageFont.load_default(13))


def _caption(tile: PlateTile, codes: ScoreCodes) -> str:
    if tile.class_name is None or tile.probability is None:
        return f"{tile.drop.label}  {(tile.status or 'not scored').replace('_', ' ')}"
    return f"{tile.drop.label}  {codes.of(tile.class_name)}  {tile.probability:.2f}  {BY_NAME[tile.class_name].group}"


def _thumbnail(path: Path | None, width: int, height: int) -> Image.Image:
    """The image fitted into ``width`` x ``height``; a gray field where it is missing or unreadable."""
    field = Image.new("RGB", (width, height), (200, 200, 200))
    try:
        if path is None:
            raise FileNotFoundError
        with Image.open(path) as image:
            image.draft("RGB", (width * 2, height * 2))
            small = image.convert("RGB")
            small.thumbnail((width, height))
        field.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    except (OSError, SyntaxError, ValueError):
        ImageDraw.Draw(field).text((12, height // 2 - 8), "no image", fill=_INK, font=ImageFont.load_default(14))
    return field


def _draw_legend(draw: ImageDraw.ImageDraw, y: int) -> None:
    entries = [(group.value, next(c.colour for c in CLASSES if c.group is group)) for group in Group if group is not Group.OTHER]
    entries.insert(2, ("other", BY_NAME["other"].colour))
    entries.insert(3, ("null experiment", BY_NAME["null_experiment"].colour))
    x = _GAP
    for label, colour in entries:
        draw.rectangle((x, y + 6, x + 16, y + 22), fill=colour, outline=_UNSCORED)
        draw.text((x + 22, y + 5), label, fill=_INK, font=ImageFont.load_default(13))
        x += 34 + int(draw.textlength(label, font=ImageFont.load_default(13)))
    draw.rectangle((x, y + 6, x + 16, y + 22), fill=_PERSON)
    draw.text((x + 22, y + 5), "a person's score", fill=_INK, font=ImageFont.load_default(13))
    draw.text((_GAP, y + 28), "Frame: the ARTscore. Thin line: unsure, no drop, or failed.", fill=_INK, font=ImageFont.load_default(13))
