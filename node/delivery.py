"""C-STORE as a service class user: one object to one destination gives one verdict.

Every destination is served by itself, so that a dead one delays no other. Several objects of a
destination share an association. Nagle's algorithm is off, and TCP_QUICKACK is set after every
message, because either side otherwise waits 40 ms for a delayed acknowledgement, per object.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.settings import Destination

if TYPE_CHECKING:
    from pynetdicom.events import Event


class Verdict(StrEnum):
    """What an answer means for the object."""

    ACCEPTED = "accepted"
    TRY_AGAIN = "try again"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One object that is to go to a destination."""

    key: int
    """The delivery's number, handed back with the answer."""
    sop_class_uid: str
    path: Path


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
    """Answers in the order of the parcels, as they come; a lost association ends with TRY_AGAIN."""
    assoc = _associate(destination, calling_ae_title, {parcel.sop_class_uid for parcel in parcels})
    if isinstance(assoc, Unreachable):
        return assoc
    return _answers(parcels, destination, assoc)


def echo(destination: Destination, calling_ae_title: str) -> Unreachable | None:
    """None, if the destination answers a C-ECHO with success."""
    assoc = _associate(destination, calling_ae_title, {str(Verification)})
    if isinstance(assoc, Unreachable):
        return assoc
    try:
        status = assoc.send_c_echo()
    finally:
        assoc.release()
    if "Status" in status and status.Status == 0x0000:
        return None
    return Unreachable("it accepts associations, but does not answer C-ECHO")


def _associate(
    destination: Destination, calling_ae_title: str, sop_classes: set[str]
) -> Association | Unreachable:
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, as they are
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = destination.connect_timeout_s
    ae.acse_timeout = destination.connect_timeout_s
    ae.dimse_timeout = destination.response_timeout_s
    ae.network_timeout = destination.response_timeout_s
    for sop_class in sorted(sop_classes):
        ae.add_requested_context(sop_class, [ExplicitVRLittleEndian])
    try:
        assoc = ae.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _do_not_delay), (evt.EVT_DATA_SENT, _do_not_delay)],
        )
    except (OSError, RuntimeError, ValueError) as fault:
        return Unreachable(f"no connection: {fault}")
    if assoc.is_established:
        return assoc
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
    if assoc.rejected_contexts and not assoc.accepted_contexts:
        return f"{where} accepts none of the object types offered"
    return f"{where} does not answer: is it running, and is the port open?"


def _answers(
    parcels: Sequence[Parcel], destination: Destination, assoc: Association
) -> Iterator[Answer]:
    accepted = {context.abstract_syntax for context in assoc.accepted_contexts}
    try:
        for parcel in parcels:
            if parcel.sop_class_uid in accepted:
                yield _store(parcel, assoc)
            else:
                yield Answer(
                    parcel.key,
                    Verdict.REFUSED,
                    0x0122,
                    f"{destination.name} does not take this object type: leave it out of "
                    f"`kinds` of the destination, or allow it there",
                )
    finally:
        if assoc.is_established:
            assoc.release()


def _store(parcel: Parcel, assoc: Association) -> Answer:
    if not assoc.is_established:
        return Answer(parcel.key, Verdict.TRY_AGAIN, None, "the association was lost")
    try:
        answer = assoc.send_c_store(parcel.path)
    except (OSError, RuntimeError) as fault:
        return Answer(parcel.key, Verdict.TRY_AGAIN, None, f"the association was lost: {fault}")
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
