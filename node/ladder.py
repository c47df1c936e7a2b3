"""The output ladder of a destination: from captures that every viewer shows to surfaces and report.

What was found of it is said as a table, in sentences that name what to change and where, and as
the table of the settings that makes it so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node import probe
from node.app import Station
from node.committing import REPORT_WITHIN_S, UNKNOWN_MOVE_DESTINATION, Committed, Ear
from node.delivery import Unreachable
from node.engine import spawned
from node.errors import NodeError
from node.kinds import CAPTURES, WRITTEN
from node.probe import PATIENT_ID, Offer, Probed, Rehearsal
from node.sections import Destination
from node.worker import rehearse
from pipeline.types import ObjectKind, Reconstructed, ResultObject

NOT_OF_A_RESULT: Final = frozenset({"notice"})
"""Kinds that stand for a result that there is not."""


class RehearsalError(NodeError):
    """The test set could not be made."""


def climb(station: Station, destination: Destination, *, is_sent: bool) -> Probed | Unreachable:
    """What the destination takes; with `is_sent` also what becomes of a test set there.

    Raises:
        RehearsalError: the test set could not be made; it is no fault of the destination.
    """
    calling = station.settings.calling_ae_title(destination)
    probed = probe.negotiate(destination, calling)
    if isinstance(probed, Unreachable) or not is_sent or not probed.kinds:
        return probed
    ear = Ear(station.settings.receiver.host, station.settings.receiver.port)
    with TemporaryDirectory(prefix="osteon-test-set-") as folder:
        objects = _test_set(station, Path(folder))
        rehearsal = probe.rehearse(probed, objects, destination, calling, time.sleep, ear)
    if isinstance(rehearsal, Unreachable):
        return rehearsal
    return Probed(probed.destination, probed.offers, probed.services, rehearsal)


def _test_set(station: Station, folder: Path) -> tuple[ResultObject, ...]:
    """Made in a process of its own: this one has no torch."""
    kinds = tuple(kind for kind in ObjectKind if kind not in NOT_OF_A_RESULT)
    one = station.settings.reconstruction.model_copy(update={"workers": 1})
    pool = spawned(one, is_rehearsed=False)
    try:
        made = pool.submit(rehearse, folder / "set", station.clock(), kinds).result()
    except BrokenProcessPool as fault:
        raise RehearsalError("The process that makes the test set died: no memory?") from fault
    finally:
        pool.shutdown(cancel_futures=True)
    if not isinstance(made, Reconstructed):
        raise RehearsalError(f"The test set could not be made: {'; '.join(made.reasons)}")
    return made.objects


def advice(probed: Probed, destination: Destination, calling_ae_title: str) -> tuple[str, ...]:
    """What to change, where, and what cannot be told; the gravest first."""
    return tuple(_advice(probed, destination, calling_ae_title))


def _advice(probed: Probed, destination: Destination, calling: str) -> Iterator[str]:
    name = destination.name
    captures = [offer for offer in probed.offers if offer.kind in CAPTURES]
    if not probed.is_useful:
        yield (
            f"Nothing that a viewer shows can be sent to '{name}': every job that goes there would "
            f"fail. Ask its administrator to accept the classes below from '{calling}', or send "
            "results elsewhere."
        )
    elif captures and not any(offer.is_accepted for offer in captures):
        yield (
            "It takes no secondary capture: a radiologist whose viewer shows no segmentation sees "
            f"nothing of a result. Ask its administrator to accept {captures[0].sop_class_uid} "
            f"from '{calling}'."
        )
    yield from (_of_refused(offer) for offer in _by_class(probed) if not offer.is_accepted)
    yield from _of_syntaxes(probed)
    if probed.rehearsal is not None:
        yield from _of_rehearsal(probed.rehearsal, probed, name)
        yield from _of_services(probed.rehearsal, calling)
        yield from _of_where_it_lies(probed.rehearsal, name)
    if probed.is_useful:
        yield _of_settings(probed, destination)


def _by_class(probed: Probed) -> tuple[Offer, ...]:
    """One offer for each class: two kinds may share one."""
    return tuple({offer.sop_class_uid: offer for offer in reversed(probed.offers)}.values())[::-1]


def _of_refused(offer: Offer) -> str:
    return (
        f"It takes no {offer.words} (SOP class {offer.sop_class_uid}): such objects are left out "
        "of each delivery, and the audit says so."
    )


def _of_syntaxes(probed: Probed) -> Iterator[str]:
    for offer in _by_class(probed):
        if offer.is_accepted and not offer.transfer_syntaxes[0].startswith("Explicit VR Little"):
            yield (
                f"It takes {offer.words} as {offer.transfer_syntaxes[0]} only: every object is "
                "encoded anew for it, which is no loss."
            )


def _of_rehearsal(made: Rehearsal, probed: Probed, name: str) -> Iterator[str]:
    taken = {offer.kind for offer in probed.offers if offer.is_accepted}
    for each in made.answered:
        for answer in each.answers if each.kind in taken else ():
            yield f"Of {each.objects} {each.kind}, {each.accepted} accepted: {answer}"
    if made.kept is None:
        yield "It does not answer C-FIND: what it has kept could not be seen."
    elif made.lost:
        yield (
            f"It acknowledged {len(made.accepted)} objects and lists {len(made.lost)} of them not: "
            "results would be lost there. Show this to its administrator."
        )
    if made.returned is None:
        asked = "did not answer" if "C-GET" in probed.services else "does not offer"
        yield f"It {asked} C-GET: whether it gives back what it was sent could not be seen."
    elif made.returned.missing:
        yield f"It gave back {made.returned.missing} of {len(made.accepted)} objects not."
    if made.returned is not None and made.returned.changed:
        yield f"It changes what it is sent: {', '.join(made.returned.changed)}."


def _of_services(made: Rehearsal, calling: str) -> Iterator[str]:
    """Storage commitment and C-MOVE, neither of which this node needs."""
    if made.committed is None:
        yield "It does not offer storage commitment: that it keeps what it took is its word alone."
    else:
        yield _of_commitment(made.committed, len(made.accepted), calling)
    moved = made.moved
    if moved is None or moved.came == len(made.accepted):
        return
    if moved.status == UNKNOWN_MOVE_DESTINATION:
        why = f"it knows no '{calling}' to send to"
    else:
        code = "no status" if moved.status is None else f"0x{moved.status:04X}"
        why = f"it ended with {code} after {moved.came} of {len(made.accepted)} objects; perhaps "
        why += f"it knows another address of '{calling}', or none"
    yield f"C-MOVE to this node: {why}. A delivery has no need of it."


def _of_commitment(made: Committed, accepted: int, calling: str) -> str:
    if made.status is None:
        return "It did not answer the request for storage commitment."
    if made.status != 0x0000:
        return (
            f"It refused the request for storage commitment with 0x{made.status:04X}: perhaps it "
            f"does not know '{calling}' and its address."
        )
    if not made.is_reported:
        return (
            "It took the request for storage commitment and did not report within "
            f"{REPORT_WITHIN_S:g} s; perhaps to an address that is not this node's, and while the "
            "node runs the doctor cannot hear it there."
        )
    if made.failed or made.committed < accepted:
        return f"It commits itself to {made.committed} of {accepted} objects only."
    return f"It commits itself to all {accepted} objects (storage commitment)."


def _of_where_it_lies(made: Rehearsal, name: str) -> Iterator[str]:
    yield (
        f"The test set stays in '{name}' until somebody deletes it: patient Phantom^Osteon, ID "
        f"{PATIENT_ID}, study {made.study_instance_uid}, 'Osteon test set, not a patient'. Look at "
        "it in your viewer; then have that study deleted in the administration of the PACS, since "
        "DICOM knows no way to delete it from here."
    )
    if made.is_found is False:
        yield f"A search (C-FIND) for the patient ID {PATIENT_ID} does not find it there."


def _of_settings(probed: Probed, destination: Destination) -> str:
    if set(probed.kinds) == {str(kind) for kind in destination.kinds}:
        return f"The settings of '{destination.name}' name just the kinds that it takes."
    return f"Set for '{destination.name}' in the settings:  {kinds_line(probed)}"


def kinds_line(probed: Probed) -> str:
    """The line of the settings, as the example orders them."""
    named = [str(kind) for kind in ObjectKind if kind in probed.kinds]
    return f"kinds = {dumps(named)}"


def toml(probed: Probed, destination: Destination) -> str:
    """The table of the destination, as it would stand in the settings; defaults are left out."""
    given = destination.model_dump(mode="json", exclude_defaults=True, exclude={"kinds"})
    lines = [f"{key} = {dumps(value)}" for key, value in given.items()]
    return "\n".join(["[[destinations]]", *lines, kinds_line(probed)])


def as_json(probed: Probed, sentences: tuple[str, ...]) -> dict[str, Any]:
    """All of it, for a script."""
    found = asdict(probed) | {
        "kinds": list(probed.kinds),
        "is_fine": probed.is_fine,
        "advice": list(sentences),
    }
    if probed.rehearsal is not None:
        kept = probed.rehearsal.kept
        found["rehearsal"] |= {
            "accepted": len(probed.rehearsal.accepted),
            "lost": sorted(probed.rehearsal.lost),
            "kept": None
            if kept is None
            else {"series": kept.series, "instances": len(kept.sop_instance_uids)},
        }
    return found


def show(out: Console, probed: Probed, sentences: tuple[str, ...]) -> None:
    """The ladder, for a person."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "kind", "object", "transfer syntax"):
        table.add_column(heading, no_wrap=heading in {"", "kind"})
    answered = () if probed.rehearsal is None else probed.rehearsal.answered
    stored = {each.kind: f"{each.accepted} of {each.objects}" for each in answered}
    if stored:
        table.add_column("accepted")
    for offer in probed.offers:
        sign = "[green]takes[/]" if offer.is_accepted else "[bold red]no[/]"
        syntaxes = " ".join(name.split()[0].lower() for name in offer.transfer_syntaxes)
        row = [sign, offer.kind, WRITTEN[offer.kind].words, syntaxes or "-"]
        table.add_row(*row, *([stored.get(offer.kind, "-")] if stored else []))
    out.print(table)
    out.print(Text(f"Services: {', '.join(probed.services) or 'storage only'}", "dim"))
    if probed.rehearsal is not None:
        out.print(Text(_asked_back(probed.rehearsal), "dim"))
    for sentence in sentences:
        out.print(Text(f"- {sentence}"), soft_wrap=True)


def _asked_back(made: Rehearsal) -> str:
    parts = []
    if made.kept is not None:
        kept = f"{len(made.kept.sop_instance_uids)} instances in {made.kept.series} series"
        parts.append(f"C-FIND lists {kept} of the {len(made.accepted)} accepted")
    if made.returned is not None:
        parts.append(f"C-GET gives {made.returned.same} back unchanged")
    if made.is_found:
        parts.append(f"a search for the patient ID {PATIENT_ID} finds it")
    if made.committed is not None and made.committed.is_reported:
        parts.append(f"{made.committed.committed} are committed to")
    if made.moved is not None and made.moved.came:
        parts.append(f"C-MOVE brings {made.moved.came}")
    return "; ".join(parts) or "Nothing could be asked back"
