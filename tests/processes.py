"""Real programs as child processes that no test can leak.

Each runs in a process group of its own, writes to a log file, counts as up only when its probe
says so, and is ended by its id. Where `setpriv` exists it also dies with the test run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

import pytest

LOOPBACK = "127.0.0.1"


def program(name: str) -> str:
    """The path of a Debian program.

    Where it is missing the test is skipped, or fails if OSTEON_REQUIRE_PEERS=1.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return path or absent(f"{name} is not installed")


def absent(reason: str) -> str:
    """Skips the test, or fails it where every peer was promised."""
    if os.environ.get("OSTEON_REQUIRE_PEERS") == "1":
        pytest.fail(f"{reason}, and OSTEON_REQUIRE_PEERS=1 wants it")
    return pytest.skip(reason)


def free_port() -> int:
    """A loopback TCP port that nobody listens on now."""
    with closing(socket.socket()) as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """True if a loopback port accepts connections."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_until(claim: Callable[[], bool], seconds: float, what: str, every: float = 0.05) -> None:
    """Returns once `claim()` holds.

    Raises:
        TimeoutError: it did not hold within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


class Process:
    """A running program; use as a context manager."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts `command`; `environment` is added to ours."""
        words = [str(word) for word in command]
        if setpriv := shutil.which("setpriv"):
            words = [setpriv, "--pdeathsig", "KILL", *words]
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """True until the program ends."""
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def wait_until(self, claim: Callable[[], bool], seconds: float, what: str) -> None:
        """Returns once `claim()` holds.

        Raises:
            RuntimeError: the program ended first, or took too long; carries the end of its log.
        """
        try:
            wait_until(lambda: not self.is_running or claim(), seconds, what)
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{self.tail()}") from error
        if not self.is_running and not claim():
            raise RuntimeError(f"{what}: ended with {self.exit_code}\n{self.tail()}")

    def tail(self, characters: int = 4000) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-characters:]

    def stop(self, seconds: float = 10) -> int:
        """Ends the program politely, then by force, and whatever it left in its group."""
        if self.is_running:
            self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        code = self._popen.wait()
        self._end_group()
        return code

    def kill(self) -> None:
        """Ends the program, and not its children, as the kernel would: without a warning."""
        self._popen.kill()
        self._popen.wait()

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all that it started (Linux)."""
    return sum(_resident(one) for one in (pid, *descendants(pid)))


def descendants(pid: int) -> list[int]:
    """Process ids of all children, and theirs (Linux)."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children += [int(word) for word in task.read_text().split()]
    return children + [deeper for child in children for deeper in descendants(child)]


def is_alive(pid: int) -> bool:
    """True while a process runs; a zombie does not (Linux)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _resident(pid: int) -> int:
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
