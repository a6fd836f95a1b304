"""The viewer's tables."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "viewer_users",
        sa.Column("name", sa.String(30), primary_key=True),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("password", sa.String(200)),
        sa.Column("projects", sa.Text),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "viewer_sessions",
        sa.Column("token_sha256", sa.String(64), primary_key=True),
        sa.Column("person", sa.String(30), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "viewer_scores",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("person", sa.String(30), nullable=False),
        sa.Column("action", sa.String(36), nullable=False),
        sa.Column("score_id", _KEY, nullable=False, unique=True),
        sa.Column("inspection_id", _KEY, nullable=False),
        sa.Column("image_name", sa.String(255), nullable=False),
        sa.Column("score", sa.String(10), nullable=False),
        sa.Column("scored_at", sa.String(19), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("entered_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("person", "action", "inspection_id", "image_name"),
    )
    op.create_index("ix_viewer_scores_person", "viewer_scores", ["person", "id"])
    op.create_table(
        "viewer_marks",
        sa.Column("image_id", _KEY, sa.ForeignKey("images.id"), primary_key=True, autoincrement=False),
        sa.Column("person", sa.String(30), primary_key=True),
        sa.Column("class_name", sa.String(32)),
        sa.Column("marked_at", sa.DateTime, nullable=False),
        sa.Column("withdrawn_at", sa.DateTime),
    )
    op.create_table(
        "viewer_seen",
        sa.Column("person", sa.String(30), primary_key=True),
        sa.Column("inspection_id", _KEY, primary_key=True, autoincrement=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "viewer_plates_seen",
        sa.Column("person", sa.String(30), primary_key=True),
        sa.Column("barcode", sa.String(40), primary_key=True),
        sa.Column("inspection_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
    )
