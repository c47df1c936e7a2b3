"""Bent joints: each body of a joint moves as a rigid whole, after the pose of the scene.

The bodies are told apart in the frame of the archive (`parting`). Each has the shape that the pose
gives it in the straight scene, and is then moved there about the axis of the joint: its distances
remain those of one rigid bone. It glides: along its way to the base it is moved until the least gap
between the two is what it was when straight, so that no bone runs into another however people's
condyles differ. Who stands upright is drawn too: a share of the flexion is the lean of the base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import radians
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.training.joints import JOINTS, Joint, Tether
from pipeline.training.parting import Part, parted
from pipeline.training.posing import (
    Pose,
    PoseRange,
    Scene,
    centres,
    found,
    in_region,
    looked_up,
    rotation,
    transformed,
)
from pipeline.training.regions import Region, Triple

ROUNDS = 10
"""Of gliding; each undoes most of what is left of a gap."""
FARTHEST = 12.0
"""mm that a body may glide."""
SURFACE_POINTS = 8_000
"""Of a body within the cube, about 2 mm apart."""
INVERSIONS = 6
"""Rounds in which the displacement of a pose is inverted: it changes by little over its length."""


@dataclass(frozen=True, slots=True)
class Bend:
    """How a joint is bent."""

    joint: Joint
    flexion: float
    """Radians."""
    lean: float
    """Share of the flexion by which the base leans; the rest is that of the others."""
    tilts: Tensor
    """(B, 3) rotation vectors of the bodies, radians."""
    slides: Tensor
    """(B, 3) mm."""
    slacks: Tensor
    """(B,) mm by which tethers are longer than in the straight joint."""


class _Surface(NamedTuple):
    points: Tensor
    """(N, 3) mm in the region frame."""
    distances: Tensor
    """(N,) mm."""


def draw_bend(region: Region, pose: PoseRange, generator: torch.Generator) -> Bend | None:
    """A bend, or None where the joint stays straight; nothing is drawn where there is no joint."""
    joint = JOINTS.get(region.name)
    if joint is None or not pose.bent:
        return None
    is_bent, flexion, lean = torch.rand(3, generator=generator).tolist()
    beside = torch.randn(2, len(joint.bodies), 3, generator=generator).clamp(-2.5, 2.5)
    longer = torch.randn(len(joint.bodies), generator=generator).clamp(-2.5, 2.5)
    if is_bent >= pose.bent:
        return None
    return Bend(
        joint,
        radians(flexion * joint.most_deg),
        lean,
        torch.deg2rad(beside[0] * torch.tensor([body.tilt_deg for body in joint.bodies])),
        beside[1] * torch.tensor([body.slide_mm for body in joint.bodies]),
        longer * torch.tensor([b.tether.slack_mm if b.tether else 0.0 for b in joint.bodies]),
    )


def bent(region: Region, near: Tensor, far: Tensor, pose: Pose, bend: Bend) -> tuple[Scene, Pose]:
    """The bones of a case, taken into `pose` and bent, and the pose that says so.

    `near` and `far` are as for `posing.posed`.
    """
    parts = parted(region, near, far, bend.joint)
    moves = moved(region, parts, pose, bend)
    bones, everything = torch.zeros_like(near) + near.max(), torch.zeros_like(far) + far.max()
    for part, move in zip(parts, moves, strict=True):
        back = torch.linalg.inv(move)
        held = torch.cat([_held(part.far, region.far_mm), _held(part.near, region.cube_mm)])
        held = transformed(_in_scene(held, pose), move)
        at = _box(held, near.shape[-1], region.cube_mm, float(near.max()))
        points = centres(near.shape[-1], region.cube_mm, near.device)[at]
        if points.numel():
            there = in_region(transformed(points, back), pose)
            known = found(part.near, region.cube_mm, part.far, region.far_mm, there)
            for channel, bone in zip(part.targets, known, strict=False):
                bones[channel][at] = bone
            bones[-1][at] = torch.minimum(bones[-1][at], known[-1])
        at = _box(held, far.shape[-1], region.far_mm, float(far.max()))
        points = centres(far.shape[-1], region.far_mm, far.device)[at]
        if points.numel():
            there = in_region(transformed(points, back), pose)
            known = looked_up(part.far[None], there, region.far_mm)[0]
            everything[at] = torch.minimum(everything[at], known)
    order = sorted((target, n) for n, part in enumerate(parts) for target in part.targets)
    return (
        Scene(bones, region.cube_mm, everything, region.far_mm),
        replace(pose, moves=moves[[number for _, number in order]]),
    )


def moved(region: Region, parts: list[Part], pose: Pose, bend: Bend) -> Tensor:
    """(B + 1, 4, 4): where each part of the straight scene is in the bent one, rigid, mm."""
    bodies = bend.joint.bodies
    first, second = _in_scene(_about(region, *bend.joint.axis), pose)
    axis, middle = normalize(second - first, dim=0), (first + second) / 2
    moves = torch.eye(4).repeat(len(parts), 1, 1)
    # whoever hangs on another body comes after it
    for number in sorted(range(len(bodies) - 1), key=lambda n: bodies[n].tether is not None):
        body = bodies[number]
        hinge = _about_point(rotation(axis * bend.flexion), middle)
        # a body on a tether lags behind about its own end of it
        pivot = middle if body.tether is None else _tethered(region, body.tether, pose)[0]
        lag = rotation(axis * (bend.flexion * (body.share - 1))) @ rotation(bend.tilts[number])
        moves[number] = hinge @ _about_point(lag, pivot)
        moves[number, :3, 3] += moves[number, :3, :3] @ bend.slides[number]
        if any(body.towards):
            moves[number, :3, 3] += _glide(region, parts, pose, bend, number, moves)
    base = len(bodies) - 1
    stands = base if parts[base].targets else next(n for n, p in enumerate(parts) if p.targets)
    origin = _in_scene(torch.zeros(1, 3), pose)
    lean = torch.eye(4)
    lean[:3, :3] = rotation(-axis * bend.flexion * bend.lean)
    lean[:3, 3] = (origin - transformed(transformed(origin, moves[stands]), lean))[0]
    moves[:-1] = lean @ moves[:-1]
    return moves


def _in_scene(points: Tensor, pose: Pose) -> Tensor:
    """(N, 3) mm: where points (N, 3) of the region are in the straight scene."""
    scene_from_region = torch.linalg.inv(pose.region_from_scene)
    there = transformed(points, scene_from_region)
    for _ in range(INVERSIONS):
        off = points - in_region(there[:, None, None], pose)[:, 0, 0]
        there = there + off @ scene_from_region[:3, :3].T
    return there


def _glide(
    region: Region, parts: list[Part], pose: Pose, bend: Bend, number: int, moves: Tensor
) -> Tensor:
    """(3,) mm that bring a body as near to the base as it was, and its tether to its length."""
    joint, move = bend.joint, moves[number]
    body, slack = joint.bodies[number], bend.slacks[number]
    base = parts[len(joint.bodies) - 1].near.amin(dim=0, keepdim=True)
    surface = _surface(parts[number], region.cube_mm)
    back = pose.region_from_scene[:3, :3]
    towards = normalize(move[:3, :3] @ torch.linalg.solve(back, torch.tensor(body.towards)), dim=0)

    def gap(at: Tensor) -> Tensor:
        there = in_region(at[:, None, None], pose)
        away = looked_up(base, there, region.cube_mm).flatten()
        return (away + surface.distances).amin()

    shift = torch.zeros(3)
    straight = _in_scene(surface.points, pose)
    before, turned = gap(straight), transformed(straight, move)
    for _ in range(ROUNDS):
        shift = shift + towards * (gap(turned + shift) - before)
        if body.tether is not None:
            ends = _tethered(region, body.tether, pose)
            holds = next(n for n, b in enumerate(joint.bodies) if body.tether.bone in b.bones)
            pull = transformed(ends[1:], moves[holds]) - transformed(ends[:1], move) - shift
            length = (ends[1] - ends[0]).norm() + slack
            shift = shift + (pull * (1 - length / pull.norm()))[0]
    glided: Tensor = shift * (FARTHEST / shift.norm().clamp(min=FARTHEST))
    return glided


def _tethered(region: Region, tether: Tether, pose: Pose) -> Tensor:
    """(2, 3) mm: both ends in the straight scene."""
    return _in_scene(_about(region, tether.start, tether.end), pose)


def _held(bones: Tensor, cube_mm: float) -> Tensor:
    """(N, 3) mm: the voxels within any of the bones (..., M, M, M)."""
    union = bones.reshape(-1, *bones.shape[-3:]).amin(dim=0)
    return centres(union.shape[-1], cube_mm, union.device)[union < 0]


def _box(points: Tensor, size: int, cube_mm: float, margin: float) -> tuple[slice, slice, slice]:
    """The voxels of a cube that are at most `margin` mm beyond points (N, 3); z, y, x."""
    if not len(points):
        return (slice(0),) * 3
    low = ((points.amin(dim=0) - margin) / cube_mm + 0.5) * size
    high = ((points.amax(dim=0) + margin) / cube_mm + 0.5) * size
    x, y, z = (
        slice(max(0, int(first)), max(0, int(last) + 1))
        for first, last in zip(low.tolist(), high.tolist(), strict=True)
    )
    return z, y, x


def _surface(part: Part, cube_mm: float) -> _Surface:
    """What of a body is near its surface within the cube, of its targets if it has any, thinned."""
    bone = (part.near[:-1] if part.targets else part.near).amin(dim=0)
    is_near = bone.abs() < cube_mm / bone.shape[-1] / 2
    every = max(1, int(is_near.sum()) // SURFACE_POINTS)
    points = centres(bone.shape[-1], cube_mm, bone.device)
    return _Surface(points[is_near][::every], bone[is_near][::every])


def _about(region: Region, *points: Triple) -> Tensor:
    """(N, 3) mm in the frame of the region, of points about its pivot."""
    return torch.tensor(points) + torch.tensor(region.pivot)


def _about_point(turn: Tensor, point: Tensor) -> Tensor:
    """(4, 4) that turns about a point."""
    move = torch.eye(4)
    move[:3, :3], move[:3, 3] = turn, point - turn @ point
    return move
