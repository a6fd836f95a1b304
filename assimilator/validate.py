"""Is this result the answer to that work unit? A result is trusted in nothing: what it says is compared with what was asked."""

from __future__ import annotations

import re
from pathlib import Path

from crystal_search.archives import ArchiveError, Manifest, Results, check_results, open_work_unit, read_results
from crystal_search.grid import Validator


def validate(result: Path, manifest: Manifest) -> Results:
    """The results in an archive that answers the work unit of ``manifest``: its model, every image once, possible numbers.

    Raises ``ArchiveError`` with the first reason to refuse it.
    """
    results = read_results(result)
    check_results(results, manifest, result.name)
    return results


def packed_manifest(work_units: Path, name: str) -> Manifest:
    """What was asked: the manifest of ``<work_units>/<name>.zip``.

    Raises ``ArchiveError`` when no work unit of that name is out.
    """
    path = work_units / f"{name}.zip"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) or not path.is_file():
        raise ArchiveError(f"unknown work unit {name[:80]!r}: none of that name is out")
    with open_work_unit(path) as unit:
        return unit.manifest


def validator(work_units: Path) -> Validator:
    """The ``Validator`` that a grid calls with a work unit's name and the result that came for it."""

    def check(name: str, result: Path) -> None:
        validate(result, packed_manifest(work_units, name))

    return check
