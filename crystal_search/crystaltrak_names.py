"""CrystalTrak image file names: 18 fields joined by underscores. A malformed name is reported, never guessed."""

from __future__ import annotations

import re
from datetime import date

import msgspec

from crystal_search.plate import Drop, drop_at

_FIELDS = 18
#: Follows an image's name, without its ending, in that of the picture that we put beside it (P27); a batch's name comes next.
PICTURE_MARK = "_ARTscore_"
_EXTENSIONS = ("jpg", "jpeg", "png", "tif", "tiff")


class MalformedNameError(ValueError):
    """A file name that is not CrystalTrak's; the message names the field that is wrong."""


class ImageName(msgspec.Struct, frozen=True, gc=False):
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
    match = _NAME.fullmatch(file_name)
    if match is not None:
        imager, barcode, inspection, year, month, day, column, row, subwell, profile = match.groups()
        try:
            taken_on = date(2000 + int(year), int(month), int(day))
            drop = drop_at(barcode, int(column), int(row), int(subwell))
        except ValueError as error:
            raise MalformedNameError(f"{file_name!r}: {error}") from error
        if 1 <= drop.subwell <= 26 and int(inspection) >= 1:
            return ImageName(file_name, int(imager), drop, int(inspection), taken_on, profile)
    raise MalformedNameError(f"{file_name!r}: {_fault(file_name)}")


#: Fields joined by _; those that nobody knows may hold anything else.
_NAME = re.compile(
    r"[^_]*_[^_]*_(\d{1,6})_[^_]*_[^_]*_[^_]*_[^_]*_0000([A-Za-z0-9]{1,32})_(\d{1,6})_(\d\d)(\d\d)(\d\d)"
    r"_(\d{1,6})_(\d{1,6})_(\d{1,6})_([^_]*)_[^_]*_[^_]*_[^_]*_[^_]*\.(?:" + "|".join(_EXTENSIONS) + ")",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)


def _fault(file_name: str) -> str:
    """Which field is wrong."""
    stem, _, extension = file_name.rpartition(".")
    if extension.lower() not in _EXTENSIONS:
        return "not an image's file name"
    fields = stem.split("_")
    if len(fields) != _FIELDS:
        return f"{len(fields)} fields joined by _, a CrystalTrak name has {_FIELDS}"
    if not re.fullmatch(r"0000[A-Za-z0-9]{1,32}", fields[7]):
        return f"field 8 ({fields[7]!r}) is not 0000 and a barcode"
    for position in (3, 9, 11, 12, 13):
        text = fields[position - 1]
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            return f"field {position} ({text!r}) is not a number"
    if not re.fullmatch(r"\d{6}", fields[9], re.ASCII):
        return f"field 10 ({fields[9]!r}) is not a date yymmdd"
    if not 1 <= int(fields[12]) <= 26:
        return f"field 13 ({fields[12]!r}) is not a subwell"
    return f"field 9 ({fields[8]!r}) is not an inspection number"
