"""An image as another system knows it, and the CrystalTrak name that it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.plate import Drop

#: What fills a field of the name that nobody reads.
_NOTHING = "0"
_MAX_PART = 60


class SkippedError(Exception):
    """One image, row or file that can not be taken; the message says where and why in one line."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image by its path; ``taken_at`` is the lab's local time, ``origin`` and ``remark`` only make its name its own.

    ``where`` is how messages call it: a line of a CSV, a path.
    """

    path: Path
    drop: Drop
    inspection: int
    taken_at: datetime
    imager: int
    profile: str
    origin: tuple[str, str]
    remark: str
    where: str

    @property
    def name(self) -> str:
        """The CrystalTrak name: a name that says the same already is kept. Raises ``SkippedError``."""
        if kept := self._own_name():
            return kept
        if not re.fullmatch("[A-Za-z0-9]{1,32}", self.drop.barcode):
            raise SkippedError(f"{self.where}: barcode {self.drop.barcode!r} is not 1 to 32 letters and digits")
        if "_" in self.profile:
            raise SkippedError(f"{self.where}: profile {self.profile!r} has a _ in it, which separates the fields of CrystalTrak's names")
        fields = (
            self.origin[0],
            _NOTHING,
            f"{self.imager:03d}",
            _NOTHING,
            _NOTHING,
            self.origin[1],
            _NOTHING,
            f"0000{self.drop.barcode}",
            f"{self.inspection:03d}",
            f"{self.taken_at:%y%m%d}",
            f"{self.drop.well.column:02d}",
            f"{self.drop.well.row:02d}",
            f"{self.drop.subwell:02d}",
            self.profile,
            _NOTHING,
            _NOTHING,
            name_part(self.remark),
            _NOTHING,
        )
        name = "_".join(fields) + self.path.suffix.lower()
        try:
            parsed = parse_image_name(name)
        except MalformedNameError as error:
            raise SkippedError(f"{self.where}: {str(error).partition(': ')[2]}") from error
        if (parsed.drop, parsed.taken_on, parsed.profile) != (self.drop, self.taken_at.date(), self.profile):
            raise SkippedError(f"{self.where}: {self.taken_at.date()} or profile {self.profile!r} does not fit into a CrystalTrak name")
        return name

    def _own_name(self) -> str | None:
        try:
            own = parse_image_name(self.path.name)
        except MalformedNameError:
            return None
        if (own.drop, own.inspection_number) != (self.drop, self.inspection):
            raise SkippedError(
                f"{self.where}: the file's name says plate {own.drop.barcode} drop {own.drop.label} inspection {own.inspection_number}, "
                f"not {self.drop.barcode} {self.drop.label} {self.inspection}"
            )
        return self.path.name


def name_part(text: str) -> str:
    """``text`` as one field of a name: letters, digits and dashes.

    >>> name_part("d1 r2_ef")
    'd1-r2-ef'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_MAX_PART] or _NOTHING


def imager_number(name: str) -> int:
    """The number of an imager by its name: the last whole number in it, 0 where there is none.

    >>> imager_number("222"), imager_number("RockImager 1000-0082"), imager_number("Fridge")
    (222, 82, 0)
    """
    numbers = re.findall(r"[0-9]+", name)
    return int(numbers[-1]) % 1_000_000 if numbers else 0


def moment(text: str, date_format: str | None) -> datetime:
    """A time without a zone, ISO (``2024-03-05 14:03:00``) unless ``date_format`` (strptime) says otherwise. Raises ``ValueError``."""
    try:
        found = datetime.fromisoformat(text) if date_format is None else datetime.strptime(text, date_format)
    except ValueError:
        wanted = "an ISO date such as 2024-03-05 14:03:00; --date-format tells another order" if date_format is None else date_format
        raise ValueError(f"{text!r} is not {wanted}") from None
    return found.astimezone().replace(tzinfo=None) if found.tzinfo else found
