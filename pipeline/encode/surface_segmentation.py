"""The surfaces of the bones as a Surface Segmentation, built from PS3.3 A.57 by hand.

Points are in the frame of reference of the model volume, LPS mm; indices of points are 1-based
(PS3.3 C.27.2.1.1); triangles run counter-clockwise seen from outside.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import SurfaceSegmentationStorage

from pipeline.encode.bones import (
    algorithm_of,
    description_of,
    display_colours,
    opacity_of,
    property_items,
    segment_label,
    tracking_id,
    tracking_uid,
)
from pipeline.encode.common import (
    CONTENT_LABEL,
    Result,
    algorithm_item,
    content_description,
    file_meta,
    instance_item,
    ordered,
    printable,
    put_general_modules,
    radiograph_series,
)
from pipeline.encode.topology import is_closed, is_manifold, sound_mesh, vertex_normals
from pipeline.types import Bone, Mesh, ObjectKind


def surface_segmentation(result: Result) -> Dataset:
    """The Surface Segmentation of all bones, one segment and one surface a bone, from 1.

    Raises:
        PipelineError: a mesh is empty, broken, or looks inwards.
    """
    bones = result.reconstruction.bones
    uid = result.uid("surface segmentation")
    ds = Dataset()
    put_general_modules(ds, result, ObjectKind.SURFACE_SEGMENTATION)
    ds.file_meta = file_meta(SurfaceSegmentationStorage, uid)
    ds.SOPClassUID = SurfaceSegmentationStorage
    ds.SOPInstanceUID = uid
    ds.Modality = "SEG"
    ds.InstanceNumber = 1
    ds.ContentLabel = CONTENT_LABEL
    ds.ContentDescription = content_description(result)
    ds.SegmentSequence = [_segment(bone, n, result) for n, bone in enumerate(bones, 1)]
    ds.NumberOfSurfaces = len(bones)
    ds.SurfaceSequence = [_surface(bone, n, result) for n, bone in enumerate(bones, 1)]
    ds.ReferencedSeriesSequence = radiograph_series(result)
    return ds


def _segment(bone: Bone, number: int, result: Result) -> Dataset:
    """Source: PS3.3 C.8.23.1."""
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = segment_label(bone)
    item.SegmentDescription = description_of(bone, result, 1024)
    item.SegmentAlgorithmType = "AUTOMATIC"
    item.update(property_items(bone, result.request.region))
    item.TrackingID = tracking_id(bone, result)
    item.TrackingUID = tracking_uid(bone, result)
    item.SurfaceCount = 1
    surface = Dataset()
    surface.ReferencedSurfaceNumber = number
    surface.SegmentSurfaceGenerationAlgorithmIdentificationSequence = [
        algorithm_item(algorithm_of(bone, result))
    ]
    surface.SegmentSurfaceSourceInstanceSequence = [
        instance_item(radiograph) for radiograph in ordered(result.radiographs)
    ]
    item.ReferencedSurfaceSequence = [surface]
    return item


def _surface(bone: Bone, number: int, result: Result) -> Dataset:
    """Source: PS3.3 C.27.1."""
    mesh = sound_mesh(bone)
    colour = display_colours(result.reconstruction.bones)[number - 1]
    item = Dataset()
    item.RecommendedDisplayGrayscaleValue = colour[0]
    item.RecommendedDisplayCIELabValue = colour
    item.SurfaceNumber = number
    item.update(_processing(mesh, description_of(bone, result, 10240)))
    item.RecommendedPresentationOpacity = opacity_of(bone)
    item.RecommendedPresentationType = "SURFACE"
    item.FiniteVolume = "YES" if is_closed(mesh.faces) else "NO"
    item.Manifold = "YES" if is_manifold(mesh.faces) else "NO"
    item.SurfacePointsSequence = [_points(mesh)]
    item.SurfacePointsNormalsSequence = _normals(mesh)
    item.SurfaceMeshPrimitivesSequence = [_primitives(mesh)]
    return item


def _processing(mesh: Mesh, comments: str) -> Dataset:
    """What was done to the surface after it was cut, in a few words and, in the comments, in all.

    SurfaceProcessing is type 2, and stays empty where the surface was processed: with YES go a
    ratio and an algorithm (2C), and dciodvfy calls both of them an error whatever the value is.

    Source: PS3.3 C.27.1.1.2.
    """
    item = Dataset()
    item.SurfaceComments = comments
    item.SurfaceProcessing = ""
    if (processing := mesh.processing) is None:
        return item
    if not processing.steps:
        item.SurfaceProcessing = "NO"
        return item
    done = "; ".join((f"{100 * processing.ratio:.0f} % of points kept", *processing.steps))
    item.SurfaceProcessingDescription = printable(done, 64)
    item.SurfaceComments = printable(f"{comments} Surface: {done}.", 10240)
    return item


def _points(mesh: Mesh) -> Dataset:
    """Source: PS3.3 C.27.2; x1, y1, z1, x2 ... as 32-bit floats."""
    points = mesh.vertices.astype("<f4")
    item = Dataset()
    item.NumberOfSurfacePoints = len(points)
    item.add_new("PointCoordinatesData", "OF", points.tobytes())
    box = [*points.min(axis=0), *points.max(axis=0)]
    item.PointsBoundingBoxCoordinates = [float(value) for value in box]
    return item


def _normals(mesh: Mesh) -> list[Dataset]:
    """One normal a point, or none at all where a point has no direction (PS3.3 C.27.3)."""
    normals = vertex_normals(mesh)
    if not (np.abs(normals).max(axis=1) > 0).all():
        return []
    item = Dataset()
    item.NumberOfVectors = len(normals)
    item.VectorDimensionality = 3
    item.add_new("VectorCoordinateData", "OF", normals.astype("<f4").tobytes())
    return [item]


def _primitives(mesh: Mesh) -> Dataset:
    """Source: PS3.3 C.27.4; what is not used is type 2 and must be there, empty."""
    item = Dataset()
    item.add_new("LongVertexPointIndexList", "OL", b"")
    item.add_new("LongEdgePointIndexList", "OL", b"")
    item.add_new("LongTrianglePointIndexList", "OL", (mesh.faces + 1).astype("<u4").tobytes())
    item.TriangleStripSequence = []
    item.TriangleFanSequence = []
    item.LineSequence = []
    item.FacetSequence = []
    return item
