"""Metal in bones, as closed meshes for `thickness`: stems, heads, cups, screws and nails.

Each is made of tubes: a circle carried along a path, whose radius changes on the way. They have
the size and the shadow of their originals, not the design of any maker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Implant:
    """A closed mesh of one metal."""

    vertices: Tensor
    """(V, 3) float64, LPS mm."""
    faces: Tensor
    """(F, 3) 0-based, counter-clockwise seen from outside."""


def tube(path: Tensor, radii: Tensor, sides: int = 24) -> Implant:
    """A round body along `path`, closed by flat ends.

    Args:
        path: (P, 3) points of its axis, mm; P > 1, none twice in a row. Bends must be wider than
            the radius, or the body overlaps itself.
        radii: (P,) or (1,), mm, above zero.
        sides: Of the polygon that stands for the circle; it has the area of the circle.

    Raises:
        ValueError: fewer than two points, or a radius that is not above zero.
    """
    path = path.double()
    radii = radii.double().expand(len(path))
    if len(path) < 2 or bool((radii <= 0).any()):
        raise ValueError("a tube needs two points and a radius above zero")
    # a polygon of n sides within a circle has the share sin(x) / x, x = 2 pi / n, of its area
    turn = 2 * math.pi / sides
    radii = radii * math.sqrt(turn / math.sin(turn))
    across, upwards = _frames(path)
    angles = torch.arange(sides, dtype=torch.float64) * turn
    ring = (
        torch.cos(angles)[:, None] * across[:, None] + torch.sin(angles)[:, None] * upwards[:, None]
    )
    rings = path[:, None] + radii[:, None, None] * ring
    vertices = torch.cat([rings.reshape(-1, 3), path[:1], path[-1:]])
    return Implant(vertices, _tube_faces(len(path), sides))


def ball(centre: Tensor, radius: float, sides: int = 32) -> Implant:
    """A prosthetic head; also a bead of lead, or a marker ball of known size."""
    share = torch.linspace(0, math.pi, sides // 2 + 1, dtype=torch.float64)[1:-1]
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64) * axis * radius
    inner = -torch.cos(share)[:, None] * axis * radius
    round_about = tube(inner, torch.sin(share) * radius, sides)
    vertices = round_about.vertices.clone()
    vertices[-2:] = ends
    return Implant(vertices + centre.double(), round_about.faces)


def screw(
    head: Tensor, tip: Tensor, *, radius: float = 2.25, pitch: float = 1.75, depth: float = 0.6
) -> Implant:
    """A bone screw with threads as rings, from its head to its tip, mm; 4.5 mm by default."""
    length = float(torch.linalg.vector_norm(tip - head))
    turns = max(1, int((length - 4) / pitch))
    at = [0.0, 2.5, 2.6]
    width = [1.8 * radius, 1.8 * radius, radius]
    for n in range(turns):
        first = 3.0 + n * pitch
        at += [first, first + 0.55 * pitch]
        width += [radius - depth, radius]
    share = torch.tensor([*at, length], dtype=torch.float64) / length
    radii = torch.tensor([*width, 0.3 * radius], dtype=torch.float64)
    return tube(head + share[:, None] * (tip - head).double(), radii, sides=16)


def hip_stem(
    head: Tensor, junction: Tensor, distal: Tensor, *, head_radius: float = 16.0
) -> tuple[Implant, ...]:
    """A prosthetic head on a tapered stem: from the centre of the femoral head, along the neck to
    its junction with the axis of the shaft, and down that axis to `distal`; (3,) LPS mm each."""
    head, junction, distal = head.double(), junction.double(), distal.double()
    share = torch.linspace(0, 1, 24, dtype=torch.float64)[:, None]
    # a parabola that leaves the neck and enters the shaft along their axes
    bend = junction + 0.25 * (distal - junction)
    start = head + 0.45 * (junction - head)
    curve = (1 - share) ** 2 * start + 2 * share * (1 - share) * junction + share**2 * bend
    path = torch.cat([head[None], curve, (0.5 * (bend + distal))[None], distal[None]])
    along = torch.linspace(0, 1, 24, dtype=torch.float64)
    body = 6.0 + 5.0 * torch.sin(math.pi * along.clamp(max=0.9)) ** 2
    radii = torch.cat([torch.tensor([6.0]).double(), body, torch.tensor([6.5, 3.0]).double()])
    return ball(head, head_radius), tube(path, radii)


def moved(implant: Implant, affine: Tensor) -> Implant:
    """The implant under a (4, 4) affine without a mirror."""
    turned = implant.vertices @ affine[:3, :3].T.to(implant.vertices)
    return Implant(turned + affine[:3, 3].to(turned), implant.faces)


def united(implants: Sequence[Implant]) -> Implant:
    """One mesh of several bodies; where they overlap, both count."""
    starts = [0]
    for implant in implants:
        starts.append(starts[-1] + len(implant.vertices))
    faces = [implant.faces + start for implant, start in zip(implants, starts, strict=False)]
    return Implant(torch.cat([implant.vertices for implant in implants]), torch.cat(faces))


def _frames(path: Tensor) -> tuple[Tensor, Tensor]:
    """Two directions across the path at each of its points, turned as little as possible."""
    legs = torch.nn.functional.normalize(path[1:] - path[:-1], dim=1)
    along = torch.nn.functional.normalize(torch.cat([legs[:1], legs[:-1] + legs[1:], legs[-1:]]))
    first = torch.eye(3, dtype=path.dtype)[int(along[0].abs().argmin())]
    across = []
    for direction in along:
        first = torch.nn.functional.normalize(first - (first @ direction) * direction, dim=0)
        across.append(first)
    stacked = torch.stack(across)
    return stacked, torch.linalg.cross(along, stacked)


def _tube_faces(count: int, sides: int) -> Tensor:
    ring, place = torch.meshgrid(torch.arange(count - 1), torch.arange(sides), indexing="ij")
    a = (ring * sides + place).flatten()
    b = (ring * sides + (place + 1) % sides).flatten()
    c, d = a + sides, b + sides
    circle = torch.arange(sides)
    following = (circle + 1) % sides
    last = (count - 1) * sides
    first_cap = torch.stack([torch.full((sides,), count * sides), following, circle], dim=1)
    last_cap = torch.stack(
        [torch.full((sides,), count * sides + 1), last + circle, last + following], dim=1
    )
    walls = [torch.stack([a, b, d], dim=1), torch.stack([a, d, c], dim=1)]
    return torch.cat([*walls, first_cap, last_cap])
