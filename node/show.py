"""`osteon show`: why everything stands where it stands, for whoever is asked at 3 a.m."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Engine

from node.translate import NOTICE, moment
from storage import database, queries
from storage.records import (
    Decision,
    Delivery,
    DeliveryState,
    Entry,
    Instance,
    Job,
    Json,
    Quarantined,
    Result,
    Study,
)

LINE_LENGTH: Final = 200
COLOURS: Final = {
    "DELIVERED": "green",
    "ACKNOWLEDGED": "green",
    "FAILED": "bold red",
    "REFUSED": "bold red",
    "WITHHELD": "yellow",
    "LEFT_OUT": "yellow",
    "DECLINED": "yellow",
}


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest of everything."""

    studies: tuple[Study, ...]
    jobs: tuple[Job, ...]
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class StudyFound:
    """One study with all that is known of it."""

    study: Study
    instances: tuple[Instance, ...]
    decisions: tuple[Decision, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class JobFound:
    """One job with all that the audit can answer."""

    job: Job
    instances: tuple[Instance, ...]
    results: tuple[Result, ...]
    deliveries: tuple[Delivery, ...]
    entries: tuple[Entry, ...]


Found = Latest | StudyFound | JobFound


def look_up(engine: Engine, what: str | None, limit: int) -> Found | None:
    """What there is under a Study Instance UID, a job's number, or None for the latest."""
    with database.reading(engine) as conn:
        if what is None:
            return Latest(
                queries.recent_studies(conn, limit),
                queries.jobs(conn, limit=limit),
                queries.quarantined(conn, limit),
            )
        if what.isdecimal() and len(what) < 19:
            job = queries.job(conn, int(what))
            if job is None:
                return None
            return JobFound(
                job,
                queries.job_instances(conn, job.id),
                queries.results(conn, job.id),
                queries.deliveries(conn, job.id),
                queries.entries(conn, job_id=job.id, limit=limit * 50),
            )
        study = queries.study(conn, what)
        if study is None:
            return None
        return StudyFound(
            study,
            queries.instances(conn, what),
            queries.decisions(conn, what),
            queries.jobs(conn, study_instance_uid=what, limit=limit),
        )


def show(out: Console, found: Found, json: bool) -> None:
    """What was found, for a person or as JSON."""
    if json:
        out.print_json(data=asdict(found), default=str)
        return
    match found:
        case Latest():
            _show_latest(out, found)
        case StudyFound():
            _show_study(out, found)
        case JobFound():
            _show_job(out, found)


def _show_latest(out: Console, found: Latest) -> None:
    if not found.studies:
        out.print("Nothing was received yet.")
    for study in found.studies:
        out.print(_study_line(study), soft_wrap=True)
        _bullets(out, study.reasons)
        for job in found.jobs:
            if job.made_of.study_instance_uid == study.study_instance_uid:
                out.print(Text("    ") + _job_line(job), soft_wrap=True)
    if found.quarantined:
        out.print("\nRefused, and kept in quarantine:", style="bold")
    for refused in found.quarantined:
        who = f"{refused.calling_ae_title} at {refused.peer_address}"
        line = f"  {moment(refused.received_at)}  0x{refused.status:04X}  from {who}: "
        out.print(Text(line + refused.reason))


def _show_study(out: Console, found: StudyFound) -> None:
    study = found.study
    out.print(_study_line(study), soft_wrap=True)
    _bullets(out, study.reasons)
    _section(out, "Images", (_image(image) for image in found.instances))
    out.print("Decisions", style="bold")
    for decision in found.decisions:
        rule = f" by rule '{decision.rule}'" if decision.rule else ""
        line = f"  {moment(decision.at)}  {decision.verdict}{rule}, since {decision.completeness}"
        out.print(Text(line), soft_wrap=True)
        _bullets(out, decision.reasons)
    for job in found.jobs:
        out.print(_job_line(job), soft_wrap=True)


def _show_job(out: Console, found: JobFound) -> None:
    job = found.job
    out.print(_job_line(job), soft_wrap=True)
    made = job.made_of
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    model = f"{made.model} {made.model_version}"
    if made.weights_digest:
        model += f", weights {made.weights_digest[:16]}"
    for name, value in (
        ("study", made.study_instance_uid),
        ("complete because", made.completeness),
        ("rule", f"{made.rule} (settings {made.configuration_digest[:16]})"),
        ("region, side", f"{made.region}, {made.side}"),
        ("model", model),
        ("attempt", str(job.attempt)),
        ("opened", moment(job.opened_at)),
        ("changed", moment(job.changed_at)),
        ("supersedes", "" if job.supersedes is None else f"job {job.supersedes}"),
        ("from", "; ".join(_origin(image) for image in found.instances)),
    ):
        if value:
            grid.add_row(Text(name, "dim"), Text(value))
    out.print(grid)
    _section(out, "Tells", _told(job))
    _section(out, "Assumed", (_assumption(each) for each in job.assumptions))
    _section(out, "Quality", (_figure(each) for each in job.figures))
    _section(out, "Made", _made(found.results))
    _section(out, "Delivered", _delivered(found.deliveries))
    _section(out, "Audit", _audit(found.entries))


def _study_line(study: Study) -> Text:
    images = "1 image" if study.instances == 1 else f"{study.instances} images"
    return Text.assemble(
        _state(study.state),
        " ",
        (study.study_instance_uid, "bold"),
        (f"  {images}, last at {moment(study.last_received_at)}", "dim"),
    )


def _job_line(job: Job) -> Text:
    made = job.made_of
    what = f"{made.rule}, {made.model}, side {made.side}"
    if made.model == NOTICE:
        by = f"by rule {made.rule}" if made.rule else "no rule took the study"
        what = f"notice that nothing was reconstructed, {by}"
    line = Text.assemble(f"job {job.id}  ", _state(job.state), f"  {what}")
    if job.reason:
        line.append(f"\n    {job.reason}", "yellow")
    return line


def _told(job: Job) -> Iterable[str]:
    """The reasons that a notice carries."""
    reasons = job.made_of.request.get("reasons")
    return (str(reason) for reason in reasons) if isinstance(reasons, list) else ()


def _state(state: str) -> Text:
    return Text(state, COLOURS.get(state, "cyan"))


def _said(image: Instance, keyword: str) -> str:
    value = image.attributes.get(keyword)
    return "-" if value is None else str(value)


def _image(image: Instance) -> str:
    seen = " ".join(_said(image, word) for word in ("Modality", "BodyPartExamined", "ViewPosition"))
    sender = f"{image.calling_ae_title} at {image.peer_address}"
    came = f"{image.size_bytes:,} bytes from {sender}, {moment(image.received_at)}"
    return f"{seen}  {came}  {image.sop_instance_uid}"


def _origin(image: Instance) -> str:
    view = _said(image, "ViewPosition")
    return f"{view} from {image.calling_ae_title} at {moment(image.received_at)}"


def _assumption(each: Json) -> str:
    if not isinstance(each, dict):
        return str(each)
    return f"{each['name']} = {each['value']} {each['unit']}: {each['reason']}"


def _figure(each: Json) -> str:
    if not isinstance(each, dict) or not isinstance(value := each["value"], int | float):
        return str(each)
    verdict = "" if each["is_within"] else "  OUT OF LIMITS"
    return f"{each['name']} {value:.4g} {each['unit']}{verdict}"


def _made(results: Sequence[Result]) -> Iterable[str]:
    counted = Counter(result.written.kind for result in results)
    sizes = Counter[str]()
    for result in results:
        sizes[result.written.kind] += result.written.size_bytes
    for kind, number in counted.items():
        objects = "1 object" if number == 1 else f"{number} objects"
        yield f"{kind}: {objects}, {sizes[kind] / 1e6:.2f} MB"


def _delivered(deliveries: Sequence[Delivery]) -> Iterable[str]:
    places = dict.fromkeys((each.destination, each.result.written.kind) for each in deliveries)
    for destination, kind in places:
        here = [
            each
            for each in deliveries
            if (each.destination, each.result.written.kind) == (destination, kind)
        ]
        accepted = sum(each.state is DeliveryState.ACKNOWLEDGED for each in here)
        line = f"{destination}: {accepted} of {len(here)} {kind}"
        if left_out := sum(each.state is DeliveryState.LEFT_OUT for each in here):
            line += f", {left_out} left out"
        statuses = sorted({f"0x{each.status:04X}" for each in here if each.status is not None})
        if statuses:
            line += f", status {' '.join(statuses)}"
        for reason in sorted({each.reason for each in here if each.reason}):
            line += f"; {reason}"
        if open_ := [each for each in here if each.state is DeliveryState.PENDING]:
            line += f"; next try at {moment(min(each.next_attempt_at for each in open_))}"
        yield line


def _audit(entries: Sequence[Entry]) -> Iterable[str]:
    """One line an entry; objects of one kind that had one answer share a line."""
    for (kind, where, what), alike in groupby(entries, _subject):
        group = list(alike)
        words = f"{where} {what}".strip() if len(group) > 1 else _words(group[0])
        times = f" x {len(group)}" if len(group) > 1 else ""
        yield f"{moment(group[-1].at)}  {kind}{times}  {words}"


def _subject(entry: Entry) -> tuple[str, str, str]:
    details = entry.details
    return entry.kind, str(details.get("destination", "")), str(details.get("kind", ""))


def _words(entry: Entry) -> str:
    """What is short enough for a line; the rest is in the database and in `--json`."""
    told = (
        f"{key}={str(value)[:16] if key.endswith(('sha256', 'digest')) else value}"
        for key, value in entry.details.items()
        if isinstance(value, str | int) and value != ""
    )
    return "  ".join(told)[:LINE_LENGTH]


def _section(out: Console, title: str, lines: Iterable[str]) -> None:
    listed = list(lines)
    if listed:
        out.print(title, style="bold")
    for line in listed:
        out.print(Text(f"   {line}"), soft_wrap=True)


def _bullets(out: Console, reasons: Iterable[str]) -> None:
    for reason in reasons:
        out.print(Text(f"    - {reason}"), soft_wrap=True)
