"""Every read, for the node, the command and the console. Rows go in, records come out."""

from storage.queries.counting import (
    counts,
    entries,
)
from storage.queries.delivering import (
    deliveries,
    deliveries_of_transaction,
    delivery_attempts,
    due_deliveries,
    unproven,
)
from storage.queries.received import (
    decisions,
    instance_by_uid,
    instances,
    open_transfers,
    quarantined,
    recent_studies,
    study,
    waiting_studies,
)
from storage.queries.reconstructing import (
    delivering_jobs,
    job,
    job_instances,
    jobs,
    next_queued,
    overdue,
    own_objects,
    results,
    running,
)

__all__ = [
    "counts",
    "decisions",
    "deliveries",
    "deliveries_of_transaction",
    "delivering_jobs",
    "delivery_attempts",
    "due_deliveries",
    "entries",
    "instance_by_uid",
    "instances",
    "job",
    "job_instances",
    "jobs",
    "next_queued",
    "open_transfers",
    "overdue",
    "own_objects",
    "quarantined",
    "recent_studies",
    "results",
    "running",
    "study",
    "unproven",
    "waiting_studies",
]
