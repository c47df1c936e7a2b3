"""What a destination takes, keeps and gives back: proposed, sent and asked for over the network.

Negotiation asks for every SOP class that a result can have, in every transfer syntax in which it
can be sent, and changes nothing there. A test set, where one is sent, is a study of its own that
stays at the destination until somebody deletes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.asking import Listed, Returned, give_back, is_found, listed
from node.committing import Committed, Ear, Moved, commit, move
from node.delivery import (
    Answer,
    NothingAccepted,
    Parcel,
    Unreachable,
    Verdict,
    associate,
    send,
    storage_contexts,
)
from node.kinds import SENT_TRANSFER_SYNTAXES, SHOWN, WRITTEN, rank
from node.settings import Destination
from pipeline.encode.uids import derived_uid
from pipeline.types import ObjectKind, ResultObject

SERVICES: Final[Mapping[str, str]] = {
    "C-FIND": str(StudyRootQueryRetrieveInformationModelFind),
    "C-GET": str(StudyRootQueryRetrieveInformationModelGet),
    "C-MOVE": str(StudyRootQueryRetrieveInformationModelMove),
    "storage commitment": str(StorageCommitmentPushModel),
}
PATIENT_ID: Final = "OSTEON-TEST"
"""Of the test set."""
LOOKS: Final = 10
"""How often a destination is asked what it has kept: some file what they took a little later."""
LOOK_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a destination says to one kind of result object."""

    kind: str
    words: str
    sop_class_uid: str
    transfer_syntaxes: tuple[str, ...]
    """Those accepted, by name, the one that would be sent first; empty where it takes none."""

    @property
    def is_accepted(self) -> bool:
        """True if objects of this kind can be sent."""
        return bool(self.transfer_syntaxes)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a destination answered to the objects of one kind of the test set."""

    kind: str
    objects: int
    accepted: int
    answers: tuple[str, ...]
    """Status and comment of all that was not accepted, each once."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What became of a test set."""

    study_instance_uid: str
    answered: tuple[Answered, ...]
    accepted: frozenset[str]
    """SOP Instance UIDs."""
    kept: Listed | None
    """What C-FIND lists; None where the destination does not answer it."""
    returned: Returned | None
    """What C-GET gives back; None where the destination does not offer it."""
    is_found: bool | None = None
    """Whether a search for its patient finds it; None where that was not answered."""
    committed: Committed | None = None
    """What it answers for; None where it does not offer storage commitment."""
    moved: Moved | None = None
    """What C-MOVE brings to this node; None where it is not offered, or the node runs."""

    @property
    def lost(self) -> frozenset[str]:
        """What was acknowledged and is not listed."""
        return frozenset() if self.kept is None else self.accepted - self.kept.sop_instance_uids


@dataclass(frozen=True, slots=True)
class Probed:
    """All that one destination was found to take."""

    destination: str
    offers: tuple[Offer, ...]
    services: tuple[str, ...]
    """Those of SERVICES that it offers."""
    rehearsal: Rehearsal | None = field(default=None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are worth naming in the settings of this destination."""
        return tuple(o.kind for o in self.offers if o.is_accepted and o.kind not in self._refused)

    @property
    def is_useful(self) -> bool:
        """True if a radiologist there can see something of a result."""
        return bool(SHOWN.intersection(self.kinds))

    @property
    def is_fine(self) -> bool:
        """True if a result can be seen there, and nothing that was acknowledged is lost."""
        return self.is_useful and (self.rehearsal is None or not self.rehearsal.lost)

    @property
    def _refused(self) -> frozenset[str]:
        answered = () if self.rehearsal is None else self.rehearsal.answered
        return frozenset(each.kind for each in answered if each.accepted < each.objects)


def negotiate(destination: Destination, calling_ae_title: str) -> Probed | Unreachable:
    """Everything was proposed and nothing sent."""
    kinds = [kind for kind in WRITTEN if kind in tuple(ObjectKind)]
    contexts = storage_contexts({WRITTEN[kind].sop_class_uid for kind in kinds})
    contexts += [build_context(uid) for uid in SERVICES.values()]
    assoc = associate(destination, calling_ae_title, contexts)
    if isinstance(assoc, Unreachable):
        return assoc
    accepted: dict[str, list[UID]] = {}
    if not isinstance(assoc, NothingAccepted):
        for context in assoc.accepted_contexts:
            accepted.setdefault(str(context.abstract_syntax), []).extend(context.transfer_syntax)
        assoc.release()
    return Probed(
        destination=destination.name,
        offers=tuple(_offer(kind, accepted) for kind in kinds),
        services=tuple(name for name, uid in SERVICES.items() if uid in accepted),
    )


def rehearse(
    probed: Probed,
    objects: Sequence[ResultObject],
    destination: Destination,
    calling_ae_title: str,
    wait: Callable[[float], None],
    ear: Ear | None = None,
) -> Rehearsal | Unreachable:
    """The objects were sent, and the destination was asked what it has of them."""
    ordered = sorted(objects, key=lambda one: rank(one.kind))
    parcels = [Parcel(key, one.sop_class_uid, one.path) for key, one in enumerate(ordered)]
    answers = send(parcels, destination, calling_ae_title)
    if isinstance(answers, Unreachable):
        return answers
    said = {answer.key: answer for answer in answers}
    accepted = {
        one.sop_instance_uid: one.path
        for key, one in enumerate(ordered)
        if said[key].verdict is Verdict.ACCEPTED
    }
    study = str(dcmread(ordered[0].path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    kept = returned = found = committed = moved = None
    if accepted and "C-FIND" in probed.services:
        kept = _kept(study, frozenset(accepted), destination, calling_ae_title, wait)
        found = is_found(PATIENT_ID, study, destination, calling_ae_title)
    if accepted and "C-GET" in probed.services:
        classes = {one.sop_class_uid for one in ordered}
        returned = give_back(study, accepted, classes, destination, calling_ae_title)
    class_of = {one.sop_instance_uid: one.sop_class_uid for one in ordered}
    sent = {uid: class_of[uid] for uid in accepted}
    if accepted and "storage commitment" in probed.services:
        transaction = derived_uid("storage commitment", study)
        committed = commit(sent, transaction, destination, calling_ae_title, ear)
    if accepted and ear is not None and "C-MOVE" in probed.services:
        moved = move(study, sent, destination, calling_ae_title, ear)
    return Rehearsal(
        study_instance_uid=study,
        answered=_by_kind(ordered, said),
        accepted=frozenset(accepted),
        kept=kept,
        returned=returned,
        is_found=found,
        committed=committed,
        moved=moved,
    )


def _offer(kind: str, accepted: Mapping[str, Sequence[UID]]) -> Offer:
    written = WRITTEN[kind]
    taken = accepted.get(written.sop_class_uid, ())
    names = tuple(syntax.name for syntax in SENT_TRANSFER_SYNTAXES if syntax in taken)
    return Offer(kind, written.words, written.sop_class_uid, names)


def _kept(
    study: str,
    accepted: frozenset[str],
    destination: Destination,
    calling_ae_title: str,
    wait: Callable[[float], None],
) -> Listed | None:
    found = listed(study, destination, calling_ae_title)
    for _ in range(LOOKS - 1):
        if found is None or accepted <= found.sop_instance_uids:
            break
        wait(LOOK_AGAIN_S)
        found = listed(study, destination, calling_ae_title)
    return found


def _by_kind(ordered: Sequence[ResultObject], said: Mapping[int, Answer]) -> tuple[Answered, ...]:
    objects = Counter(str(one.kind) for one in ordered)
    accepted: Counter[str] = Counter()
    others: dict[str, dict[str, None]] = {}
    for key, one in enumerate(ordered):
        answer = said[key]
        if answer.verdict is Verdict.ACCEPTED:
            accepted[one.kind] += 1
            continue
        status = "" if answer.status is None else f"0x{answer.status:04X} "
        others.setdefault(one.kind, {})[f"{status}{answer.reason}".strip()] = None
    return tuple(
        Answered(kind, number, accepted[kind], tuple(others.get(kind, ())))
        for kind, number in objects.items()
    )
