"""The run files of the volumetric families: what they may say, and what is named as wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.models.pix2vox import Pix2VoxShape
from pipeline.models.recurrent import RecurrentShape, Unit
from pipeline.training.settings import RunFault
from pipeline.training.volumes_families import family
from pipeline.training.volumes_settings import Published, Regional, is_volume_run, read, shaped
from tests.tiny_family import HEAD, REGIONAL
from tests.toy_region import run_file

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("name", "region", "grid"),
    [
        ("train-pix2vox", "proximal_femur", 32),
        ("train-pix2vox-a", "proximal_femur", 32),
        ("train-pix2vox-64", "proximal_femur", 64),
        ("train-recurrent", "proximal_femur", 32),
        ("train-recurrent-knee", "knee", 32),
    ],
)
def test_every_recipe_can_be_followed(name: str, region: str, grid: int) -> None:
    run = read(CONFIG / f"{name}.toml")
    made = family(run.plan, run.network)
    assert isinstance(run.data, Regional)
    assert run.data.bone == "femur"
    assert run.data.archive.name == f"{region}.npz"
    assert made.size.grid == grid
    assert is_volume_run(CONFIG / f"{name}.toml")
    assert not is_volume_run(CONFIG / "train-hip.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "one table of data"),
        (HEAD + REGIONAL + "[published]\nroot = 'there'", "one table of data"),
        (HEAD + REGIONAL.replace('bone = "femur"', ""), r"regional\.bone is missing"),
        (HEAD + REGIONAL + "voxels = 3", r"Unknown key regional\.voxels"),
        (HEAD + "steps = 3" + REGIONAL, "Unknown key steps"),
        (HEAD.replace("steps = 2,", ""), "one table of data"),
        (HEAD.replace("steps = 2 }", "steps = 0 }") + REGIONAL, "it needs a step"),
        (HEAD.replace("most_views = 1", "most_views = 0") + REGIONAL, "from 1 view upwards"),
        (HEAD.replace("batch = 2", "batch = 0") + REGIONAL, "at least 1"),
        (HEAD + 'schedule = "none"' + REGIONAL, "schedule must be one of"),
        (HEAD + "stages = []" + REGIONAL, "Cannot overwrite a value"),
        ("network = 3\n" + HEAD + REGIONAL, "must be tables"),
    ],
)
def test_what_a_run_file_says_wrongly_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RunFault, match=words):
        read(run_file(tmp_path, text))


def test_paths_of_a_run_file_are_beside_it(tmp_path: Path) -> None:
    run = read(run_file(tmp_path, HEAD + REGIONAL))
    assert run.plan.folder == tmp_path / "run"
    assert isinstance(run.data, Regional)
    assert run.data.held == tmp_path / "held"
    published = read(run_file(tmp_path, HEAD + '[published]\nroot = "there"'))
    assert isinstance(published.data, Published)
    assert published.data.root == tmp_path / "there"
    assert published.data.taxonomy is None


def test_a_run_file_changes_fields_of_the_shape_and_names_what_does_not_fit() -> None:
    assert shaped(Pix2VoxShape(), {"heads": [8, 8, 8]}).heads == (8, 8, 8)
    assert shaped(RecurrentShape(), {"unit": "LSTM"}).unit is Unit.LSTM
    for told, words in (
        ({"width": 3}, r"Unknown key network\.width"),
        ({"stem": "wide"}, "should be like 64"),
        ({"heads": [8, "x"]}, "should be like 0"),
        ({"stem": True}, "should be like 64"),
        ({"image_size": 225}, "cannot be read"),
    ):
        with pytest.raises(RunFault, match=words):
            shaped(Pix2VoxShape(), told)
    with pytest.raises(RunFault, match="RNN"):
        shaped(RecurrentShape(), {"unit": "RNN"})
