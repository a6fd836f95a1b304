"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNSETTLED = sa.text("state IN ('planned', 'removing')")


def upgrade() -> None:
    op.create_table(
        "scorings",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("model_name", sa.String(120), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("model_sha256", "settings"),
    )
    op.create_table(
        "batches",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("scoring_id", _KEY, sa.ForeignKey("scorings.id"), nullable=False),
        sa.Column("search", sa.String(120), nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
        sa.Column("approved_by", sa.String(120)),
    )
    op.create_table(
        "work_units",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("batch_id", _KEY, sa.ForeignKey("batches.id"), nullable=False, index=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("reason", sa.String(500)),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_work_units_open", "work_units", ["state", "id"])
    op.create_table(
        "images",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("scoring_id", _KEY, sa.ForeignKey("scorings.id"), nullable=False),
        sa.Column("batch_id", _KEY, sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("work_unit_id", _KEY, sa.ForeignKey("work_units.id"), index=True),
        sa.Column("public_id", sa.LargeBinary(16)),
        sa.Column("inspection_id", _KEY, nullable=False),
        sa.Column("image_name", sa.String(255), nullable=False),
        sa.Column("barcode", sa.String(40), nullable=False),
        sa.Column("plate_column", sa.SmallInteger, nullable=False),
        sa.Column("plate_row", sa.SmallInteger, nullable=False),
        sa.Column("subwell", sa.SmallInteger, nullable=False),
        sa.Column("inspection_number", sa.Integer, nullable=False),
        sa.Column("inspected_at", sa.DateTime),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.UniqueConstraint("scoring_id", "inspection_id", "image_name"),
    )
    op.create_index("ix_images_batch", "images", ["batch_id", "state"])
    op.create_table(
        "cursors",
        sa.Column("scoring_id", _KEY, sa.ForeignKey("scorings.id"), primary_key=True, autoincrement=False),
        sa.Column("search_sha256", sa.String(64), primary_key=True),
        sa.Column("inspection_id", _KEY, nullable=False),
        sa.Column("image_name", sa.String(255), nullable=False),
    )
    op.create_table(
        "results",
        sa.Column("work_unit_id", _KEY, sa.ForeignKey("work_units.id"), primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("client_version", sa.String(120), nullable=False),
        sa.Column("runtime", sa.String(120), nullable=False),
        sa.Column("provider", sa.String(120), nullable=False),
        sa.Column("received_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "refusals",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("work_unit", sa.String(80), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("file", sa.String(255), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "artscores",
        sa.Column("image_id", _KEY, sa.ForeignKey("images.id"), primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("class_name", sa.String(32)),
        sa.Column("score", sa.String(2)),
        sa.Column("probability", sa.Float),
        sa.Column("crystal_probability", sa.Float),
        sa.Column("drop_box", sa.String(32)),
        sa.Column("chops", sa.Text),
        sa.Column("scored_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "writes",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("batch_id", _KEY, sa.ForeignKey("batches.id"), nullable=False, index=True),
        sa.Column("image_id", _KEY, sa.ForeignKey("images.id"), nullable=False),
        sa.Column("score_id", _KEY, nullable=False),
        sa.Column("inspection_id", _KEY, nullable=False),
        sa.Column("action", sa.String(6), nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("payload_sha256", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("written_at", sa.DateTime, nullable=False),
        sa.Column("undone_at", sa.DateTime),
    )
    op.create_index("ix_writes_score_id", "writes", ["score_id"])
    op.create_index("ix_writes_unsettled", "writes", ["id"], sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED)
