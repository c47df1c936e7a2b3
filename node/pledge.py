"""What a modality asks this node to answer for, and what the node says: values in, values out.

The node answers for an instance when its bytes are on its disk and are those of its row, and the
class is the one that was asked for. What a peer asks about need not have come from it: a modality
may store under one AE title and ask under another, and who is listed may know of every instance
whether it is here, and nothing else of it.

Source: PS3.4 J.3.2 and J.3.3; the reasons are those of PS3.3 C.14.1.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pynetdicom.sop_class import StorageCommitmentPushModelInstance

from node.errors import NodeError
from node.header import is_uid
from node.references import TooManyReferencesError, read_references
from storage.records import Json, Reference

REQUEST: Final = 1
"""Action Type ID of Request Storage Commitment."""
ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2
"""Event Type IDs."""
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_CONFLICT: Final = 0x0119
DUPLICATE_TRANSACTION: Final = 0x0131


class RefusedRequestError(NodeError):
    """The request says nothing that can be answered for."""

    status = 0x0115  # invalid argument value


class UnknownActionError(RefusedRequestError):
    """The only action is to request storage commitment."""

    status = 0x0123  # no such action


class UnknownTargetError(RefusedRequestError):
    """The only instance is the well-known one of the push model."""

    status = 0x0112  # no such SOP instance


class TooMuchError(RefusedRequestError):
    """More is asked than is answered at a time."""

    status = 0x0213  # resource limitation


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked under one Transaction UID; at least one object, and none twice."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that the node does not answer for."""

    reference: Reference
    reason: int


@dataclass(frozen=True, slots=True)
class Pledge:
    """The answer to one request: each object is in one of the two, in the order of asking."""

    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...]

    @property
    def event_type(self) -> int:
        """Whether all is well. Source: PS3.4 Table J.3-2."""
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


def read_request(
    action_type: int | None, target: str, encoded: bytes, transfer_syntax: str
) -> Request:
    """What an N-ACTION asks.

    Raises:
        RefusedRequestError: nothing that can be answered for; its `status` tells the peer.
    """
    if action_type != REQUEST:
        raise UnknownActionError
    if target != StorageCommitmentPushModelInstance:
        raise UnknownTargetError
    try:
        said = read_references(encoded, transfer_syntax)
        transaction_uid = _uid(said, "TransactionUID")
        items = said.ReferencedSOPSequence
        references = tuple(dict.fromkeys(_reference(item) for item in items))
    except RefusedRequestError:
        raise
    except TooManyReferencesError as fault:
        raise TooMuchError(str(fault)) from fault
    except Exception as fault:  # hostile bytes make parsers raise anything
        why = f"the request cannot be parsed: {type(fault).__name__}"
        raise RefusedRequestError(why) from fault
    if not references:
        raise RefusedRequestError("no object is named")
    return Request(transaction_uid, references)


def judge(
    asked: Sequence[Reference],
    held: Mapping[str, str],
    unsound: Collection[str],
    *,
    is_duplicate: bool,
) -> Pledge:
    """What the node answers for.

    Args:
        asked: As it was asked.
        held: SOP classes by SOP Instance UID of what was received and not removed.
        unsound: SOP Instance UIDs of which the bytes are not those of their row, or other bytes of
            whoever asks lie in quarantine, which it may mean.
        is_duplicate: Something else was asked under the same Transaction UID before.
    """
    committed, failed = [], []
    for reference in asked:
        reason = DUPLICATE_TRANSACTION if is_duplicate else _reason(reference, held, unsound)
        if reason is None:
            committed.append(reference)
        else:
            failed.append(Failure(reference, reason))
    return Pledge(tuple(committed), tuple(failed))


def event_information(transaction_uid: str, pledge: Pledge) -> Dataset:
    """What an N-EVENT-REPORT says of it. Source: PS3.4 Table J.3-2."""
    said = Dataset()
    said.TransactionUID = transaction_uid
    if pledge.committed:
        said.ReferencedSOPSequence = [_item(each) for each in pledge.committed]
    if pledge.failed:
        said.FailedSOPSequence = [_item(each.reference) for each in pledge.failed]
        for item, each in zip(said.FailedSOPSequence, pledge.failed, strict=True):
            item.FailureReason = each.reason
    return said


def audited(pledge: Pledge) -> dict[str, Json]:
    """The answer as the audit keeps it."""
    return {
        "committed": [each.sop_instance_uid for each in pledge.committed],
        "failed": [
            {
                "sop_instance_uid": each.reference.sop_instance_uid,
                "sop_class_uid": each.reference.sop_class_uid,
                "reason": f"0x{each.reason:04X}",
            }
            for each in pledge.failed
        ],
    }


def _reason(reference: Reference, held: Mapping[str, str], unsound: Collection[str]) -> int | None:
    sop_class_uid = held.get(reference.sop_instance_uid)
    if sop_class_uid is None:
        return NO_SUCH_INSTANCE
    if sop_class_uid != reference.sop_class_uid:
        return CLASS_CONFLICT
    return PROCESSING_FAILURE if reference.sop_instance_uid in unsound else None


def _reference(item: Dataset) -> Reference:
    return Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))


def _uid(ds: Dataset, keyword: str) -> str:
    uid = str(ds.get(keyword) or "").strip("\0 ")
    if not is_uid(uid):
        raise RefusedRequestError(f"{keyword} {'is malformed' if uid else 'is missing'}")
    return uid


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
