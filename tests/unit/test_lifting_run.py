"""From DICOM to DICOM: the bones of a network, one view, and which engine every object names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline import weights
from pipeline.encode.topology import signed_volume
from pipeline.errors import ContradictoryGeometry
from pipeline.models import lifting_engine
from pipeline.predict import reconstruct
from pipeline.run import run
from pipeline.types import (
    Code,
    ObjectKind,
    Outcome,
    Reconstructed,
    Refused,
    Side,
    View,
    Withheld,
)
from pipeline.weights import Limits, TrainedBone, read_header
from tests.factories import radiograph, two_views
from tests.lifting_nets import FEMUR, LENIENT, TIBIA, octahedra, shipped
from tests.results import of_kind, one_of_each, request

PATELLA = TrainedBone("Patella", Code("64234005", "SCT", "Patella"))
FIBULA = TrainedBone("Fibula", Code("87342007", "SCT", "Fibula"))
KNEE = (FEMUR, TIBIA, PATELLA, FIBULA)
PLACES = (
    ((0.0, 0.0, 40.0), 30.0),
    ((0.0, 0.0, -40.0), 30.0),
    ((0.0, -40.0, 0.0), 12.0),
    ((-40.0, 0.0, -30.0), 12.0),
)
FEW = (ObjectKind.SEGMENTATION, ObjectKind.REPORT)
"""Kinds of object, where it does not matter which."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of the weights of a knee with four bones."""
    shipping = tmp_path / "weights"
    shipping.mkdir()
    monkeypatch.setattr(weights, "FOLDER", shipping)
    monkeypatch.setattr(lifting_engine, "SIZE", 64)
    shipped(octahedra(*PLACES), shipping, *KNEE, region="knee")
    return shipping


def outcome(
    folder: Path, images: Sequence[Dataset] | None = None, side: Side = Side.LEFT, **changes: object
) -> Outcome:
    ready = two_views(ImageLaterality=side) if images is None else images
    fields = {"region": "knee", "side": side, "model": "lifting", **changes}
    return run(request(folder.parent / "job", ready, **fields))


def texts(ds: Dataset) -> str:
    """Everything that an object says in words."""
    return " ".join(str(element.value) for element in ds.iterall() if element.VR != "OW")


def test_every_bone_of_a_region_is_in_every_object(folder: Path) -> None:
    made = outcome(folder)

    assert isinstance(made, Reconstructed)
    labels = ["Femur L", "Tibia L", "Patella L", "Fibula L"]
    segments = dcmread(of_kind(made.objects, ObjectKind.SEGMENTATION)[0])
    assert [s.SegmentLabel for s in segments.SegmentSequence] == labels
    surfaces = dcmread(of_kind(made.objects, ObjectKind.SURFACE_SEGMENTATION)[0])
    assert [s.SegmentLabel for s in surfaces.SegmentSequence] == labels
    assert len(surfaces.SurfaceSequence) == 4
    assert len(of_kind(made.objects, ObjectKind.STL)) == 4
    colours = {tuple(s.RecommendedDisplayCIELabValue) for s in segments.SegmentSequence}
    assert len(colours) == 4
    told = texts(dcmread(of_kind(made.objects, ObjectKind.REPORT)[0]))
    assert all(bone.name in told for bone in KNEE)


def test_the_digest_of_the_weights_is_in_the_result_and_in_its_identity(folder: Path) -> None:
    first = outcome(folder, kinds=FEW)
    assert isinstance(first, Reconstructed)
    digest = read_header(folder / "knee.safetensors").digest
    assert first.algorithm.weights_digest == digest
    assert digest in texts(dcmread(of_kind(first.objects, ObjectKind.SEGMENTATION)[0]))
    assert digest in texts(dcmread(of_kind(first.objects, ObjectKind.REPORT)[0]))

    shipped(octahedra(*PLACES, error=0.8), folder, *KNEE, region="knee")
    second = outcome(folder, kinds=FEW)

    assert isinstance(second, Reconstructed)
    before, after = ({one.sop_instance_uid for one in o.objects} for o in (first, second))
    assert not before & after


def test_the_same_request_gives_the_same_bytes(folder: Path) -> None:
    first, second = outcome(folder, kinds=FEW), outcome(folder, kinds=FEW)

    assert isinstance(first, Reconstructed)
    assert isinstance(second, Reconstructed)
    assert [one.sha256 for one in first.objects] == [one.sha256 for one in second.objects]


def test_one_view_is_reconstructed_and_said_in_the_report(folder: Path) -> None:
    made = outcome(
        folder, [radiograph(view="AP", ImageLaterality="R")], Side.RIGHT, views=("AP",), kinds=FEW
    )

    assert isinstance(made, Reconstructed)
    report = dcmread(of_kind(made.objects, ObjectKind.REPORT)[0])
    assert "estimated from one view" in texts(report)


def test_outlines_that_do_not_agree_withhold_the_bones_with_a_reason(folder: Path) -> None:
    limits = Limits()
    shipped(octahedra(*PLACES), folder, *KNEE, region="knee", limits=limits)

    made = outcome(folder)

    assert isinstance(made, Withheld)
    assert any("do not explain the view AP" in reason for reason in made.reasons)
    assert any("do not explain the view LL" in reason for reason in made.reasons)
    assert made.algorithm.weights_digest
    assert list((folder.parent / "job" / "out").iterdir()) == []


def test_a_network_that_does_not_trust_itself_is_withheld(folder: Path) -> None:
    limits = replace(LENIENT, own_error_mm=3.0)
    net = octahedra(*PLACES, error=4.0)
    shipped(net, folder, *KNEE, region="knee", limits=limits)

    made = outcome(folder)

    assert isinstance(made, Withheld)
    assert any("does not trust its Tibia" in reason for reason in made.reasons)


def test_a_side_that_nobody_knows_is_refused(folder: Path) -> None:
    images = two_views(ImageLaterality=None)

    made = outcome(folder, images, Side.UNPAIRED)

    assert isinstance(made, Refused)
    assert "side of the knee is not known" in made.reasons[0]


@pytest.mark.parametrize(
    ("region", "why"), [("knee", "chosen by rule"), ("hip", "no trained network for this region")]
)
def test_the_visual_hull_says_in_every_object_why_it_was_used(
    folder: Path, region: str, why: str
) -> None:
    made = outcome(folder, region=region, model="visual-hull")

    assert isinstance(made, Reconstructed)
    assert made.algorithm.name == f"Osteon visual hull, {why}"
    for one in one_of_each(made.objects):
        assert made.algorithm.name in texts(dcmread(one.path)), one.kind


def test_one_python_call_gives_volumes_surfaces_and_quality(folder: Path) -> None:
    made = outcome(folder, kinds=FEW)
    files = sorted((folder.parent / "job" / "in").iterdir())

    found = reconstruct(files, region="knee")

    assert isinstance(made, Reconstructed)
    assert (found.algorithm, found.figures) == (made.algorithm, made.figures)
    assert [bone.name for bone in found.bones] == [bone.name for bone in KNEE]
    assert {bone.side for bone in found.bones} == {Side.LEFT}
    assert found.bones[0].probability.array.shape == (64, 64, 64)
    assert signed_volume(found.bones[0].mesh) == pytest.approx(4 / 3 * 30**3, rel=0.03)
    assert found.reasons == ()


def test_cameras_with_another_origin_give_the_same_bones_there(folder: Path) -> None:
    outcome(folder, kinds=FEW)
    files = sorted((folder.parent / "job" / "in").iterdir())
    read = reconstruct(files, region="knee")
    away = np.array([400.0, -150.0, 70.0])
    pixels = [one.attenuation for one in read.radiographs]
    cameras = [moved(one.view, away) for one in read.radiographs]

    there = reconstruct(pixels, cameras, region="knee", side=Side.LEFT)
    lower = reconstruct(
        pixels, cameras, region="knee", side=Side.LEFT, centre=away - np.array([0.0, 0.0, 20.0])
    )

    for one, other, low in zip(read.bones, there.bones, lower.bones, strict=True):
        assert other.mesh.vertices == pytest.approx(one.mesh.vertices + away, abs=1e-3)
        before, after = (bone.probability.patient_from_index for bone in (one, other))
        assert after[:3, 3] == pytest.approx(before[:3, 3] + away)
        # these octahedra stand about the centre, whatever the radiographs show
        assert low.mesh.vertices == pytest.approx(other.mesh.vertices - [0, 0, 20], abs=1e-3)
    with pytest.raises(ContradictoryGeometry, match="behind the source"):
        reconstruct(pixels, cameras, region="knee", side=Side.LEFT, centre=away - 5000.0)


def moved(view: View, by: np.ndarray) -> View:
    detector = view.patient_from_detector.copy()
    detector[:3, 3] += by
    return replace(view, source=view.source + by, patient_from_detector=detector)


def test_arrays_with_cameras_give_what_their_files_give(folder: Path) -> None:
    outcome(folder, kinds=FEW)
    files = sorted((folder.parent / "job" / "in").iterdir())
    read = reconstruct(files, region="knee")

    pixels = [one.attenuation for one in read.radiographs]
    cameras = [one.view for one in read.radiographs]
    found = reconstruct(pixels, cameras, region="knee", side=Side.LEFT)

    for one, other in zip(read.bones, found.bones, strict=True):
        assert one.mesh.vertices == pytest.approx(other.mesh.vertices, abs=1e-3)
    with pytest.raises(ValueError, match="2 images need as many cameras, not 1"):
        reconstruct(pixels, cameras[:1], region="knee")
    with pytest.raises(Exception, match="give the camera"):
        reconstruct(pixels, region="knee")
    with pytest.raises(Exception, match="pixels"):
        reconstruct(pixels, [replace(view, rows=3) for view in cameras], region="knee")
