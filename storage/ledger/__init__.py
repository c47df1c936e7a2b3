"""Every write. Each takes a `Connection`, and the caller owns the transaction.

Each function takes the chain of its node first, writes its rows and its audit entry, and either
does all of that or raises before it has changed anything. `node` names the audit chain, `at` is
the aware time of the event; nobody here asks the clock.
"""

from storage.ledger.committing import owe, put_off, report
from storage.ledger.delivering import postpone, record_attempt, requeue, resend, settle
from storage.ledger.jobs import (
    Opened,
    advance,
    claim,
    ignore_outcome,
    open_job,
    store_outcome,
    withhold,
)
from storage.ledger.proving import ask, disprove, prove
from storage.ledger.receiving import Receipt, decide, note, quarantine, receive
from storage.ledger.removing import mark_removed
from storage.ledger.waiting import close_transfers, count_study, open_transfer

__all__ = [
    "Opened",
    "Receipt",
    "advance",
    "ask",
    "claim",
    "close_transfers",
    "count_study",
    "decide",
    "disprove",
    "ignore_outcome",
    "mark_removed",
    "note",
    "open_job",
    "open_transfer",
    "owe",
    "postpone",
    "prove",
    "put_off",
    "quarantine",
    "receive",
    "record_attempt",
    "report",
    "requeue",
    "resend",
    "settle",
    "store_outcome",
    "withhold",
]
