"""Colours of classes as styles: those of the table of classes (P18), and a palette for colour-blind eyes."""

from __future__ import annotations

from functools import cache

from crystal_search.classes import CLASSES

#: Okabe and Ito's colours, and a gray. Their purple is that gray to eyes without green, so the null experiment has their sky blue.
#: Groups also differ by the code that every frame shows.
_SAFE = {
    "crystal": (213, 94, 0),
    "precipitate": (0, 114, 178),
    "null_experiment": (86, 180, 233),
    "other": (240, 228, 66),
    "clear": (150, 150, 150),
    "rim": (255, 255, 255),
}


def _key(name: str, group: str) -> str:
    return name if name in _SAFE else group


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


@cache
def colours_css() -> str:
    """``--c`` is a class's colour; ``.safe`` on the page's root chooses the other palette."""
    lines = []
    for row in CLASSES:
        safe = _SAFE[_key(row.name, row.group.value)]
        lines.append(f".k-{row.name} {{ --c: {_hex(row.colour)}; }}")
        lines.append(f".safe .k-{row.name} {{ --c: {_hex(safe)}; }}")
    for group in dict.fromkeys(row.group.value for row in CLASSES):
        first = next(row for row in CLASSES if row.group.value == group and row.name != "null_experiment")
        lines.append(f".g-{group} {{ --c: {_hex(first.colour)}; }}")
        lines.append(f".safe .g-{group} {{ --c: {_hex(_SAFE[group])}; }}")
    return "\n".join(lines) + "\n"


@cache
def report_css() -> str:
    return "\n".join(f".k-{row.name} {{ border-color: {_hex(row.colour)}; }}" for row in CLASSES)
