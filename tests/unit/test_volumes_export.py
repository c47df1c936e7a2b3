"""A run of a volumetric family becomes weights that say what they learned from, and how well."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from node.learning import LearningError, export
from pipeline.training.pool import load
from pipeline.training.volumes import train
from pipeline.training.volumes_export import LEVELS, _Answer, _Off, best_level, judged_of
from pipeline.volumetric_weights import load as load_network
from pipeline.volumetric_weights import read_header
from tests.toy_region import toy_archive

RUN = """
family = "pix2vox++/F"
folder = "run"
grid = 8
batch = 2
log_every = 1
stages = [
    { name = "single", steps = 30, most_views = 1, rate = 10.0 },
    { name = "fusion", steps = 2, most_views = 4 },
]
[network]
image_size = 64
stem = 8
heads = [8, 8, 8]
decoder = [8, 4]
[regional]
archive = "toy.npz"
pool = "pool"
held = "held"
bone = "femur"
scenes = 2
held_scenes = 2
held_views = 3
image_size = 32
"""
NAME = "hip.pix2vox-f.safetensors"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was learned for a second or two."""
    folder = tmp_path_factory.mktemp("run")
    toy_archive(folder / "toy.npz")
    path = folder / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    assert train(path, lambda _: None)
    return path


def test_a_run_becomes_weights_that_say_what_they_learned_from(run: Path, tmp_path: Path) -> None:
    export(Console(), run, tmp_path / NAME, ())

    told = read_header(tmp_path / NAME)
    assert (told.engine, told.region, told.serves, told.grid) == ("pix2vox++/F", "hip", "hip", 8)
    assert (told.bone.name, told.bone.code.value) == ("Femur", "71341001")
    assert (told.cube_mm, told.image_size) == (120.0, 32)
    assert told.level in LEVELS
    assert told.trained == "1 legs of 1 people, fold 0 left out, 32 steps of 2 items, seed 1"
    assert told.stated.licence == "none"
    known = told.familiar
    assert (known.views.fewest, known.views.most) == (1, 4)
    shots = [s for file in (run.parent / "pool").glob("*.npz") for s in load(file).shots]
    for shot in shots:
        assert known.source_to_detector.has(shot.source_to_detector)
        assert known.magnification.has(shot.source_to_detector / shot.source_to_patient)
        # the tube stands up to 30 mm beside the isocentre, 630 mm from it at least
        beside = math.degrees(math.atan2(30, 630))
        assert abs(shot.primary_deg) <= known.turn_deg + beside
        assert abs(shot.secondary_deg) <= known.tilt_deg + beside
    assert load_network(tmp_path / NAME).shape.grid_size == 8


def test_weights_of_another_name_are_not_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=f"called {NAME}, not femur"):
        export(Console(), run, tmp_path / "femur.safetensors", ())


def test_a_published_folder_is_no_region(run: Path, tmp_path: Path) -> None:
    text = RUN.partition("[regional]")[0] + '[published]\nroot = "."\n'
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")

    with pytest.raises(LearningError, match="nothing to export"):
        export(Console(), tmp_path / "run.toml", tmp_path / NAME, ())


def test_the_surface_lies_where_most_overlaps() -> None:
    wanted = torch.zeros(8, 8, 8)
    wanted[2:6] = 1.0
    occupancy = torch.full((8, 8, 8), 0.1)
    occupancy[2:6] = 0.48
    occupancy[0] = 0.42  # filled too, were the level lower
    answer = _Answer(2, "a", occupancy, wanted, wanted)

    assert best_level([answer, answer]) == 0.45


def test_figures_are_means_over_people_by_the_number_of_views() -> None:
    off = [
        _Off(1, "a", 3.0, 1.0, 0.5),
        _Off(2, "a", 1.0, 1.0, 0.8),
        _Off(2, "a", 2.0, 1.0, 0.6),
        _Off(2, "b", 3.5, 1.0, 0.9),
    ]

    told = {(one.condition, one.measure): one for one in judged_of(off, "Femur")}

    assert told["1 simulated view", "distance of the surface"].people == 1
    two = told["2 simulated views", "distance of the surface"]
    # (1.5 + 3.5) / 2: one person has two scenes
    assert (two.value, two.unit, two.people, two.bone) == (2.5, "mm", 2, "Femur")
    assert told["2 simulated views", "IoU"].value == pytest.approx(0.8)
