"""Do two results of one work unit say the same? Computers differ in the last digits, GPUs in the third; a forger knows none of them."""

from __future__ import annotations

from crystal_search.archives import ImageResult, Manifest, Results
from crystal_search.classes import PRIORITY

#: A 16-bit GPU differed by at most 0.015 from the CPU on real images (decision 0014); this is three times as much.
DEFAULT_TOLERANCE = 0.05


def difference(first: Results, second: Results, manifest: Manifest, tolerance: float = DEFAULT_TOLERANCE) -> str | None:
    """Why two valid results of ``manifest`` do not agree, in one line; None when they do.

    Crystal probabilities and the probabilities of a common class may differ by ``tolerance``. A different class is accepted only
    where the class that goes first was within ``tolerance`` of the work unit's threshold.
    """
    for one, other in zip(first.images, second.images, strict=True):
        if reason := _image_difference(one, other, manifest.threshold, tolerance):
            return f"image {one.id}: {reason}"
    return None


def _image_difference(one: ImageResult, other: ImageResult, threshold: float | None, tolerance: float) -> str | None:
    if (one.crystal_probability is None) != (other.crystal_probability is None) or (one.reason is None) != (other.reason is None):
        return f"{one.status} and {other.status}"
    if one.crystal_probability is None or other.crystal_probability is None:
        return None if one.status is other.status else f"{one.status} and {other.status}"
    if abs(one.crystal_probability - other.crystal_probability) > tolerance:
        return f"crystal probabilities {one.crystal_probability:.3f} and {other.crystal_probability:.3f}"
    if one.class_name == other.class_name:
        if one.probability is not None and other.probability is not None and abs(one.probability - other.probability) > tolerance:
            return f"{one.class_name} at {one.probability:.3f} and {other.probability:.3f}"
        return None
    leading = min((image for image in (one, other) if image.class_name is not None), key=lambda image: PRIORITY[str(image.class_name)])
    assert leading.probability is not None  # a class has one
    if threshold is not None and leading.probability <= threshold + tolerance:
        return None
    return f"{one.class_name or one.status} and {other.class_name or other.status}"
