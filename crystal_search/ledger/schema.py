"""The ledger's tables: our own bookkeeping, never XtalTrak's. SQLite in a file or PostgreSQL by URL.

Fifteen million images fit: one narrow row an image, everything that repeats lives in a table of its own. All times of ours are UTC.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

#: SQLite numbers rows by itself only in a column that is exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")


class ImageState(StrEnum):
    """Where an image is. The first two are on the way; the others are ends."""

    CLAIMED = "claimed"  # its row was read from XtalTrak; it is in no work unit yet
    IN_WORK = "in_work"  # it is in a work unit
    SCORED = "scored"
    UNSURE = "unsure"
    NO_DROP = "no_drop"
    FAILED = "failed"  # the client could not score it, or the grid gave its work unit up
    REFUSED = "refused"  # it never went out: file missing, empty or unreadable, or its name malformed


class WorkUnitState(StrEnum):
    PACKING = "packing"  # its images are chosen, its ZIP may not be there yet
    PACKED = "packed"  # its ZIP is on the disk, the grid may not have it yet
    SUBMITTED = "submitted"
    ASSIMILATED = "assimilated"
    GAVE_UP = "gave_up"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    OPEN = "open"  # work units may still be out
    HELD = "held"  # its CSV waits for a person's approval
    APPROVED = "approved"  # its CSV may be imported
    IMPORTED = "imported"
    UNDONE = "undone"


class WriteState(StrEnum):
    """Where a write into the score table is; the two in the middle are settled by looking into that table."""

    PLANNED = "planned"  # noted before XtalTrak's commit
    REMOVING = "removing"  # noted before it is taken out again
    WRITTEN = "written"
    UNDONE = "undone"  # taken out again, by `undo` or because a person has scored the drop since


#: What was asked of the images: a model and its settings. An image is queued once for each.
scorings = Table(
    "scorings",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("model_name", String(120), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("settings", Text, nullable=False),  # canonical JSON of step, threshold, number of chops, overlays
    Column("created_at", DateTime, nullable=False),
    UniqueConstraint("model_sha256", "settings"),
)

#: What one round of the work generator queued, and what is finalized, approved, imported and undone as one.
batches = Table(
    "batches",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("name", String(60), nullable=False, unique=True),
    Column("scoring_id", _Key, ForeignKey("scorings.id"), nullable=False),
    Column("search", String(120), nullable=False),  # the search pattern of the settings that found the images
    Column("priority", SmallInteger, nullable=False),  # larger goes first; real time 100, archive 0
    Column("state", String(12), nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("changed_at", DateTime, nullable=False),
    Column("approved_by", String(120)),
    Column("leased_by", String(120)),  # the generator that packs it
    Column("leased_until", DateTime),
)

work_units = Table(
    "work_units",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("batch_id", _Key, ForeignKey("batches.id"), nullable=False, index=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("state", String(12), nullable=False),
    Column("sha256", String(64)),  # of the ZIP, once packed
    Column("reason", String(500)),
    Column("created_at", DateTime, nullable=False),
    Column("changed_at", DateTime, nullable=False),
)
Index("ix_work_units_open", work_units.c.state, work_units.c.id)

images = Table(
    "images",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("scoring_id", _Key, ForeignKey("scorings.id"), nullable=False),
    Column("batch_id", _Key, ForeignKey("batches.id"), nullable=False),
    Column("work_unit_id", _Key, ForeignKey("work_units.id"), index=True),
    Column("public_id", LargeBinary(16)),  # the random name it travels under
    Column("inspection_id", _Key, nullable=False),  # XtalTrak's INSPECTID
    Column("image_name", String(255), nullable=False),
    Column("barcode", String(40), nullable=False),
    Column("plate_column", SmallInteger, nullable=False),
    Column("plate_row", SmallInteger, nullable=False),
    Column("subwell", SmallInteger, nullable=False),
    Column("inspection_number", Integer, nullable=False),
    Column("inspected_at", DateTime),  # as XtalTrak has it, in the lab's own time
    Column("state", String(8), nullable=False),
    Column("reason", String(500)),
    UniqueConstraint("scoring_id", "inspection_id", "image_name"),
)
#: Images are looked up by state within their batch only; a partial index of those on the way is what a stale ANALYZE makes SQLite ignore.
Index("ix_images_batch", images.c.batch_id, images.c.state)

#: How far a search has read: the key of the last row of XtalTrak. A search whose pattern is changed starts anew.
cursors = Table(
    "cursors",
    metadata,
    Column("scoring_id", _Key, ForeignKey("scorings.id"), primary_key=True, autoincrement=False),
    Column("search_sha256", String(64), primary_key=True),  # of the canonical JSON of what the pattern restricts
    Column("inspection_id", _Key, nullable=False),
    Column("image_name", String(255), nullable=False),
    Column("at_end", Boolean),  # nothing was left behind that key when it was read
    Column("leased_by", String(120)),  # the generator that reads on
    Column("leased_until", DateTime),
)

#: What an admin has stopped for a while: everything, a service, or the work of one priority.
pauses = Table(
    "pauses",
    metadata,
    Column("what", String(20), primary_key=True),
    Column("paused_by", String(120), nullable=False),
    Column("since", DateTime, nullable=False),
)

#: One accepted result archive a work unit: ``results/<batch>/<work unit>.zip``.
results = Table(
    "results",
    metadata,
    Column("work_unit_id", _Key, ForeignKey("work_units.id"), primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("client_version", String(120), nullable=False),
    Column("runtime", String(120), nullable=False),
    Column("provider", String(120), nullable=False),
    Column("received_at", DateTime, nullable=False),
)

#: Result archives that were set aside, each with its reason.
refusals = Table(
    "refusals",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("work_unit", String(80), nullable=False),  # a name, since a result may come for a work unit that is not ours
    Column("reason", String(500), nullable=False),
    Column("file", String(255), nullable=False),
    Column("at", DateTime, nullable=False),
)

#: Every ARTscore, the withheld ones too (rule 7 of the write-back rules): both evaluations stay.
artscores = Table(
    "artscores",
    metadata,
    Column("image_id", _Key, ForeignKey("images.id"), primary_key=True, autoincrement=False),
    Column("status", String(8), nullable=False),
    Column("class_name", String(32)),
    Column("score", String(2)),
    Column("probability", Float),
    Column("crystal_probability", Float),
    Column("drop_box", String(32)),  # x0,y0,x1,y1
    Column("chops", Text),  # JSON: box, class, probability
    Column("scored_at", DateTime, nullable=False),
)

#: Every row that we wrote into XtalTrak's score table, with what was there before: audit and ``undo``.
writes = Table(
    "writes",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("batch_id", _Key, ForeignKey("batches.id"), nullable=False, index=True),
    Column("image_id", _Key, ForeignKey("images.id"), nullable=False),
    Column("score_id", _Key, nullable=False),  # XtalTrak's SCOREID
    Column("inspection_id", _Key, nullable=False),
    Column("action", String(6), nullable=False),  # insert, update
    Column("before", Text),  # JSON of our own row before an update
    Column("after", Text, nullable=False),  # JSON of the row as written
    Column("payload_sha256", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("written_at", DateTime, nullable=False),
    Column("undone_at", DateTime),
)
Index("ix_writes_score_id", writes.c.score_id)
#: Only what a kill may have left between the two databases is looked up by state.
Index(
    "ix_writes_unsettled",
    writes.c.id,
    sqlite_where=text("state IN ('planned', 'removing')"),
    postgresql_where=text("state IN ('planned', 'removing')"),
)
