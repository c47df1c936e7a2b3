"""A reader of Surface Segmentation objects, written from PS3.3 and not from our writer.

No free program reads the surfaces of this object class, so this is the independent peer: it takes
bytes apart by C.27.1 to C.27.4 and refuses what those clauses do not allow.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

SURFACE_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.5"
Point = tuple[float, float, float]
Triangle = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReadSurface:
    """One surface as a viewer would draw it; triangles index `points` from 0."""

    number: int
    label: str
    points: list[Point]
    triangles: list[Triangle]
    normals: list[Point]
    finite_volume: str
    manifold: str
    frame_of_reference_uid: str


def read_surfaces(path: Path) -> list[ReadSurface]:
    """The surfaces of the file, in the order of their numbers."""
    ds = dcmread(path)
    assert ds.SOPClassUID == SURFACE_SEGMENTATION
    assert ds.NumberOfSurfaces == len(ds.SurfaceSequence) >= 1
    numbers = [item.SurfaceNumber for item in ds.SurfaceSequence]
    assert numbers == list(range(1, len(numbers) + 1)), "C.27.1: from 1, rising by 1"
    labels = _labels(ds)
    return [
        ReadSurface(
            number=item.SurfaceNumber,
            label=labels[item.SurfaceNumber],
            points=_points(item),
            triangles=_triangles(item),
            normals=_normals(item),
            finite_volume=item.FiniteVolume,
            manifold=item.Manifold,
            frame_of_reference_uid=ds.FrameOfReferenceUID,
        )
        for item in ds.SurfaceSequence
    ]


def has_no_rim(surface: ReadSurface) -> bool:
    """C.27.1.1.4: every facet has a neighbour along each edge, and they agree on the inside."""
    edges: Counter[tuple[int, int]] = Counter()
    for a, b, c in surface.triangles:
        edges.update([(a, b), (b, c), (c, a)])
    return all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())


def volume_inside(surface: ReadSurface) -> float:
    """Six times the sum of the tetrahedra to the origin, by hand; positive if outwards."""
    total = 0.0
    for a, b, c in surface.triangles:
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (surface.points[n] for n in (a, b, c))
        total += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return total / 6


def _labels(ds: Dataset) -> dict[int, str]:
    """C.8.23.1: a segment names its surfaces by number."""
    labels = {}
    for segment in ds.SegmentSequence:
        assert segment.SurfaceCount == len(segment.ReferencedSurfaceSequence)
        for reference in segment.ReferencedSurfaceSequence:
            labels[reference.ReferencedSurfaceNumber] = segment.SegmentLabel
    return labels


def _points(item: Dataset) -> list[Point]:
    """C.27.2: one item; x1, y1, z1, x2 ... of 32-bit floats, little endian."""
    (points,) = item.SurfacePointsSequence
    assert points["PointCoordinatesData"].VR == "OF"
    return _triples(points.PointCoordinatesData, points.NumberOfSurfacePoints)


def _normals(item: Dataset) -> list[Point]:
    """C.27.1.1.6: no item, or one with as many vectors as there are points."""
    if not item.SurfacePointsNormalsSequence:
        return []
    (normals,) = item.SurfacePointsNormalsSequence
    assert normals.VectorDimensionality == 3
    assert normals["VectorCoordinateData"].VR == "OF"
    return _triples(normals.VectorCoordinateData, normals.NumberOfVectors)


def _triangles(item: Dataset) -> list[Triangle]:
    """C.27.4: one item; three 32-bit indices a triangle, the first point is 1."""
    (primitives,) = item.SurfaceMeshPrimitivesSequence
    for keyword in ("LongVertexPointIndexList", "LongEdgePointIndexList"):
        assert keyword in primitives, "type 2"
    for keyword in ("TriangleStripSequence", "TriangleFanSequence", "LineSequence"):
        assert keyword in primitives, "type 2"
    assert "FacetSequence" in primitives, "type 2"
    assert primitives["LongTrianglePointIndexList"].VR == "OL"
    data = primitives.LongTrianglePointIndexList
    assert len(data) % 12 == 0
    indices = struct.unpack(f"<{len(data) // 4}I", data)
    assert min(indices) >= 1
    return [(a - 1, b - 1, c - 1) for a, b, c in zip(*[iter(indices)] * 3, strict=True)]


def _triples(data: bytes, count: int) -> list[Point]:
    assert len(data) == 12 * count
    values = struct.unpack(f"<{3 * count}f", data)
    return [(x, y, z) for x, y, z in zip(*[iter(values)] * 3, strict=True)]
