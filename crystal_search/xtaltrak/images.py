"""Finding images in XtalTrak by a search pattern (P23): what goes into the statement, and what its rows mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.plate import Inspection, InspectionImage, drop_at
from crystal_search.settings import Search

#: ``drop``: a person's score on any inspection of a drop takes all its images out; ``image``: only that image.
Protect = Literal["drop", "image"]


class Key(NamedTuple):
    """An image's key, in the order of paging: XtalTrak's INSPECTID and the image's name."""

    inspection_id: int
    image_name: str


#: Before every key: INSPECTIDs come from a sequence and are positive.
START = Key(-1, "")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search, read upward by key.

    ``images`` match the search; a malformed name, whose profile and imager nobody can judge, is among them. ``problems`` has one
    line for each row that is no image of a drop. ``last`` is the key of the last row read, None where none was left; ``more``
    says whether the page was full.
    """

    images: tuple[InspectionImage, ...]
    problems: tuple[str, ...]
    last: Key | None
    more: bool


def like_pattern(glob: str) -> str | None:
    r"""The LIKE pattern, to be used with ``ESCAPE '\'``, of a glob in which only ``*`` and ``?`` are special; None for ``*``.

    >>> like_pattern("CI_0*")
    'CI\\_0%'
    """
    if glob == "*":
        return None
    special = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
    return "".join(special.get(character, character) for character in glob)


@lru_cache(maxsize=4096)  # all images of an inspection have one
def database_time(moment: datetime) -> str:
    """A moment as the embedded XtalTrak stores it: ISO text to the second, which sorts as the moments do."""
    return moment.isoformat(sep=" ", timespec="seconds")


def search_params(search: Search, after: Key, limit: int, protect: Protect, scorer: str) -> dict[str, Any]:
    """The parameters of ``find_images.sql``; the day ``taken_to`` is within the search."""

    def midnight(day: date | None, plus_days: int = 0) -> str | None:
        return None if day is None else database_time(datetime.combine(day, time()) + timedelta(days=plus_days))

    return {
        "after_inspection": after.inspection_id,
        "after_image": after.image_name,
        "barcode": like_pattern(search.barcode),
        "taken_from": midnight(search.taken_from),
        "taken_before": midnight(search.taken_to, plus_days=1),
        "unscored": protect if search.only_unscored else "any",
        "scorer": scorer,
        "page_rows": limit,
    }


def page_of(rows: Sequence[tuple[Any, ...]], search: Search, limit: int, with_chromophore: Collection[str] = ()) -> Page:
    """The page that ``rows`` of ``find_images.sql`` make, filtered by the profile and imager that the names tell.

    On the plates ``with_chromophore`` the search's ``chromophore_profiles`` count instead of its ``profiles``.
    """
    images: list[InspectionImage] = []
    problems: list[str] = []
    for row in rows:
        try:
            image = _image(row)
        except ValueError as error:
            problems.append(f"XtalTrak row INSPECTID {row[0]}, image {row[1]!r}: {error}")
            continue
        if _wanted(image.image_name, search, image.drop.barcode in with_chromophore):
            images.append(image)
    last = Key(int(rows[-1][0]), str(rows[-1][1])) if rows else None
    return Page(tuple(images), tuple(problems), last, len(rows) == limit)


def _image(row: tuple[Any, ...]) -> InspectionImage:
    inspection_id, image_name, barcode, number, taken_at, column, plate_row, subwell = row
    if not isinstance(barcode, str) or not 1 <= len(barcode) <= 40:
        raise ValueError(f"{barcode!r} is not a barcode")
    if not 1 <= len(image_name) <= 255:
        raise ValueError("the name is too long")
    for what, value in (("column", column), ("row", plate_row), ("subwell", subwell), ("inspection number", number)):
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is not a {what}")
    moment = _moment(taken_at) if isinstance(taken_at, str) else taken_at
    return InspectionImage(inspection_id, image_name, drop_at(barcode, column, plate_row, subwell), Inspection(barcode, number, moment))


_moment = lru_cache(maxsize=4096)(datetime.fromisoformat)


def _wanted(image_name: str, search: Search, has_chromophore: bool) -> bool:
    profiles = search.chromophore_profiles if has_chromophore else search.profiles
    if has_chromophore and not profiles:
        return False  # left to people
    if not profiles and not search.imagers:
        return True
    try:
        name = parse_image_name(image_name)
    except MalformedNameError:
        return True
    return (not profiles or name.profile in profiles) and (not search.imagers or name.imager in search.imagers)


def plates_with_chromophores(search: Search, plates: Iterable[tuple[str, str | None, str | None]]) -> frozenset[str]:
    """The barcodes of ``plates`` (barcode, sample, project) that the search names by one of the three, in any case (P29)."""
    listed = {name.casefold() for name in search.chromophores}
    return frozenset(str(plate[0]) for plate in plates if any(name and str(name).casefold() in listed for name in plate))
