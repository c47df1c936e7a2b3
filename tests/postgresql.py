"""A PostgreSQL of our own: made in a temporary folder, on a free loopback port, gone afterwards.

initdb refuses to run as root, so root runs it as the user `postgres` of Debian's package.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from storage.database import connect, migrate
from tests.processes import (
    LOOPBACK,
    absent,
    descendants,
    free_port,
    is_alive,
    is_listening,
    wait_until,
)

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_TEMPLATE = "migrated"
_TUNING = f"-c fsync=off -c listen_addresses={LOOPBACK} -c max_connections=80"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the cluster listens, and a number for the next database."""

    port: int
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """For `storage.database.connect`."""
        return f"postgresql+psycopg://osteon@{LOOPBACK}:{self.port}/{database}"

    def make_database(self, template: str = "template1") -> str:
        """A new database; returns its URL."""
        name = f"test{next(self.numbers)}"
        self.create(name, template)
        return self.url(name)

    def create(self, name: str, template: str) -> None:
        """A database of this name, as a copy of another."""
        where = f"host={LOOPBACK} port={self.port} user=osteon dbname=postgres"
        with psycopg.connect(where, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files of a server of our own, and the server while it runs."""

    programs: Path
    folder: Path
    port: int

    def make(self) -> None:
        """Its files are there, and nothing runs."""
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        make = (self.programs / "initdb", "-D", self._data, "-U", "osteon", "-A", "trust")
        _run(self.folder, *make, "--no-sync")

    def start(self) -> None:
        """It answers."""
        options = f"-p {self.port} -k {self.folder} {_TUNING}"
        self._control("-o", options, "-w", "-l", self.folder / "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """It has ended, as `pg_ctl stop` says it: fast, or immediate."""
        self._control("-m", mode, "-w", "stop")

    def kill(self) -> None:
        """It is gone by SIGKILL, and its children, who see that by themselves, have followed it."""
        lock = self._data / "postmaster.pid"
        number = int(lock.read_text().splitlines()[0])
        processes = [number, *descendants(number)]
        os.kill(number, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, processes)), 30, "PostgreSQL is gone")
        # until somebody reaps it, a dead process has a number, and its locks seem to be held
        for held in (lock, self.folder / f".s.PGSQL.{self.port}.lock"):
            held.unlink()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _control(self, *words: str | Path) -> None:
        _run(self.folder, self.programs / "pg_ctl", "-D", self._data, *words)


@contextmanager
def a_cluster() -> Iterator[Cluster]:
    """One that runs, and is gone afterwards, whatever was done to it."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="osteon-postgresql-", dir="/tmp") as name:
        cluster = Cluster(programs, Path(name), free_port())
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            if is_listening(cluster.port):
                cluster.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running cluster with a migrated template database."""
    with a_cluster() as cluster:
        yield _with_template(Server(cluster.port))


@pytest.fixture
def empty_url(server: Server) -> str:
    """A database without a table."""
    return server.make_database()


@pytest.fixture
def engine(server: Server) -> Iterator[Engine]:
    """A migrated database of its own."""
    engine = connect(server.make_database(_TEMPLATE))
    yield engine
    engine.dispose()


def _programs() -> Path:
    if _PROGRAMS and (os.geteuid() != 0 or shutil.which("runuser")):
        return _PROGRAMS[0]
    return Path(absent("PostgreSQL's programs are not in /usr/lib/postgresql: apt install it"))


def _with_template(server: Server) -> Server:
    server.create(_TEMPLATE, "template1")
    engine = connect(server.url(_TEMPLATE))
    migrate(engine)
    engine.dispose()
    return server


def _run(folder: Path, *command: str | Path) -> None:
    """pg_ctl finds the server by the process id in its data folder, and stops that one only."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with (folder / "output").open("ab") as output:
        subprocess.run(
            [*prefix, *map(str, command)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
            timeout=60,
        )
