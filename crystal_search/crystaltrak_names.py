"""CrystalTrak image file names: 18 fields joined by underscores. A malformed name is reported, never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from crystal_search.plate import Drop, Well

_FIELDS = 18
_EXTENSIONS = ("jpg", "jpeg", "png", "tif", "tiff")


class MalformedNameError(ValueError):
    """A file name that is not CrystalTrak's; the message names the field that is wrong."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """What a name tells. Imager, barcode, column, row and subwell are certain; inspection number, date and profile inferred."""

    file_name: str
    imager: int
    drop: Drop
    inspection_number: int
    taken_on: date
    profile: str

    @property
    def folder(self) -> str:
        """Where the image lies below the image root: ``<barcode>/<inspection number>``."""
        return f"{self.drop.barcode}/{self.inspection_number}"


def parse_image_name(file_name: str) -> ImageName:
    """Parse a CrystalTrak file name (no folder).

    >>> name = parse_image_name("RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_06_03_HF_99_030_001_RDI.jpg")
    >>> name.drop.barcode, name.drop.label, name.inspection_number, name.profile, name.imager, name.taken_on.isoformat()
    ('CI022987', 'F01c', 3, 'HF', 222, '2012-11-21')

    Raises ``MalformedNameError`` with one line that says which field is wrong.
    """
    stem, _, extension = file_name.rpartition(".")
    if extension.lower() not in _EXTENSIONS:
        raise MalformedNameError(f"{file_name!r}: not an image's file name")
    fields = stem.split("_")
    if len(fields) != _FIELDS:
        raise MalformedNameError(f"{file_name!r}: {len(fields)} fields joined by _, a CrystalTrak name has {_FIELDS}")
    if not re.fullmatch(r"0000[A-Za-z0-9]{1,32}", fields[7]):
        raise MalformedNameError(f"{file_name!r}: field 8 ({fields[7]!r}) is not 0000 and a barcode")
    barcode = fields[7][4:]
    imager, inspection, column, row, subwell = (_number(file_name, fields, at) for at in (3, 9, 11, 12, 13))
    if not re.fullmatch(r"\d{6}", fields[9]):
        raise MalformedNameError(f"{file_name!r}: field 10 ({fields[9]!r}) is not a date yymmdd")
    try:
        taken_on = date(2000 + int(fields[9][:2]), int(fields[9][2:4]), int(fields[9][4:]))
        well = Well(column, row)
    except ValueError as error:
        raise MalformedNameError(f"{file_name!r}: {error}") from error
    if not 1 <= subwell <= 26:
        raise MalformedNameError(f"{file_name!r}: field 13 ({fields[12]!r}) is not a subwell")
    if inspection < 1:
        raise MalformedNameError(f"{file_name!r}: field 9 ({fields[8]!r}) is not an inspection number")
    return ImageName(file_name, imager, Drop(barcode, well, subwell), inspection, taken_on, fields[13])


def _number(file_name: str, fields: list[str], position: int) -> int:
    """The whole number in field ``position`` (from 1)."""
    text = fields[position - 1]
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise MalformedNameError(f"{file_name!r}: field {position} ({text!r}) is not a number")
    return int(text)
