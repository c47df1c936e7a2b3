"""The common pose: rigid frames from landmarks, heads of femora and the meshes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.training.signed_distance import Float, Surface

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
"""From a left leg to a right one, in a frame whose x runs to the left."""


@dataclass(frozen=True, slots=True)
class Sphere:
    """A sphere fitted to a part of a surface."""

    centre: Float
    """(3,)."""
    radius: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The end of a long bone that others are laid on."""

    points: Float
    """(N, 3)."""
    used: float
    """How much of the end of the other bone is laid on it, mm."""
    is_lower: bool = True
    """True if the shaft runs upwards from this end."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Where a bone came to lie."""

    transform: Float
    """(4, 4)."""
    gap: float
    """Mean distance of the best nine tenths of the points, the larger of both ways, mm."""


def moved(mesh: Surface, transform: Float) -> Surface:
    """The mesh under a (4, 4) transform; faces are reversed where it mirrors."""
    vertices = mesh.vertices @ transform[:3, :3].T + transform[:3, 3]
    mirrors = np.linalg.det(transform[:3, :3]) < 0
    return Surface(vertices, mesh.faces[:, ::-1] if mirrors else mesh.faces)


def pelvic_frame(landmarks: Mapping[str, Float]) -> Float:
    """(4, 4) pelvis from patient: x to the left spine, z upwards in the anterior pelvic plane.

    Its origin is that of the patient. The plane runs through both anterior superior iliac spines
    and the middle of the pubic tubercles, so that all people stand alike, however they lay.
    """
    right, left = landmarks["ASIS_R"], landmarks["ASIS_L"]
    pubis = (landmarks["Pubic Tubercle_R"] + landmarks["Pubic Tubercle_L"]) / 2
    x = _unit(left - right)
    up = (right + left) / 2 - pubis
    z = _unit(up - (up @ x) * x)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([x, np.cross(z, x), z])
    return frame


def femoral_head(vertices: Float) -> Sphere:
    """The head of a right femur that stands upright, medial towards +x.

    Its cap is the part that looks upwards and inwards; the sphere is fitted to what lies on it.
    """
    inwards = np.array([1.0, 0.0, 1.0]) / np.sqrt(2)
    reach = vertices @ inwards
    centre = vertices[reach > reach.max() - 6].mean(axis=0) - 20 * inwards
    radius = 24.0
    for _ in range(30):
        away = vertices - centre
        length = np.linalg.norm(away, axis=1)
        cap = (np.abs(length - radius) < 2.5) & (away @ inwards > -0.2 * length)
        points = vertices[cap]
        system = np.column_stack([2 * points, np.ones(len(points))])
        solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
        centre = solution[:3]
        radius = float(np.sqrt(solution[3] + centre @ centre))
    return Sphere(centre, radius)


def rigid_fit(
    moving: Float, fixed: Float, *, start: Float, steps: int = 60, scaled: bool = False
) -> Float:
    """(4, 4) that lays the points `moving` on `fixed`, from `start`; nearest points, trimmed.

    It is a similarity where `scaled`.

    A transform that mirrors may be given as `start`; what is fitted on top of it is rigid.
    Source: Besl & McKay 1992, IEEE PAMI 14:239; the worst tenth of the pairs is left out.
    """
    tree = cKDTree(fixed)
    transform = start
    for _ in range(steps):
        points = moving @ transform[:3, :3].T + transform[:3, 3]
        gap, index = tree.query(points)
        kept = gap <= np.quantile(gap, 0.9)
        transform = _between(points[kept], fixed[index[kept]], scaled=scaled) @ transform
    return transform


def laid_on(vertices: Float, reference: Reference, *, mirrored: bool) -> Fitted:
    """The best rigid place of a long bone's end on the reference, however it lay before.

    It is fitted with a scale, which is then taken back about the origin, the middle of the joint:
    a large knee reaches further out on all sides, and its joint line stands where all others do.
    Both ends and twelve turns about the long axis are tried, so that axes that nobody vouches for
    do no harm; a left bone is mirrored first.
    """
    points = vertices * [-1.0, 1.0, 1.0] if mirrored else vertices
    thin = points[:: max(len(points) // 4000, 1)]
    tree = cKDTree(reference.points)
    starts = [start for end in _ends(thin, reference) for start in _turns(thin, end, reference)]
    tried = [_improved(thin, start, reference, tree, steps=12, every=6) for start in starts]
    best = min(tried, key=lambda fitted: fitted.gap)
    final = _improved(thin, best.transform, reference, tree, steps=60, every=1)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0]) if mirrored else np.eye(4)
    return Fitted(_unscaled(final.transform) @ mirror, final.gap)


def settled(vertices: Float, reference: Reference, start: Float) -> Fitted:
    """As `laid_on`, where the place is known but for a few degrees and millimetres."""
    tree = cKDTree(reference.points)
    final = _improved(vertices, start, reference, tree, steps=60, every=4)
    return Fitted(_unscaled(final.transform), final.gap)


def _unscaled(similarity: Float) -> Float:
    """The rigid transform that brings the same point to the origin."""
    rigid = similarity.copy()
    rigid[:3] /= np.cbrt(np.linalg.det(similarity[:3, :3]))
    return rigid


def _ends(points: Float, reference: Reference) -> list[Float]:
    """The long axis, both ways, so that it runs from the end that is laid to the other."""
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    return [axis, -axis]


def _turns(points: Float, axis: Float, reference: Reference) -> list[Float]:
    """(4, 4) that put `axis` upright (or upside down), each turned by another 30 degrees.

    The tips of both ends come to one height, and both ends to one breadth.
    """
    sign = 1.0 if reference.is_lower else -1.0
    z = sign * axis
    side = np.linalg.svd(z[None])[2][1]
    upright = np.stack([side, np.cross(z, side), z])
    half = reference.used / 2
    upright *= _breadth(reference.points, sign, half) / _breadth(points @ upright.T, sign, half)
    height = sign * (points @ upright[2])
    end = points[height < height.min() + reference.used].mean(axis=0)
    starts = []
    for angle in np.arange(12) * np.pi / 6:
        turn = np.eye(4)
        cosine, sine = np.cos(angle), np.sin(angle)
        about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        turn[:3, :3] = about_z @ upright
        turn[:3, 3] = reference.points.mean(axis=0) - turn[:3, :3] @ end
        tip = (sign * (points @ turn[2, :3])).min()
        turn[2, 3] = sign * ((sign * reference.points[:, 2]).min() - tip)
        starts.append(turn)
    return starts


def _breadth(points: Float, sign: float, depth: float) -> float:
    """How far the last `depth` mm reach out from their middle, root mean square."""
    height = sign * points[:, 2]
    end = points[height < height.min() + depth, :2]
    return float(np.sqrt(((end - end.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _improved(
    points: Float, start: Float, reference: Reference, tree: cKDTree, *, steps: int, every: int
) -> Fitted:
    """A fit of the end of the bone that `start` brings to the end of the reference."""
    sign = 1.0 if reference.is_lower else -1.0
    height = sign * (points @ start[2, :3])
    end = points[height < height.min() + reference.used][::every]
    transform = rigid_fit(end, reference.points, start=start, steps=steps, scaled=True)
    laid = points[::every] @ transform[:3, :3].T + transform[:3, 3]
    there, _ = tree.query(end @ transform[:3, :3].T + transform[:3, 3])
    back, _ = cKDTree(laid).query(reference.points[::every])
    return Fitted(transform, max(_trimmed(there), _trimmed(back)))


def _trimmed(gaps: Float) -> float:
    """The mean of the best nine tenths."""
    return float(np.sort(gaps)[: int(0.9 * len(gaps))].mean())


def _between(source: Float, target: Float, *, scaled: bool) -> Float:
    """(4, 4) of least squares between paired points, rigid or a similarity.

    Source: Umeyama 1991, IEEE PAMI 13:376.
    """
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    u, spread, vt = np.linalg.svd((source - middle).T @ (target - aim))
    keep = np.array([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    scale = (spread * keep).sum() / ((source - middle) ** 2).sum() if scaled else 1.0
    transform = np.eye(4)
    transform[:3, :3] = scale * (vt.T * keep) @ u.T
    transform[:3, 3] = aim - transform[:3, :3] @ middle
    return transform


def shifted(offset: Float) -> Float:
    """(4, 4) translation."""
    transform = np.eye(4)
    transform[:3, 3] = offset
    return transform


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector))
