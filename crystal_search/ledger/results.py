"""What the assimilator notes in the ledger: results, ARTscores, refusals, and work units that were given up.

Every function is one step of a transaction that the caller begins, and does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from crystal_search.archives import ImageResult, Results, Status
from crystal_search.ledger.schema import ImageState, WorkUnitState, artscores, batches, images, refusals, results, work_units

#: A work unit in one of these states is waited for.
_OUT = (WorkUnitState.PACKED, WorkUnitState.SUBMITTED)


@dataclass(frozen=True, slots=True)
class KnownWorkUnit:
    """A work unit of ours; ``images`` are the ledger's image ids by the random ids that they travel under."""

    id: int
    name: str
    batch: str
    is_out: bool
    images: Mapping[str, int]


def utc_now() -> datetime:
    """Now, as the ledger keeps times: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def find_work_unit(connection: Connection, name: str) -> KnownWorkUnit | None:
    """The work unit of that name, or None."""
    unit = connection.execute(
        select(work_units.c.id, work_units.c.state, batches.c.name.label("batch")).join(batches).where(work_units.c.name == name)
    ).one_or_none()
    if unit is None:
        return None
    rows = connection.execute(select(images.c.public_id, images.c.id).where(images.c.work_unit_id == unit.id)).all()
    return KnownWorkUnit(unit.id, name, unit.batch, unit.state in _OUT, {row.public_id.hex(): row.id for row in rows})


def record_result(connection: Connection, unit: KnownWorkUnit, answer: Results, sha256: str) -> bool:
    """Note an accepted result: its archive, every ARTscore, its images' states. False, and nothing noted, when it was before."""
    now = utc_now()
    if not _end(connection, unit, WorkUnitState.ASSIMILATED, None, now):
        return False
    connection.execute(
        insert(results).values(
            work_unit_id=unit.id,
            sha256=sha256,
            client_version=answer.client_version,
            runtime=answer.runtime,
            provider=answer.provider,
            received_at=now,
        )
    )
    connection.execute(
        update(images).where(images.c.id == bindparam("image_id")).values(state=bindparam("status"), reason=bindparam("why")),
        [{"image_id": unit.images[image.id], "status": ImageState(image.status), "why": image.reason} for image in answer.images],
    )
    if rows := [_artscore(unit.images[image.id], image, now) for image in answer.images if image.status is not Status.FAILED]:
        connection.execute(insert(artscores), rows)
    return True


def record_refusal(connection: Connection, work_unit: str, file: str, reason: str) -> None:
    """Note a result that was set aside under the name ``file``, once."""
    if connection.execute(select(refusals.c.id).where(refusals.c.file == file, refusals.c.work_unit == work_unit)).first() is None:
        connection.execute(insert(refusals).values(work_unit=work_unit, reason=reason[:500], file=file, at=utc_now()))


def give_up(connection: Connection, unit: KnownWorkUnit, reason: str) -> bool:
    """Note that the grid gave a work unit up: its images have failed. False, and nothing noted, when it had ended before."""
    if not _end(connection, unit, WorkUnitState.GAVE_UP, reason[:500], utc_now()):
        return False
    connection.execute(
        update(images)
        .where(images.c.work_unit_id == unit.id, images.c.state == ImageState.IN_WORK)
        .values(state=ImageState.FAILED, reason=reason[:500])
    )
    return True


def _end(connection: Connection, unit: KnownWorkUnit, state: WorkUnitState, reason: str | None, now: datetime) -> bool:
    """Move a work unit that is out to its end; of two that try, one succeeds."""
    ended = connection.execute(
        update(work_units)
        .where(work_units.c.id == unit.id, work_units.c.state.in_(_OUT))
        .values(state=state, reason=reason, changed_at=now)
    )
    return ended.rowcount == 1


def _artscore(image_id: int, image: ImageResult, now: datetime) -> dict[str, object]:
    return {
        "image_id": image_id,
        "status": image.status,
        "class_name": image.class_name,
        "score": image.score,
        "probability": image.probability,
        "crystal_probability": image.crystal_probability,
        "drop_box": None if image.drop_box is None else ",".join(map(str, image.drop_box)),
        "chops": msgspec.json.encode(image.chops).decode(),
        "scored_at": now,
    }
