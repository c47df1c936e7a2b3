"""Each bone as an Encapsulated STL object, to print it or to plan on it.

The object holds one STL document, and the document is a binary STL file: it can be saved as it
is, in mm and in the patient's LPS axes of the frame of reference that the model volume has. STL
knows neither units nor axes nor names, so the object says them, and its 80 bytes of heading too:
"SPACE=LPS" is what 3D Slicer looks for. One object a bone, because a document has one name, one
colour and one side.

Source: PS3.3 A.85.1, C.24.2 and C.35.1.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import EncapsulatedSTLStorage

from pipeline.encode.bones import (
    algorithm_of,
    display_colours,
    named,
    opacity_of,
    segment_label,
    structure_item,
    tracking_id,
    tracking_uid,
)
from pipeline.encode.codes import (
    MILLIMETRE,
    MODEL_TITLE,
    SOURCE_OF_DOCUMENT,
    code_item,
    region_item,
)
from pipeline.encode.common import (
    Result,
    algorithm_item,
    content_description,
    file_meta,
    ordered,
    printable,
    put_general_modules,
    radiograph_series,
)
from pipeline.encode.lettering import WARNING
from pipeline.encode.topology import sound_mesh
from pipeline.structures import PREDICTED
from pipeline.types import Bone, Mesh, ObjectKind

MIME_TYPE = "model/stl"
HEADING_BYTES = 80
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
"""50 bytes, without padding; with the 84 before them the document is of even length."""


def stl_objects(result: Result) -> list[Dataset]:
    """One Encapsulated STL a bone, in their order, instance numbers from 1.

    Raises:
        PipelineError: a mesh is empty, broken, or looks inwards.
    """
    bones = result.reconstruction.bones
    return [_object(bone, number, result) for number, bone in enumerate(bones, 1)]


def document(bone: Bone) -> bytes:
    """The file of a bone; its heading says first what the bone is not."""
    warning = f"{PREDICTED.upper()} - NOT A CT" if bone.is_predicted else WARNING
    return binary_stl(sound_mesh(bone), named(bone), warning)


def binary_stl(mesh: Mesh, name: str, warning: str = WARNING) -> bytes:
    """The file: corners in LPS mm, counter-clockwise seen from outside.

    The normal of a triangle without area is zero, which readers take as "work it out".

    Source: 3D Systems, StereoLithography Interface Specification, 1989, binary form.
    """
    triangles = np.zeros(len(mesh.faces), TRIANGLE)
    corners = mesh.vertices.astype("<f4")[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["corners"] = corners
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    heading = printable(f"{warning}; UNITS=mm SPACE=LPS ; {name}", HEADING_BYTES)
    count = len(triangles).to_bytes(4, "little")
    return heading.encode("ascii").ljust(HEADING_BYTES) + count + triangles.tobytes()


def _object(bone: Bone, number: int, result: Result) -> Dataset:
    uid = result.uid(ObjectKind.STL, number)
    ds = Dataset()
    put_general_modules(ds, result, ObjectKind.STL)
    ds.file_meta = file_meta(EncapsulatedSTLStorage, uid)
    ds.SOPClassUID = EncapsulatedSTLStorage
    ds.SOPInstanceUID = uid
    ds.Modality = "M3D"
    ds.InstanceNumber = number
    _put_document(ds, bone, result)
    _put_model(ds, bone, number, result)
    ds.ReferencedSeriesSequence = radiograph_series(result)
    return ds


def _put_document(ds: Dataset, bone: Bone, result: Result) -> None:
    """Source: PS3.3 C.24.2; the acquisition is that of several radiographs, so it has no time."""
    content = document(bone)
    ds.AcquisitionDateTime = ""
    ds.ImageLaterality = str(bone.side)
    ds.BurnedInAnnotation = "NO"
    ds.SourceInstanceSequence = []
    for radiograph in ordered(result.radiographs):
        item = Dataset()
        item.ReferencedSOPClassUID = radiograph.sop_class_uid
        item.ReferencedSOPInstanceUID = radiograph.sop_instance_uid
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_OF_DOCUMENT)]
        ds.SourceInstanceSequence.append(item)
    ds.DocumentTitle = printable(f"{segment_label(bone)}: {content_description(result)}", 1024)
    ds.ConceptNameCodeSequence = [code_item(MODEL_TITLE)]
    ds.MIMETypeOfEncapsulatedDocument = MIME_TYPE
    ds.EncapsulatedDocumentLength = len(content)
    ds.EncapsulatedDocument = content


def _put_model(ds: Dataset, bone: Bone, number: int, result: Result) -> None:
    """Source: PS3.3 C.35.1; the region and the tracking are a standard extension (PS3.2 3.11.2)."""
    ds.MeasurementUnitsCodeSequence = [code_item(MILLIMETRE)]
    ds.ModelModification = "NO"
    # a left bone is mirrored for the network and mirrored back: what is stored is as in the patient
    ds.ModelMirroring = "NO"
    ds.ModelGroupUID = result.uid("model group")
    ds.ContentDescription = content_description(result)
    ds.RecommendedDisplayCIELabValue = display_colours(result.reconstruction.bones)[number - 1]
    ds.RecommendedPresentationOpacity = opacity_of(bone)
    ds.DerivationAlgorithmSequence = [algorithm_item(algorithm_of(bone, result))]
    ds.AnatomicRegionSequence = [region_item(result.request.region, bone.code, bone.side)]
    ds.PrimaryAnatomicStructureSequence = [structure_item(bone)]
    ds.TrackingID = tracking_id(bone, result)
    ds.TrackingUID = tracking_uid(bone, result)
