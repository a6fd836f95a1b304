"""What the work generator notes in the ledger: scorings, claimed images, work units on their way to the grid.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, String, bindparam, delete, func, insert, or_, select, update

from crystal_search.archives import ModelReference, random_id, work_unit_name
from crystal_search.ledger import leases
from crystal_search.ledger.bulk import execute_many, insert_if_new
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, batches, images, scorings, work_units
from crystal_search.plate import Drop, InspectionImage, drop_at
from crystal_search.settings import Scoring

_CLAIMED: ColumnElement[bool] = images.c.state == ImageState.CLAIMED

_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of images that wait for their work units; what is asked of them stands in ``model`` and ``asked``."""

    id: int
    name: str
    priority: int
    model: ModelReference
    asked: Mapping[str, Any]


class QueuedImage(msgspec.Struct, frozen=True, gc=False):
    """An image of ours that is claimed or in a work unit; ``public_id`` (32 hex digits) is the name it travels under."""

    id: int
    image_name: str
    drop: Drop
    inspection_number: int
    public_id: str | None


@dataclass(frozen=True, slots=True)
class OpenUnit:
    """A work unit that the grid does not have yet, as far as the ledger knows; ``images`` are known of one that was just started."""

    id: int
    name: str
    state: WorkUnitState
    batch: Batch
    images: tuple[QueuedImage, ...] | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim brought: its batch, and the reasons of the images that were refused at once."""

    batch: str
    claimed: int
    refused: tuple[str, ...]


# ---- what is asked ------------------------------------------------------------------------------------------------


def scoring_json(scoring: Scoring) -> str:
    """What is asked of the client beside the model, as canonical JSON: the same request is the same text."""
    asked = {
        "step": scoring.step,
        "threshold": scoring.threshold,
        "chops": scoring.chops,
        "overlays": sorted(set(scoring.overlays)),
    }
    return json.dumps(asked, sort_keys=True, separators=(",", ":"))


def scoring_id(connection: Connection, model: ModelReference, settings_json: str) -> int:
    """The scoring of that model and those settings (``scoring_json``), made when it is new."""
    values = {"model_name": model.name, "model_sha256": model.sha256, "settings": settings_json, "created_at": utc_now()}
    connection.execute(insert_if_new(connection, scorings), values)
    found = select(scorings.c.id).where(scorings.c.model_sha256 == model.sha256, scorings.c.settings == settings_json)
    number: int = connection.execute(found).scalar_one()
    return number


# ---- claiming -----------------------------------------------------------------------------------------------------


def claim(
    connection: Connection, scoring: int, search: str, priority: int, found: Sequence[tuple[InspectionImage, str | None]]
) -> Claimed | None:
    """Queue the images that this scoring does not have yet, as one new batch; None when there is none among them.

    Each image comes with the reason to refuse it, or None. The unique key on scoring, inspection and image lets one of two
    claims win, whoever asks at the same time.
    """
    if not found:
        return None
    batch, name = _new_batch(connection, scoring, search, priority)
    rows = [
        {
            "scoring_id": scoring,
            "batch_id": batch,
            "inspection_id": image.inspection_id,
            "image_name": image.image_name,
            "barcode": image.drop.barcode,
            "plate_column": image.drop.well.column,
            "plate_row": image.drop.well.row,
            "subwell": image.drop.subwell,
            "inspection_number": image.inspection.number,
            "inspected_at": image.inspection.taken_at,
            "state": (ImageState.REFUSED if reason else ImageState.CLAIMED).value,
            "reason": reason and reason[:_REASON_LENGTH],
        }
        for image, reason in found
    ]
    execute_many(connection, insert_if_new(connection, images), rows)
    ours = connection.execute(select(images.c.reason).where(images.c.batch_id == batch)).scalars().all()
    if not ours:
        connection.execute(delete(batches).where(batches.c.id == batch))
        return None
    refused = tuple(reason for reason in ours if reason is not None)
    return Claimed(name, len(ours) - len(refused), refused)


def _new_batch(connection: Connection, scoring: int, search: str, priority: int) -> tuple[int, str]:
    """Id and name (``<UTC date-time>-<6 random hex digits>``) of a new, open batch."""
    now = utc_now()
    name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    made = connection.execute(
        insert(batches)
        .values(name=name, scoring_id=scoring, search=search, priority=priority, state=BatchState.OPEN, created_at=now, changed_at=now)
        .returning(batches.c.id)
    )
    return made.scalar_one(), name


def retry(connection: Connection, scoring: int, state: ImageState) -> int:
    """Claim a scoring's refused or failed images again, in new batches of the searches that found them; returns how many.

    They have no ARTscore, and the work unit that an image failed in stays as it ended, without the image.
    """
    if state not in (ImageState.REFUSED, ImageState.FAILED):
        raise ValueError(f"images that are {state} have not stopped")
    return _claim_again(connection, (images.c.scoring_id == scoring) & (images.c.state == state))


def late_images(connection: Connection, scoring: int, hours: float, limit: int) -> list[QueuedImage]:
    """Refused images, newest first, whose files may still be on their way: missing, empty or unreadable, and inspected less
    than ``hours`` ago, or first seen then where XtalTrak has no date.
    """
    age = timedelta(hours=hours)
    day = timedelta(days=1)  # an image is seen after its inspection, but the lab's clock may be in any time zone
    recent = select(batches.c.id).where(batches.c.scoring_id == scoring, batches.c.created_at > utc_now() - age - day)
    first_seen = select(batches.c.created_at).where(batches.c.id == images.c.batch_id).scalar_subquery()
    young = (images.c.inspected_at > datetime.now() - age) | (images.c.inspected_at.is_(None) & (first_seen > utc_now() - age))
    kinds = or_(*(images.c.reason.startswith(f"{kind}:") for kind in ("missing", "empty", "unreadable")))
    which = images.c.batch_id.in_(recent) & (images.c.state == ImageState.REFUSED) & kinds & young
    return _queued(connection, which, limit, newest_first=True)


def claim_late(connection: Connection, image_ids: Iterable[int]) -> int:
    """Claim refused images again, whose files have come."""
    return _claim_again(connection, images.c.id.in_(list(image_ids)) & (images.c.state == ImageState.REFUSED))


def _claim_again(connection: Connection, which: ColumnElement[bool]) -> int:
    olds = connection.execute(
        select(batches.c.id, batches.c.scoring_id, batches.c.search, batches.c.priority)
        .where(batches.c.id.in_(select(images.c.batch_id).where(which)))
        .order_by(batches.c.id)
    ).all()
    count = 0
    for old in olds:
        new, _ = _new_batch(connection, old.scoring_id, old.search, old.priority)
        moved = connection.execute(
            update(images)
            .where(which, images.c.batch_id == old.id)
            .values(state=ImageState.CLAIMED, reason=None, batch_id=new, work_unit_id=None, public_id=None)
        )
        connection.execute(update(batches).where(batches.c.id == old.id).values(changed_at=utc_now()))  # its counts are others now
        count += moved.rowcount
    return count


# ---- packing ------------------------------------------------------------------------------------------------------

_BATCH_COLUMNS = (batches.c.id, batches.c.name, batches.c.priority, scorings.c.model_name, scorings.c.model_sha256, scorings.c.settings)


def _batch(row: Any) -> Batch:
    model = ModelReference(name=row.model_name, sha256=row.model_sha256)
    return Batch(row.id, row.name, row.priority, model, json.loads(row.settings))


def next_batch(connection: Connection, priority: int, owner: str = "") -> Batch | None:
    """The oldest batch of that priority with claimed images that ``owner`` may take, or None."""
    waiting = select(images.c.id).where(images.c.batch_id == batches.c.id, _CLAIMED)
    row = connection.execute(
        select(*_BATCH_COLUMNS)
        .join(scorings)
        .where(batches.c.state == BatchState.OPEN, batches.c.priority == priority, leases.free_for(batches, owner), waiting.exists())
        .order_by(batches.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _batch(row)


def take_batch(connection: Connection, batch: Batch, owner: str) -> bool:
    """Lease a batch for ``owner`` to pack, or renew that; False when somebody else has it."""
    return leases.take(connection, batches, batches.c.id == batch.id, owner) == 1


def take_unfinished(connection: Connection, priority: int, owner: str) -> list[OpenUnit]:
    """The work units of that priority that the grid may not have yet, of batches that are ``owner``'s from here on."""
    unfinished = work_units.c.state.in_([WorkUnitState.PACKING, WorkUnitState.PACKED])
    in_batches = select(work_units.c.batch_id).where(unfinished)
    leases.take(connection, batches, batches.c.id.in_(in_batches) & (batches.c.priority == priority), owner)
    ours = (batches.c.leased_by == owner) & (batches.c.priority == priority)
    rows = connection.execute(
        select(work_units.c.id.label("unit_id"), work_units.c.name.label("unit_name"), work_units.c.state, *_BATCH_COLUMNS)
        .join_from(work_units, batches)
        .join(scorings)
        .where(unfinished, ours)
        .order_by(work_units.c.id)
    )
    return [OpenUnit(row.unit_id, row.unit_name, WorkUnitState(row.state), _batch(row)) for row in rows]


def room_for_units(connection: Connection, most: int) -> int:
    """How many more work units may be started so that no more than ``most`` are on their way; others who ask wait for our commit."""
    connection.execute(select(scorings.c.id).order_by(scorings.c.id).limit(1).with_for_update(key_share=True))
    return max(0, most - open_units(connection))


def open_units(connection: Connection) -> int:
    """How many work units are on their way: chosen, packed or with the grid."""
    on_the_way = work_units.c.state.in_([WorkUnitState.PACKING, WorkUnitState.PACKED, WorkUnitState.SUBMITTED])
    return connection.execute(select(func.count()).where(on_the_way)).scalar_one()


def claimed_images(connection: Connection, batch: Batch, limit: int) -> list[QueuedImage]:
    """The next images of the batch that wait for a work unit."""
    return _queued(connection, (images.c.batch_id == batch.id) & _CLAIMED, limit)


def unit_images(connection: Connection, unit: OpenUnit) -> list[QueuedImage]:
    """The images of a work unit, each with its public id."""
    return images_of_units(connection, [unit])[unit.id]


def images_of_units(connection: Connection, units: Sequence[OpenUnit]) -> dict[int, list[QueuedImage]]:
    """The images of each work unit, by its id, each image with its public id."""
    found: dict[int, list[QueuedImage]] = {unit.id: [] for unit in units}
    for unit, image in _rows_of(connection, images.c.work_unit_id.in_(list(found)), None):
        found[unit].append(image)
    return found


def _queued(connection: Connection, which: ColumnElement[bool], limit: int | None, newest_first: bool = False) -> list[QueuedImage]:
    return [image for _, image in _rows_of(connection, which, limit, newest_first)]


def _rows_of(
    connection: Connection, which: ColumnElement[bool], limit: int | None, newest_first: bool = False
) -> Iterator[tuple[int, QueuedImage]]:
    """Work unit and image of each row."""
    rows = connection.execute(
        select(
            images.c.work_unit_id,
            images.c.id,
            images.c.image_name,
            images.c.barcode,
            images.c.plate_column,
            images.c.plate_row,
            images.c.subwell,
            images.c.inspection_number,
            images.c.public_id,
        )
        .where(which)
        .order_by(images.c.id.desc() if newest_first else images.c.id)
        .limit(limit)
    )
    for unit, number, image_name, barcode, column, row, subwell, inspection, public_id in rows.all():
        drop = drop_at(barcode, column, row, subwell)
        yield unit, QueuedImage(number, image_name, drop, inspection, public_id and public_id.hex())


def start_unit(connection: Connection, batch: Batch, chosen: Sequence[QueuedImage]) -> OpenUnit:
    """A new work unit with those claimed images, each under a new random name."""
    (unit,) = start_units(connection, batch, [chosen])
    return unit


def start_units(connection: Connection, batch: Batch, groups: Sequence[Sequence[QueuedImage]]) -> list[OpenUnit]:
    """A new work unit for each group of claimed images, each image under a new random name."""
    count = connection.execute(select(func.count()).where(work_units.c.batch_id == batch.id)).scalar_one()
    names = [work_unit_name(batch.name, count + number) for number in range(1, len(groups) + 1)]
    now = utc_now()
    common = {"batch_id": batch.id, "state": WorkUnitState.PACKING, "created_at": now, "changed_at": now}
    connection.execute(insert(work_units), [{"name": name, **common} for name in names])
    made = connection.execute(select(work_units.c.name, work_units.c.id).where(work_units.c.name.in_(names)))
    ids = {row.name: row.id for row in made}
    units = []
    for name, chosen in zip(names, groups, strict=True):
        members = tuple(QueuedImage(image.id, image.image_name, image.drop, image.inspection_number, random_id()) for image in chosen)
        units.append(OpenUnit(ids[name], name, WorkUnitState.PACKING, batch, members))
    states = {"before": ImageState.CLAIMED.value, "after": ImageState.IN_WORK.value}
    execute_many(
        connection,
        _ASSIGN,
        [
            {"image": image.id, "unit": unit.id, "public": bytes.fromhex(image.public_id or ""), **states}
            for unit in units
            for image in unit.images or ()
        ],
    )
    return units


_ASSIGN = (
    update(images)
    .where(images.c.id == bindparam("image"), images.c.state == bindparam("before"))
    .values(state=bindparam("after"), work_unit_id=bindparam("unit"), public_id=bindparam("public"))
)


def refuse(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Note why images, by their id, do not go out; they leave their work unit."""
    if reasons:
        connection.execute(
            update(images)
            .where(images.c.id == bindparam("image"))
            .values(state=ImageState.REFUSED, reason=bindparam("why"), work_unit_id=None, public_id=None),
            [{"image": image, "why": reason[:_REASON_LENGTH]} for image, reason in reasons.items()],
        )


def put_back(connection: Connection, image_ids: Sequence[int]) -> None:
    """Let images leave their work unit and wait for the next one."""
    if image_ids:
        connection.execute(
            update(images).where(images.c.id.in_(image_ids)).values(state=ImageState.CLAIMED, work_unit_id=None, public_id=None)
        )


def submitted_units(connection: Connection) -> list[tuple[str, int]]:
    """Name and priority of the work units that the grid should have, in the order in which they should go out."""
    rows = connection.execute(
        select(work_units.c.name, batches.c.priority)
        .join(batches)
        .where(work_units.c.state == WorkUnitState.SUBMITTED)
        .order_by(batches.c.priority.desc(), work_units.c.id)
    )
    return [(row.name, row.priority) for row in rows]


def move_unit(
    connection: Connection,
    unit: OpenUnit,
    before: WorkUnitState,
    after: WorkUnitState,
    *,
    sha256: str | None = None,
    reason: str | None = None,
) -> bool:
    """Move a work unit on from the state ``before``; False, and nothing changed, when it is in another one."""
    return bool(move_units(connection, {unit.id: sha256}, before, after, reason=reason))


def move_units(
    connection: Connection, units: Mapping[int, str | None], before: WorkUnitState, after: WorkUnitState, *, reason: str | None = None
) -> set[int]:
    """Move work units, each with the SHA-256 of its ZIP where that is new, on from the state ``before``; those that were in it."""
    in_state = work_units.c.id.in_(list(units)) & (work_units.c.state == before)
    moved = set(connection.execute(select(work_units.c.id).where(in_state).with_for_update()).scalars())
    common = {"after": after.value, "now": utc_now(), "why": reason}
    execute_many(connection, _MOVE, [{"unit": unit, "sha256_or_none": units[unit], **common} for unit in sorted(moved)])
    return moved


_MOVE = (
    update(work_units)
    .where(work_units.c.id == bindparam("unit"))
    .values(
        state=bindparam("after"),
        changed_at=bindparam("now"),
        reason=bindparam("why"),
        sha256=func.coalesce(bindparam("sha256_or_none", type_=String), work_units.c.sha256),
    )
)
