"""The surfaces of the bones as a Surface Segmentation, built from PS3.3 A.57 by hand.

Points are in the frame of reference of the model volume, LPS mm; indices of points are 1-based
(PS3.3 C.27.2.1.1); triangles run counter-clockwise seen from outside.
"""

from __future__ import annotations

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.uid import SurfaceSegmentationStorage

from pipeline.encode.codes import ANATOMICAL_STRUCTURE, LATERALITY, code_item, region_item
from pipeline.encode.common import (
    CONTENT_LABEL,
    Result,
    algorithm_item,
    file_meta,
    instance_item,
    ordered,
    provenance,
    put_general_modules,
    radiograph_series,
)
from pipeline.encode.segmentation import content_description, segment_label, tracking_id
from pipeline.encode.topology import is_closed, is_manifold, signed_volume, vertex_normals
from pipeline.errors import PipelineError
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
    item.SegmentDescription = provenance(result, 1024)
    item.SegmentAlgorithmType = "AUTOMATIC"
    item.AnatomicRegionSequence = [region_item(result.request.region, bone.code, bone.side)]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(ANATOMICAL_STRUCTURE)]
    kind = code_item(bone.code)
    if bone.side in LATERALITY:
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(LATERALITY[bone.side])]
    item.SegmentedPropertyTypeCodeSequence = [kind]
    item.TrackingID = tracking_id(bone, result)
    item.TrackingUID = result.uid("tracked bone", number)
    item.SurfaceCount = 1
    surface = Dataset()
    surface.ReferencedSurfaceNumber = number
    surface.SegmentSurfaceGenerationAlgorithmIdentificationSequence = [
        algorithm_item(result.reconstruction.algorithm)
    ]
    surface.SegmentSurfaceSourceInstanceSequence = [
        instance_item(radiograph) for radiograph in ordered(result.radiographs)
    ]
    item.ReferencedSurfaceSequence = [surface]
    return item


def _surface(bone: Bone, number: int, result: Result) -> Dataset:
    """Source: PS3.3 C.27.1."""
    mesh = _sound(bone)
    lightness, a, b = hd.color.CIELabColor.from_rgb(*bone.rgb).value
    item = Dataset()
    item.RecommendedDisplayGrayscaleValue = lightness
    item.RecommendedDisplayCIELabValue = [lightness, a, b]
    item.SurfaceNumber = number
    item.SurfaceComments = provenance(result, 10240)
    # type 2: whoever made the mesh does not say whether it was smoothed
    item.SurfaceProcessing = ""
    item.RecommendedPresentationOpacity = 1.0
    item.RecommendedPresentationType = "SURFACE"
    item.FiniteVolume = "YES" if is_closed(mesh.faces) else "NO"
    item.Manifold = "YES" if is_manifold(mesh.faces) else "NO"
    item.SurfacePointsSequence = [_points(mesh)]
    item.SurfacePointsNormalsSequence = _normals(mesh)
    item.SurfaceMeshPrimitivesSequence = [_primitives(mesh)]
    return item


def _sound(bone: Bone) -> Mesh:
    """The mesh of the bone, if a reader can draw it and finds the outside outside."""
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
