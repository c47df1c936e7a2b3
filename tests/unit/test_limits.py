"""What a worker may use: held by the system, for each process alone, and told when it is short."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from node.engine import Claim, EngineRoom, Lost
from node.limits import Limits, limits
from node.settings import Reconstruction
from pipeline.pixels import stored_values
from tests.factories import radiograph

GIBIBYTE = 1024**3


def told_by_a_process_with(limit: str, does: str) -> str:
    """What a process of its own prints, with one limit set and after `does`."""
    script = (
        "import resource\n"
        "from node.limits import Limits, impose\n"
        f"impose(Limits(**{{'memory_bytes': 2**40, {limit}}}))\n"
        "try:\n"
        f"    {does}\n"
        "except (MemoryError, OSError) as fault: print(type(fault).__name__, fault)\n"
        "else: print('done')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("limit", "does", "says"),
    [
        ("'memory_bytes': 256 * 2**20", "bytearray(2**30)", "MemoryError"),
        ("'memory_bytes': 2**31", "bytearray(2**30)", "done"),
        ("'descriptors': 20", "[open('/dev/null') for _ in range(40)]", "Too many open files"),
        ("'file_bytes': 1000", "open('{file}', 'wb').write(bytes(100_000))", "File too large"),
        ("'descriptors': 100", "print(resource.getrlimit(resource.RLIMIT_CORE))", "(0, 0)"),
    ],
    ids=["too much memory", "enough memory", "descriptors", "a large file", "a core"],
)
def test_a_process_gets_what_its_limits_say_and_no_more(
    tmp_path: Path, limit: str, does: str, says: str
) -> None:
    said = told_by_a_process_with(limit, does.replace("{file}", str(tmp_path / "result.dcm")))

    assert says in said


def test_workers_share_three_quarters_of_the_machine_unless_the_settings_say_how_much() -> None:
    settings = Reconstruction(workers=3)

    assert limits(settings, 16 * GIBIBYTE).memory_bytes == 4 * GIBIBYTE
    asked = settings.model_copy(update={"maximum_memory_mib": 1024})
    assert limits(asked, 16 * GIBIBYTE) == Limits(GIBIBYTE)


class Spent(Executor):
    """An engine whose process ran out of memory."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(MemoryError())
        return future


def test_a_job_that_ran_out_of_memory_says_so_and_may_be_tried_again() -> None:
    room = EngineRoom(Reconstruction(), make_pool=lambda _settings: Spent())
    room.submit(Claim(1, 1), None)  # type: ignore[arg-type] # nobody reads it

    (finished,) = room.collect()

    assert isinstance(finished.outcome, Lost)
    assert "maximum_memory_mib" in finished.outcome.reason


def test_after_a_job_that_ran_out_of_memory_comes_a_fresh_engine() -> None:
    engines: list[Spent] = []

    def make(_settings: Reconstruction) -> Executor:
        engines.append(Spent())
        return engines[-1]

    room = EngineRoom(Reconstruction(), make_pool=make)
    room.submit(Claim(1, 1), None)  # type: ignore[arg-type] # nobody reads it

    room.collect()

    assert room.idle == [engines[1]]


@pytest.mark.parametrize(
    "does",
    [
        "torch.zeros(2**31)",
        "SimpleITK.Image(2000, 2000, 1000, SimpleITK.sitkFloat32)",
        "mmap.mmap(-1, 2**40)",
    ],
    ids=["torch", "ITK", "the system"],
)
def test_a_library_that_is_short_of_memory_is_understood_however_it_says_so(does: str) -> None:
    script = (
        "import mmap, resource\n"
        "import SimpleITK, torch\n"
        "from node.worker import is_short_of_memory\n"
        f"resource.setrlimit(resource.RLIMIT_AS, 2 * ({GIBIBYTE},))\n"
        "try:\n"
        f"    {does}\n"
        "except (OSError, RuntimeError) as fault: print(is_short_of_memory(fault))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False
    )

    assert ran.stdout == "True\n", ran.stderr


def test_a_decoder_that_is_short_of_memory_is_no_fault_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pipeline.pixels.pixel_array", short)

    with pytest.raises(MemoryError):
        stored_values(radiograph())
