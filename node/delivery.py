"""C-STORE as a service class user: one object to one destination gives one verdict.

Every destination is served by itself, so that a dead one delays no other. Several objects of a
destination share an association. Nagle's algorithm is off, and TCP_QUICKACK is set after every
message, because either side otherwise waits 40 ms for a delayed acknowledgement, per object.

Every transfer syntax is proposed in a context of its own: a destination then says for each whether
it takes it, and the bytes of the file go as they are wherever they may. What it takes in none is
left out, which is another thing than a refusal: no attempt would ever change it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.checkpoint import keep_answers
from node.descriptors import on_opened
from node.kinds import SENT_TRANSFER_SYNTAXES, words
from node.settings import Destination
from storage.crashpoints import Point, reached

if TYPE_CHECKING:
    from pynetdicom.events import Event, EventHandlerType


class Verdict(StrEnum):
    """What an answer means for the object."""

    ACCEPTED = "accepted"
    TRY_AGAIN = "try again"
    REFUSED = "refused"
    LEFT_OUT = "left out"
    """Not sent: the destination accepts no presentation context for objects of this class."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One object that is to go to a destination."""

    key: int
    """The delivery's number, handed back with the answer."""
    sop_class_uid: str
    path: Path
    group: int = 0
    """Parcels that belong together: the number of their job."""
    is_last: bool = False
    """Goes only if every parcel of its group before it was answered for good."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said to one object."""

    key: int
    verdict: Verdict
    status: int | None
    """DIMSE status; None where none came."""
    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No association could be had; nothing was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class NothingAccepted:
    """The destination answered, and accepts none of the contexts that were proposed."""

    contexts: tuple[PresentationContext, ...]


def verdict(status: int) -> Verdict:
    """What a C-STORE status means. Source: PS3.4 B.2.3, PS3.7 C."""
    if status == 0x0000 or status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF:
        return Verdict.ACCEPTED
    if 0xA700 <= status <= 0xA7FF or status in (0x0110, 0x0112, 0x0213, 0xFE00):
        return Verdict.TRY_AGAIN
    return Verdict.REFUSED


def send(
    parcels: Sequence[Parcel], destination: Destination, calling_ae_title: str
) -> Iterator[Answer] | Unreachable:
    """Answers in the order of the parcels, as they come; a lost association ends with TRY_AGAIN.

    A parcel that is the last of its group gets no answer where one before it is to be tried again.
    """
    sop_classes = {parcel.sop_class_uid for parcel in parcels}
    assoc = associate(destination, calling_ae_title, storage_contexts(sop_classes))
    match assoc:
        case Unreachable():
            return assoc
        case NothingAccepted():
            return iter([_left_out(parcel, destination, assoc.contexts) for parcel in parcels])
    return _answers(parcels, destination, assoc)


def echo(destination: Destination, calling_ae_title: str) -> Unreachable | None:
    """None, if the destination answers a C-ECHO with success."""
    contexts = [build_context(Verification)]
    assoc = associate(destination, calling_ae_title, contexts)
    if isinstance(assoc, Unreachable):
        return assoc
    if isinstance(assoc, NothingAccepted):
        return Unreachable("it accepts associations, but not C-ECHO")
    try:
        status = assoc.send_c_echo()
    finally:
        assoc.release()
    if "Status" in status and status.Status == 0x0000:
        return None
    return Unreachable("it accepts associations, but does not answer C-ECHO")


def storage_contexts(sop_classes: Iterable[str]) -> list[PresentationContext]:
    """A context for each class and each transfer syntax in which it can be sent."""
    return [
        build_context(sop_class, syntax)
        for sop_class in sorted(sop_classes)
        for syntax in SENT_TRANSFER_SYNTAXES
    ]


def associate(
    destination: Destination,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[EventHandlerType] = (),
) -> Association | NothingAccepted | Unreachable:
    """An association over which objects go as they lie on disk, or why there is none."""
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, as they are
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = destination.connect_timeout_s
    ae.acse_timeout = destination.connect_timeout_s
    ae.dimse_timeout = destination.response_timeout_s
    ae.network_timeout = destination.response_timeout_s
    own_handlers = [
        (evt.EVT_CONN_OPEN, on_opened),
        (evt.EVT_CONN_OPEN, _do_not_delay),
        (evt.EVT_DATA_SENT, _do_not_delay),
    ]
    try:
        assoc = ae.associate(
            destination.host,
            destination.port,
            contexts=list(contexts),
            ae_title=destination.ae_title,
            ext_neg=list(roles),
            evt_handlers=[*own_handlers, *handlers],
        )
    except (OSError, RuntimeError, ValueError) as fault:
        return Unreachable(f"no connection: {fault}")
    if assoc.is_established:
        keep_answers(assoc)
        return assoc
    if assoc.rejected_contexts and not assoc.accepted_contexts:
        return NothingAccepted(tuple(assoc.rejected_contexts))
    return Unreachable(_why_not(assoc, destination, calling_ae_title))


def _why_not(assoc: Association, destination: Destination, calling_ae_title: str) -> str:
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        why = answer.reason_str if answer is not None else "no reason given"
        return (
            f"{where} rejects the association ({why}): "
            f"is '{calling_ae_title}' known there, and '{destination.ae_title}' its name?"
        )
    return f"{where} does not answer: is it running, and is the port open?"


def _answers(
    parcels: Sequence[Parcel], destination: Destination, assoc: Association
) -> Iterator[Answer]:
    accepted: dict[str, set[str]] = {}
    for context in assoc.accepted_contexts:
        accepted.setdefault(str(context.abstract_syntax), set()).update(context.transfer_syntax)
    open_groups: set[int] = set()
    try:
        for parcel in parcels:
            if parcel.is_last and parcel.group in open_groups:
                continue
            if syntaxes := accepted.get(parcel.sop_class_uid):
                answer = _store(parcel, assoc, ExplicitVRLittleEndian in syntaxes)
            else:
                answer = _left_out(parcel, destination, assoc.rejected_contexts)
            if answer.verdict is Verdict.TRY_AGAIN:
                open_groups.add(parcel.group)
            yield answer
            reached(Point.BETWEEN_OBJECTS)
    finally:
        if assoc.is_established:
            assoc.release()


def _left_out(
    parcel: Parcel, destination: Destination, rejected: Iterable[PresentationContext]
) -> Answer:
    results = {each.result for each in rejected if each.abstract_syntax == parcel.sop_class_uid}
    what = words(parcel.sop_class_uid)
    reason = f"{destination.name} does not take {what}"
    if _TRANSFER_SYNTAXES_NOT_SUPPORTED in results:
        reason = f"{destination.name} takes {what}, but in no uncompressed transfer syntax"
    return Answer(parcel.key, Verdict.LEFT_OUT, None, reason)


_TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 0x04
"""Result of a presentation context. Source: PS3.8 9.3.3.2, table 9-18."""


def _store(parcel: Parcel, assoc: Association, is_as_filed: bool) -> Answer:
    """Sent as filed, or else encoded anew for whatever the destination takes instead."""
    if not assoc.is_established:
        return Answer(parcel.key, Verdict.TRY_AGAIN, None, "the association was lost")
    try:
        answer = assoc.send_c_store(parcel.path if is_as_filed else dcmread(parcel.path))
    except (OSError, RuntimeError) as fault:
        return Answer(parcel.key, Verdict.TRY_AGAIN, None, f"the association was lost: {fault}")
    except ValueError as fault:
        return Answer(parcel.key, Verdict.REFUSED, None, f"it cannot be sent: {fault}")
    if "Status" not in answer:
        return Answer(parcel.key, Verdict.TRY_AGAIN, None, "no answer, or the association was lost")
    comment = str(answer.get("ErrorComment", ""))
    return Answer(parcel.key, verdict(answer.Status), answer.Status, comment)


def _do_not_delay(event: Event) -> None:
    """What we send goes at once, and what comes is acknowledged at once, where the system can."""
    own = event.assoc.dul.socket
    if own is None or own.socket is None:
        return
    own.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_QUICKACK"):
        own.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
