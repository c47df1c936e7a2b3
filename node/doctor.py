"""`osteon doctor`: what an administrator would have to look at, looked at."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Engine

from node.app import Station
from node.delivery import echo
from node.settings import Destination, Settings
from pipeline.errors import PipelineError
from pipeline.registry import offer
from pipeline.safetensors_header import whole
from storage import database
from storage.errors import StorageError

LITTLE_SPACE_BYTES: Final = 5 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_fine: bool
    says: str


def examine(station: Station, destination: str | None = None) -> tuple[Finding, ...]:
    """Everything, or only the destination of that name."""
    settings = station.settings
    if destination is not None:
        chosen = settings.destination(destination)
        if chosen is None:
            names = ", ".join(each.name for each in settings.destinations) or "none is set"
            says = f"no destination has this name; there are: {names}"
            return (Finding(f"destination {destination}", False, says),)
        return (_destination(chosen, settings),)
    return tuple(_everything(station))


def show(out: Console, findings: tuple[Finding, ...], json: bool) -> None:
    """The findings, for a person or as JSON."""
    if json:
        out.print_json(data=[asdict(finding) for finding in findings])
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        sign = "[green]fine[/]" if finding.is_fine else "[bold red]look[/]"
        table.add_row(sign, finding.what, finding.says)
    out.print(table)


def _everything(station: Station) -> Iterator[Finding]:
    settings = station.settings
    yield _folder(settings.node.folder)
    yield _database(station.engine)
    yield _port(settings)
    yield _peers(settings)
    yield _rules(settings)
    for engine, region in dict.fromkeys((rule.engine, rule.region) for rule in settings.rules):
        yield _engine(engine, region)
    for each in settings.destinations:
        yield _destination(each, settings)


def _folder(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    probe = folder / ".doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as fault:
        return Finding("data folder", False, f"{folder} cannot be written: {fault.strerror}")
    says = f"{folder}, {free / 1024**3:.0f} GiB free"
    if free < LITTLE_SPACE_BYTES:
        return Finding("data folder", False, f"{says}: too little for a day of radiographs")
    return Finding("data folder", True, says)


def _database(engine: Engine) -> Finding:
    what = f"database ({engine.dialect.name})"
    try:
        if database.is_current(engine):
            return Finding(what, True, "answers, and is of this version")
        if database.is_empty(engine):
            return Finding(what, True, "empty: `osteon serve` sets it up")
    except StorageError as fault:
        return Finding(what, False, str(fault))
    return Finding(what, False, "of another version: back it up, then run `osteon migrate`")


def _port(settings: Settings) -> Finding:
    own = settings.receiver
    what = f"receiver {own.ae_title} on {own.host}:{own.port}"
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((own.host if own.host != "0.0.0.0" else "127.0.0.1", own.port)) == 0:  # noqa: S104 - compared, not bound
            return Finding(what, True, "something listens there; the node, if it runs")
    return Finding(what, True, "free: the node does not run")


def _peers(settings: Settings) -> Finding:
    if not settings.peers:
        says = "none is listed, so every sender is rejected: add [[peers]]"
        return Finding("peers", False, says)
    listed = (f"{peer.ae_title} from {' '.join(peer.addresses)}" for peer in settings.peers)
    return Finding("peers", True, ", ".join(listed))


def _rules(settings: Settings) -> Finding:
    if not settings.rules:
        return Finding("rules", False, "there is none, so every study is declined: add [[rules]]")
    return Finding("rules", True, ", ".join(rule.name for rule in settings.rules))


def _engine(engine: str, region: str) -> Finding:
    """Of an engine that a rule names: what it gives, and whether its weights are as they were."""
    what = f"engine {engine}, {region}"
    try:
        offered = offer(engine, region)
        for path, digest in offered.files:
            whole(path, digest)
    except PipelineError as fault:
        return Finding(what, False, f"{fault}; install the package anew")
    files = ", ".join(path.name for path, _ in offered.files)
    bones = ", ".join(offered.bones)
    return Finding(what, True, f"{bones}; {files}: whole" if files else bones)


def _destination(destination: Destination, settings: Settings) -> Finding:
    what = f"destination {destination.name}"
    failed = echo(destination, settings.calling_ae_title(destination))
    if failed is not None:
        return Finding(what, False, failed.reason)
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    return Finding(what, True, f"{where} answers C-ECHO")
