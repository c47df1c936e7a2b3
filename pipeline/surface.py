"""From a probability on a grid to the surface of a bone that can be measured, stored and printed.

The order matters: the border of the grid is closed before the surface is cut, what is no bone is
dropped before it is smoothed, and decimation comes last, where its result is checked. A mesh that
leaves here is closed, a manifold, and looks outwards.
"""

from __future__ import annotations

from dataclasses import replace

import fast_simplification
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from pipeline.encode.topology import is_manifold, signed_volume
from pipeline.errors import NoBone, PipelineError
from pipeline.types import Float, Mesh, SurfaceProcessing, Volume

Faces = NDArray[np.int64]

LEVEL = 0.5
MAX_FACES = 50_000
SMALLEST_SHARE = 0.02
"""A piece below this share of the largest piece's volume is dropped."""
AGGRESSIONS = (5.0, 3.0, 1.0)
"""How boldly edges are collapsed; the timid ones are tried where the bold one tears the mesh."""
COARSER = (1, 2, 3, 4)
"""Where decimation tears a ragged surface, it is cut anew from a coarser grid: of a quarter of the
triangles, a manifold by construction."""


def surface(
    probability: Volume,
    *,
    max_faces: int = MAX_FACES,
    smallest_share: float = SMALLEST_SHARE,
    smoothing: int = 12,
) -> Mesh:
    """The surface of `probability` at 0.5: closed, a manifold, outward, in LPS mm.

    Cavities are filled: marrow is bone here. Where the object touches the border of the grid the
    surface is closed half a voxel outside the last voxel centre.

    Args:
        probability: Occupancy, 0 to 1.
        max_faces: Largest number of triangles.
        smallest_share: Pieces below this share of the largest piece's volume are dropped.
        smoothing: Passes of Taubin's filter; 0 keeps the surface as cut.

    Raises:
        NoBone: nothing reaches 0.5.
        PipelineError: the surface could not be made a manifold.

    Source: Lewiner 2003, J. Graph. Tools 8(2):1; Taubin 1995, SIGGRAPH 351.
    """
    for factor in COARSER:
        cut = _cut(_coarser(probability, factor))
        pieces = _largest_pieces(cut, smallest_share)
        smooth = _smoothed(pieces, smoothing)
        if (found := _decimated(smooth, max_faces)) is not None:
            steps = _steps(cut, pieces, found, smoothing, factor)
            share = len(found.vertices) / len(cut.vertices)
            return replace(found, processing=SurfaceProcessing(steps, share))
    raise PipelineError("The surface of the bones could not be made a manifold")


def volume_of(mesh: Mesh) -> float:
    """The volume inside a closed mesh, mm3: exact, by the divergence theorem."""
    return signed_volume(mesh)


def _coarser(probability: Volume, factor: int) -> Volume:
    """Every `factor`-th voxel of the probability, smoothed by as much as that takes."""
    if factor == 1:
        return probability
    values = np.nan_to_num(probability.array.astype(np.float32))
    kept = ndimage.gaussian_filter(values, factor / 2)[::factor, ::factor, ::factor]
    step = np.diag([factor, factor, factor, 1.0])
    return Volume(kept, probability.patient_from_index @ step)


def _cut(probability: Volume) -> Mesh:
    padded = np.pad(np.nan_to_num(probability.array.astype(np.float32)), 1)
    # a value on the level itself makes triangles without area
    padded[padded == LEVEL] = np.nextafter(np.float32(LEVEL), np.float32(1))
    if padded.max() < LEVEL:
        raise NoBone("The reconstruction is empty: no voxel lies in the bone of every view")
    vertices, faces, _, _ = marching_cubes(padded, LEVEL)
    affine = probability.patient_from_index
    points = (vertices.astype(np.float64) - 1) @ affine[:3, :3].T + affine[:3, 3]
    return _outward(points, faces.astype(np.int64))


def _steps(cut: Mesh, pieces: Mesh, made: Mesh, smoothing: int, factor: int) -> tuple[str, ...]:
    """What was done to the surface besides cutting it, in words."""
    told = (
        (factor > 1, f"cut from every {factor}. voxel"),
        (smoothing > 0, f"Taubin smoothing, {smoothing} passes"),
        (len(made.faces) < len(pieces.faces), f"decimation to {len(made.faces)} triangles"),
        (len(pieces.faces) < len(cut.faces), "small pieces and cavities removed"),
    )
    return tuple(words for is_done, words in told if is_done)


def _outward(vertices: Float, faces: Faces) -> Mesh:
    """An affine with a negative determinant turns the faces inside out."""
    mesh = Mesh(vertices, faces)
    return mesh if signed_volume(mesh) >= 0 else Mesh(vertices, faces[:, ::-1].copy())


def _largest_pieces(mesh: Mesh, smallest_share: float) -> Mesh:
    """The pieces that are large enough; the wall of a cavity has a negative volume and goes."""
    count = len(mesh.vertices)
    starts, ends = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    joined = coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(count, count))
    pieces, piece_of_vertex = connected_components(joined, directed=False)
    piece_of_face = piece_of_vertex[mesh.faces[:, 0]]
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    sixths = np.einsum("ij,ij->i", a, np.cross(b, c))
    volumes = np.bincount(piece_of_face, weights=sixths, minlength=pieces)
    kept = volumes >= max(smallest_share * volumes.max(), np.finfo(np.float64).tiny)
    return _compact(mesh.vertices, mesh.faces[kept[piece_of_face]])


def _compact(vertices: Float, faces: Faces) -> Mesh:
    """Without the vertices that no face uses."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], renumbered.reshape(-1, 3).astype(np.int64))


def _smoothed(mesh: Mesh, passes: int) -> Mesh:
    """Taubin's two steps, one that shrinks and one that grows: the volume stays."""
    if passes == 0:
        return mesh
    filtered = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    trimesh.smoothing.filter_taubin(filtered, lamb=0.5, nu=0.53, iterations=passes)
    return Mesh(np.asarray(filtered.vertices, np.float64), mesh.faces)


def _decimated(mesh: Mesh, max_faces: int) -> Mesh | None:
    """A manifold of at most `max_faces`; None where every way of collapsing edges tears it."""
    if len(mesh.faces) <= max_faces and is_manifold(mesh.faces):
        return mesh
    # float32 in and out: near the isocentre that is a tenth of a micrometre
    points, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    for aggression in AGGRESSIONS:
        simpler, kept = fast_simplification.simplify(
            points, faces, target_count=min(max_faces, len(faces) - 2), agg=aggression
        )
        fewer = _compact(simpler.astype(np.float64), kept.astype(np.int64))
        if len(fewer.faces) <= max_faces and is_manifold(fewer.faces):
            return _outward(fewer.vertices, fewer.faces)
    return None
