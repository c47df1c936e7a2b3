"""The viewers, installed by `make viewers`, and the browser that they run in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orthanc import Orthanc
from tests.processes import absent
from tests.viewers import ohif
from tests.viewers.chromium import Page, running_page
from tests.viewers.web import Site, serving

PACKAGES = Path(__file__).parent / "node_modules"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of the npm packages; without it the tests skip, or fail where it is promised."""
    if not (PACKAGES / ".package-lock.json").is_file():
        absent("the viewers are not installed: `make viewers` (npm)")
    return PACKAGES


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots stay after the tests; OSTEON_PICTURES, else test-pictures/ (not in git)."""
    folder = Path(os.environ.get("OSTEON_PICTURES", ROOT / "test-pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def page(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab of a headless browser."""
    with running_page(tmp_path_factory.mktemp("browser"), 1500, 800) as running:
        yield running


@pytest.fixture(scope="module")
def origin(packages: Path, orthanc: Orthanc) -> Iterator[str]:
    """OHIF, and the PACS behind it."""
    site = Site(packages / "@ohif/app/dist", ohif.PAGES, orthanc.http_port, falls_back=True)
    with serving(site) as url:
        yield url
