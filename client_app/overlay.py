"""The picture that people look at (P18): the drop, its best chops in their class's colour, the ARTscore as a frame."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from client_app.artscore import Chop
from crystal_search.classes import BY_NAME
from crystal_search.geometry import Box

#: Share of the drop's longer side that is shown around it.
MARGIN = 0.06
#: Longest side of the picture in px, without its frame.
LONGEST = 1000
FRAME = 8
LINE = 2
TEXT = 15
QUALITY = 85
#: The frame where there is no ARTscore, and the contour of every box.
DARK = (60, 60, 60)

Colour = tuple[int, int, int]


def overlay(image: Image.Image, drop: Box | None, class_name: str | None, chops: Sequence[Chop]) -> bytes:
    """A JPEG of ``image`` (mode L or RGB) cropped to ``drop`` with a margin, at most 1000 px a side, with all of ``chops`` drawn on it.

    The frame has the colour of ``class_name``; it is dark where there is no ARTscore. Without a drop the whole image is shown.
    """
    shown = _shown(drop, chops, image.width, image.height) if drop else Box(0, 0, image.width, image.height)
    factor = min(1.0, LONGEST / max(shown.width, shown.height))
    size = max(1, round(shown.width * factor)), max(1, round(shown.height * factor))
    picture = image.resize(size, Image.Resampling.BILINEAR, box=shown.as_tuple(), reducing_gap=2.0)
    framed = Image.new("RGB", (size[0] + 2 * FRAME, size[1] + 2 * FRAME), BY_NAME[class_name].colour if class_name else DARK)
    framed.paste(picture.convert("RGB"), (FRAME, FRAME))
    draw = ImageDraw.Draw(framed)
    font = ImageFont.load_default(TEXT)
    for chop in reversed(chops):  # the best one last, on top
        left, top, right, bottom = (
            round((edge - origin) * factor) + FRAME for edge, origin in zip(chop.box.as_tuple(), (shown.x0, shown.y0) * 2, strict=True)
        )
        colour = BY_NAME[chop.class_name].colour
        right, bottom = max(right - 1, left), max(bottom - 1, top)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=DARK)  # or gray would vanish on gray
        draw.rectangle((left, top, right, bottom), outline=colour, width=LINE)
        _label(draw, font, (left, top), f"{_word(chop.class_name)} {chop.probability:.2f}", colour)
    file = io.BytesIO()
    framed.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _word(class_name: str) -> str:
    """The score, but for rim, which has that of clear: "01" would say that the region looks like a clear drop."""
    return "rim" if class_name == "rim" else BY_NAME[class_name].score


def _shown(drop: Box, chops: Sequence[Chop], width: int, height: int) -> Box:
    """The drop with a margin, and all of every chop, in an image of ``width`` x ``height`` px."""
    margin = round(MARGIN * max(drop.width, drop.height))
    boxes = [Box(max(drop.x0 - margin, 0), max(drop.y0 - margin, 0), min(drop.x1 + margin, width), min(drop.y1 + margin, height))]
    boxes += [chop.box for chop in chops]
    return Box(min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes))


def _label(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, corner: tuple[int, int], text: str, colour: Colour
) -> None:
    """``text`` on a plate of ``colour`` in the corner of a chop, in black or white, whichever stands out."""
    bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 140
    left, top, right, bottom = draw.textbbox((corner[0] + LINE + 2, corner[1] + LINE), text, font=font)
    draw.rectangle((corner[0], corner[1], right + 2, bottom + 2), fill=colour)
    draw.text((left, top), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255), anchor="lt")
