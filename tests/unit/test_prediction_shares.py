"""`osteon predict` tells how much a network took from which view, in files beside the bone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from node.prediction import predict
from pipeline import weights
from pipeline.types import Assume, Side
from tests.factories import file_bytes, two_views
from tests.lifting_nets import octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.volumetric_nets import CUBE_MM, shipped


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Two radiographs, and the weights of a hip."""
    shipping = tmp_path / "weights"
    shipping.mkdir()
    monkeypatch.setattr(weights, "FOLDER", shipping)
    lifting_shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), shipping)
    shipped(shipping)
    paths = [tmp_path / f"{number}.dcm" for number in range(2)]
    for path, ds in zip(paths, two_views(ImageLaterality="L"), strict=True):
        path.write_bytes(file_bytes(ds))
    return paths


def made(files: list[Path], folder: Path) -> dict[str, object]:
    predict(files, folder, region="hip", side=Side.LEFT, model="pix2vox++/F", assume=Assume())
    quality = json.loads((folder / "quality.json").read_text(encoding="utf-8"))
    return dict(quality["taken_from"])


def test_the_share_of_each_view_is_a_volume_over_the_cube_of_the_bone(
    files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    told = made(files, folder)

    assert told["files"] == {"AP": "taken-from-ap.nii.gz", "LL": "taken-from-ll.nii.gz"}
    assert "no evidence" in str(told["note"])
    bone = SimpleITK.ReadImage(str(folder / "femur.nii.gz"))
    shares = [
        SimpleITK.ReadImage(str(folder / f"taken-from-{view}.nii.gz")) for view in ("ap", "ll")
    ]
    arrays = [SimpleITK.GetArrayFromImage(one) for one in shares]
    assert sum(arrays) == pytest.approx(1.0, abs=1e-5)
    for image in (*shares, bone):
        size, step = np.array(image.GetSize()), np.array(image.GetSpacing())
        assert size * step == pytest.approx([CUBE_MM] * 3, rel=1e-4)
        middle = image.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist())
        # 5 mm to the left of a right bone that is found at the origin: to the right of a left one
        assert middle == pytest.approx([-5.0, 0.0, -10.0], abs=8.0)


def test_of_one_view_there_is_nothing_to_tell(files: list[Path], tmp_path: Path) -> None:
    told = made(files[:1], tmp_path / "out")

    assert told["files"] == {}
    assert not list((tmp_path / "out").glob("taken-from-*"))
