"""OHIF shows a density as a volume: each value as its grey where it lies, and the bone over it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.types import ObjectKind, Side, Volume
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import centres, radiographs, reconstruction, request
from tests.viewers import ohif
from tests.viewers.bumps import HALF, MIDDLE, SHAPE, bone, contains
from tests.viewers.chromium import Page
from tests.viewers.ohif import Array, Pixels, Viewport

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

TOLERANCE = 2.0
"""mm: the longest edge of a voxel."""
FLESH, SPONGY, CORTICAL = 0.1, 0.4, 0.8
"""Densities; the window runs from 0 as black to 1 as white."""
LENTIL = MIDDLE + np.array([-8.0, 22.0, 0.0])
"""Of spongy bone, behind the block and to its right, within no segment."""
RADIUS = 7.0
KINDS = (ObjectKind.MODEL_VOLUME, ObjectKind.SEGMENTATION)


def in_lentil(points: Array, grown: float = 0.0) -> ohif.Mask:
    """True for LPS points of the ball, which is grown by so many mm."""
    return np.asarray(np.linalg.norm(points - LENTIL, axis=-1) <= RADIUS + grown)


def density() -> Volume:
    """The block with its bumps cortical, the ball spongy, flesh around them."""
    matrix = bone().probability.patient_from_index
    at = centres(matrix, SHAPE)
    found = np.where(contains(at), CORTICAL, np.where(in_lentil(at), SPONGY, FLESH))
    return Volume(found.astype(np.float32), matrix)


def test_a_density_is_a_volume_of_greys_and_the_bone_lies_over_it(
    page: Page, origin: str, orthanc: Orthanc, tmp_path: Path, pictures: Path
) -> None:
    images = two_views(study="ohif-density")
    wanted = request(tmp_path, images, side=Side.LEFT, kinds=KINDS)
    made = replace(reconstruction(bone()), density=density())
    written = write(made, radiographs(images), wanted)
    for path in [source.path for source in wanted.sources] + [one.path for one in written]:
        orthanc.upload(path.read_bytes())
    series = {one.kind: int(dcmread(one.path).SeriesNumber) for one in written}
    study = str(images[0].StudyInstanceUID)

    def opened() -> None:
        ohif.open_study(page, origin, study, len(images) + len(series), layout="mpr")

    def greys() -> None:
        screen = page.screenshot(pictures / "ohif-density.png")
        shown = {one.name: one for one in ohif.viewports(page)}
        assert sorted(shown) == ["mpr-axial", "mpr-coronal", "mpr-sagittal"]
        for viewport in shown.values():
            _has_the_greys(viewport, screen)
        _has_the_ball(shown["mpr-axial"], screen)

    def overlaid() -> None:
        opened()
        ohif.double_click(page, series[ObjectKind.SEGMENTATION])

    def bones() -> None:
        screen = ohif.still(page, pictures / "ohif-density-seg.png", wanted=3)
        for viewport in ohif.viewports(page):
            shown = viewport.crop(screen)
            points, is_segment = viewport.points(shown), ohif.is_segment(shown)
            assert is_segment[contains(points, -TOLERANCE)].mean() > 0.999, viewport.name
            assert not is_segment[~contains(points, TOLERANCE)].any(), viewport.name

    ohif.holds(page, opened, greys)
    ohif.holds(page, overlaid, bones)


def _has_the_greys(viewport: Viewport, screen: Pixels) -> None:
    """The middle of the block is as light as its density, and what is beside it is dark."""
    shown = viewport.crop(screen)
    points = viewport.points(shown)
    # the words of the viewer stand at the edges of a canvas, those of the volume at its own
    is_near = (np.abs(points - MIDDLE) < HALF + 12).all(axis=-1)
    inside = is_near & contains(points, -TOLERANCE)
    beside = is_near & ~contains(points, TOLERANCE) & ~in_lentil(points, TOLERANCE)
    assert inside.sum() > 500, viewport.name
    for where, value in ((inside, CORTICAL), (beside, FLESH)):
        seen = shown[where].astype(float)
        assert np.median(seen) == pytest.approx(255 * value, abs=8), viewport.name
        assert np.ptp(np.median(seen, axis=0)) < 2, f"{viewport.name} is not grey"


def _has_the_ball(viewport: Viewport, screen: Pixels) -> None:
    shown = viewport.crop(screen)
    inside = in_lentil(viewport.points(shown), -TOLERANCE)
    assert inside.sum() > 50
    assert np.median(shown[inside]) == pytest.approx(255 * SPONGY, abs=8)
