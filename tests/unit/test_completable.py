"""A rule may ask for completion only where some weights complete what its engine gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.models import completable
from node.rules import Rule
from pipeline import weights
from pipeline.completion_weights import NothingCompletes, algorithm_for, read_header, trained_for
from pipeline.safetensors_header import BrokenWeights
from pipeline.types import Code
from pipeline.weights import TrainedBone
from tests.completion_files import weights_file
from tests.lifting_nets import octahedra, shipped

NAME = "pelvis.completion.safetensors"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The lifting network gives the femur of the hip and the patella of the knee."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    femur = TrainedBone("Femur", Code("71341001", "SCT", "Femur"))
    patella = TrainedBone("Patella", Code("64234005", "SCT", "Patella"))
    ball = octahedra(((0.0, 0.0, 0.0), 30.0))
    shipped(ball, tmp_path, femur, region="hip")
    shipped(ball, tmp_path, patella, region="knee")
    return tmp_path


def rule(**changes: object) -> Rule:
    told = {
        "name": "hip",
        "region": "hip",
        "views": ["frontal", "lateral"],
        "destinations": ["pacs"],
        "match": {"modality": "DX"},
    }
    return Rule.model_validate(told | changes)


def test_nothing_is_completed_unless_a_rule_says_so() -> None:
    assert rule().complete is False


def test_a_region_that_some_weights_complete_may_be_completed(folder: Path) -> None:
    path = weights_file(folder, NAME, region="hip")

    assert rule(complete=True).complete is True
    assert trained_for("hip").path == path
    assert algorithm_for("hip").weights_digest == read_header(path).digest


def test_without_weights_the_rule_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Nothing completes the region 'hip'; there is none; leave"
    ):
        rule(complete=True)


@pytest.mark.parametrize(
    ("engine", "region", "words"),
    [
        ("lifting", "knee", "Nothing completes the region 'knee'; there is hip"),
        ("visual-hull", "hip", "placed by the femur, and the engine gives all bones as one"),
    ],
)
def test_what_cannot_be_completed_is_refused_in_words(
    folder: Path, engine: str, region: str, words: str
) -> None:
    weights_file(folder, NAME, region="hip")

    with pytest.raises(ValueError, match=words):
        completable(engine, region)


def test_two_files_of_one_region_are_refused(folder: Path) -> None:
    for name in (NAME, "other.completion.safetensors"):
        weights_file(folder, name, region="hip")

    with pytest.raises(BrokenWeights, match="complete the same region, hip"):
        trained_for("hip")


def test_weights_for_label_maps_alone_complete_no_region(folder: Path) -> None:
    weights_file(folder, NAME)

    with pytest.raises(NothingCompletes, match="there is none"):
        trained_for("hip")
