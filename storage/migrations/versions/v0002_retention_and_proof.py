"""When pixels were removed, and what is known of an object between its acceptance and its proof."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Nothing was removed, and nothing waits for a proof."""
    op.add_column("instances", sa.Column("removed_at", MOMENT, nullable=True))
    op.add_column("deliveries", sa.Column("accepted_at", MOMENT, nullable=True))
    op.add_column("deliveries", sa.Column("transaction_uid", sa.Text(), nullable=True))
    op.create_index(op.f("ix_deliveries_transaction_uid"), "deliveries", ["transaction_uid"])


def downgrade() -> None:
    """What is known of removals and proofs is not thrown away by a command."""
    raise NotImplementedError("restore the database from its back-up instead")
