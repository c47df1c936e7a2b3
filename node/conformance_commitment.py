"""The chapter of the conformance statement on storage commitment as a provider."""

from __future__ import annotations

from typing import Final

from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node import pledge, pledging, statuses
from node.conformance_network import name_of, table
from node.references import MOST_OBJECTS, TRANSFER_SYNTAXES
from node.sections import Retries

ANSWERS: Final = (
    (statuses.SUCCESS, "The row of the request is committed, and its report will be tried."),
    (
        pledge.UnknownTargetError.status,
        "The Requested SOP Instance UID is not the well-known one.",
    ),
    (pledge.UnknownActionError.status, "The Action Type ID is not 1."),
    (
        pledge.RefusedRequestError.status,
        "It cannot be parsed, names no object, or has a UID that is missing or malformed.",
    ),
    (
        pledge.TooMuchError.status,
        f"It names more than {MOST_OBJECTS} objects, or {pledging.MOST_PENDING} other requests of "
        "this AE title wait for an answer.",
    ),
    (
        statuses.PROCESSING_FAILURE,
        "A fault of this node, or the database cannot be reached. Ask again.",
    ),
)
"""What an N-ACTION is answered with (PS3.7 10.1.4)."""

FAILURES: Final = (
    (
        pledge.NO_SUCH_INSTANCE,
        "No instance of this UID was received, or it was refused, or retention has removed it.",
    ),
    (pledge.CLASS_CONFLICT, "The instance is of another SOP class."),
    (
        pledge.PROCESSING_FAILURE,
        "The file is missing or is not the one of its row, or other content that the asking AE "
        "title sent under this UID is in quarantine.",
    ),
    (
        pledge.DUPLICATE_TRANSACTION,
        "The AE title asked something else under this Transaction UID before.",
    ),
)
"""The Failure Reason (0008,1197) of an object (PS3.3 C.14.1.1)."""


def answering() -> str:
    """What may be asked, what is answered, when and where."""
    answers = table(
        ("Status", "When"), [(f"0x{status:04X}", when) for status, when in sorted(ANSWERS)]
    )
    failures = table(
        ("Failure reason", "When"), [(f"{reason:04X}H", when) for reason, when in FAILURES]
    )
    courtesy_s, patience_s = pledging.COURTESY.seconds, pledging.PATIENCE.seconds
    give_up_s = Retries.model_fields["give_up_after_s"].default
    return f"""
Every peer may ask this node to answer for instances: {name_of(StorageCommitmentPushModel)},
{StorageCommitmentPushModel}, instance {StorageCommitmentPushModelInstance}, in
{" and ".join(name_of(uid) for uid in TRANSFER_SYNTAXES)}. Of an N-ACTION, Transaction UID and
Referenced SOP Sequence are read. It is answered with one of

{answers}

The N-EVENT-REPORT follows after {courtesy_s} s at the earliest, with Event Type ID 1 where all
objects are committed and 2 where failures exist. It says what is true when it is sent: an object is
committed if its row says that it is here under the SOP class that was asked for, and its file was
read and has the digest of its row. Else it is in the Failed SOP Sequence with

{failures}

The report goes over the association of the request while that is open and nothing came over it for
a second; else over a new association to the peer, which this node opens under the AE title that
the peer had called, and for which it proposes the role of the provider. Where the peer listens is
its `port` under `[[peers]]`, at the address from which it asked; without one, where the destination
of its AE title is. A peer of which neither is set hears over the association of its request only.

A report that nobody heard, or that was not answered with a success or a warning, is tried again as
deliveries are, for {give_up_s:g} s by default; a new association is tried where one over the first
was not answered within {patience_s} s. This goes on after a crash, after which a peer may hear a
report twice. The same objects under the same Transaction UID are the same request: it is answered
again. Requests, refusals and reports are in the audit, with what was committed.

Who is listed may ask about every instance, also about those that another AE title has sent: one
device may store under one title and ask under another. It learns whether the instance is here, and
nothing else of it.

This node is no archive. What is committed stays until `[retention]` removes it, which is never
unless it is set. A modality that deletes its images once they are committed should ask the archive.
"""
