"""Which chops enter training (P9-P11). The paper names the rules and no thresholds: every number here is ours, to be tuned by a lab."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from crystal_search.classes import BY_NAME, Group

WithoutUv = Literal["leave out", "visible alone"]


@dataclass(frozen=True)
class Rules:
    """Thresholds of contour lengths, in px of a chop at the model's working resolution. Defaults are ours, the paper gives none.

    A contour is where the smoothed brightness leaves its surroundings by a contrast. Visible images are in parts of their 92nd
    percentile (0 to 1.6), UV images in parts of white (0 to 1), since most of a UV image is dark. The defaults for visible chops were
    chosen on 1 100 drawn chops of 232 px: each lies below nine tenths of its classes, and those for crystals, precipitate and other
    above three quarters of the clear chops. Those for UV were set without any UV image; drawn UV mates came later and keep to them
    (docs/explanations/synthetic-wells.md).
    """

    contrast: float = 0.10  #: of visible chops; well above a camera's noise
    uv_contrast: float = 0.06  #: of UV chops: 15 of 255 gray levels
    smoothing: float = 1.5  #: deviation in px of the Gaussian that takes noise out
    background: float = 20.0  #: deviation in px of the Gaussian that makes the surroundings; takes slow changes of light out
    crystal: float = 240.0  #: P9, visible chop
    crystal_uv: float = 20.0  #: P9, its UV mate: a glowing spot of about 6 px across
    precipitate: float = 450.0  #: P10
    other: float = 300.0  #: P10
    rim: float = 180.0  #: P11: less than an edge that runs straight through a chop
    without_uv: WithoutUv = "leave out"  #: crystal images that have no UV mate; P9 wants both
    window: int | None = dataclasses.field(default=None, repr=False)  #: side in px of the chops that are trained on; None: the model's
    chromophores: tuple[str, ...] = ()  #: plates and proteins whose crystals the visible image alone decides on (P29)

    def has_chromophore(self, plate: str, proteins: Iterable[str]) -> bool:
        """Whether a plate, or a protein on it, is listed; capital and small letters are alike."""
        listed = {name.casefold() for name in self.chromophores}
        return any(name.casefold() in listed for name in (plate, *proteins))


def with_values(rules: Rules, values: Iterable[str]) -> Rules:
    """``rules`` with each ``NAME=NUMBER`` of ``values`` put in. Raises ``ValueError`` with one line for what is not one."""
    numbers = {field.name for field in dataclasses.fields(Rules) if isinstance(field.default, float)}
    changes: dict[str, float] = {}
    for text in values:
        name, _, number = text.partition("=")
        if name not in numbers:
            raise ValueError(f"{text!r} is not NAME=NUMBER with a name of {', '.join(sorted(numbers))}")
        try:
            changes[name] = float(number)
        except ValueError:
            raise ValueError(f"{text!r}: {number!r} is not a number") from None
        if not (0 <= changes[name] < 1e6):
            raise ValueError(f"{text!r}: a threshold is a number from 0 on")
    return dataclasses.replace(rules, **changes)  # type: ignore[arg-type]


def contour_length(
    chop: npt.NDArray[np.float32],
    contrast: float = Rules.contrast,
    smoothing: float = Rules.smoothing,
    background: float = Rules.background,
) -> float:
    """Length in px of the contours in a chop (height, width): what P9 to P11 judge by.

    The chop is smoothed by a Gaussian with a deviation of ``smoothing`` px, and its surroundings, the same with ``background`` px, are
    taken off. The lines along which the rest is ``contrast`` and -``contrast`` (skimage.measure.find_contours, marching squares) are
    measured and their lengths added. Noise and slow changes of light have none. A body that is small against the background has
    its outline; a large one, or a step in brightness, has two lines at the step and one on either side where the surroundings
    catch up.

    >>> chop = np.ones((64, 64), np.float32)
    >>> contour_length(chop)
    0.0
    >>> chop[24:40, 24:40] = 0.5  # an outline of 4 x 16 px, a little outside of the body, its corners rounded off
    >>> 60 < contour_length(chop) < 68
    True
    """
    from skimage.filters import gaussian
    from skimage.measure import find_contours

    smooth, around = (gaussian(chop, sigma=sigma, mode="nearest", preserve_range=True) for sigma in (smoothing, background))
    relief = smooth - around
    lines = [line for level in (-contrast, contrast) for line in find_contours(relief, level)]
    return sum((float(np.hypot(*np.diff(line, axis=0).T).sum()) for line in lines), 0.0)


def training_class(class_name: str, visible: float, uv: float | None, *, border: bool, chromophore: bool, rules: Rules) -> str | None:
    """The class under which a chop enters training, or None where it does not.

    ``visible`` and ``uv`` are contour lengths of the chop and of its UV mate (None: no UV image), ``border`` tells that the chop
    lies at the edge of its drop. Crystals need contours in both (P9), or in the visible chop alone where there is a chromophore
    (P29); precipitate and other need contours (P10); a border chop of a clear drop with contours is rim (P11).
    """
    group = BY_NAME[class_name].group
    if group is Group.CRYSTAL:
        alone = chromophore or (uv is None and rules.without_uv == "visible alone")
        seen_in_uv = alone or (uv is not None and uv > rules.crystal_uv)
        return class_name if visible > rules.crystal and seen_in_uv else None
    if group is Group.PRECIPITATE:
        return class_name if visible > rules.precipitate else None
    if group is Group.OTHER:
        return class_name if visible > rules.other else None
    return "rim" if class_name == "clear" and border and visible > rules.rim else class_name
