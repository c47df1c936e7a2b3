"""The node as its own process, as a hospital runs it, and the command beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import Verification
from sqlalchemy.engine import Engine

from storage import database, queries
from storage.lifecycle import FINAL, State
from storage.records import Job, Quarantined, Study, StudyState
from tests.peer_programs import Address, Ran, run
from tests.processes import LOOPBACK, Process, free_port, wait_until
from tests.toml_text import toml

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0
"""A machine that is busy with other tests was seen to take a minute."""
JOB_SECONDS = 120.0

HIP_RULE: Mapping[str, object] = {
    "name": "hip",
    "region": "hip",
    "views": ["frontal", "lateral"],
    "engine": "visual-hull",  # the limb of the factories is no hip that a network knows
    "destinations": [],
    "match": {"modality": {"one_of": ["CR", "DX"]}, "body_part_examined": "HIP"},
}


def destination(name: str, to: Address, **keys: object) -> dict[str, object]:
    """A destination on loopback that is given up on late and tried again soon."""
    return {"name": name, "ae_title": to.ae_title, "host": LOOPBACK, "port": to.port, **keys}


class Node:
    """One node: its settings, its data folder, and its process while it runs."""

    def __init__(
        self,
        folder: Path,
        *,
        destinations: Sequence[Mapping[str, object]] = (),
        rules: Sequence[Mapping[str, object]] = (HIP_RULE,),
        peers: Collection[str] = ("MODALITY", "ORTHANC"),
        hears: Mapping[str, int] | None = None,
        module: str = "node",
        **tables: Mapping[str, object],
    ) -> None:
        """A node that nobody has started.

        Args:
            folder: Settings, rows and files lie here.
            destinations: As `destination` makes them.
            rules: Each without destinations gets all of them, and goes where there are none.
            peers: Calling AE titles that may send, from loopback.
            hears: Ports at which they hear reports of storage commitment.
            module: What is run; `tests.light_node` is the node with an engine that costs nothing.
            tables: Keys over ours, by the name of their table, as `completeness={"quiet_s": 1}`.
                Without `database={"url": ...}` the rows are in SQLite, in the data folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.module = module
        self.address = Address("OSTEON", free_port())
        self.first_peer = next(iter(peers))
        self._process: Process | None = None
        self._engine: Engine | None = None
        sqlite = f"sqlite:///{folder / 'data' / 'osteon.sqlite'}"
        self.database_url = str(tables.get("database", {}).get("url", sqlite))
        names = [one["name"] for one in destinations]
        plan: dict[str, object] = {
            name: {**ours, **tables.get(name, {})} for name, ours in self._defaults().items()
        }
        ports = {title: {"port": port} for title, port in (hears or {}).items()}
        plan["peers"] = [
            {"ae_title": title, "addresses": [LOOPBACK], **ports.get(title, {})} for title in peers
        ]
        plan["destinations"] = list(destinations)
        plan["rules"] = [
            {**rule, "destinations": rule["destinations"] or names}
            for rule in rules
            if rule["destinations"] or names
        ]
        self.config.write_text(toml(plan) + "\n")

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "node.toml"

    @property
    def process(self) -> Process:
        """The running process."""
        assert self._process is not None, "the node was not started"
        return self._process

    @property
    def log(self) -> str:
        """All that it wrote to its terminal, of all its runs."""
        path = self.folder / "node.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def engine(self) -> Engine:
        """The rows, to look at."""
        if self._engine is None:
            self._engine = database.connect(self.database_url)
        return self._engine

    def start(self) -> None:
        """It runs and answers C-ECHO."""
        self.launch()
        self.process.wait_until(
            lambda: answers_echo(self.address, self.first_peer), START_SECONDS, "C-ECHO"
        )

    def launch(self, environment: Mapping[str, str] | None = None) -> None:
        """It is starting, with `environment` added to ours."""
        command = [sys.executable, "-m", self.module, "serve", "--config", self.config]
        log = self.folder / "node.log"
        self._process = Process(command, log=log, cwd=REPOSITORY, environment=environment)

    def kill(self) -> None:
        """It is gone, as by a power cut: SIGKILL to the node itself."""
        self.process.kill()

    def stop(self) -> int:
        """It was asked to end, and did; its exit code."""
        return self.process.stop(seconds=30)

    def close(self) -> None:
        """Nothing of it runs or is open."""
        if self._process is not None:
            self._process.stop(seconds=10)
        if self._engine is not None:
            self._engine.dispose()

    def osteon(self, *words: str | int) -> Ran:
        """The command, with the settings of this node."""
        given = [str(word) for word in words]
        command = [sys.executable, "-m", "node", *given, "--config", str(self.config)]
        return run(command, cwd=REPOSITORY)

    def show(self, *what: str | int) -> dict[str, Any]:
        """What `osteon show --json` says."""
        ran = self.osteon("show", *what, "--json")
        assert ran.is_success, ran.output
        found: dict[str, Any] = json.loads(ran.output)
        return found

    def study(self, study_instance_uid: str) -> Study | None:
        """The row of a study."""
        with database.reading(self.engine) as conn:
            return queries.study(conn, study_instance_uid)

    def jobs(self, study_instance_uid: str) -> tuple[Job, ...]:
        """The jobs of a study."""
        with database.reading(self.engine) as conn:
            return queries.jobs(conn, study_instance_uid=study_instance_uid)

    def quarantined(self) -> tuple[Quarantined, ...]:
        """What was refused."""
        with database.reading(self.engine) as conn:
            return queries.quarantined(conn)

    def files(self, study_instance_uid: str) -> list[Path]:
        """The files that it keeps of a study, in the order of arrival."""
        with database.reading(self.engine) as conn:
            rows = queries.instances(conn, study_instance_uid)
        return [self.folder / "data" / "instances" / row.path for row in rows]

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        """The SOP Instance UIDs that it holds of a study, each with its file on disk.

        Raises:
            AssertionError: a row has no file, or one of another size.
        """
        with database.reading(self.engine) as conn:
            rows = queries.instances(conn, study_instance_uid)
        for row in rows:
            path = self.folder / "data" / "instances" / row.path
            assert path.stat().st_size == row.size_bytes, row.sop_instance_uid
        return frozenset(row.sop_instance_uid for row in rows)

    def decided(self, study_instance_uid: str, seconds: float = 30) -> Study:
        """The row of the study, once it is routed or declined."""
        self._wait(lambda: self._is_decided(study_instance_uid), seconds, "the study is decided")
        study = self.study(study_instance_uid)
        assert study is not None
        return study

    def finished(self, study_instance_uid: str, seconds: float = JOB_SECONDS) -> Job:
        """The only job of the study, once it is at an end."""
        return self.reached(study_instance_uid, FINAL, seconds)

    def reached(
        self, study_instance_uid: str, states: Collection[State], seconds: float = JOB_SECONDS
    ) -> Job:
        """The only job of the study, once it is in one of `states`."""

        def has_reached() -> bool:
            jobs = self.jobs(study_instance_uid)
            return bool(jobs) and jobs[0].state in states

        words = ", ".join(sorted(states))
        self._wait(has_reached, seconds, f"job of {study_instance_uid} in {words}")
        (job,) = self.jobs(study_instance_uid)
        return job

    def _wait(self, claim: Any, seconds: float, what: str) -> None:
        try:
            wait_until(claim, seconds, what, every=0.1)
        except TimeoutError as error:
            rows = self.osteon("show").output
            raise AssertionError(f"{error}\n{rows}\n{self.log[-4000:]}") from error

    def _is_decided(self, study_instance_uid: str) -> bool:
        study = self.study(study_instance_uid)
        return study is not None and study.state is not StudyState.WAITING

    def _defaults(self) -> dict[str, dict[str, object]]:
        return {
            "node": {"name": "test", "folder": "data"},
            "receiver": {"ae_title": self.address.ae_title, "port": self.address.port},
            "completeness": {"quiet_s": 1.0, "ceiling_s": 20.0},
            "reconstruction": {"poll_s": 0.1},
            "notices": {"destinations": []},
            "retention": {},
            "retries": {"first_s": 0.5, "factor": 1.0, "longest_s": 1.0},
            "database": {},
            "log": {"level": "info"},
        }


@contextmanager
def running_node(folder: Path, **settings: Any) -> Iterator[Node]:
    """A node that answers C-ECHO; `settings` as `Node` takes them."""
    node = Node(folder, **settings)
    try:
        node.start()
        yield node
    finally:
        node.close()


def answers_echo(address: Address, calling: str = "MODALITY") -> bool:
    """True if a C-ECHO to loopback succeeds."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    ae.add_requested_context(Verification)
    assoc = ae.associate(LOOPBACK, address.port, ae_title=address.ae_title)
    if not assoc.is_established:
        return False
    try:
        return bool(assoc.send_c_echo().get("Status") == 0x0000)
    finally:
        assoc.release()
