"""The targets of the fuzzer hold for their seeds, and for what a short run makes of them."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from pipeline.errors import StudyError, UnreadablePixels
from pipeline.pixels import stored_values
from pipeline.radiograph import read
from pipeline.types import Assume, Source, ViewName
from tests.factories import file_bytes, radiograph
from tests.fuzz.corpus import files, texts
from tests.fuzz.targets import TARGETS
from tests.node_process import REPOSITORY

SECONDS = 90
RUNS = 1500
NEEDS_ATHERIS = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: there is no wheel of it for this Python or machine",
)


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom says what is malformed in a seed
def test_the_seeds_pass_without_a_fuzzer(target: str) -> None:
    for seed in texts() if target == "rules" else files():
        TARGETS[target](seed)


@NEEDS_ATHERIS
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_short_run_finds_nothing(target: str, tmp_path: Path) -> None:
    # so many and from one seed: the gate finds the same each time, a longer run finds more
    command = [sys.executable, "-m", "tests.fuzz.run", target, "--runs", str(RUNS)]
    command += ["--seconds", str(SECONDS)]

    ran = subprocess.run(
        [*command, "--findings", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=280,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "stat::number_of_executed_units" in ran.stderr


def test_a_run_that_is_too_long_is_read_or_refused_by_whatever_decoder_there_is() -> None:
    """Found by a run of 20 s: where pylibjpeg-rle is installed, it panics, and its panic is no
    `Exception`; the decoder of pydicom reads what is there."""
    ds = radiograph(pixels=np.zeros((32, 32), np.uint16))
    too_long = (bytes([99]) + bytes(100)) * 11  # PS3.5 G.3.1: literal runs; the last one overruns
    header = struct.pack("<16L", 2, 64, 64 + len(too_long), *[0] * 13)
    ds.PixelData = encapsulate([header + too_long * 2])
    ds.file_meta.TransferSyntaxUID = RLELossless

    with suppress(UnreadablePixels):
        assert stored_values(ds).shape == (32, 32)


def test_an_element_that_cannot_be_what_it_claims_counts_as_missing(tmp_path: Path) -> None:
    """Found by a run of 20 s: an unknown VR was an error of ours, tried again and again."""
    ds = radiograph()
    rows = struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2)
    path = tmp_path / "rows.dcm"
    path.write_bytes(file_bytes(ds).replace(rows, rows.replace(b"US", b"U9")))

    with pytest.raises(StudyError, match="Rows"):
        read(Source(path, ds.SOPInstanceUID, ""), ViewName.AP, Assume(1150.0, 1000.0, 0.2))


def test_an_image_without_its_series_is_refused_by_name(tmp_path: Path) -> None:
    """Found by a run of 15 s: it was an error of ours, tried again and again."""
    ds = radiograph()
    del ds.SeriesInstanceUID
    path = tmp_path / "image.dcm"
    path.write_bytes(file_bytes(ds))

    with pytest.raises(StudyError, match="SeriesInstanceUID"):
        read(Source(path, ds.SOPInstanceUID, ""), ViewName.AP, Assume(1150.0, 1000.0, 0.2))
