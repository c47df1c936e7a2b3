"""The tables. Constraints stand here as well as in Python; the migrations build the same.

`entries`, `decisions` and `delivery_attempts` are append-only: triggers of the migration refuse
to change or remove their rows. UIDs and AE titles are text with a CHECK on their length, because
SQLite does not keep to the length of a VARCHAR.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from storage.columns import Moment, Number, Words
from storage.lifecycle import State
from storage.records import CommitmentState, DeliveryState, StudyState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    names = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=column)


def _length(column: str, low: int, high: int) -> CheckConstraint:
    return CheckConstraint(f"length({column}) BETWEEN {low} AND {high}", name=column)


def _not_negative(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} >= 0", name=column)


def _words(name: str) -> Column[str]:
    return Column(name, Words, nullable=False)


def _at(name: str) -> Column[object]:
    return Column(name, Moment, nullable=False)


studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", Words, primary_key=True),
    _words("state"),
    _at("first_received_at"),
    _at("last_received_at"),
    Column("revision", Integer, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("pacs_count", Integer),
    _length("study_instance_uid", 1, 64),
    _one_of("state", StudyState),
    _not_negative("revision"),
    Index(None, "state", "last_received_at"),
    Index(None, "last_received_at"),
)

instances = Table(
    "instances",
    metadata,
    Column("sop_instance_uid", Words, primary_key=True),
    Column(
        "study_instance_uid",
        ForeignKey(studies.c.study_instance_uid, deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    _words("series_instance_uid"),
    _words("sop_class_uid"),
    _words("transfer_syntax_uid"),
    _words("sha256"),
    Column("size_bytes", Number, nullable=False),
    _words("path"),
    _at("received_at"),
    _words("calling_ae_title"),
    _words("called_ae_title"),
    _words("peer_address"),
    Column("attributes", JSON, nullable=False),
    Column("removed_at", Moment),
    _length("sop_instance_uid", 1, 64),
    _length("series_instance_uid", 1, 64),
    _length("sop_class_uid", 1, 64),
    _length("transfer_syntax_uid", 1, 64),
    _length("sha256", 64, 64),
    _length("calling_ae_title", 0, 16),
    _length("called_ae_title", 0, 16),
    _not_negative("size_bytes"),
    Index(None, "study_instance_uid", "received_at"),
)

transfers = Table(
    "transfers",
    metadata,
    _words("node"),
    _words("association"),
    Column("study_instance_uid", ForeignKey(studies.c.study_instance_uid), nullable=False),
    _at("opened_at"),
    PrimaryKeyConstraint("node", "association", "study_instance_uid"),
    Index(None, "study_instance_uid"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Number, primary_key=True),
    _at("received_at"),
    _words("calling_ae_title"),
    _words("peer_address"),
    _words("affected_sop_instance_uid"),
    Column("status", Integer, nullable=False),
    _words("reason"),
    _words("sha256"),
    Column("size_bytes", Number, nullable=False),
    _words("path"),
    _length("affected_sop_instance_uid", 0, 64),
    _length("sha256", 64, 64),
    CheckConstraint("status BETWEEN 0 AND 65535", name="status"),
    _not_negative("size_bytes"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Number, primary_key=True),
    Column("study_instance_uid", ForeignKey(studies.c.study_instance_uid), nullable=False),
    _at("at"),
    Column("revision", Integer, nullable=False),
    _words("completeness"),
    _words("verdict"),
    _words("rule"),
    Column("reasons", JSON, nullable=False),
    _words("configuration_digest"),
    _one_of("verdict", StudyState),
    Index(None, "study_instance_uid"),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Number, primary_key=True),
    Column("study_instance_uid", ForeignKey(studies.c.study_instance_uid), nullable=False),
    _words("rule"),
    _words("region"),
    _words("side"),
    _words("model"),
    _words("model_version"),
    _words("weights_digest"),
    _words("input_digest"),
    _words("configuration_digest"),
    _words("completeness"),
    Column("priority", Integer, nullable=False),
    Column("destinations", JSON, nullable=False),
    Column("request", JSON, nullable=False),
    _words("state"),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    _at("opened_at"),
    _at("changed_at"),
    _at("next_attempt_at"),
    Column("deadline_at", Moment),
    _words("claimed_by"),
    _words("reason"),
    Column("supersedes", ForeignKey("jobs.id")),
    Column("algorithm", JSON, nullable=False),
    Column("assumptions", JSON, nullable=False),
    Column("figures", JSON, nullable=False),
    UniqueConstraint(
        "study_instance_uid",
        "rule",
        "side",
        "input_digest",
        "model",
        "model_version",
        "weights_digest",
    ),
    _one_of("state", State),
    CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
    _not_negative("attempt"),
    _not_negative("failures"),
    CheckConstraint("supersedes < id", name="supersedes"),
    CheckConstraint(
        "(state = 'RECONSTRUCTING') = (deadline_at IS NOT NULL)", name="deadline_while_claimed"
    ),
    Index(None, "state", "priority", "opened_at"),
    Index(None, "state", "deadline_at"),
    sqlite_autoincrement=True,
)

job_instances = Table(
    "job_instances",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("position", Integer, nullable=False),
    Column("sop_instance_uid", ForeignKey(instances.c.sop_instance_uid), nullable=False),
    PrimaryKeyConstraint("job_id", "position"),
    UniqueConstraint("job_id", "sop_instance_uid"),
    Index(None, "sop_instance_uid"),
)

results = Table(
    "results",
    metadata,
    Column("id", Number, primary_key=True),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("attempt", Integer, nullable=False),
    _words("kind"),
    _words("sop_class_uid"),
    _words("sop_instance_uid"),
    _words("path"),
    _words("sha256"),
    Column("size_bytes", Number, nullable=False),
    Column("is_current", Boolean, nullable=False),
    UniqueConstraint("job_id", "sop_instance_uid"),
    _length("sop_class_uid", 1, 64),
    _length("sop_instance_uid", 1, 64),
    _length("sha256", 64, 64),
    _not_negative("size_bytes"),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Number, primary_key=True),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("result_id", ForeignKey(results.c.id), nullable=False),
    _words("sop_instance_uid"),
    _words("destination"),
    _words("state"),
    Column("tries", Integer, nullable=False),
    Column("status", Integer),
    _words("reason"),
    _at("pending_since"),
    _at("next_attempt_at"),
    Column("acknowledged_at", Moment),
    Column("accepted_at", Moment),
    Column("transaction_uid", Words, index=True),
    UniqueConstraint("job_id", "sop_instance_uid", "destination"),
    _one_of("state", DeliveryState),
    _not_negative("tries"),
    CheckConstraint("status BETWEEN 0 AND 65535", name="status"),
    CheckConstraint(
        "state <> 'ACKNOWLEDGED' OR acknowledged_at IS NOT NULL", name="acknowledged_at"
    ),
    Index(None, "state", "destination", "next_attempt_at"),
    Index(None, "result_id"),
    sqlite_autoincrement=True,
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("id", Number, primary_key=True),
    Column("delivery_id", ForeignKey(deliveries.c.id), nullable=False),
    _at("at"),
    _words("sha256"),
    _words("state"),
    Column("status", Integer),
    _words("reason"),
    _one_of("state", DeliveryState),
    CheckConstraint("status BETWEEN 0 AND 65535", name="status"),
    Index(None, "delivery_id"),
    sqlite_autoincrement=True,
)

commitments = Table(
    "commitments",
    metadata,
    Column("id", Number, primary_key=True),
    _words("node"),
    _words("transaction_uid"),
    _words("calling_ae_title"),
    _words("called_ae_title"),
    _words("peer_address"),
    Column("asked", JSON, nullable=False),
    _words("asked_sha256"),
    Column("is_duplicate", Boolean, nullable=False),
    _words("state"),
    Column("tries", Integer, nullable=False),
    _words("reason"),
    _at("asked_at"),
    _at("next_attempt_at"),
    Column("reported_at", Moment),
    UniqueConstraint("node", "calling_ae_title", "transaction_uid", "asked_sha256"),
    _one_of("state", CommitmentState),
    _length("transaction_uid", 1, 64),
    _length("calling_ae_title", 0, 16),
    _length("called_ae_title", 0, 16),
    _length("asked_sha256", 64, 64),
    _not_negative("tries"),
    CheckConstraint("(state = 'REPORTED') = (reported_at IS NOT NULL)", name="reported_at"),
    Index(None, "node", "calling_ae_title", "state"),
    sqlite_autoincrement=True,
)

chains = Table(
    "chains",
    metadata,
    Column("node", Words, primary_key=True),
    Column("sequence", Number, nullable=False),
    _words("sha256"),
    _not_negative("sequence"),
    _length("sha256", 64, 64),
)

entries = Table(
    "entries",
    metadata,
    Column("node", Words, nullable=False),
    Column("sequence", Number, nullable=False),
    _at("at"),
    _words("kind"),
    _words("study_instance_uid"),
    Column("job_id", Number),
    Column("details", Text, nullable=False),
    _words("previous_sha256"),
    _words("sha256"),
    PrimaryKeyConstraint("node", "sequence"),
    CheckConstraint("sequence >= 1", name="sequence"),
    _length("previous_sha256", 64, 64),
    _length("sha256", 64, 64),
    Index(None, "job_id"),
    Index(None, "study_instance_uid"),
    Index(None, "at"),
)
