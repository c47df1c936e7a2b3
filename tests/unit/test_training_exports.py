"""What a run begins with, and the weights that it becomes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from node.learning import LearningError, export, train
from pipeline.models.lifting import Answer, Lifting, Seen
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions, sample_of
from pipeline.training.beginnings import begin_with
from pipeline.training.exporting import calibrated
from pipeline.training.loop import Training, save, start
from pipeline.training.pool import Simulated, fill, load
from pipeline.weights import read_header
from tests.toy_region import RUN, SIZE, SMALL, run_file, toy_archive


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


@pytest.fixture(scope="module")
def pool(toy: Archive) -> Path:
    folder = toy.path.parent / "pool"
    fill(toy, toy.cases, folder, 2, image_size=SIZE, seed=1)
    return folder


def _trained_on(folder: Path, bones: tuple[str, ...]) -> Path:
    torch.manual_seed(3)
    run = start(replace(SMALL, bones=bones), Training(threads=1), folder / "none.pt")
    with torch.no_grad():
        for weight in run.average.parameters():
            weight.add_(torch.rand_like(weight) * 0.1)
    save(run, folder / "other.pt")
    return folder / "other.pt"


def test_a_run_begins_with_the_network_of_another_and_knows_its_bones_as_that_did(
    pool: Path, tmp_path: Path
) -> None:
    bones = ("patella", "hip_bone", "femur")
    checkpoint = _trained_on(tmp_path, bones)
    stored = torch.load(checkpoint, weights_only=True)
    # what the head makes of the distance of a bone that is left out is lost
    stored["average"]["head.0.weight"][:, SMALL.spatial[0]] = 0
    torch.save(stored, checkpoint)
    whole = Lifting(replace(SMALL, bones=bones))
    whole.load_state_dict({name: weight.float() for name, weight in stored["average"].items()})
    run = start(SMALL, Training(threads=1), tmp_path / "none.pt")

    begin_with(run, checkpoint)

    scene = load(next(pool.glob("*.npz")))
    seen, _ = sample_of(scene, (0, 1), Conditions(), is_wrong=False, generator=torch.Generator())
    points = scene.points[None, :200]
    with torch.no_grad():
        there, here = whole(seen, points), run.net(seen, points)
    for before, after in zip(there, here, strict=True):
        assert torch.allclose(before[..., [2, 1]], after, atol=1e-4)


@pytest.mark.parametrize(
    ("bones", "words"), [(("femur",), "not hip_bone"), (None, "There is no .*other.pt")]
)
def test_a_run_that_cannot_begin_with_another_says_why(
    toy: Archive, tmp_path: Path, bones: tuple[str, ...] | None, words: str
) -> None:
    (tmp_path / "toy.npz").write_bytes(toy.path.read_bytes())
    if bones:
        _trained_on(tmp_path, bones)
    text = 'begin_with = "other.pt"' + RUN.format(fold=0, scenes=1, steps=1, batch=1)

    with pytest.raises(LearningError, match=words):
        train(Console(), run_file(tmp_path, text))


def test_a_network_of_another_size_is_no_beginning(tmp_path: Path) -> None:
    checkpoint = _trained_on(tmp_path, SMALL.bones)
    run = start(replace(SMALL, hidden=8), Training(threads=1), tmp_path / "none.pt")

    with pytest.raises(ValueError, match="another size"):
        begin_with(run, checkpoint)


def test_a_trained_run_becomes_weights_that_say_how_they_were_trained(
    toy: Archive, tmp_path: Path
) -> None:
    (tmp_path / "toy.npz").write_bytes(toy.path.read_bytes())
    run = run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=1, batch=2))
    with pytest.raises(LearningError, match="train first"):
        export(Console(), run, tmp_path / "hip.safetensors", ())
    assert train(Console(), run)

    export(Console(), run, tmp_path / "hip.safetensors", ("hip_bone",))

    written = read_header(tmp_path / "hip.safetensors")
    assert [(bone.name, bone.is_required) for bone in written.bones] == [
        ("Femur", True),
        ("Hip bone", False),
    ]
    assert written.trained == "1 legs of 1 people, fold 0 left out, 1 steps of 2 scenes, seed 1"
    assert all(0 < bone.error_factor < 100 for bone in written.bones)
    with pytest.raises(LearningError, match="no tail"):
        export(Console(), run, tmp_path / "hip.safetensors", ("tail",))
    with pytest.raises(LearningError, match=r"called hip.safetensors"):
        export(Console(), run, tmp_path / "knee.safetensors", ())


def test_the_own_error_is_scaled_to_what_it_is_at_the_surface(pool: Path) -> None:
    scenes = [load(file) for file in sorted(pool.glob("*.npz"))]
    coming = iter(scenes)

    class Off(Lifting):
        """Is 0.75 mm off everywhere, and expects 0.5."""

        def features(self, _: Seen) -> Simulated:  # type: ignore[override]
            return next(coming)

        def at(self, features: Simulated, points: Tensor) -> Answer:  # type: ignore[override]
            exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
            at = torch.cdist(points[0], features.points, **exact).argmin(dim=1)
            distance = features.distances[at][None] + 0.75
            return Answer(-distance, distance, torch.full_like(distance, math.log(0.5)))

    assert calibrated(Off(SMALL), scenes, [(0, 1)]) == pytest.approx([1.5, 1.5], rel=0.02)
