"""`osteon complete`: labels keep their numbers and places, additions are named for what they are.

Expected: `published-models.md` 4.5; PS3.3 C.8.20.2; NIfTI by SimpleITK itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
import torch
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage
from typer.testing import CliRunner

from node.__main__ import app
from pipeline.completing import Structure
from pipeline.completion_weights import TrainedCompletion, export, load, read_header
from pipeline.label_files import read_image
from pipeline.models.completion import Completion, CompletionShape, Kind
from pipeline.safetensors_header import BrokenWeights
from tests.factories import uid

NAMES = ("sacrum", "femur_R", "femur_L")
SIZE = 16


def place(number: int) -> tuple[slice, slice, slice]:
    """Where a structure lies in the box of 16 voxels of 10 mm, z y x."""
    return (slice(6, 10), slice(6, 10), slice(1 + 5 * (number - 1), 5 + 5 * (number - 1)))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A network without weights but one: the left femur fills the whole box, whatever it sees."""
    net = Completion(CompletionShape(kind=Kind.PLAIN, classes=4, divided_by=8))
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net.net.head[-1].bias[3] = 9.0  # type: ignore[index]  # torch does not know its children
    structures = tuple(
        Structure(name, (x, 0.0, 0.0), 64_000.0)
        for name, x in zip(NAMES, (-50.0, 0.0, 50.0), strict=True)
    )
    path = tmp_path / "pelvis.safetensors"
    export(net, path, TrainedCompletion("pelvis", structures, (160.0,) * 3, SIZE, "on nobody"))
    return path


def image(folder: Path) -> Path:
    """Label 7 where the sacrum of the box lies, label 40 somewhere else."""
    array = np.zeros((SIZE,) * 3, np.uint8)
    array[place(1)], array[0, 0, :2] = 7, 40
    made = SimpleITK.GetImageFromArray(array)
    made.SetSpacing((10.0, 10.0, 10.0))
    made.SetOrigin((100.0, 200.0, 300.0))
    SimpleITK.WriteImage(made, str(folder / "in.nii.gz"))
    return folder / "in.nii.gz"


def osteon(*words: object) -> tuple[int, str]:
    made = CliRunner().invoke(app, ["complete", *map(str, words)])
    return made.exit_code, made.output


def test_an_image_keeps_its_labels_and_gets_new_ones_beside(tmp_path: Path, weights: Path) -> None:
    code, said = osteon(
        image(tmp_path), tmp_path / "out.nii.gz", "--weights", weights, "--label", "7=sacrum"
    )

    assert code == 0, said
    assert "103: femur_L, predicted, not imaged" in said
    before = SimpleITK.ReadImage(str(tmp_path / "in.nii.gz"))
    after = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
    assert set(np.unique(SimpleITK.GetArrayFromImage(after))) == {0, 7, 40, 103}
    for k, j, i in np.argwhere(SimpleITK.GetArrayFromImage(before)).tolist():
        point = before.TransformIndexToPhysicalPoint((i, j, k))
        there = after.TransformPhysicalPointToIndex(point)
        assert after[there] == before[i, j, k]
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "7": "sacrum",
        "40": "label 40",
        "103": "femur_L, predicted, not imaged",
    }


def test_only_what_is_asked_for_is_added(tmp_path: Path, weights: Path) -> None:
    code, said = osteon(
        image(tmp_path), tmp_path / "out.nii.gz", "--weights", weights, "--label", "7=sacrum",
        "--only", "femur_R",
    )  # fmt: skip

    assert code == 0, said
    assert "Nothing was missing" in said
    assert set(np.unique(read_image(tmp_path / "out.nii.gz").array)) == {0, 7, 40}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "the file has 7, 40, known are sacrum, femur_R, femur_L"),
        (("--label", "7=tooth"), "--label is like 5=sacrum, not 7=tooth"),
        (("--label", "8=sacrum"), "the file has 7, 40"),
        (("--label", "7=sacrum", "--only", "tooth"), "There is no tooth"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(
    tmp_path: Path, weights: Path, words: tuple[str, ...], sentence: str
) -> None:
    code, said = osteon(image(tmp_path), tmp_path / "out.nii.gz", "--weights", weights, *words)

    assert code == 1
    assert sentence in " ".join(said.split())
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "out.nii.gz").write_bytes(b"kept")

    code, said = osteon(image(tmp_path), tmp_path / "out.nii.gz", "--weights", weights)

    assert (code, (tmp_path / "out.nii.gz").read_bytes()) == (1, b"kept")
    assert "is there already" in " ".join(said.split())


def test_an_image_of_densities_is_refused(tmp_path: Path, weights: Path) -> None:
    made = SimpleITK.GetImageFromArray(np.linspace(-1, 1, 27, dtype=np.float32).reshape(3, 3, 3))
    SimpleITK.WriteImage(made, str(tmp_path / "in.nii.gz"))

    code, said = osteon(tmp_path / "in.nii.gz", tmp_path / "out.nii.gz", "--weights", weights)

    assert code == 1
    assert "values that are no labels" in " ".join(said.split())


def test_weights_come_back_as_they_were_exported(weights: Path) -> None:
    told = read_header(weights)
    completer = load(weights)

    assert (told.name, told.box_mm, told.size) == ("pelvis", (160.0,) * 3, SIZE)
    assert tuple(one.name for one in completer.structures) == NAMES
    chances = completer.chances(np.zeros((SIZE,) * 3, np.uint8))
    # softmax of 0, 0, 0, 9
    assert chances[3].min() == pytest.approx(np.exp(9) / (np.exp(9) + 3), rel=1e-5)


@pytest.mark.parametrize("damage", [slice(-5, None), slice(-9, -5)])
def test_damaged_weights_are_refused(weights: Path, damage: slice) -> None:
    content = bytearray(weights.read_bytes())
    content[damage] = b"" if damage.stop is None else b"\x12\x34\x12\x34"
    weights.write_bytes(bytes(content))

    with pytest.raises(BrokenWeights):
        load(weights)


def slices() -> list[Dataset]:
    made = []
    for k in range(SIZE):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid("slice", k)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study"), uid("series")
        ds.FrameOfReferenceUID = uid("frame")
        ds.PatientName, ds.PatientID = "Test^Pelvis", "T1"
        ds.PatientBirthDate, ds.PatientSex = "", "O"
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", "A1"
        ds.ReferringPhysicianName, ds.Modality = "", "CT"
        ds.Rows = ds.Columns = SIZE
        ds.ImagePositionPatient = [100.0, 200.0, 300.0 + 10 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [10.0, 10.0], 10.0
        made.append(ds)
    return made


def segmentation(folder: Path) -> Path:
    """A segment of the sacrum and one of a tooth, by hand."""
    array = np.zeros((SIZE,) * 3, np.uint8)
    array[place(1)], array[0, 0, :2] = 1, 2
    kinds = (("Sacrum of Test", codes.SCT.Sacrum), ("A tooth", codes.SCT.Tooth))
    made = hd.seg.Segmentation(
        source_images=slices(),
        pixel_array=array,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=label,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=kind,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            )
            for number, (label, kind) in enumerate(kinds, start=1)
        ],
        series_instance_uid=uid("seg series"),
        series_number=1,
        sop_instance_uid=uid("seg"),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(folder / "in.dcm")
    return folder / "in.dcm"


def test_a_segmentation_gets_segments_of_what_was_not_imaged(tmp_path: Path, weights: Path) -> None:
    source = segmentation(tmp_path)

    code, said = osteon(source, tmp_path / "out.dcm", "--weights", weights)

    assert code == 0, said
    made = hd.seg.segread(tmp_path / "out.dcm")
    assert [(s.SegmentLabel, s.SegmentAlgorithmType) for s in made.SegmentSequence] == [
        ("Sacrum of Test", "MANUAL"),
        ("A tooth", "MANUAL"),
        ("Femur L: predicted, not imaged", "AUTOMATIC"),
    ]
    kind = made.SegmentSequence[2].SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("71341001", "SCT")
    side = kind.SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeValue == "7771000"
    before, after = dcmread(source), dcmread(tmp_path / "out.dcm")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert after[keyword].value == before[keyword].value
    assert after.SOPInstanceUID != before.SOPInstanceUID


def test_no_voxel_of_a_segmentation_is_changed(tmp_path: Path, weights: Path) -> None:
    source = segmentation(tmp_path)

    osteon(source, tmp_path / "out.dcm", "--weights", weights)

    before, after = (
        hd.seg.segread(path).get_volume(combine_segments=True)
        for path in (source, tmp_path / "out.dcm")
    )
    index = np.argwhere(before.array > 0)
    points = index @ before.affine[:3, :3].T + before.affine[:3, 3]
    there = np.round(np.linalg.solve(after.affine[:3, :3], (points - after.affine[:3, 3]).T))
    assert np.array_equal(after.array[tuple(there.astype(int))], before.array[tuple(index.T)])
    assert ((after.array == 1) | (after.array == 2)).sum() == len(index)
    assert (after.array == 3).any()


def test_the_same_segmentation_is_completed_to_the_same_bytes(
    tmp_path: Path, weights: Path
) -> None:
    source = segmentation(tmp_path)

    for name in ("one.dcm", "two.dcm"):
        osteon(source, tmp_path / name, "--weights", weights)

    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()
