"""A rule gets the network where its region has one; what cannot work is a fault of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.models import usable
from pipeline import weights
from pipeline.types import Code
from pipeline.weights import TrainedBone
from tests.lifting_nets import octahedra, shipped

BOTH = ("frontal", "lateral")


@pytest.fixture(autouse=True)
def knee(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the knee has a network."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    bone = TrainedBone("Patella", Code("64234005", "SCT", "Patella"))
    shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path, bone, region="knee")


@pytest.mark.parametrize(
    ("engine", "region", "views", "expected"),
    [
        ("auto", "knee", BOTH, "lifting"),
        ("auto", "knee", ("frontal",), "lifting"),
        ("auto", "knee", ("AP", "PA", "LL", "RL"), "lifting"),
        ("auto", "hip", BOTH, "visual-hull"),
        ("lifting", "knee", ("lateral",), "lifting"),
        ("visual-hull", "knee", ("AP", "LL"), "visual-hull"),
    ],
)
def test_the_network_is_used_where_there_is_one(
    engine: str, region: str, views: tuple[str, ...], expected: str
) -> None:
    assert usable(engine, region, views) == expected


@pytest.mark.parametrize(
    ("engine", "region", "views", "words"),
    [
        ("lifting", "hip", BOTH, "no trained network for the region 'hip'; there is knee"),
        ("magic", "knee", BOTH, "no such engine; there is auto, lifting, visual-hull"),
        ("auto", "hip", ("frontal",), "visual-hull, which the region 'hip' has, needs at least 2"),
        ("visual-hull", "knee", ("AP",), "needs at least 2 views"),
        ("visual-hull", "knee", ("AP", "PA"), "needs a frontal and a lateral view"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    engine: str, region: str, views: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        usable(engine, region, views)


def test_damaged_weights_are_a_fault_of_the_start(tmp_path: Path) -> None:
    file = tmp_path / "knee.safetensors"
    file.write_bytes(file.read_bytes()[:-7])

    with pytest.raises(ValueError, match="cut off"):
        usable("auto", "knee", BOTH)
