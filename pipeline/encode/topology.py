"""What may honestly be said of a triangle mesh: is it closed, is it a manifold, is it outwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.errors import PipelineError
from pipeline.types import Bone, Float, Mesh

Faces = NDArray[np.int64]


def is_closed(faces: Faces) -> bool:
    """True if every edge is run along once in each direction by the faces that share it.

    Such a mesh has no rim and a consistent orientation, so it has an inside and an outside.
    """
    edges = directed_edges(faces)
    forward = edges[np.lexsort(edges.T)]
    if (forward[1:] == forward[:-1]).all(axis=1).any():
        return False
    backward = edges[:, ::-1]
    backward = backward[np.lexsort(backward.T)]
    return bool((forward == backward).all())


def is_manifold(faces: Faces) -> bool:
    """True if the closed mesh looks like a disc around each of its points.

    A point where two cones touch has two fans of faces, so the corners of the faces at that
    point fall into two groups when corners are joined across shared edges.
    """
    if not is_closed(faces):
        return False
    edges = directed_edges(faces)
    count = faces.size
    # corner n is the start of directed edge n; the start of the twin is the end of the edge
    here = np.lexsort(edges.T)
    twin = np.lexsort(edges[:, ::-1].T)
    following = (np.arange(count) // 3) * 3 + (np.arange(count) + 1) % 3
    joined = coo_array(
        (np.ones(count, dtype=np.int8), (here, following[twin])), shape=(count, count)
    )
    groups, _ = connected_components(joined, directed=False)
    return bool(groups == np.unique(faces).size)


def sound_mesh(bone: Bone) -> Mesh:
    """The mesh of the bone, if a reader can draw it and finds the outside outside.

    Raises:
        PipelineError: it is empty, broken, or looks inwards.
    """
    mesh = bone.mesh
    if mesh.vertices.ndim != 2 or mesh.vertices.shape[1] != 3 or not len(mesh.vertices):
        raise PipelineError(f"The mesh of {bone.name} has no points in space")
    if mesh.faces.ndim != 2 or mesh.faces.shape[1] != 3 or not len(mesh.faces):
        raise PipelineError(f"The mesh of {bone.name} has no triangles")
    if not np.isfinite(mesh.vertices).all():
        raise PipelineError(f"The mesh of {bone.name} has points that are not finite")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise PipelineError(f"The mesh of {bone.name} refers to points that it lacks")
    if is_closed(mesh.faces) and signed_volume(mesh) <= 0:
        raise PipelineError(f"The mesh of {bone.name} is turned inside out")
    return mesh


def directed_edges(faces: Faces) -> Faces:
    """(3M, 2) start and end of the edges of all faces; edge 3m + n starts at corner n of face m."""
    return np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)


def signed_volume(mesh: Mesh) -> float:
    """The volume inside, mm3; negative where the faces look inwards (divergence theorem)."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def vertex_normals(mesh: Mesh) -> Float:
    """(N, 3) outward unit normals, weighted by area; zero where the faces around cancel."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    of_face = np.cross(b - a, c - a)
    normals = np.zeros_like(mesh.vertices, dtype=np.float64)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(
                mesh.faces[:, corner], weights=of_face[:, axis], minlength=len(normals)
            )
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    lengths[lengths < 1e-12] = np.inf
    return np.asarray(normals / lengths)
