"""OHIF shows the bones over the model volume, and left, front and head are where they belong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.types import ObjectKind, Side
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import radiographs, reconstruction, request
from tests.viewers import ohif
from tests.viewers.bumps import BUMPS, SHAPE, bone, bump, contains
from tests.viewers.chromium import Page
from tests.viewers.ohif import Pixels, Viewport

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

TOLERANCE = 2.0
"""mm: the longest edge of a voxel; a bump is at least four times as large."""
GRIDS = {
    "slices from foot to head": None,
    # the columns run to the patient's right and the rows to the front, as no scanner writes them
    "turned about the long axis": [[-1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]],
    "mirrored grid": [[-1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
    "slices from head to foot": [[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]],
}
OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))


@dataclass(frozen=True, slots=True)
class Study:
    """A study in the PACS: two radiographs and a result."""

    name: str
    study_instance_uid: str
    series: int
    volume: int
    segmentation: int
    """Series numbers."""


@pytest.fixture(scope="module", params=GRIDS)
def study(
    request: pytest.FixtureRequest, orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """The block with three bumps as a result, on each kind of grid."""
    return _stored(request.param, orthanc, tmp_path_factory.mktemp("result"))


def _stored(grid: str, orthanc: Orthanc, folder: Path) -> Study:
    name = grid.replace(" ", "-")
    images = two_views(study=f"ohif-{name}")
    wanted = request(folder, images, side=Side.LEFT)
    written = write(reconstruction(bone(GRIDS[grid])), radiographs(images), wanted)
    for path in [source.path for source in wanted.sources] + [one.path for one in written]:
        orthanc.upload(path.read_bytes())
    number = {one.kind: int(dcmread(one.path).SeriesNumber) for one in written}
    return Study(
        name=name,
        study_instance_uid=str(images[0].StudyInstanceUID),
        series=len(images) + len(number),
        volume=number[ObjectKind.MODEL_VOLUME],
        segmentation=number[ObjectKind.SEGMENTATION],
    )


def test_the_bone_is_where_geometry_says_in_all_three_planes(
    page: Page, origin: str, study: Study, pictures: Path
) -> None:
    def opened() -> None:
        ohif.open_study(page, origin, study.study_instance_uid, study.series, layout="mpr")
        ohif.double_click(page, study.segmentation)

    def law() -> None:
        screen = ohif.still(page, pictures / f"ohif-mpr-{study.name}.png", wanted=3)
        shown = {one.name: one for one in ohif.viewports(page)}
        assert sorted(shown) == ["mpr-axial", "mpr-coronal", "mpr-sagittal"]
        for viewport in shown.values():
            _holds_the_bone(viewport, screen)
        _reaches(shown["mpr-axial"], screen, "LA")
        _reaches(shown["mpr-coronal"], screen, "LH")
        _reaches(shown["mpr-sagittal"], screen, "AH")

    ohif.holds(page, opened, law)


@pytest.mark.parametrize("study", ["slices from foot to head", "mirrored grid"], indirect=True)
def test_the_bone_lies_on_the_slice_that_a_radiologist_opens(
    page: Page, origin: str, study: Study, pictures: Path
) -> None:
    picture = pictures / f"ohif-slice-{study.name}.png"

    def opened() -> None:
        ohif.open_study(page, origin, study.study_instance_uid, study.series)
        ohif.open_series(page, study.volume, SHAPE[0])
        ohif.double_click(page, study.segmentation)
        ohif.still(page, picture, wanted=1)
        ohif.jump(page, SHAPE[0] // 2)

    def law() -> None:
        screen = ohif.still(page, picture, wanted=1)
        shown = ohif.viewports(page)
        assert len(shown) == 1
        _holds_the_bone(shown[0], screen)
        _reaches(shown[0], screen, "LA")

    ohif.holds(page, opened, law)


def _holds_the_bone(viewport: Viewport, screen: Pixels) -> None:
    """The segment is on every pixel within the bone, and on none that lies clearly outside."""
    shown = viewport.crop(screen)
    points, is_segment = viewport.points(shown), ohif.is_segment(shown)
    assert is_segment[contains(points, -TOLERANCE)].mean() > 0.999, viewport.name
    assert not is_segment[~contains(points, TOLERANCE)].any(), viewport.name
    for name in BUMPS:
        away = points - bump(name)
        if (nearest := np.linalg.norm(away, axis=-1)).min() < TOLERANCE:
            at = np.unravel_index(nearest.argmin(), nearest.shape)
            assert is_segment[at], f"{viewport.name}: no bump towards {name}"


def _reaches(viewport: Viewport, screen: Pixels, towards: str) -> None:
    """The bumps point to the letters at the edges; told without asking the viewer's camera."""
    is_segment = ohif.is_segment(viewport.crop(screen))
    edges = {"left": (1, -1), "top": (0, -1)}
    assert set(viewport.letters) >= set(edges)
    seen = set()
    for edge, (axis, sign) in edges.items():
        at = np.nonzero(is_segment)[axis]
        longer = np.sign((at.min() + at.max()) / 2 - np.median(at))
        letter = viewport.letters[edge]
        seen.add(letter if longer == sign else OPPOSITE[letter])
    assert seen == set(towards), viewport.name
