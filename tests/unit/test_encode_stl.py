"""Encapsulated STL: a file that any slicer opens, with the bone's size, place and name."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from pydicom import Dataset, dcmread

from pipeline.encode.stl import binary_stl
from pipeline.encode.write import write
from pipeline.errors import PipelineError
from pipeline.types import Algorithm, Bone, Mesh, ObjectKind, Side
from tests.factories import two_views
from tests.results import TIBIA, box, of_kind, radiographs, reconstruction, request

ENCAPSULATED_STL = "1.2.840.10008.5.1.4.1.1.104.3"
ALONE = (ObjectKind.STL,)


def _objects(folder: Path, *bones: Bone, **changes: Any) -> list[Dataset]:
    made = reconstruction(*bones, **{k: changes.pop(k) for k in ("algorithm",) if k in changes})
    written = write(made, radiographs(), request(folder, kinds=ALONE, **changes))
    return [dcmread(path) for path in of_kind(written, ObjectKind.STL)]


def _triangles(document: bytes) -> list[tuple[float, ...]]:
    """Normal and three corners of each triangle, 12 numbers, by the layout of the format."""
    (count,) = struct.unpack_from("<I", document, 80)
    assert len(document) == 84 + 50 * count
    found = [struct.unpack_from("<12fH", document, 84 + 50 * n) for n in range(count)]
    assert all(attributes == 0 for *_, attributes in found)
    return [tuple(numbers) for *numbers, _ in found]


def test_the_document_has_the_bounds_of_the_bone_in_mm(tmp_path: Path) -> None:
    (ds,) = _objects(tmp_path, box(centre=(1, 2, 3), extents=(8, 6, 14)))

    loaded = trimesh.load(io.BytesIO(ds.EncapsulatedDocument), file_type="stl")

    np.testing.assert_allclose(loaded.bounds, [[-3, -1, -4], [5, 5, 10]], atol=1e-6)
    assert loaded.is_watertight
    assert loaded.volume == pytest.approx(8 * 6 * 14)
    assert ds.SOPClassUID == ENCAPSULATED_STL
    (unit,) = ds.MeasurementUnitsCodeSequence
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("mm", "UCUM")


def test_every_normal_looks_out_of_the_bone(tmp_path: Path) -> None:
    centre = (1.0, 2.0, 3.0)
    (ds,) = _objects(tmp_path, box(centre=centre))

    for numbers in _triangles(ds.EncapsulatedDocument):
        normal, *corners = np.array(numbers).reshape(4, 3)
        assert np.linalg.norm(normal) == pytest.approx(1)
        assert np.dot(normal, corners[0] - np.array(centre)) > 0
        a, b, c = corners
        assert np.dot(np.cross(b - a, c - a), normal) > 0


def test_a_triangle_without_area_has_no_normal() -> None:
    needle = Mesh(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], float), np.array([[0, 1, 2]]))

    (numbers,) = _triangles(binary_stl(needle, "needle"))

    assert numbers[:3] == (0, 0, 0)


def test_each_bone_is_an_object_of_its_own_in_one_series(tmp_path: Path) -> None:
    bones = [
        box("Femur", side=Side.LEFT),
        box("Tibia", code=TIBIA, side=Side.RIGHT, centre=(0, 0, -4)),
        box("Sacrum", side=Side.UNPAIRED, centre=(0, 0, 4)),
    ]

    objects = _objects(tmp_path, *bones)

    assert [ds.InstanceNumber for ds in objects] == [1, 2, 3]
    assert len({ds.SeriesInstanceUID for ds in objects}) == 1
    assert len({ds.SOPInstanceUID for ds in objects}) == 3
    assert len({ds.ModelGroupUID for ds in objects}) == 1
    assert [ds.ImageLaterality for ds in objects] == ["L", "R", "U"]
    titles = [ds.DocumentTitle.split(":")[0] for ds in objects]
    assert titles == ["Femur L", "Tibia R", "Sacrum"]
    structures = [ds.PrimaryAnatomicStructureSequence[0] for ds in objects]
    assert [item.CodeValue for item in structures] == ["71341001", "12611008", "71341001"]
    sides = [item.get("PrimaryAnatomicStructureModifierSequence", []) for item in structures]
    assert [[m.CodeValue for m in side] for side in sides] == [["7771000"], ["24028007"], []]


@pytest.mark.parametrize("name", ["Femur", "solid", "Oberschenkel ü\\^ " * 20, ""])
def test_the_heading_is_that_of_a_binary_file_and_says_what_stl_cannot(name: str) -> None:
    document = binary_stl(box().mesh, name)

    heading = document[:80]
    assert not heading.lower().startswith(b"solid"), "readers would take it for the text form"
    assert heading.decode("ascii").startswith("MODEL FROM RADIOGRAPHS - NOT A CT")
    assert b"SPACE=LPS " in heading
    assert b"UNITS=mm " in heading
    assert len(_triangles(document)) == 12


def test_the_object_says_what_the_document_is(tmp_path: Path) -> None:
    (ds,) = _objects(tmp_path, box())

    assert ds.Modality == "M3D"
    assert ds.MIMETypeOfEncapsulatedDocument == "model/stl"
    assert ds.EncapsulatedDocumentLength == len(ds.EncapsulatedDocument) == 84 + 50 * 12
    assert ds.ContentDescription == "MODEL FROM RADIOGRAPHS - NOT A CT"
    assert (ds.ModelModification, ds.ModelMirroring, ds.BurnedInAnnotation) == ("NO", "NO", "NO")


def test_no_patient_is_named_in_the_document(tmp_path: Path) -> None:
    (ds,) = _objects(tmp_path, box())

    for value in (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber):
        assert value.encode() not in ds.EncapsulatedDocument


def test_the_radiographs_and_the_algorithm_are_told(tmp_path: Path) -> None:
    engine = Algorithm("Test engine", "2.1", "ab" * 32, (("grid", "128"),))

    (ds,) = _objects(tmp_path, box(), algorithm=engine)

    images = {image.SOPInstanceUID for image in two_views()}
    assert {item.ReferencedSOPInstanceUID for item in ds.SourceInstanceSequence} == images
    listed = [i for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence]
    assert {item.ReferencedSOPInstanceUID for item in listed} == images
    (algorithm,) = ds.DerivationAlgorithmSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Test engine", "2.1")
    assert algorithm.AlgorithmParameters == f"grid=128,weights_sha256={'ab' * 32}"


def test_a_mesh_that_is_inside_out_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    good = box()
    mesh = Mesh(good.mesh.vertices, good.mesh.faces[:, ::-1])
    bad = Bone(good.name, good.code, good.side, good.probability, mesh)

    with pytest.raises(PipelineError, match="inside out"):
        _objects(tmp_path, bad)

    assert list((tmp_path / "out").iterdir()) == []
