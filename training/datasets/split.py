"""Training, validation and test: whole plates, never single images, for images of one plate resemble each other."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping

PARTS = ("training", "validation", "test")
SHARES: Mapping[str, float] = {"training": 0.8, "validation": 0.1, "test": 0.1}


def split_plates(labels: Iterable[tuple[str, str]], seed: int, shares: Mapping[str, float] = SHARES) -> dict[str, str]:
    """The part of each plate, from the (plate, class) of every image, for ``shares`` of the images by part.

    Iterative stratification (Sechidis et al. 2011) of whole plates: the class with the fewest images left goes first; its plates,
    in the order of SHA-256 of seed and plate, go each to the part that still lacks most of that class. The order of ``labels`` is
    of no consequence. The first plates go one to each part that has a share, the largest share first, so that no part stays empty
    that need not. Raises ``ValueError`` for shares that are negative, or zero in all.
    """
    if min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"shares {dict(shares)} are not at least 0 and above 0 in all")
    plates: dict[str, Counter[str]] = {}
    for plate, class_name in labels:
        plates.setdefault(plate, Counter())[class_name] += 1
    left = {part: share / sum(shares.values()) for part, share in shares.items() if share > 0}
    in_all: Counter[str] = sum(plates.values(), Counter())
    wanted = {part: {name: share * count for name, count in in_all.items()} for part, share in left.items()}
    rank = {part: place for place, part in enumerate(sorted(left, key=lambda part: (-left[part], part)))}
    parts: dict[str, str] = {}

    def lacks(part: str, name: str) -> tuple[bool, float, float, int]:
        empty = part not in parts.values() and len(parts) >= rank[part]
        # fsum: a plain sum of floats depends on the order of the rows in its last digit, which decides between equals
        return empty, wanted[part][name], math.fsum(wanted[part].values()), -rank[part]

    waiting = sorted(plates, key=lambda plate: _order(seed, plate))
    while waiting:
        remaining: Counter[str] = sum((plates[plate] for plate in waiting), Counter())
        rarest = min(remaining, key=lambda name: (remaining[name], name))
        for plate in [plate for plate in waiting if plates[plate][rarest]]:
            part = max(wanted, key=lambda part: lacks(part, rarest))
            parts[plate] = part
            for name, count in plates[plate].items():
                wanted[part][name] -= count
            waiting.remove(plate)
    return parts


def _order(seed: int, plate: str) -> str:
    return hashlib.sha256(f"{seed}\n{plate}".encode()).hexdigest()
