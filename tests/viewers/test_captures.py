"""The pictures that go with a result are shown as they were drawn, by the PACS and by OHIF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from pipeline.encode.write import write
from pipeline.types import ObjectKind, Side
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import radiographs, reconstruction, request
from tests.viewers import ohif
from tests.viewers.bumps import bone
from tests.viewers.chromium import Page
from tests.viewers.ohif import Pixels

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

CAPTURES = (ObjectKind.KEY_IMAGE, ObjectKind.TURNTABLE)


@dataclass(frozen=True, slots=True)
class Captures:
    """Pictures in the PACS, and what was written of each."""

    study_instance_uid: str
    series: int
    written: Mapping[ObjectKind, Dataset]


@pytest.fixture(scope="module")
def captures(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """The pictures of the block with three bumps, beside its radiographs."""
    images = two_views(study="captures")
    wanted = request(tmp_path_factory.mktemp("captures"), images, side=Side.LEFT, kinds=CAPTURES)
    written = write(reconstruction(bone()), radiographs(images), wanted)
    for path in [source.path for source in wanted.sources] + [one.path for one in written]:
        orthanc.upload(path.read_bytes())
    found = {one.kind: dcmread(one.path) for one in written}
    return Captures(str(images[0].StudyInstanceUID), len(images) + len(found), found)


@pytest.mark.parametrize("kind", CAPTURES)
def test_the_pacs_shows_every_pixel_as_it_was_written(
    orthanc: Orthanc, captures: Captures, kind: ObjectKind
) -> None:
    ds = captures.written[kind]
    drawn = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns, 3)
    uid = orthanc.id_of(ds.SOPInstanceUID)
    for number in range(0, len(drawn), 9):
        shown = orthanc.request(f"/instances/{uid}/frames/{number}/preview")
        assert np.array_equal(np.asarray(Image.open(BytesIO(shown)).convert("RGB")), drawn[number])


@pytest.mark.parametrize("kind", CAPTURES)
def test_a_capture_fills_the_screen_of_ohif(
    page: Page, origin: str, captures: Captures, pictures: Path, kind: ObjectKind
) -> None:
    ds = captures.written[kind]
    drawn = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns, 3)
    picture = pictures / f"ohif-{kind}.png"

    def opened() -> None:
        ohif.open_study(page, origin, captures.study_instance_uid, captures.series)
        ohif.open_series(page, int(ds.SeriesNumber), len(drawn))

    def law() -> None:
        screen = page.screenshot(picture)
        shown = ohif.viewports(page)
        assert len(shown) == 1
        assert _likeness(shown[0].crop(screen), drawn[0]) > 0.9

    ohif.holds(page, opened, law)


def _likeness(shown: Pixels, drawn: Pixels) -> float:
    """The correlation of a canvas with a picture that fills it; our eyes forgive the lettering."""
    rows, columns = shown.shape[:2]
    assert min(rows, columns) > 100, "the canvas is not yet laid out"
    scale = min(rows / drawn.shape[0], columns / drawn.shape[1])
    height, width = (int(size * scale) for size in drawn.shape[:2])
    top, left = (rows - height) // 2, (columns - width) // 2
    wanted = np.asarray(Image.fromarray(drawn).resize((width, height)), float)
    found = shown[top : top + height, left : left + width].astype(float)
    if np.ptp(found) == 0:
        return 0.0
    return float(np.corrcoef(found.ravel(), wanted.ravel())[0, 1])
