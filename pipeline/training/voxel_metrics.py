"""How near the surface of voxels is to the true one, as the published families are judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

REACH = 0.01
"""Of the volume's edge: points that are farther from the other surface count as missed."""
AXES = 3


def f_score(found: NDArray[np.bool_], true: NDArray[np.bool_], *, reach: float = REACH) -> float:
    """The harmonic mean of two shares of surface points: the found near the true, and back.

    Points are the centres of all faces between a filled voxel and an empty one, near is what lies
    within `reach` of the volume's edge; 0 where one of both is empty, 1 where both are. The
    authors draw points from a mesh: at 1 % of 32 voxels both count what coincides.

    Args:
        found: (D, D, D).
        true: (D, D, D).
        reach: As a share of D voxels.

    Source: Tatarchenko 2019, arXiv:1905.03678; 1 % in Xie 2020, arXiv:2006.12250.
    """
    made, wanted = _faces(found), _faces(true)
    if not (len(made) and len(wanted)):
        return float(len(made) == len(wanted))
    limit = reach * found.shape[0]
    precision = float((cKDTree(wanted).query(made)[0] <= limit).mean())
    recall = float((cKDTree(made).query(wanted)[0] <= limit).mean())
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def _faces(voxels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 3) centres, in voxels; beyond the grid nothing is filled."""
    padded = np.pad(voxels, 1)
    along = []
    for axis in range(AXES):
        at = np.argwhere(np.diff(padded, axis=axis)).astype(np.float64)
        at[:, axis] += 0.5
        along.append(at)
    return np.concatenate(along)
