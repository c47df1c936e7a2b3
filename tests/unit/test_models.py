"""A rule gets the network where its region has one; what cannot work is a fault of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.models import usable
from pipeline import weights
from pipeline.types import Code
from pipeline.weights import TrainedBone
from tests.lifting_nets import octahedra, shipped

BOTH = {"frontal", "lateral"}


@pytest.fixture(autouse=True)
def knee(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the knee has a network."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    bone = TrainedBone("Patella", Code("64234005", "SCT", "Patella"))
    shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path, bone, region="knee")


@pytest.mark.parametrize(
    ("model", "region", "views", "expected"),
    [
        ("auto", "knee", BOTH, "lifting"),
        ("auto", "knee", {"frontal"}, "lifting"),
        ("auto", "knee", {"AP", "PA", "LL", "RL"}, "lifting"),
        ("auto", "hip", BOTH, "visual-hull"),
        ("lifting", "knee", {"lateral"}, "lifting"),
        ("visual-hull", "knee", {"AP", "LL"}, "visual-hull"),
    ],
)
def test_the_network_is_used_where_there_is_one(
    model: str, region: str, views: set[str], expected: str
) -> None:
    assert usable(model, region, views) == expected


@pytest.mark.parametrize(
    ("model", "region", "views", "words"),
    [
        ("lifting", "hip", BOTH, "no trained network for the region 'hip'; there is knee"),
        ("magic", "knee", BOTH, "no such model; there is auto, lifting, visual-hull"),
        ("auto", "hip", {"frontal"}, "visual-hull, which the region 'hip' has, needs at least two"),
        ("visual-hull", "knee", {"AP"}, "needs at least two views"),
        ("visual-hull", "knee", {"AP", "PA"}, "needs a frontal and a lateral view"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    model: str, region: str, views: set[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        usable(model, region, views)


def test_damaged_weights_are_a_fault_of_the_start(tmp_path: Path) -> None:
    file = tmp_path / "knee.safetensors"
    file.write_bytes(file.read_bytes()[:-7])

    with pytest.raises(ValueError, match="cut off"):
        usable("auto", "knee", BOTH)
