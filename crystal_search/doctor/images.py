"""Whether the images lie where XtalTrak's rows say: the image root, and a sample of rows over all years."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
    found, odd = _rows(xtaltrak)
    if not (found or odd):
        yield warning("images", "XtalTrak has no image yet", "nothing is scored until it has; is xtaltrak.names I_IMAGES right?")
        return
    trouble = [*odd, *(line for image in found if (line := _mismatch(image, root)))]
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


def is_image_root(xtaltrak: XtalTrak, root: Path) -> bool:
    """Whether ``root`` knows any of the rows' plates: not the place of a file server that is away, in which something lies by chance.

    A plate's folder is enough, for old images may be deleted; but not one whose links lead nowhere.
    """
    return any(_is_known(image, root / image.drop.barcode) for image in _rows(xtaltrak)[0])


def _is_known(image: InspectionImage, plate: Path) -> bool:
    path = plate / str(image.inspection.number) / image.image_name
    return plate.is_dir() and (path.is_file() or not path.is_symlink())


def _rows(xtaltrak: XtalTrak) -> tuple[Collection[InspectionImage], list[str]]:
    """Images spread evenly over the keys, and a line for each row that makes no sense."""
    ((last,),) = xtaltrak.query("doctor_last_inspection")
    found: dict[Key, InspectionImage] = {}
    odd: list[str] = []
    for number in range(SAMPLE if last is not None else 0):
        page = xtaltrak.find_images(_ALL, Key(int(last) * number // (SAMPLE - 1), "") if number else START, 1)
        found |= {Key(image.inspection_id, image.image_name): image for image in page.images}
        odd += page.problems
    return found.values(), odd


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
