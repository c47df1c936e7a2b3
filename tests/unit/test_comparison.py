"""Engines compared: samples that all share, cubes brought into one, what is kept, what fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from node.learning import LearningError, compare
from pipeline.training import command, densities, peers, peers_samples, volumes
from pipeline.training.archive import Archive
from pipeline.training.peers_engines import Entrant, comparison_of, entrants
from pipeline.training.peers_judging import Found, found_of, in_own_process, judged
from pipeline.training.peers_runs import placed
from pipeline.training.posing import centres
from pipeline.training.surfaces import isosurface
from tests.tiny_family import NETWORK
from tests.toy_region import RUN, SIZE, toy_archive

COMPARED = """
[peers]
engines = {engines}
grid = 32
attention = [4, 8]
modes = 1
rounds = 2
[comparison]
runs = {runs}
views = [1, 2]
legs = 1
"""
FAMILY = """
family = "pix2vox++/F"
folder = "family"
grid = 8
batch = 2
log_every = 1
stages = [{ name = "single", steps = 1, most_views = 1 }]
[regional]
archive = "toy.npz"
pool = "run/pool"
held = "held"
bone = "femur"
image_size = 32
"""
DENSITY = """
archive = "toy.npz"
folder = "density"
scenes = 1
steps = 1
batch = 1
width = 4
blocks = [1, 1]
log_every = 1
[sight]
image_size = 32
planes = 8
shots = 1
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz", people=2, voxels=32)


def run_file(folder: Path, toy: Archive, engines: Sequence[str], runs: Sequence[str] = ()) -> Path:
    """A run of lifting that is not trained yet, and what it is compared with."""
    (folder / "toy.npz").write_bytes(toy.path.read_bytes())
    path = folder / "run.toml"
    told = RUN.format(fold=0, scenes=2, steps=1, batch=2)
    told += COMPARED.format(engines=list(engines), runs=list(runs))
    path.write_text(told, encoding="utf-8")
    return path


def test_a_sample_is_read_as_it_was_made_and_depends_on_no_other_leg(
    toy: Archive, tmp_path: Path
) -> None:
    made = peers_samples.made(toy, toy.cases[1], image_size=SIZE, seed=3)

    both = peers_samples.kept(tmp_path / "a", toy, toy.cases, image_size=SIZE, seed=3)
    one = peers_samples.kept(tmp_path / "b", toy, toy.cases[1:], image_size=SIZE, seed=3)

    for path in (both[1], one[0]):
        read = peers_samples.read(path, toy.region.cube_mm)
        assert (read.person, read.case) == (made.person, made.case)
        for mine, theirs in zip(read.given.seen, made.given.seen, strict=True):
            assert torch.equal(mine, theirs)
        assert torch.equal(read.given.outlines, made.given.outlines)
        assert list(read.inside) == ["femur", "hip_bone", "all bones"]
        assert all(torch.equal(read.inside[bone], made.inside[bone]) for bone in made.inside)
        assert (read.surfaces["femur"].vertices == made.surfaces["femur"].vertices).all()
        assert torch.equal(read.given.cubes["proximal_femur"], made.given.cubes["proximal_femur"])
    changed = peers_samples.kept(tmp_path / "a", toy, toy.cases, image_size=SIZE, seed=4)
    assert not set(changed) & set(both)


def test_fewer_views_are_the_first_ones_of_the_same_anatomy(toy: Archive) -> None:
    given = peers_samples.made(toy, toy.cases[0], image_size=SIZE, seed=3).given
    two = given.first(2)
    assert [one.view.name.value for one in given.radiographs] == ["AP", "LL", "AP", "AP", "LL"]
    assert two.seen.images.shape[1] == len(two.radiographs) == len(two.outlines) == 2
    assert torch.equal(two.seen.images, given.seen.images[:, :2])
    # obliques are turned about the long axis, by 40 degrees and the department's three
    rays = torch.stack(
        [torch.from_numpy(r.view.patient_from_detector[:3, 2]) for r in given.radiographs]
    )
    apart = torch.rad2deg(torch.arccos((rays @ rays.T).clamp(-1, 1)))
    expected = {(0, 1): 90, (0, 2): 40, (0, 3): 40, (2, 3): 80, (1, 4): 25}
    for (one, other), degrees in expected.items():
        assert float(apart[one, other]) == pytest.approx(degrees, abs=13)


def test_no_more_legs_of_a_person_than_asked_for(toy: Archive) -> None:
    legs = [replace(toy.cases[0], name=name) for name in "abc"]
    assert [one.name for one in peers_samples.chosen([*legs, toy.cases[1]], 2)] == [
        "a",
        "b",
        toy.cases[1].name,
    ]


def test_a_small_cube_stands_in_the_large_one_where_it_was_put() -> None:
    """A ball of 12 mm, 5 mm beside the middle of a cube that stands 20 mm beside the isocentre."""
    about, beside = torch.tensor([20.0, -10.0, 5.0]), torch.tensor([0.0, 5.0, 0.0])
    from_ball = (centres(24, 72.0, torch.device("cpu")) - beside).norm(dim=-1)
    share = (0.5 - (from_ball - 12.0) / 3.0).clamp(0, 1)

    points = centres(60, 120.0, torch.device("cpu"))
    distance = placed(share, 0.5, 72.0, points - about)

    mesh = isosurface(distance.numpy(), 120.0)
    assert mesh is not None
    away = torch.from_numpy(mesh.vertices) - (about + beside)
    assert away.norm(dim=-1).sub(12.0).abs().max() < 0.5
    # outside the small cube there is nothing
    assert distance[0, 0, 0] > 0


def test_one_command_compares_everyone_and_an_engine_more_changes_nobody(
    toy: Archive, tmp_path: Path
) -> None:
    path = run_file(tmp_path, toy, ["visual-hull"], ["density.toml"])
    (tmp_path / "family.toml").write_text(FAMILY + NETWORK, encoding="utf-8")
    (tmp_path / "density.toml").write_text(DENSITY, encoding="utf-8")
    command.train(path, lambda _: None)
    volumes.train(tmp_path / "family.toml", lambda _: None)
    densities.main(tmp_path / "density.toml", lambda _: None)
    asked: list[str] = []

    def judge(run: Path, entrant: Entrant, files: Sequence[Path]) -> Found:
        asked.append(entrant.name)
        return judged(run, entrant, files)

    first = peers.compare(path, say=lambda _: None, judge=judge).read_text(encoding="utf-8")
    path = run_file(
        tmp_path,
        toy,
        ["visual-hull", "shape-model", "attention-unet"],
        ["family.toml", "density.toml"],
    )
    second = peers.compare(path, say=lambda _: None, judge=judge).read_text(encoding="utf-8")

    assert asked == [
        *("lifting", "tomography", "visual-hull"),
        *("pix2vox++/F", "shape-model", "attention-unet"),
    ]
    assert set(first.splitlines()) <= set(second.splitlines())
    assert "| attention-unet | - | - | failed: it is not trained: ask for --minutes |" in second
    assert "- visual-hull, 1 view: the outline of one view has no depth." in second
    told = json.loads((tmp_path / "run" / "compare" / "compared.json").read_text())
    judged_bones = {(row["engine"], row["bone"], row["views"]) for row in told["rows"]}
    assert {("pix2vox++/F", "femur", 1), ("pix2vox++/F", "femur", 2)} <= judged_bones
    assert {bone for name, bone, _ in judged_bones if name == "pix2vox++/F"} == {"femur"}
    assert ("tomography", "all bones", 1) in judged_bones
    assert ("tomography", "all bones", 2) not in judged_bones
    samples = {engine["name"]: engine["judgements"] for engine in told["engines"]}
    assert {j["case"] for found in samples.values() for j in found} == {"toy-0-R"}


def test_two_run_files_of_one_family_stand_apart(toy: Archive, tmp_path: Path) -> None:
    path = run_file(tmp_path, toy, [], ["family.toml", "finer.toml", "density.toml"])
    for name in ("family", "finer"):
        (tmp_path / f"{name}.toml").write_text(FAMILY, encoding="utf-8")
    (tmp_path / "density.toml").write_text(DENSITY, encoding="utf-8")

    names = [one.name for one in entrants(comparison_of(path))]

    assert names == ["lifting", "pix2vox++/F", "pix2vox++/F, finer", "tomography"]


def test_other_weights_are_judged_anew(toy: Archive, tmp_path: Path) -> None:
    path = run_file(tmp_path, toy, ["visual-hull"])
    command.train(path, lambda _: None)
    of = comparison_of(path)
    of.folder.mkdir()
    asked = []

    def judge(_: Path, entrant: Entrant, __: Sequence[Path]) -> Found:
        asked.append(entrant.name)
        return Found(entrant.name, "")

    for content in (None, None, b"other"):
        if content:
            (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
        for entrant in entrants(of):
            found_of(entrant, of, [], judge)
    assert asked == ["lifting", "visual-hull", "lifting"]


def test_an_engine_that_fails_in_its_process_says_why_and_is_tried_again(
    toy: Archive, tmp_path: Path
) -> None:
    path = run_file(tmp_path, toy, [])
    of = comparison_of(path)
    of.folder.mkdir(parents=True)
    found = found_of(Entrant("lifting"), of, [], in_own_process)
    assert "train first" in found.failed
    assert not list(of.folder.glob("*.json"))


def test_the_command_trains_for_minutes_whom_it_trains(toy: Archive, tmp_path: Path) -> None:
    path = run_file(tmp_path, toy, ["attention-unet"])
    command.train(path, lambda _: None)
    peers.compare(path, minutes=0.01, say=lambda _: None, judge=judged)

    text = (tmp_path / "run" / "compare" / "compared.md").read_text(encoding="utf-8")
    assert "| lifting-anew | 1 |" in text
    assert "0 min in 2 networks: a budget, not its end" in text


def test_a_comparison_that_cannot_be_made_says_why(toy: Archive, tmp_path: Path) -> None:
    out = Console(record=True)
    for old, new, words in (
        ("views = [1, 2]", "views = [1, 6]", "from 1 to 5 views"),
        ("views = [1, 2]", "views = []", "from 1 to 5 views"),
        ("engines = []", "engines = ['a-transformer']", r"peers\.engines: a-transformer"),
        ("runs = []", "runs = ['gone.toml']", "there is no .*gone.toml"),
        ("fold = 0", "fold = 'none'", "nobody is left to judge on"),
    ):
        path = run_file(tmp_path, toy, [])
        path.write_text(path.read_text().replace(old, new), encoding="utf-8")
        with pytest.raises(LearningError, match=words):
            compare(out, path, minutes=None)
