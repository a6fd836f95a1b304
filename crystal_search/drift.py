"""Whether the scores of an imager's latest plates look like those before: a lamp that ages, a new plate, a camera out of focus.

For each model, imager and type of plate the images of the latest week are compared with all before it, in what was said of them (the
groups, unsure, no drop), in their crystal probabilities, and in what the ledger knows of the pictures: the size of the drop's box.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from crystal_search.classes import BY_NAME, Group
from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.ledger.schema import artscores, images, scorings

PERIOD = timedelta(days=7)
#: Fewer images on either side say nothing.
LEAST = 100
#: A population stability index (sum of (p - q) ln(p / q) over bins) above this counts as a shift, by the usual rule of thumb. Of two
#: samples of 100 images from one distribution it is 0.1 on average over six bins.
SHIFT = 0.25
#: The newest scores that ``status`` looks at; the command ``drift`` reads all of them.
NEWEST = 50_000
OUTCOMES = (*(str(group) for group in Group), "unsure", "no_drop")
_BINS = 5


class Seen(NamedTuple):
    """One score: its picture's time, its outcome, crystal probability and area of the drop's box in px (NaN: none)."""

    at: datetime
    outcome: str
    crystal: float
    area: float


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """What is compared only with itself: a model, an imager's number (``?``: not in the file's name) and the letters that a plate's
    barcode begins with, which tell its type."""

    model: str
    imager: str
    plate_type: str

    def __str__(self) -> str:
        return f"imager {self.imager}, plates {self.plate_type}, model {self.model}"


@dataclass(frozen=True, slots=True)
class Shift:
    """One figure of the latest week that differs from before; ``index`` is the population stability index."""

    stratum: Stratum
    what: str
    index: float
    before: float
    latest: float
    images: int
    since: datetime

    def line(self) -> str:
        """For a person.

        >>> Shift(Stratum("m", "222", "CI"), "no_drop", 0.31, 0.02, 0.3, 120, datetime(2026, 11, 18)).line()
        'drift: imager 222, plates CI, model m: no_drop 0.3 since 2026-11-18, 0.02 before (120 images): look at its latest pictures'
        """
        since = self.since.date().isoformat()
        change = f"{self.what} {self.latest:.3g} since {since}, {self.before:.3g} before ({self.images} images)"
        return f"drift: {self.stratum}: {change}: look at its latest pictures"


def read_seen(connection: Connection, newest: int | None = NEWEST) -> dict[Stratum, list[Seen]]:
    """The ledger's scores by stratum, at most the ``newest`` ones (None: all). Failed images say nothing of a picture."""
    columns = (
        scorings.c.model_name, images.c.image_name, images.c.barcode, images.c.inspected_at,
        artscores.c.scored_at, artscores.c.status, artscores.c.class_name, artscores.c.crystal_probability, artscores.c.drop_box,
    )  # fmt: skip
    joined = artscores.join(images).join(scorings, scorings.c.id == images.c.scoring_id)
    query = select(*columns).select_from(joined).where(artscores.c.status != "failed").order_by(artscores.c.image_id.desc()).limit(newest)
    strata: dict[Stratum, list[Seen]] = defaultdict(list)
    for model, name, barcode, inspected, scored, status, class_name, crystal, box in connection.execution_options(yield_per=5000).execute(
        query
    ):
        outcome = str(BY_NAME[class_name].group) if class_name in BY_NAME else str(status)
        strata[_stratum(model, name, barcode)].append(Seen(inspected or scored, outcome, _number(crystal), _area(box)))
    return dict(strata)


def _stratum(model: str, name: str, barcode: str) -> Stratum:
    try:
        imager = str(parse_image_name(name).imager)
    except MalformedNameError:
        imager = "?"
    letters = re.match(r"[A-Za-z]*", barcode)
    return Stratum(model, imager, letters.group() if letters and letters.group() else "?")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _area(box: str | None) -> float:
    if not box:
        return float("nan")
    x0, y0, x1, y1 = map(int, box.split(","))
    return float((x1 - x0) * (y1 - y0))


def shifts(strata: dict[Stratum, list[Seen]]) -> list[Shift]:
    """What differs, the largest shift first."""
    return sorted((shift for stratum, seen in strata.items() for shift in _shifts(stratum, seen)), key=lambda shift: -shift.index)


def _shifts(stratum: Stratum, seen: Sequence[Seen]) -> Iterator[Shift]:
    since = max(one.at for one in seen) - PERIOD
    before, latest = [one for one in seen if one.at <= since], [one for one in seen if one.at > since]
    if min(len(before), len(latest)) < LEAST:
        return
    counts = [np.array([sum(one.outcome == outcome for one in part) for outcome in OUTCOMES]) for part in (before, latest)]
    index = stability(*counts)
    if index > SHIFT:
        shares = [part / part.sum() for part in counts]
        most = int(np.abs(shares[1] - shares[0]).argmax())
        yield Shift(stratum, f"share of {OUTCOMES[most]}", index, float(shares[0][most]), float(shares[1][most]), len(latest), since)
    for name in ("crystal", "area"):
        old, new = (np.array([getattr(one, name) for one in part]) for part in (before, latest))
        old, new = old[~np.isnan(old)], new[~np.isnan(new)]
        if min(len(old), len(new)) < LEAST:
            continue
        index = stability(*_binned(old, new))
        if index > SHIFT:
            what = {"crystal": "median crystal probability", "area": "median px of the drop's box"}[name]
            yield Shift(stratum, what, index, float(np.median(old)), float(np.median(new)), len(new), since)


def _binned(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Counts in bins that hold equally many of the old ones."""
    edges = np.unique(np.quantile(old, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return tuple(np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) for part in (old, new))  # type: ignore[return-value]


def stability(before: npt.NDArray[np.integer], latest: npt.NDArray[np.integer]) -> float:
    """Population stability index of two rows of counts in the same bins; half an image is added to each bin, so that none is empty.

    >>> round(stability(np.array([99, 99]), np.array([99, 99])), 3), round(stability(np.array([79, 19]), np.array([19, 79])), 2)
    (0.0, 1.66)
    """
    p, q = ((part + 0.5) / (part + 0.5).sum() for part in (before, latest))
    return float(np.sum((p - q) * np.log(p / q)))


def alarm_lines(connection: Connection) -> list[str]:
    """One line for each shift among the newest scores."""
    return [shift.line() for shift in shifts(read_seen(connection))]


@dataclass(frozen=True, slots=True)
class Period:
    """The pictures of one stratum taken in one week: shares by outcome, median crystal probability, median px of the drop's box."""

    stratum: Stratum
    begins: datetime
    images: int
    shares: tuple[float, ...]
    crystal: float
    area: float


def periods(strata: dict[Stratum, list[Seen]]) -> list[Period]:
    """Every stratum week by week (from Mondays), in order."""
    rows = []
    for stratum in sorted(strata):
        weeks: dict[datetime, list[Seen]] = defaultdict(list)
        for one in strata[stratum]:
            midnight = one.at.replace(hour=0, minute=0, second=0, microsecond=0)
            weeks[midnight - timedelta(days=midnight.weekday())].append(one)
        rows += [_period(stratum, begins, weeks[begins]) for begins in sorted(weeks)]
    return rows


def _period(stratum: Stratum, begins: datetime, seen: Sequence[Seen]) -> Period:
    shares = tuple(sum(one.outcome == outcome for one in seen) / len(seen) for outcome in OUTCOMES)
    return Period(stratum, begins, len(seen), shares, _median(one.crystal for one in seen), _median(one.area for one in seen))


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.median(known)) if known else float("nan")
