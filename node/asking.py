"""Asking a PACS what it has of a study, and having it given back. Source: PS3.4 C.4.1, C.4.3."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from node.delivery import associate, storage_contexts
from node.settings import Destination

if TYPE_CHECKING:
    from pynetdicom.events import Event


@dataclass(frozen=True, slots=True)
class Listed:
    """What a PACS lists of a study."""

    series: int
    sop_instance_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Returned:
    """What a PACS gave back of what it had accepted."""

    same: int
    """Objects in which no element differs from what was sent."""
    changed: tuple[str, ...]
    """Keywords of the elements that differ in some object."""
    missing: int
    """Objects that did not come."""


@dataclass(slots=True)
class _Comparison:
    """What has come so far."""

    sent: Mapping[str, Path]
    same: set[str] = field(default_factory=set)
    came: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def compare(self, event: Event) -> int:
        """One object came; it is held against the file that was sent, and then forgotten."""
        received = event.dataset
        uid = str(received.get("SOPInstanceUID", ""))
        if uid in self.sent:
            self.came.add(uid)
            differing = _differing(dcmread(self.sent[uid]), received)
            self.changed |= differing
            if not differing:
                self.same.add(uid)
        return 0x0000


def listed(
    study_instance_uid: str, destination: Destination, calling_ae_title: str
) -> Listed | None:
    """The series and instances that C-FIND lists; None where it does not answer.

    Asked level by level, because a PACS need not answer for instances of a whole study.
    """
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    assoc = associate(destination, calling_ae_title, contexts)
    if not isinstance(assoc, Association):
        return None
    uids: set[str] = set()
    try:
        of_study = _question("SERIES", StudyInstanceUID=study_instance_uid, SeriesInstanceUID="")
        series = [str(each.SeriesInstanceUID) for each in _found(assoc, of_study)]
        for uid in series:
            of_series = _question(
                "IMAGE",
                StudyInstanceUID=study_instance_uid,
                SeriesInstanceUID=uid,
                SOPInstanceUID="",
            )
            uids |= {str(each.SOPInstanceUID) for each in _found(assoc, of_series)}
    except (_NoAnswer, RuntimeError, AttributeError):
        return None
    finally:
        if assoc.is_established:
            assoc.release()
    return Listed(len(set(series)), frozenset(uids))


def is_found(
    patient_id: str, study_instance_uid: str, destination: Destination, calling_ae_title: str
) -> bool | None:
    """Whether a search for the patient finds the study; None where C-FIND is not answered."""
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    assoc = associate(destination, calling_ae_title, contexts)
    if not isinstance(assoc, Association):
        return None
    asked = _question("STUDY", PatientID=patient_id, StudyInstanceUID="")
    try:
        found = {str(each.get("StudyInstanceUID", "")) for each in _found(assoc, asked)}
    except (_NoAnswer, RuntimeError, AttributeError):
        return None
    finally:
        if assoc.is_established:
            assoc.release()
    return study_instance_uid in found


def give_back(
    study_instance_uid: str,
    sent: Mapping[str, Path],
    sop_classes: Collection[str],
    destination: Destination,
    calling_ae_title: str,
) -> Returned | None:
    """The study, retrieved by C-GET and held against the files that were sent; None where refused.

    Args:
        study_instance_uid: Of the whole study.
        sent: Files by SOP Instance UID: what the destination had accepted.
        sop_classes: Those that may come.
        destination: Who is asked.
        calling_ae_title: By whom.
    """
    model = StudyRootQueryRetrieveInformationModelGet
    comparison = _Comparison(sent)
    assoc = associate(
        destination,
        calling_ae_title,
        [build_context(model), *storage_contexts(sop_classes)],
        roles=[build_role(uid, scp_role=True) for uid in sorted(sop_classes)],
        handlers=[(evt.EVT_C_STORE, comparison.compare)],
    )
    if not isinstance(assoc, Association):
        return None
    try:
        for status, _ in assoc.send_c_get(
            _question("STUDY", StudyInstanceUID=study_instance_uid), model
        ):
            if "Status" not in status:
                break
    except (RuntimeError, ValueError):
        return None
    finally:
        if assoc.is_established:
            assoc.release()
    missing = len(sent) - len(comparison.came)
    return Returned(len(comparison.same), tuple(sorted(comparison.changed)), missing)


class _NoAnswer(Exception):
    """A question was not answered to its end."""


def _found(assoc: Association, question: Dataset) -> Iterator[Dataset]:
    for status, answer in assoc.send_c_find(question, StudyRootQueryRetrieveInformationModelFind):
        if "Status" not in status or status.Status not in (0x0000, 0xFF00, 0xFF01):
            raise _NoAnswer
        if answer is not None:
            yield answer


def _question(level: str, **keys: str) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def _differing(sent: Dataset, received: Dataset) -> set[str]:
    """Keywords, or tags where there is none, of the top-level elements that are not the same."""
    return {
        sent.get(tag, received.get(tag)).keyword or str(tag)
        for tag in {*sent.keys(), *received.keys()}
        if tag not in sent or tag not in received or sent[tag] != received[tag]
    }
