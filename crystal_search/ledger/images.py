"""What the work generator notes in the ledger: scorings, claimed images, work units on their way to the grid.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Table, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from crystal_search.archives import ModelReference, random_id, work_unit_name
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, batches, cursors, images, scorings, work_units
from crystal_search.plate import Drop, InspectionImage, Well
from crystal_search.settings import Scoring, Search
from crystal_search.xtaltrak.images import Key, Protect

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


@dataclass(frozen=True, slots=True)
class QueuedImage:
    """An image of ours that is claimed or in a work unit; ``public_id`` (32 hex digits) is the name it travels under."""

    id: int
    image_name: str
    drop: Drop
    inspection_number: int
    public_id: str | None


@dataclass(frozen=True, slots=True)
class OpenUnit:
    """A work unit that the grid does not have yet, as far as the ledger knows."""

    id: int
    name: str
    state: WorkUnitState
    batch: Batch


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
    connection.execute(_insert_if_new(connection, scorings), values)
    found = select(scorings.c.id).where(scorings.c.model_sha256 == model.sha256, scorings.c.settings == settings_json)
    number: int = connection.execute(found).scalar_one()
    return number


def _insert_if_new(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves a row alone whose unique key is there already, also when another program is just adding it."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


# ---- how far a search has read ------------------------------------------------------------------------------------


def search_sha256(search: Search, protect: Protect) -> str:
    """The identity of a search: SHA-256 of what it restricts. Its name and priority do not count."""
    restricts = search.model_dump(mode="json", exclude={"name", "priority"})
    restricts["protect"] = protect if search.only_unscored else None
    return hashlib.sha256(json.dumps(restricts, sort_keys=True).encode()).hexdigest()


def read_cursor(connection: Connection, scoring: int, search: str) -> Key | None:
    """The key up to which the search has been read; None when it is new."""
    row = connection.execute(
        select(cursors.c.inspection_id, cursors.c.image_name).where(cursors.c.scoring_id == scoring, cursors.c.search_sha256 == search)
    ).one_or_none()
    return None if row is None else Key(row.inspection_id, row.image_name)


def move_cursor(connection: Connection, scoring: int, search: str, key: Key) -> None:
    """Note that the search has been read up to ``key``; a cursor never moves back."""
    before = read_cursor(connection, scoring, search)
    if before is None:
        connection.execute(
            _insert_if_new(connection, cursors),
            {"scoring_id": scoring, "search_sha256": search, "inspection_id": key.inspection_id, "image_name": key.image_name},
        )
    elif key > before:
        connection.execute(
            update(cursors)
            .where(cursors.c.scoring_id == scoring, cursors.c.search_sha256 == search)
            .values(inspection_id=key.inspection_id, image_name=key.image_name)
        )


def forget_cursors(connection: Connection, scoring: int) -> None:
    """Make every search of a scoring read from the beginning."""
    connection.execute(delete(cursors).where(cursors.c.scoring_id == scoring))


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
            "state": ImageState.REFUSED if reason else ImageState.CLAIMED,
            "reason": reason and reason[:_REASON_LENGTH],
        }
        for image, reason in found
    ]
    connection.execute(_insert_if_new(connection, images), rows)
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


def next_batch(connection: Connection, priority: int) -> Batch | None:
    """The oldest batch of that priority with claimed images, or None."""
    waiting = select(images.c.id).where(images.c.batch_id == batches.c.id, _CLAIMED)
    row = connection.execute(
        select(*_BATCH_COLUMNS)
        .join(scorings)
        .where(batches.c.state == BatchState.OPEN, batches.c.priority == priority, waiting.exists())
        .order_by(batches.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _batch(row)


def claimed_images(connection: Connection, batch: Batch, limit: int) -> list[QueuedImage]:
    """The next images of the batch that wait for a work unit."""
    return _queued(connection, (images.c.batch_id == batch.id) & _CLAIMED, limit)


def unit_images(connection: Connection, unit: OpenUnit) -> list[QueuedImage]:
    """The images of a work unit, each with its public id."""
    return _queued(connection, images.c.work_unit_id == unit.id, None)


def _queued(connection: Connection, which: ColumnElement[bool], limit: int | None, newest_first: bool = False) -> list[QueuedImage]:
    rows = connection.execute(
        select(
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
    return [
        QueuedImage(
            row.id,
            row.image_name,
            Drop(row.barcode, Well(row.plate_column, row.plate_row), row.subwell),
            row.inspection_number,
            row.public_id and row.public_id.hex(),
        )
        for row in rows
    ]


def start_unit(connection: Connection, batch: Batch, chosen: Sequence[QueuedImage]) -> OpenUnit:
    """A new work unit with those claimed images, each under a new random name."""
    number = connection.execute(select(func.count()).where(work_units.c.batch_id == batch.id)).scalar_one() + 1
    name = work_unit_name(batch.name, number)
    now = utc_now()
    made = connection.execute(
        insert(work_units)
        .values(batch_id=batch.id, name=name, state=WorkUnitState.PACKING, created_at=now, changed_at=now)
        .returning(work_units.c.id)
    )
    unit = OpenUnit(made.scalar_one(), name, WorkUnitState.PACKING, batch)
    connection.execute(
        update(images)
        .where(images.c.id == bindparam("image"), _CLAIMED)
        .values(state=ImageState.IN_WORK, work_unit_id=unit.id, public_id=bindparam("public")),
        [{"image": image.id, "public": bytes.fromhex(random_id())} for image in chosen],
    )
    return unit


def refuse(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Note why images, by their id, do not go out; they leave their work unit."""
    if reasons:
        connection.execute(
            update(images)
            .where(images.c.id == bindparam("image"))
            .values(state=ImageState.REFUSED, reason=bindparam("why"), work_unit_id=None, public_id=None),
            [{"image": image, "why": reason[:_REASON_LENGTH]} for image, reason in reasons.items()],
        )


def put_back(connection: Connection, image_ids: Iterable[int]) -> None:
    """Let images leave their work unit and wait for the next one."""
    connection.execute(
        update(images).where(images.c.id.in_(list(image_ids))).values(state=ImageState.CLAIMED, work_unit_id=None, public_id=None)
    )


def unfinished_units(connection: Connection) -> list[OpenUnit]:
    """The work units that the grid may not have yet, in the order in which they should go out."""
    rows = connection.execute(
        select(work_units.c.id.label("unit_id"), work_units.c.name.label("unit_name"), work_units.c.state, *_BATCH_COLUMNS)
        .join_from(work_units, batches)
        .join(scorings)
        .where(work_units.c.state.in_([WorkUnitState.PACKING, WorkUnitState.PACKED]))
        .order_by(batches.c.priority.desc(), work_units.c.id)
    )
    return [OpenUnit(row.unit_id, row.unit_name, WorkUnitState(row.state), _batch(row)) for row in rows]


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
    values: dict[str, Any] = {"state": after, "changed_at": utc_now(), "reason": reason}
    if sha256 is not None:
        values["sha256"] = sha256
    moved = connection.execute(update(work_units).where(work_units.c.id == unit.id, work_units.c.state == before).values(**values))
    return moved.rowcount == 1
