"""A PostgreSQL of our own: made in a temporary folder, on a free loopback port, gone afterwards.

initdb refuses to run as root, so root runs it as the user `postgres` of Debian's package.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from storage.database import connect, migrate

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_TEMPLATE = "migrated"
_TUNING = "-c fsync=off -c listen_addresses=127.0.0.1 -c max_connections=80"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the cluster listens, and a number for the next database."""

    port: int
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """For `storage.database.connect`."""
        return f"postgresql+psycopg://osteon@127.0.0.1:{self.port}/{database}"

    def make_database(self, template: str = "template1") -> str:
        """A new database; returns its URL."""
        name = f"test{next(self.numbers)}"
        self.create(name, template)
        return self.url(name)

    def create(self, name: str, template: str) -> None:
        """A database of this name, as a copy of another."""
        where = f"host=127.0.0.1 port={self.port} user=osteon dbname=postgres"
        with psycopg.connect(where, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running cluster with a migrated template database."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="osteon-postgresql-", dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        port = _free_port()
        data = folder / "data"
        _run(folder, programs / "initdb", "-D", data, "-U", "osteon", "-A", "trust", "--no-sync")
        options = f"-p {port} -k {folder} {_TUNING}"
        control = programs / "pg_ctl"
        _run(folder, control, "-D", data, "-o", options, "-w", "-l", folder / "log", "start")
        try:
            yield _with_template(Server(port))
        finally:
            _run(folder, control, "-D", data, "-m", "immediate", "-w", "stop")


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
    why = "PostgreSQL's programs are not in /usr/lib/postgresql: apt install postgresql"
    if os.environ.get("OSTEON_REQUIRE_PEERS") == "1":
        pytest.fail(why)
    pytest.skip(why)


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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
