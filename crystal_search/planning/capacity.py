"""The arithmetic of capacity: images come at a rate, machines score them in so many seconds each (P30, P31).

One image is one drop at one inspection; with one drop a well it is what the paper calls a well. A machine scores one image at a time, day
and night: a computer that scores four at once counts as four, one that is idle for half of the day as a half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Self

SECONDS_A_DAY = 86_400
YEAR_DAYS = 365
#: The month in which the paper's 183 or 216 machines finish the archive (P31).
MONTH_DAYS = 30
#: The archive on 17 October 2019 (P31).
ARCHIVE_IMAGES = 15_666_284

#: 1257 bytes an image without its overlay in the 63 results of `crystal-search demo`, with five chops each.
RESULT_BYTES = 1_300.0
#: On the safe side: `crystal-search score demo/images` makes 15 overlays of 90 591 bytes on average, 192 wells of a Minstrel HT
#: had 38 258.
OVERLAY_BYTES = 84_000.0
#: Of the paper's images that people scored (P3): 8424 of 33 872. People score what interests them, so an archive has fewer.
CRYSTAL_SHARE = 0.25

# Beyond these a quotient may leave what a float can hold; no lab comes near them.
_LEAST, _MOST = 1e-6, 1e15


def _check(what: str, number: float) -> None:
    if not number > 0:
        raise ValueError(f"{what}: {number} is not above 0")
    if not _LEAST <= number <= _MOST:
        raise ValueError(f"{what}: {number} is not between {_LEAST:f} and {_MOST:.0e}")


@dataclass(frozen=True, slots=True)
class Platform:
    """What makes images: imagers, which share the plates of the incubators evenly, and how often they look at each plate (P30).

    ``inspections`` of a plate are spread over ``days``; ``imaging_seconds`` is what an imager needs for one image. The defaults are the
    paper's. Raises ``ValueError`` for a number that is not above 0.

    >>> round(Platform().full_seconds, 2)
    5.19
    """

    imagers: int = 3
    incubators: int = 6
    plates_per_incubator: int = 650
    inspections: int = 12
    days: float = 90.0
    wells: int = 96
    drops: int = 1
    imaging_seconds: float = 16.25

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name.replace("_", " "), getattr(self, field.name))

    @property
    def images_per_plate(self) -> int:
        """Images of one plate over all of its inspections."""
        return self.inspections * self.wells * self.drops

    @property
    def full_seconds(self) -> float:
        """Seconds that one imager has for an image when every incubator is full.

        The paper's 5.19 s are 90 days / (1300 plates x 12 inspections x 96 wells): each of three imagers serves two incubators (P30).
        """
        plates = self.incubators * self.plates_per_incubator / self.imagers
        return self.days * SECONDS_A_DAY / (plates * self.images_per_plate)

    @property
    def plates_kept_up(self) -> int:
        """Plates in each incubator, whole ones, that the imagers keep up with when they never stop. The paper says 207."""
        images = self.imagers * self.days * SECONDS_A_DAY / self.imaging_seconds
        return math.floor(_settled(images / (self.images_per_plate * self.incubators)))


def _settled(quotient: float) -> float:
    """Without noise in the last digits: 0.3 / 0.1 is 2.9999999999999996, and 3.0000000000000004 machines are three."""
    nearest = round(quotient)
    return nearest if math.isclose(quotient, nearest, rel_tol=1e-12) else quotient


def whole(machines: float) -> int:
    """As many whole machines as suffice: rounded up, at least one.

    >>> whole(215.8), whole(216.0), whole(216.01)
    (216, 216, 217)
    """
    return max(1, math.ceil(_settled(machines)))


def parallel(seconds_per_image: float, seconds_between: float) -> float:
    """Machines that keep up with images which come every ``seconds_between``, as an exact quotient (P30).

    Raises ``ValueError`` for a number that is not above 0.

    >>> parallel(32.5, 16.25)
    2.0
    """
    _check("seconds per image", seconds_per_image)
    _check("seconds between images", seconds_between)
    return seconds_per_image / seconds_between


def days_to_finish(images: float, seconds_per_image: float, machines: float) -> float:
    """Days in which ``machines`` score ``images``. Raises ``ValueError`` for a number that is not above 0.

    >>> days_to_finish(86_400, 10, 5)
    2.0
    """
    for what, number in (("images", images), ("seconds per image", seconds_per_image), ("machines", machines)):
        _check(what, number)
    return images * seconds_per_image / (machines * SECONDS_A_DAY)


def machines_to_finish(images: float, seconds_per_image: float, days: float) -> float:
    """Machines that score ``images`` in ``days``, as an exact quotient (P31). Raises ``ValueError`` for a number that is not above 0.

    >>> machines_to_finish(86_400, 10, 2)
    5.0
    """
    for what, number in (("images", images), ("seconds per image", seconds_per_image), ("days", days)):
        _check(what, number)
    return images * seconds_per_image / (days * SECONDS_A_DAY)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on the disk for one image: its part of the result ZIP without the overlay, and the overlay (P27).

    ``crystal_share`` (0 to 1) of the images are scored as crystals. Raises ``ValueError`` for sizes that are not above 0.
    """

    result_bytes: float = RESULT_BYTES
    overlay_bytes: float = OVERLAY_BYTES
    crystal_share: float = CRYSTAL_SHARE

    def __post_init__(self) -> None:
        _check("result bytes", self.result_bytes)
        _check("overlay bytes", self.overlay_bytes)
        if not 0 <= self.crystal_share <= 1:
            raise ValueError(f"crystal share: {self.crystal_share} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class RealTime:
    """Keeping up with one rate of imaging; the machines are exact quotients but for ``machines``, which is whole and for all imagers."""

    rate: str
    seconds_between: float
    images_a_day: float
    one_imager: float
    all_imagers: float
    machines: int

    @classmethod
    def of(cls, rate: str, seconds_between: float, seconds_per_image: float, imagers: int) -> Self:
        """``seconds_between`` are those between two images of one imager."""
        exact = parallel(seconds_per_image, seconds_between)
        return cls(rate, seconds_between, imagers * SECONDS_A_DAY / seconds_between, exact, imagers * exact, whole(imagers * exact))


@dataclass(frozen=True, slots=True)
class Finish:
    """``machines`` finish in ``days``."""

    machines: int
    days: float


@dataclass(frozen=True, slots=True)
class Deadline:
    """To finish within ``days``, which end as the day ``by`` begins, takes ``exact`` machines, or ``machines`` whole ones."""

    days: int
    by: date | None
    exact: float
    machines: int


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes for ``images``: results without overlays, and overlays where all are kept, or only those of crystals."""

    what: str
    images: int
    results: int
    overlays: int
    crystal_overlays: int

    @classmethod
    def of(cls, what: str, images: float, sizes: Sizes) -> Self:
        """To the nearest image and byte."""
        overlays = images * sizes.overlay_bytes
        return cls(what, round(images), round(images * sizes.result_bytes), round(overlays), round(overlays * sizes.crystal_share))


@dataclass(frozen=True, slots=True)
class Plan:
    """All that ``crystal-search plan`` says, and what it comes from."""

    seconds_per_image: float
    platform: Platform
    sizes: Sizes
    images: int
    full_seconds: float
    plates_kept_up: int
    real_time: tuple[RealTime, ...]
    finish: tuple[Finish, ...]
    deadlines: tuple[Deadline, ...]
    storage: tuple[Storage, ...]


def make_plan(
    seconds_per_image: float,
    platform: Platform,
    sizes: Sizes,
    images: int,
    machines: Sequence[int],
    today: date,
    by: date | None = None,
) -> Plan:
    """The plan for one speed: keeping up with ``platform``, and scoring ``images`` by ``machines``, in a month and until ``by`` begins.

    A year's storage is that of 365 days at the given rate. Raises ``ValueError`` for a number that is not above 0 and for a day that
    is not after ``today``.
    """
    if by is not None and by <= today:
        raise ValueError(f"by {by}: today is {today}, so no day is left")
    _check("images", images)
    rates = (
        RealTime.of("standard", platform.imaging_seconds, seconds_per_image, platform.imagers),
        RealTime.of("full", platform.full_seconds, seconds_per_image, platform.imagers),
    )
    ends: list[tuple[int, date | None]] = [(MONTH_DAYS, None)] + ([((by - today).days, by)] if by else [])
    exact = [machines_to_finish(images, seconds_per_image, days) for days, _ in ends]
    years = [(f"a year, {rate.rate} rate", rate.images_a_day * YEAR_DAYS) for rate in rates]
    return Plan(
        seconds_per_image=seconds_per_image,
        platform=platform,
        sizes=sizes,
        images=images,
        full_seconds=platform.full_seconds,
        plates_kept_up=platform.plates_kept_up,
        real_time=rates,
        finish=tuple(Finish(number, days_to_finish(images, seconds_per_image, number)) for number in sorted(set(machines))),
        deadlines=tuple(Deadline(days, day, number, whole(number)) for (days, day), number in zip(ends, exact, strict=True)),
        storage=tuple(Storage.of(what, count, sizes) for what, count in [("these images", images), *years]),
    )
