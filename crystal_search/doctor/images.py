"""Whether the images lie where XtalTrak's rows say: the image root, and a sample of rows over all years."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.doctor.findings import Finding, Severity, error, ok, warning
from crystal_search.plate import InspectionImage
from crystal_search.settings import Search
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.images import START, Key

#: How many places of the archive are looked at.
SAMPLE = 24
_ALL = Search(name="doctor", only_unscored=False)


def image_root(root: Path) -> Iterator[Finding]:
    """The folder is there, can be read, and is not the empty place of a file server that is away."""
    try:
        empty = next(root.iterdir(), None) is None
    except OSError as failure:
        yield Finding("image root", Severity.AWAY, f"{root}: can not be read ({failure.strerror})", "mount it, or set paths.images")
        return
    if empty:
        yield Finding("image root", Severity.AWAY, f"{root}: is empty", "mount it, or set paths.images")
    else:
        yield ok("image root", f"{root} can be read")


def sample(xtaltrak: XtalTrak, root: Path) -> Iterator[Finding]:
    """Rows spread evenly over the keys, each with its file."""
    ((last,),) = xtaltrak.query("doctor_last_inspection")
    if last is None:
        yield warning("images", "XtalTrak has no image yet", "nothing is scored until it has; is xtaltrak.names I_IMAGES right?")
        return
    found: dict[Key, InspectionImage] = {}
    odd: list[str] = []
    for number in range(SAMPLE):
        page = xtaltrak.find_images(_ALL, Key(int(last) * number // (SAMPLE - 1), "") if number else START, 1)
        found |= {Key(image.inspection_id, image.image_name): image for image in page.images}
        odd += page.problems
    trouble = [*odd, *(line for image in found.values() if (line := _mismatch(image, root)))]
    looked_at = len(found) + len(odd)
    if not trouble:
        yield ok("images", f"{looked_at} rows from all over XtalTrak, each with its file")
    elif len(trouble) == looked_at:
        yield error(
            "images",
            f"none of {looked_at} rows has its file, for example {trouble[0]}",
            "set paths.images; <root>/<barcode>/<inspection>/<name>",
        )
    else:
        yield warning(
            "images",
            f"{len(trouble)} of {looked_at} rows have no file, for example {trouble[0]}",
            "they are refused one by one, the rest is scored",
        )


def _mismatch(image: InspectionImage, root: Path) -> str | None:
    if "/" in image.image_name or "\0" in image.image_name:
        return f"{image.image_name!r}: a path, not a file name"
    try:
        name = parse_image_name(image.image_name)
    except MalformedNameError as malformed:
        return str(malformed)
    if name.drop != image.drop:
        drop = image.drop
        return f"{image.image_name}: its name says {name.drop.barcode} {name.drop.label}, its row {drop.barcode} {drop.label}"
    path = root / image.drop.barcode / str(image.inspection.number) / image.image_name
    return None if path.is_file() else f"{path}: no such file"
