"""Several bones of one result are told apart in OHIF by the colour of each."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.types import Bone, Code, ObjectKind, Side
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import affine, box, radiographs, reconstruction, request
from tests.viewers import ohif
from tests.viewers.chromium import Page

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

SHAPE = (40, 64, 80)
KNEE = {
    "Femur": ("71341001", (-24.0, -14.0, 0.0), (40, 205, 185)),
    "Tibia": ("12611008", (24.0, -14.0, 0.0), (180, 105, 255)),
    "Patella": ("64234005", (-24.0, 14.0, 0.0), (235, 70, 70)),
    "Fibula": ("87342007", (24.0, 14.0, 0.0), (135, 215, 55)),
}
"""Code, middle in LPS mm, and the colour in which it is to be seen."""


def _hue_deg(rgb: np.ndarray) -> float:
    return 360 * colorsys.rgb_to_hsv(*(float(value) / 255 for value in rgb))[0]


def _bones() -> tuple[Bone, ...]:
    return tuple(
        box(
            name,
            code=Code(value, "SCT", name),
            side=Side.LEFT,
            centre=centre,
            extents=(30, 18, 50),
            shape=SHAPE,
            patient_from_index=affine(SHAPE),
        )
        for name, (value, centre, _) in KNEE.items()
    )


def test_each_bone_is_seen_in_its_own_colour(
    page: Page, origin: str, orthanc: Orthanc, tmp_path: Path, pictures: Path
) -> None:
    images = two_views(study="ohif-colours")
    wanted = request(tmp_path, images, side=Side.LEFT, region="knee")
    written = write(reconstruction(*_bones()), radiographs(images), wanted)
    for path in [source.path for source in wanted.sources] + [one.path for one in written]:
        orthanc.upload(path.read_bytes())
    series = {one.kind: int(dcmread(one.path).SeriesNumber) for one in written}

    def opened() -> None:
        study = str(images[0].StudyInstanceUID)
        ohif.open_study(page, origin, study, len(images) + len(series), layout="mpr")
        ohif.double_click(page, series[ObjectKind.SEGMENTATION])

    def law() -> None:
        screen = page.screenshot(pictures / "ohif-mpr-colours.png")
        found = [one for one in ohif.viewports(page) if one.name == "mpr-axial"]
        assert len(found) == 1
        axial = found[0]
        shown = axial.crop(screen)
        points = axial.points(shown)
        for name, (_, centre, rgb) in KNEE.items():
            away = np.linalg.norm((points - centre)[..., :2], axis=-1)
            seen = shown[np.unravel_index(away.argmin(), away.shape)]
            assert int(seen.min()) > 30, "the grey of the volume is not there yet"
            between = abs(_hue_deg(seen) - _hue_deg(np.array(rgb)))
            assert min(between, 360 - between) < 12, f"{name} is seen as {seen}"
            assert int(seen.max()) - int(seen.min()) > 40, f"{name} is pale: {seen}"

    ohif.holds(page, opened, law)
