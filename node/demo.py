"""`osteon demo`: the whole way on one machine, shown step by step.

The node runs as a process of its own, as in a hospital. This process plays the modality that
sends two radiographs and the PACS that takes the results.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    DigitalXRayImageStorageForPresentation,
    Verification,
)
from rich.console import Console
from sqlalchemy.engine import Engine

from node import archive, verification
from node import show as display
from node.checkpoint import keep_answers
from node.errors import NodeError
from storage import database, queries
from storage.lifecycle import FINAL, State
from storage.records import Job, Json

if TYPE_CHECKING:
    from pipeline.demonstration import Specimen

PATIENCE_S: Final = 60.0
NODE_AE: Final = "OSTEON"
PACS_AE: Final = "DEMO_PACS"
MODALITY_AE: Final = "DEMO_XRAY"
PICTURE: Final = "osteon-demo.png"


class DemoError(NodeError):
    """The demo could not go on."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays."""

    folder: Path
    node_port: int
    pacs_port: int

    @property
    def config(self) -> Path:
        """The settings file of the node."""
        return self.folder / "node.toml"

    @property
    def log(self) -> Path:
        """What the node logged."""
        return self.folder / "node.log"


def show(out: Console, folder: Path) -> bool:
    """The demo has run and written `summary.json`; True if the job was DELIVERED."""
    stage = _prepare(folder.resolve())
    out.print("[bold]Osteon[/] - radiographs in, bones back in the PACS\n")
    engine = database.connect(f"sqlite:///{stage.folder / 'data' / 'osteon.sqlite'}")
    with archive.running(stage.folder / "pacs", PACS_AE, stage.pacs_port) as pacs:
        with _node(out, stage):
            with _step(out, "Radiographs of a hip that nobody has, from the front and the side"):
                from pipeline import demonstration  # noqa: PLC0415 - imports torch, so late

                at = datetime.now(UTC).replace(microsecond=0)
                made = demonstration.specimen(stage.folder / "radiographs", at)
            with _step(out, f"Two images sent by C-STORE to {NODE_AE}, port {stage.node_port}"):
                _send(made, stage)
            sent = time.monotonic()
            job = _follow(out, engine, made.study_instance_uid)
            seconds = time.monotonic() - sent
        out.print(f"  From the last image sent to the last result accepted: {seconds:.1f} s\n")
    _show_audit(out, engine, job)
    summary: dict[str, Json] = {
        "state": job.state.value,
        "seconds": round(seconds, 2),
        "objects": _objects(pacs.files),
        "bones": [],
        "audit_entries": _audit_entries(engine),
    }
    if job.state is State.DELIVERED:
        with _step(out, "The received objects, read back and held against the truth"):
            found = demonstration.compare(made, pacs.files, stage.folder / PICTURE)
        summary["bones"] = [
            {"name": one.bone, "dice": round(one.dice, 4), "assd_mm": round(one.assd, 3)}
            for one in found
        ]
        for one in found:
            out.print(
                f"  {one.bone}: Dice {one.dice:.3f}, symmetric surface distance"
                f" {one.assd:.2f} mm (simulated radiographs)"
            )
        out.print()
    (stage.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    _show_files(out, stage)
    return job.state is State.DELIVERED


def _prepare(folder: Path) -> Stage:
    for left in ("data", "pacs", "radiographs"):
        shutil.rmtree(folder / left, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder, _free_port(), _free_port())
    stage.config.write_text(_settings(stage))
    return stage


def _settings(stage: Stage) -> str:
    return f"""# What `osteon demo` ran with; config/node.example.toml explains every key.
[node]
name = "demo"
folder = "data"

[receiver]
ae_title = "{NODE_AE}"
port = {stage.node_port}

[[peers]]
ae_title = "{MODALITY_AE}"
addresses = ["127.0.0.1"]

[[destinations]]
name = "pacs"
ae_title = "{PACS_AE}"
host = "127.0.0.1"
port = {stage.pacs_port}

[[rules]]
name = "hip"
region = "hip"
views = ["frontal", "lateral"]
destinations = ["pacs"]

[rules.match]
modality = "DX"
body_part_examined = "HIP"
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _step(out: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    with out.status(what):
        yield
    out.print(f"  [green]done[/] {what} [dim]({time.monotonic() - began:.1f} s)[/]")


@contextmanager
def _node(out: Console, stage: Stage) -> Iterator[None]:
    command = [sys.executable, "-m", "node", "serve", "--config", str(stage.config)]
    with (
        stage.log.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ)) as process,
    ):
        try:
            with _step(out, "The node, started as a process of its own, answers C-ECHO"):
                _await_echo(process, stage)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_echo(process: subprocess.Popen[bytes], stage: Stage) -> None:
    ae = AE(ae_title=MODALITY_AE)
    ae.add_requested_context(Verification)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            said = stage.log.read_text(errors="replace")[-2000:]
            raise DemoError(f"The node ended by itself:\n{said}")
        assoc = ae.associate("127.0.0.1", stage.node_port, ae_title=NODE_AE)
        if assoc.is_established:
            assoc.send_c_echo()
            assoc.release()
            return
        time.sleep(0.1)
    raise DemoError(f"The node did not answer; see {stage.log}")


def _send(made: Specimen, stage: Stage) -> None:
    ae = AE(ae_title=MODALITY_AE)
    ae.add_requested_context(DigitalXRayImageStorageForPresentation)
    assoc = ae.associate("127.0.0.1", stage.node_port, ae_title=NODE_AE)
    if not assoc.is_established:
        raise DemoError(f"The node rejects the association; see {stage.log}")
    keep_answers(assoc)
    try:
        for path in made.paths:
            status = assoc.send_c_store(path)
            if "Status" not in status or status.Status != 0x0000:
                raise DemoError(f"The node refused {path.name}: {status}")
    finally:
        assoc.release()


def _follow(out: Console, engine: Engine, study_instance_uid: str) -> Job:
    """The job, once it stands in a final state; each state is shown as it comes."""
    until = time.monotonic() + PATIENCE_S
    began, last = time.monotonic(), None
    with out.status("The study is complete when both views are here"):
        while time.monotonic() < until:
            with database.reading(engine) as conn:
                jobs = queries.jobs(conn, study_instance_uid=study_instance_uid)
            if jobs and jobs[0].state is not last:
                last = jobs[0].state
                after = time.monotonic() - began
                out.print(f"  [green]done[/] job {jobs[0].id} is {last} [dim](at {after:.1f} s)[/]")
            if jobs and jobs[0].state in FINAL:
                return jobs[0]
            time.sleep(0.05)
    raise DemoError("No job came to an end in time")


def _show_audit(out: Console, engine: Engine, job: Job) -> None:
    found = display.look_up(engine, str(job.id), 20)
    if found is not None:
        out.rule("What the audit can answer", style="dim")
        display.show(out, found, json=False)
    verification.show(out, verification.verify(engine), json=False)
    out.rule(style="dim")


def _audit_entries(engine: Engine) -> int:
    with database.reading(engine) as conn:
        return sum(1 for _ in queries.entries(conn, limit=100_000))


def _objects(files: list[Path]) -> Json:
    headers = [(dcmread(path, stop_before_pixels=True), path) for path in files]
    return [{"sop_class_uid": str(ds.SOPClassUID), "path": str(path)} for ds, path in headers]


def _show_files(out: Console, stage: Stage) -> None:
    where = Path(os.path.relpath(stage.folder))
    out.print("Look at:")
    for name, what in (
        (PICTURE, "radiographs, outlines of the result, and the bones"),
        ("pacs/", "the objects that the PACS received"),
        ("radiographs/", "the two radiographs"),
        ("summary.json", "the figures, for a script"),
        (
            "node.toml",
            "the settings of this node: osteon show --config " + str(where / "node.toml"),
        ),
    ):
        out.print(f"  {where / name}  [dim]{what}[/]", highlight=False)
