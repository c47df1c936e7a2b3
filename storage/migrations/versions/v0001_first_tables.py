"""The first tables, and the triggers that keep the append-only ones append-only.

A revision is frozen: it repeats what `storage.schema` said on its day and never imports it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
APPEND_ONLY = ("entries", "decisions", "delivery_attempts")


def upgrade() -> None:
    """Every table stands, in the order in which they refer to each other."""
    _chains()
    _entries()
    _quarantine()
    _studies()
    _decisions()
    _instances()
    _jobs()
    _job_instances()
    _results()
    _deliveries()
    _delivery_attempts()
    _transfers()
    for table in APPEND_ONLY:
        _forbid_changes(table)


def downgrade() -> None:
    """There is nothing before the first revision, and an audit is not thrown away by a command."""
    raise NotImplementedError("the first revision cannot be taken back: remove the database")


def _forbid_changes(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    for verb in ("UPDATE", "DELETE", "TRUNCATE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        )


def _transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("association", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["studies.study_instance_uid"],
            name=op.f("fk_transfers_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint(
            "node", "association", "study_instance_uid", name=op.f("pk_transfers")
        ),
    )
    op.create_index(op.f("ix_transfers_study_instance_uid"), "transfers", ["study_instance_uid"])


def _chains() -> None:
    op.create_table(
        "chains",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.CheckConstraint("length(sha256) BETWEEN 64 AND 64", name=op.f("ck_chains_sha256")),
        sa.CheckConstraint("sequence >= 0", name=op.f("ck_chains_sequence")),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_chains")),
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("job_id", NUMBER, nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous_sha256", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "length(previous_sha256) BETWEEN 64 AND 64", name=op.f("ck_entries_previous_sha256")
        ),
        sa.CheckConstraint("length(sha256) BETWEEN 64 AND 64", name=op.f("ck_entries_sha256")),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_entries_sequence")),
        sa.PrimaryKeyConstraint("node", "sequence", name=op.f("pk_entries")),
    )
    op.create_index(op.f("ix_entries_at"), "entries", ["at"])
    op.create_index(op.f("ix_entries_job_id"), "entries", ["job_id"])
    op.create_index(op.f("ix_entries_study_instance_uid"), "entries", ["study_instance_uid"])


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("peer_address", sa.Text(), nullable=False),
        sa.Column("affected_sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", NUMBER, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "length(affected_sop_instance_uid) BETWEEN 0 AND 64",
            name=op.f("ck_quarantine_affected_sop_instance_uid"),
        ),
        sa.CheckConstraint("length(sha256) BETWEEN 64 AND 64", name=op.f("ck_quarantine_sha256")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_quarantine_size_bytes")),
        sa.CheckConstraint("status BETWEEN 0 AND 65535", name=op.f("ck_quarantine_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sqlite_autoincrement=True,
    )


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("first_received_at", MOMENT, nullable=False),
        sa.Column("last_received_at", MOMENT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("pacs_count", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "state IN ('WAITING', 'ROUTED', 'DECLINED')", name=op.f("ck_studies_state")
        ),
        sa.CheckConstraint(
            "length(study_instance_uid) BETWEEN 1 AND 64",
            name=op.f("ck_studies_study_instance_uid"),
        ),
        sa.CheckConstraint("revision >= 0", name=op.f("ck_studies_revision")),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_studies")),
    )
    op.create_index(op.f("ix_studies_last_received_at"), "studies", ["last_received_at"])
    op.create_index(
        op.f("ix_studies_state_last_received_at"), "studies", ["state", "last_received_at"]
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("completeness", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("configuration_digest", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "verdict IN ('WAITING', 'ROUTED', 'DECLINED')", name=op.f("ck_decisions_verdict")
        ),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["studies.study_instance_uid"],
            name=op.f("fk_decisions_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_decisions_study_instance_uid"), "decisions", ["study_instance_uid"])


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", NUMBER, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("called_ae_title", sa.Text(), nullable=False),
        sa.Column("peer_address", sa.Text(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "length(called_ae_title) BETWEEN 0 AND 16", name=op.f("ck_instances_called_ae_title")
        ),
        sa.CheckConstraint(
            "length(calling_ae_title) BETWEEN 0 AND 16", name=op.f("ck_instances_calling_ae_title")
        ),
        sa.CheckConstraint(
            "length(series_instance_uid) BETWEEN 1 AND 64",
            name=op.f("ck_instances_series_instance_uid"),
        ),
        sa.CheckConstraint("length(sha256) BETWEEN 64 AND 64", name=op.f("ck_instances_sha256")),
        sa.CheckConstraint(
            "length(sop_class_uid) BETWEEN 1 AND 64", name=op.f("ck_instances_sop_class_uid")
        ),
        sa.CheckConstraint(
            "length(sop_instance_uid) BETWEEN 1 AND 64", name=op.f("ck_instances_sop_instance_uid")
        ),
        sa.CheckConstraint(
            "length(transfer_syntax_uid) BETWEEN 1 AND 64",
            name=op.f("ck_instances_transfer_syntax_uid"),
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_instances_size_bytes")),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["studies.study_instance_uid"],
            name=op.f("fk_instances_study_instance_uid"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_instances")),
    )
    op.create_index(
        op.f("ix_instances_study_instance_uid_received_at"),
        "instances",
        ["study_instance_uid", "received_at"],
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("weights_digest", sa.Text(), nullable=False),
        sa.Column("input_digest", sa.Text(), nullable=False),
        sa.Column("configuration_digest", sa.Text(), nullable=False),
        sa.Column("completeness", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("destinations", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("deadline_at", MOMENT, nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("supersedes", NUMBER, nullable=True),
        sa.Column("algorithm", sa.JSON(), nullable=False),
        sa.Column("assumptions", sa.JSON(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "(state = 'RECONSTRUCTING') = (deadline_at IS NOT NULL)",
            name=op.f("ck_jobs_deadline_while_claimed"),
        ),
        sa.CheckConstraint(
            "state IN ('QUEUED', 'RECONSTRUCTING', 'DELIVERING', "
            "'DELIVERED', 'WITHHELD', 'FAILED')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_jobs_attempt")),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_jobs_failures")),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name=op.f("ck_jobs_priority")),
        sa.CheckConstraint("supersedes < id", name=op.f("ck_jobs_supersedes")),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["studies.study_instance_uid"],
            name=op.f("fk_jobs_study_instance_uid"),
        ),
        sa.ForeignKeyConstraint(["supersedes"], ["jobs.id"], name=op.f("fk_jobs_supersedes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint(
            "study_instance_uid",
            "rule",
            "side",
            "input_digest",
            "model",
            "model_version",
            "weights_digest",
            name=op.f("uq_jobs"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_state_deadline_at"), "jobs", ["state", "deadline_at"])
    op.create_index(
        op.f("ix_jobs_state_priority_opened_at"), "jobs", ["state", "priority", "opened_at"]
    )


def _job_instances() -> None:
    op.create_table(
        "job_instances",
        sa.Column("job_id", NUMBER, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_instances_job_id")),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"],
            ["instances.sop_instance_uid"],
            name=op.f("fk_job_instances_sop_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_job_instances")),
        sa.UniqueConstraint("job_id", "sop_instance_uid", name=op.f("uq_job_instances")),
    )
    op.create_index(
        op.f("ix_job_instances_sop_instance_uid"), "job_instances", ["sop_instance_uid"]
    )


def _results() -> None:
    op.create_table(
        "results",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("job_id", NUMBER, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", NUMBER, nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.CheckConstraint("length(sha256) BETWEEN 64 AND 64", name=op.f("ck_results_sha256")),
        sa.CheckConstraint(
            "length(sop_class_uid) BETWEEN 1 AND 64", name=op.f("ck_results_sop_class_uid")
        ),
        sa.CheckConstraint(
            "length(sop_instance_uid) BETWEEN 1 AND 64", name=op.f("ck_results_sop_instance_uid")
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_results_size_bytes")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.UniqueConstraint("job_id", "sop_instance_uid", name=op.f("uq_results")),
        sqlite_autoincrement=True,
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("job_id", NUMBER, nullable=False),
        sa.Column("result_id", NUMBER, nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("pending_since", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("acknowledged_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state <> 'ACKNOWLEDGED' OR acknowledged_at IS NOT NULL",
            name=op.f("ck_deliveries_acknowledged_at"),
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ACKNOWLEDGED', 'REFUSED', 'LEFT_OUT')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.CheckConstraint("status BETWEEN 0 AND 65535", name=op.f("ck_deliveries_status")),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_deliveries_tries")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id")),
        sa.ForeignKeyConstraint(
            ["result_id"], ["results.id"], name=op.f("fk_deliveries_result_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "job_id", "sop_instance_uid", "destination", name=op.f("uq_deliveries")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_deliveries_result_id"), "deliveries", ["result_id"])
    op.create_index(
        op.f("ix_deliveries_state_destination_next_attempt_at"),
        "deliveries",
        ["state", "destination", "next_attempt_at"],
    )


def _delivery_attempts() -> None:
    op.create_table(
        "delivery_attempts",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("delivery_id", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ACKNOWLEDGED', 'REFUSED', 'LEFT_OUT')",
            name=op.f("ck_delivery_attempts_state"),
        ),
        sa.CheckConstraint("status BETWEEN 0 AND 65535", name=op.f("ck_delivery_attempts_status")),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_attempts_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_delivery_attempts_delivery_id"), "delivery_attempts", ["delivery_id"])
