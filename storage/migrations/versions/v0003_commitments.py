"""What this node was asked to answer for, and whether whoever asked has heard the answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
STATES = "'PENDING', 'REPORTED', 'GIVEN_UP'"


def upgrade() -> None:
    """Nobody has asked."""
    op.create_table(
        "commitments",
        sa.Column("id", NUMBER, nullable=False),
        _words("node"),
        _words("transaction_uid"),
        _words("calling_ae_title"),
        _words("called_ae_title"),
        _words("peer_address"),
        sa.Column("asked", sa.JSON(), nullable=False),
        _words("asked_sha256"),
        sa.Column("is_duplicate", sa.Boolean(), nullable=False),
        _words("state"),
        sa.Column("tries", sa.Integer(), nullable=False),
        _words("reason"),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("reported_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint(
            "node",
            "calling_ae_title",
            "transaction_uid",
            "asked_sha256",
            name=op.f("uq_commitments"),
        ),
        *(
            sa.CheckConstraint(rule, name=op.f(f"ck_commitments_{name}"))
            for name, rule in (
                ("state", f"state IN ({STATES})"),
                ("transaction_uid", "length(transaction_uid) BETWEEN 1 AND 64"),
                ("calling_ae_title", "length(calling_ae_title) BETWEEN 0 AND 16"),
                ("called_ae_title", "length(called_ae_title) BETWEEN 0 AND 16"),
                ("asked_sha256", "length(asked_sha256) BETWEEN 64 AND 64"),
                ("tries", "tries >= 0"),
                ("reported_at", "(state = 'REPORTED') = (reported_at IS NOT NULL)"),
            )
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_commitments_node_calling_ae_title_state"),
        "commitments",
        ["node", "calling_ae_title", "state"],
    )


def _words(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def downgrade() -> None:
    """What this node has answered for is not thrown away by a command."""
    raise NotImplementedError("restore the database from its back-up instead")
