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
from pydicom import dcmread
from typer.testing import CliRunner

from node.__main__ import app
from pipeline import weights as weights_of_the_package
from pipeline.completion_weights import load, read_header
from pipeline.label_files import read_image
from pipeline.safetensors_header import BrokenWeights
from tests.completion_files import NAMES, SIZE, image, segmentation, weights_file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return weights_file(tmp_path)


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
    # the box of the network is the image, and the femur that it sees fills all of it
    assert set(np.unique(SimpleITK.GetArrayFromImage(after))) == {7, 40, 103}
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


@pytest.mark.parametrize("name", ["out.dcm", "nowhere/out.nii.gz"])
def test_a_file_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, weights: Path, name: str
) -> None:
    code, said = osteon(
        image(tmp_path), tmp_path / name, "--weights", weights, "--label", "7=sacrum"
    )

    assert code == 1
    assert "Traceback" not in said
    assert name.rpartition("/")[2] in said.replace("\n", "")


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
    assert told.stated.licence == "none"
    assert [(one.bone, one.value) for one in told.stated.judged] == [("sacrum", 0.5)]
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


def test_what_is_shipped_loads_is_small_and_has_a_model_card_that_names_it() -> None:
    for path in weights_of_the_package.FOLDER.glob("*.completion.safetensors"):
        told = read_header(path)
        load(path)

        assert path.stat().st_size < 16_000_000
        assert told.digest in path.with_suffix(".md").read_text(encoding="utf-8")
        assert told.stated.licence
        # what is missing is completed, and not copied: a copy of the input has a Dice of 0
        assert told.stated.judged
        assert all(one.value > 0 for one in told.stated.judged)
