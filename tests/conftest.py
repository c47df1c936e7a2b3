"""What every kind of test may ask for. Real peers are started once and shared by the tests.

Whoever needs a peer of its own, to stop it or to come back with it, uses `running_orthanc` or
`running_storescp` itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.orthanc import Orthanc, running_orthanc
from tests.peer_programs import Address, running_storescp

SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# A machine that is busy with other tests is slow, and that is no fault of the code. A gate that
# draws other examples each time fails for who changed nothing: new ones are looked for on purpose,
# by `OSTEON_HYPOTHESIS=search python -m pytest`.
settings.register_profile("gate", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("OSTEON_HYPOTHESIS", "gate"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data; where it is absent the test is skipped, and says so."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is absent: set OSTEON_SHARED")
    return folder


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc as the PACS, shared: use UIDs of your own."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Address]:
    """dcmtk's storescp, which writes what it is sent to `tmp_path`/storescp/received."""
    with running_storescp(tmp_path / "storescp") as address:
        yield address
