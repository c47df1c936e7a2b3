"""Tomography as an engine: where a density lands in the patient, and which studies it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import weights
from pipeline.camera import camera
from pipeline.errors import MissingView, NoBone, StudyError
from pipeline.familiar import Familiar, Range, Views
from pipeline.frustum import Frustum, places
from pipeline.models.framing import cut_out
from pipeline.models.tomography import Density, Tomography, TomographyShape
from pipeline.models.tomography_engine import estimated, reconstruct
from pipeline.projection import binned, mirror, rays
from pipeline.tomography_weights import TrainedTomography, export, file_name
from pipeline.types import Algorithm, Radiograph, Side, View, ViewName
from pipeline.weights import NotTrained

CUBE_MM, SIZE, PLANES = 160.0, 64, 32
CENTRE, RADIUS = np.array([21.0, -14.0, 9.0]), 22.0
MADE_BY = Algorithm("Osteon single-image tomography", "1.0.0", "0" * 64)
KNOWN = Familiar(Views(1, 1, ("frontal",)), Range(900, 1300), Range(1.05, 1.4), 20.0, 20.0)


def a_tomography(*, directions: tuple[str, ...] = ("frontal",)) -> TrainedTomography:
    return TrainedTomography(
        region="hip",
        is_paired=True,
        familiar=replace(KNOWN, views=Views(1, 1, directions)),
        image_size=SIZE,
        cube_mm=CUBE_MM,
        threshold=0.2,
        least_shown=0.5,
        least_agreement=-1.0,
        trained="nobody",
        shape={},
    )


def a_radiograph(
    name: ViewName = ViewName.AP,
    *,
    sid: float = 1100.0,
    orientation: tuple[str, str] | None = None,
    primary_deg: float = 8.0,
) -> Radiograph:
    """A ball in the patient, as its rays cross it: neither square, nor straight, nor centred."""
    view = camera(
        name,
        source_to_detector=sid,
        source_to_patient=0.85 * sid,
        row_spacing=1.6,
        column_spacing=1.5,
        rows=190,
        columns=210,
        patient_orientation=orientation,
        primary_deg=primary_deg,
        secondary_deg=-5.0,
    )
    return Radiograph(
        attenuation=(40.0 * chords(view) + 300.0).astype(np.float32),
        is_valid=np.ones((view.rows, view.columns), np.bool_),
        view=view,
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3",
        series_instance_uid="1.2.4",
    )


def chords(view: View) -> np.ndarray:
    """(H, W) mm that each ray runs in the ball."""
    pixels = np.moveaxis(np.indices((view.rows, view.columns)), 0, -1)
    unit = rays(view, pixels)
    towards = CENTRE - view.source
    past = np.linalg.norm(towards - (unit @ towards)[..., None] * unit, axis=-1)
    return 2 * np.sqrt(np.maximum(RADIUS**2 - past**2, 0))


class Knowing(nn.Module):
    """A network that knows the ball, in the frame of the camera that it is told."""

    def __init__(self, radiograph: Radiograph, *, is_mirrored: bool) -> None:
        super().__init__()
        self.shape = TomographyShape(planes=PLANES, width=4, blocks=(1,))
        seen = replace(radiograph, view=mirror(radiograph.view)) if is_mirrored else radiograph
        view = cut_out([seen], cube_mm=CUBE_MM, size=SIZE)[0].view
        self.at = places(Frustum(binned(view, 2), PLANES, CUBE_MM))
        self.centre = torch.tensor(CENTRE * [-1, 1, 1] if is_mirrored else CENTRE)

    def forward(self, images: Tensor) -> Density:
        assert images.shape == (1, 1, 1, SIZE, SIZE)
        depth = RADIUS - (self.at - self.centre).norm(dim=-1)
        return Density((depth / 3 + 0.5).clamp(0, 1).float()[None] * 0.6)


@pytest.mark.parametrize("is_mirrored", [False, True], ids=["right", "left"])
@pytest.mark.parametrize(
    ("name", "orientation"),
    [
        (ViewName.AP, None),
        (ViewName.AP, ("R", "F")),
        (ViewName.PA, ("F", "L")),
        (ViewName.LL, None),
        (ViewName.RL, ("A", "F")),
    ],
)
def test_a_known_ball_lands_at_its_place_for_any_camera(
    name: ViewName, orientation: tuple[str, str] | None, *, is_mirrored: bool
) -> None:
    """However the image was turned over, and whichever side the network knows."""
    radiograph = a_radiograph(name, orientation=orientation)
    net = cast("Tomography", Knowing(radiograph, is_mirrored=is_mirrored))
    trained = a_tomography(directions=("frontal", "lateral"))

    found = estimated(radiograph, trained, net, is_mirrored=is_mirrored)

    index = np.argwhere(found.density.array > 0.3)
    at = np.c_[index, np.ones(len(index))] @ found.density.patient_from_index.T
    assert np.allclose(at[:, :3].mean(axis=0), CENTRE, atol=1.0)
    voxel = (CUBE_MM / 128) ** 3
    assert len(index) * voxel == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.1)
    assert found.agreement > 0.8


def test_where_the_radiograph_shows_nothing_there_is_no_density() -> None:
    radiograph = a_radiograph()
    hidden = radiograph.is_valid.copy()
    hidden[:, 105:] = False
    half = replace(radiograph, is_valid=hidden)
    net = cast("Tomography", Knowing(half, is_mirrored=False))

    found = estimated(half, replace(a_tomography(), least_shown=0.2), net, is_mirrored=False)

    # columns run to the patient's left: beyond the middle of the image nothing was exposed
    assert found.density.array[:, :, 100:].max() == 0
    assert found.density.array[:, :, :64].max() > 0.3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a network that has learned nothing, but answers with something."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    torch.manual_seed(0)
    net = Tomography(TomographyShape(planes=8, width=4, blocks=(1, 1)))
    export(net, tmp_path / file_name("hip"), a_tomography())
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_result_is_one_structure_whose_density_and_depth_are_called_what_they_are() -> None:
    made = reconstruct([a_radiograph()], "hip", Side.LEFT, MADE_BY)

    (bone,) = made.bones
    assert "one view" in bone.name
    assert "threshold" in bone.name
    assert bone.side is Side.LEFT
    assert made.density is not None
    assert np.array_equal(bone.probability.array >= 0.5, made.density.array >= np.float32(0.2))
    assert 0 <= made.density.array.min() <= made.density.array.max() <= 1
    said = {one.name: f"{one.value}" for one in made.assumptions}
    assert said["Depth"] == "estimated from one view"
    assert said["Density"] == "relative"
    assert said["Bone"] == "density of at least 0.20"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("radiographs", "words"),
    [
        ([a_radiograph(), a_radiograph(ViewName.LL)], "at most one view, there are 2"),
        ([], "at least one view"),
        ([a_radiograph(ViewName.LL)], "knows frontal views, no lateral one"),
    ],
    ids=["two views", "none", "lateral"],
)
def test_it_takes_one_radiograph_of_the_view_that_it_has_learned(
    radiographs: list[Radiograph], words: str
) -> None:
    with pytest.raises(MissingView, match=words):
        reconstruct(radiographs, "hip", Side.RIGHT, MADE_BY)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("radiograph", "words"),
    [
        (a_radiograph(sid=2000.0), "2000 mm from the detector"),
        (a_radiograph(primary_deg=35.0), "turned by 35 degrees from AP"),
        (
            replace(a_radiograph(), is_valid=np.indices((190, 210))[1] < 70),
            "collimated too far, or centred elsewhere",
        ),
    ],
    ids=["far", "turned", "collimated"],
)
def test_what_it_has_not_learned_from_is_refused_in_words(
    radiograph: Radiograph, words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        reconstruct([radiograph], "hip", Side.RIGHT, MADE_BY)


@pytest.mark.usefixtures("folder")
def test_a_side_that_is_not_known_and_a_region_without_weights_are_refused() -> None:
    with pytest.raises(StudyError, match="side of the hip is not known"):
        reconstruct([a_radiograph()], "hip", Side.UNPAIRED, MADE_BY)
    with pytest.raises(NotTrained, match="there is hip"):
        reconstruct([a_radiograph()], "knee", Side.RIGHT, MADE_BY)


def test_a_density_that_is_nowhere_bone_is_no_result(folder: Path) -> None:
    torch.manual_seed(0)
    net = Tomography(TomographyShape(planes=8, width=4, blocks=(1, 1)))
    net.get_parameter("tail.2.weight").data.zero_()
    export(net, folder / file_name("hip"), a_tomography())

    with pytest.raises(NoBone):
        reconstruct([a_radiograph()], "hip", Side.RIGHT, MADE_BY)
