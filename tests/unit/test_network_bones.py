"""From signed distances to bones: what a set of several bones may cost."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.encode.stl import binary_stl
from pipeline.geometry import grid
from pipeline.models.bones import mesh_of

SIZE, EDGE = 128, 160.0


def _rough(radius: float) -> np.ndarray:
    """A ball with ridges, which has more triangles than any bone."""
    along = ((np.arange(SIZE) + 0.5) / SIZE - 0.5) * EDGE
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    ridges = 2.0 * np.sin(x / 2.5) * np.sin(y / 2.5) * np.sin(z / 2.5)
    return (np.sqrt(x**2 + y**2 + z**2) - radius + ridges).astype(np.float32)


@pytest.mark.parametrize("bones", [1, 2, 4])
def test_the_surfaces_of_a_result_fit_into_what_is_left_of_25_megabytes(bones: int) -> None:
    """All but the surfaces of a default set takes 16 MB; an STL is half of what they take."""
    mesh = mesh_of(_rough(70.0), grid(EDGE, SIZE), bones=bones)
    assert len(mesh.faces) > 15_000
    assert 2 * bones * len(binary_stl(mesh, "bone")) < 9e6
