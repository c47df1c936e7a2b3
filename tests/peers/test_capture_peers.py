"""Other people's programs take our captures, and show the same pixels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.run import run
from pipeline.types import ObjectKind, Reconstructed, ResultObject, Side
from tests.factories import two_views
from tests.processes import LOOPBACK, Process, free_port, is_listening, program
from tests.results import box, radiographs, reconstruction, request

pytestmark = pytest.mark.peer

CAPTURES = (ObjectKind.KEY_IMAGE, ObjectKind.TURNTABLE)
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Test^Knee=試験^膝=しけん^ひざ",
}
KNOWN_WARNINGS = {
    # IHE AI Results 6.5.3.1 asks for it in ContributingEquipmentSequence; the tool is older
    "Warning - Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID",
    "Warning - Dicom dataset contains attributes not present in standard DICOM IOD"
    " - this is a Standard Extended SOP Class",
}


@pytest.fixture(scope="module", params=list(Side))
def captures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[ResultObject]:
    """The two captures of a result, and a notice about the same radiographs."""
    return _captures(tmp_path_factory.mktemp("captures"), request.param)


def _captures(folder: Path, side: Side) -> list[ResultObject]:
    images = two_views(**JAPANESE)
    wanted = request(folder, images, kinds=CAPTURES, side=side)
    written = write(reconstruction(box(side=side)), radiographs(images), wanted)
    (folder / "notice").mkdir()
    reasons = ("The rule expects the views AP, LL; missing: LL",)
    asked = request(folder / "notice", images, model="notice", reasons=reasons, side=side)
    told = run(asked)
    assert isinstance(told, Reconstructed)
    return [*written, *told.objects]


def _said(*command: str | Path) -> list[str]:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.stdout.decode(errors="replace").splitlines()


def test_dciodvfy_finds_no_error_in_a_capture(captures: list[ResultObject]) -> None:
    for one in captures:
        lines = _said(program("dciodvfy"), one.path)

        complaints = {line.strip() for line in lines if line.startswith(("Error", "Warning"))}
        assert complaints <= KNOWN_WARNINGS, one.path.name
        assert lines, "dciodvfy names the object at least"


def test_dcentvfy_finds_captures_and_notice_consistent(captures: list[ResultObject]) -> None:
    lines = _said(program("dcentvfy"), *(one.path for one in captures))

    assert lines == []


def test_dcmtk_shows_the_pixels_that_were_written(
    captures: list[ResultObject], tmp_path: Path
) -> None:
    for one in captures:
        pixels = dcmread(one.path).pixel_array
        last = len(pixels) if pixels.ndim == 4 else 1
        shown = tmp_path / "shown.ppm"

        _said(program("dcm2pnm"), "--frame", str(last), "--write-raw-pnm", one.path, shown)

        with Image.open(shown) as picture:
            expected = pixels[-1] if pixels.ndim == 4 else pixels
            np.testing.assert_array_equal(np.asarray(picture), expected)


def test_storescp_accepts_captures_by_c_store(captures: list[ResultObject], tmp_path: Path) -> None:
    storescp, storescu = program("storescp"), program("storescu")
    received, port = tmp_path / "received", free_port()
    received.mkdir()
    server = [storescp, "-aet", "PACS", "-od", received, str(port)]

    with Process(server, log=tmp_path / "storescp.log", environment={"TCP_NODELAY": "1"}) as peer:
        peer.wait_until(lambda: is_listening(port), 10, "storescp listens")
        files = [one.path for one in captures]
        lines = _said(storescu, "-v", "-R", "-aec", "PACS", LOOPBACK, str(port), *files)

    answers = [line for line in lines if "Received Store Response" in line]
    assert len(answers) == len(captures), "\n".join(lines[-20:])
    assert all(line.endswith("(Success)") for line in answers)
