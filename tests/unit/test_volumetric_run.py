"""From a rule that names an engine to the objects of the PACS that are named after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from node.settings import Destination, Settings
from node.translate import new_job
from pipeline import weights
from pipeline.contributions import ALIKE, COLOURS
from pipeline.registry import algorithm
from pipeline.run import run
from pipeline.types import ObjectKind, Reconstructed, Refused, Side
from tests.factories import two_views
from tests.lifting_nets import octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.results import of_kind, request
from tests.studies import cases_of, rule, study_of
from tests.volumetric_nets import FAMILIAR, shipped

ENGINE = "pix2vox++/F"
FEW = (ObjectKind.SEGMENTATION, ObjectKind.SURFACE_SEGMENTATION, ObjectKind.REPORT)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of the weights of a hip."""
    shipping = tmp_path / "weights"
    shipping.mkdir()
    monkeypatch.setattr(weights, "FOLDER", shipping)
    lifting_shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), shipping)
    shipped(shipping)
    return shipping


def texts(ds: Dataset) -> str:
    """Everything that an object says in words."""
    return " ".join(str(element.value) for element in ds.iterall() if element.VR != "OW")


def test_a_rule_opens_a_job_of_its_engine_with_the_digest_of_all_its_weights() -> None:
    chosen = rule(engine=ENGINE)
    pacs = Destination(name="pacs", ae_title="PACS", host="pacs.example")
    settings = Settings(rules=(chosen,), destinations=(pacs,))
    (case,) = cases_of(study_of(*two_views()), chosen)

    job = new_job(case, "1.2.3", "both views are here", settings)

    assert (job.model, job.model_version) == (ENGINE, "1.0.0")
    assert job.weights_digest == algorithm(ENGINE, "hip").weights_digest


def test_a_job_of_the_engine_gives_objects_that_are_named_after_it(folder: Path) -> None:
    images = two_views(ImageLaterality="L")
    asked = request(folder.parent / "job", images, side=Side.LEFT, model=ENGINE, kinds=FEW)

    made = run(asked)

    assert isinstance(made, Reconstructed)
    digest = algorithm(ENGINE, "hip").weights_digest
    segments = dcmread(of_kind(made.objects, ObjectKind.SEGMENTATION)[0])
    (segment,) = segments.SegmentSequence
    assert (segment.SegmentLabel, segment.SegmentAlgorithmName) == (
        "Femur L",
        "Osteon Pix2Vox++/F",
    )
    assert (segments.Rows, segments.NumberOfFrames > 0) == (24, True)
    for kind in FEW:
        told = texts(dcmread(of_kind(made.objects, kind)[0]))
        assert "Pix2Vox++/F" in told, kind
        assert digest in told, kind


def test_the_key_image_of_a_job_says_which_view_contributed_where(folder: Path) -> None:
    kinds = (ObjectKind.KEY_IMAGE, ObjectKind.REPORT)
    asked = request(folder.parent / "job", two_views(), model=ENGINE, kinds=kinds)

    made = run(asked)

    assert isinstance(made, Reconstructed)
    page = dcmread(of_kind(made.objects, ObjectKind.KEY_IMAGE)[0]).pixel_array
    for rgb in (*COLOURS[:2], ALIKE):
        assert (page == rgb).all(axis=-1).any(), rgb
    told = texts(dcmread(of_kind(made.objects, ObjectKind.REPORT)[0]))
    for view in ("AP", "LL"):
        assert f"share of the model taken from the view {view}" in told


def test_a_study_that_it_cannot_serve_is_refused_with_the_reason(folder: Path) -> None:
    narrow = FAMILIAR.source_to_detector._replace(high=950.0)
    shipped(folder, familiar=replace(FAMILIAR, source_to_detector=narrow))

    made = run(request(folder.parent / "job", two_views(), model=ENGINE, kinds=FEW))

    assert isinstance(made, Refused)
    assert "mm from the detector, it knows 900 to 950 mm" in made.reasons[0]
    assert ENGINE in made.reasons[0]
