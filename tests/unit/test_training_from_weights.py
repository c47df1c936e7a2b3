"""A run that begins with a weights file: the same network, judged, compared and trained on.

Expected: what the exported network answers; refusals by name of what does not fit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from node.learning import LearningError, begin, compare, evaluate, export, train
from pipeline import completion_weights, tomography_weights, volumetric_weights, weights
from pipeline.training import exporting
from pipeline.training.label_maps import LabelledPerson, write
from tests.toy_region import toy_archive

TOY = """
archive = "toy.npz"
folder = "{folder}"
fold = 0
"""
LIFTING = """
[pool]
scenes = 2
[network]
image_size = 32
grid_size = 8
planar = [8, 16]
spatial = [8, 16]
hidden = 16
[training]
steps = 2
batch = 1
threads = 1
log_every = 1
[training.conditions]
points = 64
[evaluation]
repeats = 1
[peers]
engines = []
[comparison]
views = [2]
legs = 1
"""
FAMILY = """
family = "pix2vox++/F"
folder = "{folder}"
grid = 8
batch = 2
log_every = 1
stages = [{{ name = "single", steps = 30, most_views = 1, rate = 10.0 }}]
[network]
image_size = 64
stem = 8
heads = [8, 8, 8]
decoder = [8, 4]
[regional]
archive = "toy.npz"
pool = "{folder}-pool"
held = "held"
bone = "femur"
fold = 0
scenes = 2
held_scenes = 2
held_views = 2
image_size = 32
"""
TOMOGRAPHY = """
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
COMPLETION = """
folder = "{folder}"
archive = "maps.npz"
fold = 0
judged_instances = 1
[network]
kind = "skip"
size = 32
divided_by = 8
[training]
steps = 2
log_every = 1
"""
KINDS = {
    "lifting": (TOY + LIFTING, "hip.safetensors", weights.load),
    "volumes": (FAMILY, "hip.pix2vox-f.safetensors", volumetric_weights.load),
    "tomography": (TOY + TOMOGRAPHY, "hip.tomography.safetensors", tomography_weights.load),
    "completion": (COMPLETION, "body.completion.safetensors", completion_weights.network),
}
Files = Callable[[str], Path]
"""Of a kind: a folder of the test's own, with weights of the run `first`, and the file `next`."""


@pytest.fixture(scope="module", autouse=True)
def few_scenes() -> Iterator[None]:
    """To calibrate on: here nothing is asked of the calibration."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting, "SCENES", 2)
        yield


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind, (told, name, _) in KINDS.items():
        folder = made[kind] = tmp_path_factory.mktemp(kind)
        toy_archive(folder / "toy.npz", people=2, voxels=32)
        _maps(folder / "maps.npz")
        for run in ("first", "next"):
            (folder / f"{run}.toml").write_text(told.format(folder=run), encoding="utf-8")
        assert train(_quiet(), folder / "first.toml")
        export(_quiet(), folder / "first.toml", folder / name, ())
    return made


@pytest.fixture
def files(homes: dict[str, Path], tmp_path: Path) -> Files:
    return lambda kind: Path(shutil.copytree(homes[kind], tmp_path / kind))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_exported_is_judged_trained_on_and_exported_again(files: Files, kind: str) -> None:
    folder, (_, name, load) = files(kind), KINDS[kind]
    run = folder / "next.toml"

    begin(_quiet(), run, folder / name)

    first = _stored(folder)
    assert first["step"] == 0
    for key, value in load(folder / name).state_dict().items():
        assert torch.equal(first["net"][key], value), key
    # no scenes have been drawn for this run: what judging needs is drawn then
    evaluate(_quiet(), run)
    header = (folder / "next" / "results.md").read_text(encoding="utf-8").splitlines()[0]
    assert f"0 steps since the weights {name} " in header
    assert "left out" in header
    assert train(_quiet(), run)
    on = _stored(folder)
    assert on["begun"] == first["begun"]
    assert on["step"] > 0
    assert any(bool((first["net"][key] != value).any()) for key, value in on["net"].items())
    (folder / name).unlink()
    export(_quiet(), run, folder / name, ())
    assert f"since the weights {name} ".encode() in (folder / name).read_bytes()


@pytest.mark.parametrize("kind", ["lifting", "volumes"])
def test_weights_go_before_the_checkpoint_that_the_run_file_begins_with(
    files: Files, kind: str
) -> None:
    """Which is not even there."""
    folder, name = files(kind), KINDS[kind][1]
    told = (folder / "next.toml").read_text(encoding="utf-8")
    (folder / "next.toml").write_text(f'begin_with = "none.pt"\n{told}', encoding="utf-8")
    begin(_quiet(), folder / "next.toml", folder / name)

    assert train(_quiet(), folder / "next.toml")

    assert name in _stored(folder)["begun"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_has_begun_is_left_as_it_is(files: Files, kind: str) -> None:
    folder = files(kind)
    before = (folder / "first" / "checkpoint.pt").read_bytes()

    with pytest.raises(LearningError, match=r"move .*checkpoint\.pt away"):
        begin(_quiet(), folder / "first.toml", folder / KINDS[kind][1])

    assert (folder / "first" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_have_seen_who_is_judged_are_refused(files: Files, kind: str) -> None:
    folder = files(kind)
    told = (folder / "next.toml").read_text(encoding="utf-8")
    assert "fold = 0" in told
    (folder / "next.toml").write_text(told.replace("fold = 0", "fold = 1"), encoding="utf-8")

    with pytest.raises(LearningError, match=r"judges fold 1, .* learned .*fold 0 left out"):
        begin(_quiet(), folder / "next.toml", folder / KINDS[kind][1])

    assert not (folder / "next" / "checkpoint.pt").exists()


def test_weights_that_took_in_later_whom_their_beginning_left_out_are_refused(
    files: Files,
) -> None:
    folder, name = files("completion"), KINDS["completion"][1]
    told = (folder / "next.toml").read_text(encoding="utf-8")
    of_all = told.replace("fold = 0", 'fold = "none"').replace('"next"', '"all"')
    (folder / "all.toml").write_text(of_all, encoding="utf-8")
    begin(_quiet(), folder / "all.toml", folder / name)
    assert train(_quiet(), folder / "all.toml")
    export(_quiet(), folder / "all.toml", folder / name, ())

    with pytest.raises(LearningError, match=r"judges fold 0, .*nobody left out since"):
        begin(_quiet(), folder / "next.toml", folder / name)


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        ("lifting", "hidden = 16", "hidden = 8", "hidden 16 instead of 8"),
        ("volumes", "decoder = [8, 4]", "decoder = [4, 4]", "another network than the run file"),
        ("volumes", "pix2vox++/F", "pix2vox++/A", r"of pix2vox\+\+/F, the run trains"),
        ("volumes", 'bone = "femur"', 'bone = "hip_bone"', "give the Femur, the run the Hip bone"),
        ("tomography", "width = 4", "width = 8", "another network"),
        ("tomography", "image_size = 32", "image_size = 64", "image_size 32 instead of 64"),
        ("completion", "divided_by = 8", "divided_by = 4", "another network"),
    ],
)
def test_weights_of_another_network_are_refused_by_what_differs(
    files: Files, kind: str, old: str, new: str, words: str
) -> None:
    folder = files(kind)
    told = (folder / "next.toml").read_text(encoding="utf-8")
    assert old in told
    (folder / "next.toml").write_text(told.replace(old, new), encoding="utf-8")

    with pytest.raises(LearningError, match=words):
        begin(_quiet(), folder / "next.toml", folder / KINDS[kind][1])

    assert not (folder / "next" / "checkpoint.pt").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off_or_of_another_kind_is_no_beginning(
    files: Files, homes: dict[str, Path], kind: str
) -> None:
    folder = files(kind)
    file = folder / KINDS[kind][1]
    whole = file.read_bytes()
    other = next(one for one in KINDS if one != kind)
    for content in (whole[: len(whole) // 2], b"", (homes[other] / KINDS[other][1]).read_bytes()):
        file.write_bytes(content)
        with pytest.raises(LearningError, match=file.name):
            begin(_quiet(), folder / "next.toml", file)
    file.unlink()
    with pytest.raises(LearningError, match=file.name):
        begin(_quiet(), folder / "next.toml", file)
    assert not (folder / "next" / "checkpoint.pt").exists()


def test_people_of_published_folders_are_nobody_that_weights_are_of(files: Files) -> None:
    folder = files("volumes")
    told = (folder / "next.toml").read_text(encoding="utf-8").partition("[regional]")[0]
    (folder / "next.toml").write_text(f'{told}[published]\nroot = "shapenet"', encoding="utf-8")

    with pytest.raises(LearningError, match="Published folders"):
        begin(_quiet(), folder / "next.toml", folder / KINDS["volumes"][1])


def test_shipped_weights_are_compared_as_they_are(files: Files, homes: dict[str, Path]) -> None:
    """By run files alone: nothing was trained here, and no scene drawn."""
    folder = files("lifting")
    others = {"volumes": "family.toml", "tomography": "density.toml"}
    for kind, file in others.items():
        told, name, _ = KINDS[kind]
        (folder / file).write_text(told.format(folder=kind), encoding="utf-8")
        begin(_quiet(), folder / file, homes[kind] / name)
    run = folder / "next.toml"
    runs = str(list(others.values())).replace("'", '"')
    told = run.read_text(encoding="utf-8").replace("[comparison]", f"[comparison]\nruns = {runs}")
    run.write_text(told, encoding="utf-8")
    begin(_quiet(), run, folder / KINDS["lifting"][1])

    compare(_quiet(), run, minutes=None)

    table = (folder / "next" / "compare" / "compared.md").read_text(encoding="utf-8")
    for name, kind in (("lifting", "lifting"), ("pix2vox++/F", "volumes")):
        (row,) = [one for one in table.splitlines() if one.startswith(f"| {name} | ")][:1]
        assert f"| {KINDS[kind][1]} " in row
        assert "fold 0 left out" in row
    assert "failed" not in table


def _quiet() -> Console:
    return Console(file=StringIO())


def _stored(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = torch.load(folder / "next" / "checkpoint.pt", weights_only=True)
    return made


def _maps(path: Path) -> None:
    """Four people, each of two blocks that stand where nobody else's do."""
    people = {}
    for number in range(4):
        labels = np.zeros((32,) * 3, np.uint8)
        labels[6 + number : 16 + number, 8:18, 4:12] = 1
        labels[8:18, 6 + number : 16 + number, 20:28] = 2
        name = f"z{number}"
        people[LabelledPerson(name, name, "made", "none", number % 2)] = labels
    write(path, ("a", "b"), (320.0, 320.0, 320.0), people)
