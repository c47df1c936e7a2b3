"""`osteon predict`: what lies in the folder, and what is said of files that cannot be used."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import trimesh
from typer.testing import CliRunner

from node.__main__ import app
from node.prediction import file_name
from pipeline.types import Side
from tests.factories import file_bytes, two_views
from tests.results import box


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("radiographs")
    paths = []
    for number, ds in enumerate(two_views()):
        path = folder / f"{number}.dcm"
        path.write_bytes(file_bytes(ds))
        paths.append(str(path))
    return paths


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["predict", *arguments], env={**os.environ, "COLUMNS": "200"})
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("predicted") / "out"
    code, said = _run(*files, "--region", "knee", "--out", str(made), "--model", "visual-hull")
    assert code in (0, 1), said
    assert "for research use: not a CT, and not a diagnosis" in said
    return made


def test_the_surface_lies_in_the_volume(folder: Path) -> None:
    (surface,) = folder.glob("*.stl")
    image = SimpleITK.ReadImage(str(next(folder.glob("*.nii.gz"))))
    mesh = trimesh.load_mesh(surface)
    assert mesh.is_watertight
    inside = mesh.vertices.mean(axis=0) if mesh.is_convex else mesh.center_mass
    at = image.TransformPhysicalPointToIndex(inside.tolist())
    assert image.GetPixel(*at) > 0.5
    voxels = (SimpleITK.GetArrayFromImage(image) > 0.5).sum() * np.prod(image.GetSpacing())
    assert voxels == pytest.approx(mesh.volume, rel=0.1)


def test_quality_says_everything_that_was_assumed_and_measured(folder: Path) -> None:
    quality = json.loads((folder / "quality.json").read_text())
    assert "visual hull" in quality["algorithm"]["name"]
    assert quality["figures"]
    assert {"note", "bones", "assumptions", "reasons_to_withhold"} < set(quality)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_holds_something_is_left_alone(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    code, said = _run(*files, "--region", "knee", "--out", str(tmp_path))
    assert code == 1
    assert "not empty" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.dcm"], "There is no file absent.dcm"),
        ([str(Path(__file__))], "DICOM"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, said = _run(*arguments, "--region", "hip", "--out", str(tmp_path / "out"))
    assert code == 1
    assert words in said
    assert not (tmp_path / "out").exists()


def test_files_of_a_predicted_bone_say_so() -> None:
    seen = box("Hip bone", side=Side.LEFT)
    predicted = replace(seen, is_predicted=True)

    assert file_name(seen) == "hip-bone"
    assert file_name(predicted) == "hip-bone-l-predicted-not-imaged"


def test_what_nothing_completes_is_a_sentence(files: list[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    code, said = _run(
        *files, "--region", "knee", "--out", out, "--model", "visual-hull", "--complete"
    )
    assert code == 1
    assert "Nothing completes the region 'knee'" in said


def test_an_unknown_side_or_model_is_a_wrong_use(files: list[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert _run(*files, "--region", "hip", "--out", out, "--side", "X")[0] == 2
    code, said = _run(*files, "--region", "hip", "--out", out, "--model", "oracle")
    assert code == 1
    assert "no engine 'oracle'" in said
