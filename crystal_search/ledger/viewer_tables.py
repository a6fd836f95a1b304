"""The viewer's own tables in the ledger: users, sign-ins, what people entered, marked and have seen. All times are UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from crystal_search.ledger.schema import metadata

_Key = BigInteger().with_variant(Integer, "sqlite")

#: A name is what XtalTrak stores in SCOREDBY.
viewer_users = Table(
    "viewer_users",
    metadata,
    Column("name", String(30), primary_key=True),
    Column("role", String(8), nullable=False),  # viewer, scorer, admin
    Column("password", String(200)),  # scrypt with its parameters and salt; NULL where a proxy knows the users
    Column("projects", Text),  # JSON list of XtalTrak's project names; NULL: all
    Column("disabled", Boolean, nullable=False),
    Column("created_at", DateTime, nullable=False),
)

#: Only the hash of a session's token is kept: who reads the ledger can not sign in with it.
viewer_sessions = Table(
    "viewer_sessions",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("person", String(30), nullable=False),
    Column("role", String(8), nullable=False),  # of the local person; users' own role counts for all others
    Column("csrf", String(64), nullable=False),
    Column("expires_at", DateTime, nullable=False),
)

#: Scores that people entered in the viewer; the row itself is XtalTrak's. What one key press entered is one action, undone as one.
viewer_scores = Table(
    "viewer_scores",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("person", String(30), nullable=False),
    Column("action", String(36), nullable=False),  # the browser's own number: sent twice, entered once
    Column("score_id", _Key, nullable=False, unique=True),  # XtalTrak's SCOREID
    Column("inspection_id", _Key, nullable=False),
    Column("image_name", String(255), nullable=False),
    Column("score", String(10), nullable=False),
    Column("scored_at", String(19), nullable=False),  # as XtalTrak has it, in the lab's own time
    Column("state", String(8), nullable=False),  # planned, written, removing, undone
    Column("entered_at", DateTime, nullable=False),
    UniqueConstraint("person", "action", "inspection_id", "image_name"),
)
Index("ix_viewer_scores_person", viewer_scores.c.person, viewer_scores.c.id)

#: ARTscores that a person called wrong; kept for the next training.
viewer_marks = Table(
    "viewer_marks",
    metadata,
    Column("image_id", _Key, ForeignKey("images.id"), primary_key=True, autoincrement=False),
    Column("person", String(30), primary_key=True),
    Column("class_name", String(32)),  # the ARTscore's class at that moment, NULL: unsure or no drop
    Column("marked_at", DateTime, nullable=False),
    Column("withdrawn_at", DateTime),
)

#: Drops of an inspection that a person has looked at.
viewer_seen = Table(
    "viewer_seen",
    metadata,
    Column("person", String(30), primary_key=True),
    Column("inspection_id", _Key, primary_key=True, autoincrement=False),
    Column("seen_at", DateTime, nullable=False),
)

#: Inspections of plates that a person has opened: the work list shows the others as new.
viewer_plates_seen = Table(
    "viewer_plates_seen",
    metadata,
    Column("person", String(30), primary_key=True),
    Column("barcode", String(40), primary_key=True),
    Column("inspection_number", Integer, primary_key=True, autoincrement=False),
    Column("seen_at", DateTime, nullable=False),
)
