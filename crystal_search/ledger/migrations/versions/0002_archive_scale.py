"""Several generators at once, pauses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("batches", "cursors"):
        if table == "cursors":
            op.add_column(table, sa.Column("at_end", sa.Boolean))
        op.add_column(table, sa.Column("leased_by", sa.String(120)))
        op.add_column(table, sa.Column("leased_until", sa.DateTime))
    op.create_table(
        "pauses",
        sa.Column("what", sa.String(20), primary_key=True),
        sa.Column("paused_by", sa.String(120), nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
    )
