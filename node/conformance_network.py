"""The chapters of the conformance statement on associations and services."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydicom.uid import UID
from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from node import admission, statuses
from node.arriving import TooLargeError
from node.delivery import verdict
from node.header import MismatchedHeaderError, UnreadableHeaderError
from node.inlet import LONGEST_PDU_BYTES
from node.kinds import SENT_TRANSFER_SYNTAXES, WRITTEN
from node.sections import Completeness, Destination, Peer, Receiver, Retention, Retries
from node.sop_classes import RECEIVED_SOP_CLASSES, RECEIVED_TRANSFER_SYNTAXES

NAMES: Final = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
"""SOP classes younger than pydicom's dictionary."""

ANSWERS: Final = (
    (statuses.SUCCESS, "Success", "The bytes are on disk (fsync) and the row is committed."),
    (
        statuses.PROCESSING_FAILURE,
        "Processing failure",
        "A fault of this node; the instance is not kept. Send it again.",
    ),
    (
        statuses.OUT_OF_RESOURCES,
        "Refused: out of resources",
        "The disk is filling up, or the database cannot be reached. Send it again later.",
    ),
    (
        MismatchedHeaderError.status,
        "Error: data set does not match SOP class",
        "The data set names another SOP class or instance than the request. It is quarantined.",
    ),
    (
        UnreadableHeaderError.status,
        "Error: cannot understand",
        "The data set cannot be parsed, or one of its four UIDs is absent or malformed. "
        "It is quarantined.",
    ),
    (
        statuses.OTHER_CONTENT,
        "Error: cannot understand",
        "Another instance has this SOP Instance UID already; the first one is kept, "
        "this one is quarantined.",
    ),
    (
        TooLargeError.status,
        "Error: cannot understand",
        "The instance is larger than `maximum_instance_mib`; nothing of it is kept. One that goes "
        "on for as much again is broken off.",
    ),
)
"""What a C-STORE request may be answered with (PS3.4 B.2.3)."""

REJECTIONS: Final = (
    (admission.CALLED_NOT_RECOGNISED, "Called AE title not recognised"),
    (admission.CALLING_NOT_RECOGNISED, "Calling AE title not recognised, or not from this address"),
)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars within a cell do not end it."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def name_of(uid: str) -> str:
    """The name that PS3.6 gives to a UID."""
    return NAMES.get(uid, UID(uid).name)


def overview() -> str:
    """Every SOP class with its role."""
    rows = [("Verification", Verification, "yes", "yes")]
    rows += [(name_of(uid), uid, "", "yes") for uid in RECEIVED_SOP_CLASSES]
    sent = dict.fromkeys(each.sop_class_uid for each in WRITTEN.values())
    rows += [(name_of(uid), uid, "yes", "") for uid in sent if uid not in RECEIVED_SOP_CLASSES]
    both = {uid for uid in sent if uid in RECEIVED_SOP_CLASSES}
    rows = [(*row[:2], "yes", row[3]) if row[1] in both else row for row in rows]
    for uid in (
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    ):
        rows.append((name_of(uid), uid, "yes", ""))
    uid = StorageCommitmentPushModel
    rows.append((name_of(uid), uid, "yes", "yes"))
    return table(("SOP class", "UID", "User (SCU)", "Provider (SCP)"), rows)


def associations() -> str:
    """What holds for every association."""
    ae = AE()
    return f"""
The application context is 1.2.840.10008.3.1.1.1. One operation is in progress on an association at
a time; asynchronous operations, extended negotiation and user identity are not used. The roles are
the default ones, but for C-GET, where this node proposes to be the provider of what it fetches, and
for reports of storage commitment, where whoever reports is the provider.

As an acceptor, this node takes {receiver_default("maximum_associations")} associations at a time
and PDUs of at most {receiver_default("maximum_pdu_bytes")} bytes, both by setting.
A PDU that says to be longer than {LONGEST_PDU_BYTES} bytes closes the connection before memory
is taken for it. As a requestor, it sends all that is due at a destination over one association.

The implementation class UID of the network part is {ae.implementation_class_uid} (pynetdicom).
Files carry the implementation class UID of Osteon, and `OSTEON_` with the release as the
implementation version name.

Security: the calling AE title and the address of the peer must stand together under `[[peers]]`,
and the called AE title must be that of this node unless `accept_any_called_ae_title` is set.
"""


def receiver_default(name: str) -> object:
    """The default of a setting of the receiver."""
    return Receiver.model_fields[name].default


def receiving() -> str:
    """Contexts that are accepted, rejections, and answers to C-STORE."""
    classes = table(
        ("SOP class", "UID"),
        [(name_of(uid), uid) for uid in (str(Verification), *RECEIVED_SOP_CLASSES)],
    )
    syntaxes = table(
        ("Transfer syntax", "UID"), [(name_of(uid), uid) for uid in RECEIVED_TRANSFER_SYNTAXES]
    )
    rejected = table(
        ("Result", "Source", "Reason", "Meaning"),
        [("1 (permanent)", "1 (service user)", reason, text) for reason, text in REJECTIONS],
    )
    answers = table(
        ("Status", "Meaning", "When"),
        [(f"0x{status:04X}", meaning, when) for status, meaning, when in ANSWERS],
    )
    return f"""
Each of these SOP classes is accepted

{classes}

in each of these transfer syntaxes; of several in one presentation context, the first of this list.
Verification is accepted in {", ".join(name_of(uid) for uid in DEFAULT_TRANSFER_SYNTAXES)}.

{syntaxes}

An association is rejected with

{rejected}

A C-ECHO is answered with 0x0000. A C-STORE is answered with one of

{answers}

and every refusal has a sentence in Error Comment (0000,0902). The level of conformance is 2: all
attributes of an instance are kept, byte for byte. The same instance sent again is a success and
changes nothing. Pixel data is not decoded on receipt. This node is no archive: it offers no query
and no retrieval.
"""


def sending() -> str:
    """What is proposed to a destination, and what its answers mean."""
    kinds = table(
        ("Kind", "SOP class", "UID"),
        [(kind, name_of(each.sop_class_uid), each.sop_class_uid) for kind, each in WRITTEN.items()],
    )
    syntaxes = table(
        ("Transfer syntax", "UID"), [(name_of(uid), uid) for uid in SENT_TRANSFER_SYNTAXES]
    )
    meanings = table(("Status", "Verdict"), _verdicts())
    return f"""
The kinds of object, in the order in which they are sent; the report is sent once all others of its
result were answered.

{kinds}

Each SOP class is proposed once for each of these transfer syntaxes. Files are written in the first,
and sent in the first that is accepted.

{syntaxes}

The status of a C-STORE response is read as follows (PS3.4 B.2.3):

{meanings}

`accepted` closes the delivery of this object, once the destination answers for it (see "Asking"),
`refused` ends it with a reason, and `try again` repeats it, as a lost association or a missing
response does, with growing waits. Every answer is a row of the audit. A SOP class that the
destination does not accept is left out and said so; captures are sent whatever kinds a destination
is set to take.
"""


def _verdicts() -> list[tuple[str, str]]:
    """Ranges of status over which the verdict is the same."""
    rows, start = [], 0
    for found, group in groupby(range(0x10000), key=verdict):
        end = start + len(list(group)) - 1
        span = f"0x{start:04X}" if start == end else f"0x{start:04X} to 0x{end:04X}"
        rows.append((span, found.value))
        start = end + 1
    return rows


def asking() -> str:
    """C-FIND for the census; what the doctor asks of a destination."""
    rows = (
        (
            "C-FIND, study root, level STUDY",
            "a study waits for images, and `completeness.ask` names a destination",
            "StudyInstanceUID (unique), NumberOfStudyRelatedInstances (returned)",
        ),
        (
            "N-ACTION of Storage Commitment Push Model",
            "objects were accepted, and `proof` is `asked`; the N-EVENT-REPORT is taken over this "
            "association, or over one to the port of `[receiver]`, where the peer is the provider",
            "TransactionUID, ReferencedSOPSequence",
        ),
        (
            "C-FIND, study root, levels SERIES and IMAGE",
            "the same, where storage commitment is not offered, refused, or not reported on",
            "StudyInstanceUID, SeriesInstanceUID (unique), SOPInstanceUID (returned)",
        ),
        ("C-ECHO", "`osteon doctor`", ""),
        (
            "C-STORE, C-FIND and C-GET, study root",
            "`osteon doctor --destination` with a test set, on request only",
            "the study of a patient that does not exist",
        ),
        (
            "C-FIND, study root, level STUDY",
            "the same: can the test set be found?",
            "PatientID (single value), StudyInstanceUID (returned)",
        ),
        (
            "N-ACTION of Storage Commitment Push Model",
            "with the test set; the N-EVENT-REPORT is taken over this association, or at the port "
            "of `[receiver]` unless the node runs",
            "TransactionUID, ReferencedSOPSequence",
        ),
        (
            "C-MOVE, study root",
            "the same, to this node's own title, and only if the node does not run",
            "StudyInstanceUID of the test set",
        ),
    )
    return f"""
{table(("Service", "When", "Keys"), rows)}

Relational queries and fuzzy matching are not negotiated. An archive that does not answer, or does
not have the study, is no evidence: the study then waits as long as without it. One that does not
return the count is asked for the series and instances of the study, which are counted.
"""


def settings() -> str:
    """What of the network can be set, from the settings themselves."""
    parts: tuple[tuple[str, type[BaseModel]], ...] = (
        ("[receiver]", Receiver),
        ("[[peers]]", Peer),
        ("[[destinations]]", Destination),
        ("[completeness]", Completeness),
        ("[retries]", Retries),
        ("[retention]", Retention),
    )
    rows = [
        (name, key, _default(field), field.description or "")
        for name, model in parts
        for key, field in model.model_fields.items()
    ]
    return table(("Table", "Key", "Default", "Meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    return ", ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)
