"""One command for all kinds of network: what a run file is of, and that it can be followed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from node.learning import LearningError, evaluate, export, train
from pipeline.registry import engine_named
from pipeline.tomography_weights import load, read_header
from pipeline.training.following import kind_of
from pipeline.training.settings import RunFault
from tests.toy_region import toy_archive

CONFIG = Path(__file__).parents[2] / "config"
RUN = """
archive = "toy.npz"
folder = "run"
scenes = 2
steps = 2
batch = 2
width = 4
blocks = [1, 1]
log_every = 1
[sight]
image_size = 32
planes = 8
shots = 1
is_displayed = true
[exposure]
implants = 0.0
"""


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("train-hip.toml", "lifting"),
        ("train-knee.toml", "lifting"),
        ("train-proximal_femur.toml", "lifting"),
        ("train-pix2vox.toml", "volumes"),
        ("train-pix2vox-a.toml", "volumes"),
        ("train-pix2vox-64.toml", "volumes"),
        ("train-recurrent.toml", "volumes"),
        ("train-recurrent-knee.toml", "volumes"),
        ("train-tomography.toml", "tomography"),
        ("train-tomography-knee.toml", "tomography"),
        ("train-completion.toml", "completion"),
    ],
)
def test_every_recipe_tells_its_kind(file: str, name: str) -> None:
    assert kind_of(CONFIG / file).name == name


def test_a_file_of_no_kind_is_told_what_the_kinds_have(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("steps = 3", encoding="utf-8")

    with pytest.raises(RunFault, match=r"no network.*a family.*\[sight\].*\[network\].*archive"):
        kind_of(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"steps = = 3", "run.toml"),
        (b"\xff\xfe", "run.toml"),
        (b"family = 'cubes'\nfolder = 'x'", "table of data"),
        (b"archive = 'a.npz'\nfolder = 'x'\nstepz = 3\n[sight]", "stepz"),
        (b"archive = 'a.npz'\nfolder = 'x'\nstepz = 3\n[network]\nkind = 'skip'", "stepz"),
        (b"archive = 'a.npz'\nfolder = 'x'\nstepz = 3", "stepz"),
    ],
)
def test_a_fault_is_told_by_the_reader_of_its_own_kind(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    out = Console(file=StringIO())

    with pytest.raises(LearningError, match=words):
        train(out, tmp_path / "run.toml")
    with pytest.raises(LearningError, match=words):
        evaluate(out, tmp_path / "run.toml")
    with pytest.raises(LearningError, match=words):
        export(out, tmp_path / "run.toml", tmp_path / "out.safetensors", ())


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=r"run\.toml"):
        train(Console(file=StringIO()), tmp_path / "run.toml")


def test_a_tomography_is_trained_judged_and_exported_by_the_same_commands(tmp_path: Path) -> None:
    toy_archive(tmp_path / "toy.npz")
    run = tmp_path / "run.toml"
    run.write_text(RUN, encoding="utf-8")
    said = StringIO()
    out = Console(file=said, width=400)

    assert train(out, run)
    evaluate(out, run)
    for name, missing, words in (
        ("hip.safetensors", (), r"must be called hip\.tomography\.safetensors"),
        ("hip.tomography.safetensors", ("femur",), "lifting"),
    ):
        with pytest.raises(LearningError, match=words):
            export(out, run, tmp_path / name, missing)
    export(out, run, tmp_path / "hip.tomography.safetensors", ())

    assert "| network, fused with the radiograph | 2 |" in said.getvalue()
    assert (tmp_path / "run" / "curve.jsonl").exists()
    made = read_header(tmp_path / "hip.tomography.safetensors")
    # frontal exposures from 0.9 to 1.8 m, the patient at 0.7 to 0.89 of that
    assert 900 <= made.familiar.source_to_detector.low < made.familiar.source_to_detector.high
    assert made.familiar.views.directions == ("frontal",)
    assert (made.familiar.views.fewest, made.familiar.views.most) == (1, 1)
    # each border may lose 0.18
    assert made.least_shown == pytest.approx(0.64**2, abs=0.01)
    measures = {one.measure for one in made.stated.judged}
    assert measures == {"relative error of the density", "IoU of bone"}
    assert {one.people for one in made.stated.judged} == {2}
    assert load(made.path).shape.planes == 8
    assert made.digest in said.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("is_displayed = true", ""), "is_displayed"),
        (("shots = 1", 'shots = 1\nview = "any"'), "frontal or lateral"),
        (("shots = 1", 'shots = 1\nbone = "femur"'), "all bones"),
    ],
)
def test_a_network_that_no_node_could_ask_is_not_exported(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    toy_archive(tmp_path / "toy.npz")
    run = tmp_path / "run.toml"
    run.write_text(RUN.replace(*change), encoding="utf-8")

    with pytest.raises(LearningError, match=words):
        export(Console(file=StringIO()), run, tmp_path / "hip.tomography.safetensors", ())


def test_the_recipe_of_an_engine_is_a_file_that_can_be_followed() -> None:
    recipe = CONFIG.parent / engine_named("tomography").recipe

    assert kind_of(recipe).name == "tomography"
