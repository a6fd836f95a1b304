"""What the ledger says of a result archive's age and content, and of whether anybody still waits for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from crystal_search.classes import BY_NAME
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, artscores, batches, images, results, work_units

#: A batch in one of these states has been through XtalTrak.
_THROUGH = (BatchState.IMPORTED, BatchState.UNDONE)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """An accepted result: when it came (UTC), and what its images show: groups of classes, ``unsure``, ``no_drop``, ``failed``."""

    work_unit: str
    received_at: datetime
    groups: frozenset[str]


def stored_results(connection: Connection, batch: str) -> Mapping[str, StoredResult]:
    """The accepted results of a batch by work unit; none for a batch that is unknown, or has not been through XtalTrak yet."""
    found = connection.execute(select(batches.c.id, batches.c.state).where(batches.c.name == batch)).one_or_none()
    if found is None or found.state not in _THROUGH:
        return {}
    rows = connection.execute(
        select(work_units.c.name, results.c.received_at, images.c.state, artscores.c.class_name)
        .select_from(work_units)
        .join(results, results.c.work_unit_id == work_units.c.id)
        .join(images, images.c.work_unit_id == work_units.c.id)
        .outerjoin(artscores, artscores.c.image_id == images.c.id)
        .where(work_units.c.batch_id == found.id, work_units.c.state == WorkUnitState.ASSIMILATED)
        .distinct()
    ).all()
    groups: dict[tuple[str, datetime], set[str]] = defaultdict(set)
    for name, received_at, state, class_name in rows:
        groups[name, received_at].add(BY_NAME[class_name].group if state == ImageState.SCORED else state)
    return {name: StoredResult(name, received_at, frozenset(kinds)) for (name, received_at), kinds in groups.items()}
