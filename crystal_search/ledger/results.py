"""What the assimilator notes in the ledger: results, ARTscores, refusals, and work units that were given up.

Every function is one step of a transaction that the caller begins, and does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from crystal_search.archives import ImageResult, Results, Status
from crystal_search.ledger.bulk import execute_many
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
    return find_work_units(connection, [name]).get(name)


def find_work_units(connection: Connection, names: Sequence[str]) -> dict[str, KnownWorkUnit]:
    """The work units of those names, as far as they are ours."""
    units = connection.execute(
        select(work_units.c.id, work_units.c.name, work_units.c.state, batches.c.name.label("batch"))
        .join(batches)
        .where(work_units.c.name.in_(names))
    ).all()
    members: dict[int, dict[str, int]] = {unit.id: {} for unit in units}
    rows = connection.execute(
        select(images.c.work_unit_id, images.c.public_id, images.c.id).where(images.c.work_unit_id.in_(list(members)))
    )
    for unit, public_id, image in rows.all():
        members[unit][public_id.hex()] = image
    return {unit.name: KnownWorkUnit(unit.id, unit.name, unit.batch, unit.state in _OUT, members[unit.id]) for unit in units}


def record_result(connection: Connection, unit: KnownWorkUnit, answer: Results, sha256: str) -> bool:
    """Note an accepted result: its archive, every ARTscore, its images' states. False, and nothing noted, when it was before."""
    return bool(record_results(connection, [(unit, answer, sha256)]))


def record_results(connection: Connection, accepted: Iterable[tuple[KnownWorkUnit, Results, str]]) -> int:
    """Note accepted results, each with the SHA-256 of its archive, as ``record_result`` does; how many were not noted before."""
    now = utc_now()
    accepted = list(accepted)
    ended = _end(connection, [unit for unit, _, _ in accepted], WorkUnitState.ASSIMILATED, None, now)
    archives: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    for unit, answer, sha256 in accepted:
        if unit.id not in ended:
            continue
        ended.remove(unit.id)  # of two results of one work unit the first counts
        versions = {"client_version": answer.client_version, "runtime": answer.runtime, "provider": answer.provider}
        archives.append({"work_unit_id": unit.id, "sha256": sha256, "received_at": now, **versions})
        for image in answer.images:
            number = unit.images[image.id]
            ends.append({"image_id": number, "status": image.status.value, "why": image.reason})
            if image.status is not Status.FAILED:
                scores.append(_artscore(number, image, now))
    if archives:
        connection.execute(insert(results), archives)
        execute_many(connection, _END_IMAGE, ends)
        execute_many(connection, _INSERT_ARTSCORE, scores)
    return len(archives)


_INSERT_ARTSCORE = insert(artscores)
_END_IMAGE = update(images).where(images.c.id == bindparam("image_id")).values(state=bindparam("status"), reason=bindparam("why"))


def record_refusal(connection: Connection, work_unit: str, file: str, reason: str) -> None:
    """Note a result that was set aside under the name ``file``, once."""
    if connection.execute(select(refusals.c.id).where(refusals.c.file == file, refusals.c.work_unit == work_unit)).first() is None:
        connection.execute(insert(refusals).values(work_unit=work_unit, reason=reason[:500], file=file, at=utc_now()))


def give_up(connection: Connection, unit: KnownWorkUnit, reason: str) -> bool:
    """Note that the grid gave a work unit up: its images have failed. False, and nothing noted, when it had ended before."""
    if not _end(connection, [unit], WorkUnitState.GAVE_UP, reason[:500], utc_now()):
        return False
    connection.execute(
        update(images)
        .where(images.c.work_unit_id == unit.id, images.c.state == ImageState.IN_WORK)
        .values(state=ImageState.FAILED, reason=reason[:500])
    )
    return True


def _end(connection: Connection, units: Iterable[KnownWorkUnit], state: WorkUnitState, reason: str | None, now: datetime) -> set[int]:
    """Move work units that are out to their end; the ids of those that were. Of two that try, one succeeds."""
    are_out = work_units.c.id.in_([unit.id for unit in units]) & work_units.c.state.in_(_OUT)
    ended = set(connection.execute(select(work_units.c.id).where(are_out).with_for_update()).scalars())
    if ended:
        connection.execute(update(work_units).where(work_units.c.id.in_(ended)).values(state=state, reason=reason, changed_at=now))
    return ended


def _artscore(image_id: int, image: ImageResult, now: datetime) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "status": image.status.value,
        "class_name": image.class_name,
        "score": image.score,
        "probability": image.probability,
        "crystal_probability": image.crystal_probability,
        "drop_box": None if image.drop_box is None else ",".join(map(str, image.drop_box)),
        "chops": msgspec.json.encode(image.chops).decode(),
        "scored_at": now,
    }
