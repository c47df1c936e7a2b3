"""A viewer of meshes, which knows nothing of DICOM, shows the STL that we send to the PACS.

STL has no axes of its own. Ours says LPS in its heading; the viewer wants RAS, and so the page
turns it, as 3D Slicer does: x and y change their signs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.types import ObjectKind, Side
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import radiographs, reconstruction, request
from tests.viewers.bumps import RED, SPACING, bone, bounds
from tests.viewers.chromium import Page
from tests.viewers.ohif import Pixels, is_segment
from tests.viewers.web import Site, serving

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

SECONDS = 180.0
INDEX = b"""<!doctype html><html lang="en"><title>STL</title>
<link rel="icon" href="data:,"><style>html, body, canvas { margin: 0; height: 100vh }</style>
<body style="background: #000"><canvas id="view"></canvas>
<script src="/@niivue/niivue/dist/niivue.umd.js"></script></body></html>"""
SHOW = """
async ([url, rgb]) => {
  const viewer = new niivue.Niivue({backColor: [0, 0, 0, 1], show3Dcrosshair: false});
  await viewer.attachTo('view');
  await viewer.loadMeshes([{url, rgba255: [...rgb, 255]}]);
  const [mesh] = viewer.meshes;
  const low = [0, 1, 2].map(axis => Infinity), high = low.map(value => -value);
  mesh.pts.forEach((value, index) => {
    low[index % 3] = Math.min(low[index % 3], value);
    high[index % 3] = Math.max(high[index % 3], value);
  });
  mesh.pts.forEach((value, index) => { if (index % 3 < 2) mesh.pts[index] = -value; });
  mesh.updateMesh(viewer.gl);
  viewer.setSliceType(viewer.sliceTypeRender);
  viewer.setScale(0.6);
  window.viewer = viewer;
  return [low, high];
}
"""
SIDES = {180: ("front", "LH"), 0: ("behind", "LH"), 90: ("left", "AH"), 270: ("right", "AH")}
"""Azimuths of niivue: from where the bone is looked at, and which bumps can be told apart."""
RIGHTWARDS = {"front": "L", "behind": "R", "right": "A", "left": "P"}
"""What of the patient lies at the right of a picture of somebody who is looked at from a side."""
FACES_A_BUMP = {"front", "left"}
"""Seen from here a bump points to the eye, and its edges are shaded; the other sides are bare."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which way the bone reaches further from the middle of its mass, and how large it is."""

    is_right: bool
    is_up: bool
    faces_a_bump: bool
    width_px: float
    height_px: float


@pytest.fixture(scope="module")
def stl(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The STL document of the block with three bumps, as the PACS gives it back."""
    images = two_views(study="stl-viewer")
    folder = tmp_path_factory.mktemp("stl")
    wanted = request(folder, images, side=Side.LEFT, kinds=(ObjectKind.STL,))
    (written,) = write(reconstruction(bone()), radiographs(images), wanted)
    orthanc.upload(written.path.read_bytes())
    ds = dcmread(BytesIO(orthanc.file(written.sop_instance_uid)))
    return bytes(ds.EncapsulatedDocument)


@pytest.fixture(scope="module")
def shown(page: Page, packages: Path, stl: bytes) -> Iterator[np.ndarray]:
    """The bounds of the mesh in mm as the viewer read them, while the page shows it."""
    with serving(Site(packages, {"/": INDEX, "/bone.stl": stl})) as origin:
        page.open(f"{origin}/")
        page.wait_until("typeof niivue === 'object'", SECONDS, "niivue is loaded")
        yield np.array(page.run(SHOW, ["/bone.stl", RED]))


def test_the_stl_has_the_size_and_the_place_of_the_bone(shown: np.ndarray) -> None:
    assert np.abs(shown - bounds()).max() < max(SPACING)


@pytest.mark.parametrize("azimuth_deg", SIDES)
def test_the_stl_is_seen_the_right_way_round(
    page: Page, shown: np.ndarray, pictures: Path, azimuth_deg: int
) -> None:
    side, told = SIDES[azimuth_deg]
    across, _, upwards = bounds()[1] - bounds()[0]
    if told[0] == "A":
        across = np.diff(bounds(), axis=0)[0, 1]
    page.run(f"viewer.setRenderAzimuthElevation({azimuth_deg}, 0)")

    def law() -> None:
        reach = _reach(_still(page, pictures / f"niivue-from-{side}.png"))
        assert reach.faces_a_bump == (side in FACES_A_BUMP)
        assert reach.is_up
        assert reach.is_right == (RIGHTWARDS[side] == told[0])
        assert reach.width_px / reach.height_px == pytest.approx(across / upwards, rel=0.05)

    page.settles(law, SECONDS)


def _still(page: Page, path: Path) -> Pixels:
    """A screenshot with the mesh, in which nothing moves any more."""
    last: Pixels | None = None
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        screen = page.screenshot(path)
        if last is not None and np.array_equal(screen, last) and is_segment(screen).any():
            return screen
        last = screen
        time.sleep(0.2)
    raise TimeoutError(f"niivue shows no mesh, see {path}")


def _reach(screen: Pixels) -> Reach:
    rows, columns = np.nonzero(is_segment(screen))
    height = float(np.ptp(rows) + 1)
    mm = height / np.diff(bounds(), axis=0)[0, 2]
    row, column, half = int(np.median(rows)), int(np.median(columns)), int(9 * mm)
    middle = screen[row - half : row + half, column - half : column + half]
    return Reach(
        is_right=bool((columns.min() + columns.max()) / 2 > np.median(columns)),
        is_up=bool((rows.min() + rows.max()) / 2 < np.median(rows)),
        faces_a_bump=bool(np.ptp(middle[..., 0]) > 50),
        width_px=float(np.ptp(columns) + 1),
        height_px=height,
    )
