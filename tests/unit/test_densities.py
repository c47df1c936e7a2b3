"""Densities in the frame of a detector: where their voxels lie, what they add up to, how they are
learned from, and the way back to the patient."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.camera import camera
from pipeline.frustum import Frustum, in_frustum, path, places, regular
from pipeline.projection import grid, project
from pipeline.training import densities, density_pairs
from pipeline.training.archive import Archive
from pipeline.training.density_judging import BONE, iou, mean_density
from pipeline.training.density_pairs import (
    ATTENUATION,
    Pairs,
    Sight,
    bone_equivalent,
    drawn_pairs,
    fill,
    load,
    shown,
)
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.posing import STILL
from pipeline.training.settings import RunFault
from pipeline.types import View, ViewName
from tests.toy_region import CENTRES, radius, straight, toy_archive

SIGHT = Sight(image_size=64, planes=48, shots=2)
RUN = """
archive = "toy.npz"
folder = "run"
fold = 0
scenes = 2
steps = {steps}
batch = 2
width = 4
blocks = [1, 1]
checkpoint_every = 1
log_every = 2
[sight]
image_size = 32
planes = 8
shots = 1
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


def random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_view(rows: int = 30, columns: int = 40) -> View:
    """Neither square nor straight: what is confused with something else gives another place."""
    return camera(
        ViewName.AP,
        source_to_detector=1000.0,
        source_to_patient=800.0,
        row_spacing=5.0,
        column_spacing=6.0,
        rows=rows,
        columns=columns,
        primary_deg=12.0,
        secondary_deg=-7.0,
    )


@pytest.fixture(scope="module")
def still(archive: Archive) -> dict[ViewName, Pairs]:
    """The first person from three sides, unmoved: the bones of the cube alone."""
    names = (ViewName.AP, ViewName.PA, ViewName.RL)
    made = drawn_pairs(
        archive.cases[0],
        archive,
        SIGHT,
        [straight(name, size=64) for name in names],
        pose=STILL,
        generator=random(),
        targets_only=True,
    )
    each = zip(made.thickness, made.density, strict=True)
    return dict(zip(names, (Pairs(*one) for one in each), strict=True))


def test_a_voxel_lies_on_the_ray_of_its_pixel_at_the_depth_of_its_plane() -> None:
    frustum = Frustum(a_view(), planes=5, depth_mm=100.0)

    at = places(frustum).double().numpy()

    pixels = project(frustum.view, at)
    rows, columns = np.indices((30, 40))
    assert np.allclose(pixels, np.stack([rows, columns], axis=-1), atol=1e-3)
    ray = frustum.view.patient_from_detector[:3, 2]
    depths = (at - frustum.view.source) @ ray
    # 100 mm about SOD 800, five planes of 20 mm, the first nearest to the source
    assert np.allclose(depths[:, 7, 9], [760.0, 780.0, 800.0, 820.0, 840.0], atol=1e-3)


def test_the_way_between_planes_is_that_between_their_voxels() -> None:
    frustum = Frustum(a_view(), planes=5, depth_mm=100.0)

    at = places(frustum)

    steps = (at[1:] - at[:-1]).norm(dim=-1)
    assert torch.allclose(steps, path(frustum).expand_as(steps), rtol=1e-4)


def test_what_a_frustum_holds_is_found_again_at_its_places() -> None:
    frustum = Frustum(a_view(), planes=12, depth_mm=90.0)
    values = torch.rand(12, 30, 40, generator=random())

    found = in_frustum(values, frustum, places(frustum))

    assert torch.allclose(found, values, atol=2e-3)


def test_outside_the_frustum_and_behind_the_source_there_is_nothing() -> None:
    view = a_view()
    frustum = Frustum(view, planes=12, depth_mm=90.0)
    far = torch.tensor([[0.0, 300.0, 0.0], [400.0, 0.0, 0.0], [0.0, 0.0, 400.0]])
    behind = torch.from_numpy(view.source * 2)[None]

    for points in (far, behind):
        assert torch.equal(in_frustum(torch.ones(12, 30, 40), frustum, points), points[:, 0] * 0)


@pytest.mark.parametrize("name", list(ViewName))
def test_the_way_back_puts_a_ball_where_it_stood(name: ViewName) -> None:
    """Made in the patient, told in the frame of the detector, and taken back."""
    view = camera(
        name,
        source_to_detector=1100.0,
        source_to_patient=900.0,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=80,
        columns=80,
        primary_deg=9.0,
    )
    frustum = Frustum(view, planes=64, depth_mm=120.0)
    centre, r = torch.tensor([12.0, -9.0, 20.0]), 18.0
    inside = (r - (places(frustum) - centre).norm(dim=-1)).div(2).add(0.5).clamp(0, 1)

    back = regular(inside, frustum, extent_mm=120.0, size=60)

    index = np.argwhere(back.array > 0.5)
    at = np.c_[index, np.ones(len(index))] @ back.patient_from_index.T
    assert np.allclose(at[:, :3].mean(axis=0), centre, atol=0.3)
    assert len(index) * 2.0**3 == pytest.approx(4 / 3 * np.pi * r**3, rel=0.02)


def test_the_way_back_is_a_grid_of_the_patient() -> None:
    frustum = Frustum(a_view(), planes=12, depth_mm=90.0)

    back = regular(torch.ones(12, 30, 40), frustum, extent_mm=50.0, size=10)

    assert np.array_equal(back.patient_from_index, grid(50.0, 10))
    assert back.array.dtype == np.float32
    assert np.allclose(back.array, 1.0)


@pytest.mark.parametrize("name", [ViewName.AP, ViewName.RL])
def test_the_density_adds_up_to_what_the_projector_saw(
    still: dict[ViewName, Pairs], name: ViewName
) -> None:
    """Two ways to the same line integrals: marching through the patient, and summing planes."""
    pairs = still[name]
    frustum = SIGHT.frustum(straight(name, size=64), 120.0)

    summed = (pairs.density * path(frustum)).sum(dim=0)

    seen = torch.nn.functional.avg_pool2d(pairs.thickness[None], 2)[0]
    assert (summed - seen).square().mean().sqrt() < 0.03 * seen.max()
    assert summed.sum().item() == pytest.approx(seen.sum().item(), rel=0.02)


def test_the_density_stands_where_the_bones_stand(still: dict[ViewName, Pairs]) -> None:
    shot = straight(ViewName.AP, size=64)
    frustum = SIGHT.frustum(shot, 120.0)

    is_bone = still[ViewName.AP].density >= BONE

    # voxels of 2.5 mm in the archive, of 2.5 to 3 mm here: a share of bone reaches half of one out
    assert (is_bone | ~in_balls(frustum, -1.0)).all()
    assert (in_balls(frustum, 2.5) | ~is_bone).all()


def in_balls(frustum: Frustum, beyond: float) -> Tensor:
    """(D, H, W) bool: within the first person's balls, made larger by `beyond`, mm."""
    at = places(frustum)
    away = [
        (at - torch.tensor(centre)).norm(dim=-1) - radius(0, bone)
        for bone, centre in CENTRES.items()
    ]
    return torch.stack(away).amin(dim=0) < beyond


def test_planes_are_counted_from_the_source(still: dict[ViewName, Pairs]) -> None:
    """From the front the ball further back has the higher planes, from behind the lower."""
    means = []
    for name in (ViewName.AP, ViewName.PA):
        weight = still[name].density.sum(dim=(1, 2))
        means.append(float((weight * torch.arange(48)).sum() / weight.sum()))
    assert means[0] + means[1] == pytest.approx(47.0, abs=0.5)


def test_a_radiograph_is_divided_by_one_constant() -> None:
    """Beside a thick one a thin one stays as it is: nothing is stretched to its own range."""
    thick, thin = torch.full((1, 8, 8), 60.0), torch.full((1, 8, 8), 6.0)

    apart = [shown(one, CLEAN, random()) for one in (thick, thin)]
    together = shown(torch.cat([thick, thin]), CLEAN, random())

    assert together.shape == (2, 1, 1, 8, 8)
    assert torch.equal(torch.cat(apart), together)
    assert apart[1].max() < apart[0].min() / 5
    # 60 mm of cortical bone at an effective 45 to 60 keV: 0.05 to 0.1 per mm
    assert 3.0 < float(apart[0].max()) * ATTENUATION < 6.0


def test_line_integrals_are_read_from_the_radiograph_of_bone_alone() -> None:
    thickness = torch.linspace(0, 90, 64).reshape(1, 8, 8)

    found = bone_equivalent(shown(thickness, CLEAN, random()))

    assert torch.allclose(found, thickness, atol=0.2)


def test_soft_tissue_is_taken_for_bone() -> None:
    """The limit of it: without a second energy nothing tells them apart."""
    thickness = torch.full((1, 16, 16), 20.0)
    soft = replace(CLEAN, soft_mm=150.0)

    found = bone_equivalent(shown(thickness, soft, random()))

    assert found.mean() > 25.0


def test_scenes_that_were_interrupted_are_continued_as_the_same(
    archive: Archive, tmp_path: Path
) -> None:
    sight, whole, broken = Sight(image_size=32, planes=8, shots=1), tmp_path / "a", tmp_path / "b"
    answers = iter([False, True])

    def drawn(folder: Path, is_over: Callable[[], bool] = lambda: False) -> None:
        fill(archive, archive.cases, folder, 2, sight, seed=3, between=0.0, is_over=is_over)

    drawn(whole)
    drawn(broken, lambda: next(answers))
    assert len(list(broken.iterdir())) == 1
    drawn(broken)

    for file in whole.iterdir():
        assert torch.equal(load(file).density, load(broken / file.name).density)
        assert torch.equal(load(file).thickness, load(broken / file.name).thickness)


def test_the_mean_density_is_that_of_all_cameras(tmp_path: Path) -> None:
    values = [torch.full((2, 3, 4, 4), share) for share in (0.2, 0.6)]
    for number, density in enumerate(values):
        density_pairs.save(Pairs(torch.zeros(2, 8, 8), density), tmp_path / f"{number}.npz")

    mean = mean_density(sorted(tmp_path.glob("*.npz")))

    assert torch.allclose(mean, torch.full((3, 4, 4), 0.4), atol=1e-3)


@pytest.mark.parametrize(("found", "expected"), [([1, 1, 0], 1 / 3), ([0, 1, 1], 1.0)])
def test_iou_is_common_over_either(found: list[int], expected: float) -> None:
    mask = torch.tensor(found, dtype=torch.bool)

    assert iou(mask, torch.tensor([False, True, True])) == pytest.approx(expected)


def test_two_empty_masks_agree() -> None:
    nothing = torch.zeros(4, dtype=torch.bool)

    assert iou(nothing, nothing) == 1.0


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    archive: Archive, tmp_path: Path
) -> None:
    """And at the end there is a row for each answer about the people left out."""
    runs = [a_run(archive, tmp_path / name) for name in ("whole", "killed")]

    assert densities.main(runs[0], say=lambda _: None)
    shutil.copytree(runs[0].parent / "run" / "pairs", runs[1].parent / "run" / "pairs")
    with pytest.raises(KeyboardInterrupt):
        densities.main(runs[1], say=killed_at_step_2)
    assert densities.main(runs[1], say=lambda _: None)

    states = [weights(run.parent) for run in runs]
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    table = (tmp_path / "killed" / "run" / "results.md").read_text(encoding="utf-8")
    assert "After 4 steps" in table
    assert all(f"| {name} | 2 |" in table for name in ("mean of those learned from", "network"))
    lines = (tmp_path / "whole" / "run" / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]


def test_a_run_out_of_time_stops_with_a_checkpoint(archive: Archive, tmp_path: Path) -> None:
    run_file = a_run(archive, tmp_path / "late")
    settings = densities.read(run_file)
    settings.folder.mkdir()
    run = densities.start(settings)

    is_done = densities.train(run, settings, until=-math.inf, say=lambda _: None)

    assert not is_done
    assert densities.start(settings).step == 0
    assert (settings.folder / "checkpoint.pt").exists()


def a_run(archive: Archive, folder: Path) -> Path:
    folder.mkdir()
    (folder / "toy.npz").symlink_to(archive.path)
    (folder / "run.toml").write_text(RUN.format(steps=4), encoding="utf-8")
    return folder / "run.toml"


def killed_at_step_2(line: str) -> None:
    if line.startswith("step 2"):
        raise KeyboardInterrupt


def weights(folder: Path) -> list[Tensor]:
    stored = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
    return list(stored["net"].values())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("fold = 0", "fold = 0\nfolds = 5"), "folds"),
        (("planes = 8", 'planes = 8\nview = "oblique"'), "sight.view"),
        (("image_size = 32", "image_size = 36"), "image_size"),
        (('archive = "toy.npz"', 'archive = "other.npz"'), r"other\.npz"),
        (("fold = 0", "fold = = 0"), "run.toml"),
    ],
)
def test_a_run_file_that_cannot_be_followed_is_refused_by_name(
    tmp_path: Path, change: tuple[str, str], fault: str
) -> None:
    text = RUN.format(steps=1).replace(*change)
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")

    with pytest.raises(RunFault, match=fault):
        densities.main(tmp_path / "run.toml", say=lambda _: None)


def test_nobody_is_judged_who_was_learned_from(archive: Archive, tmp_path: Path) -> None:
    settings = densities.DensityRun(archive.path, tmp_path, fold=1)

    cases = densities.learned_from(archive, settings)

    people = {case.person for case in cases}
    assert people.isdisjoint({case.person for case in archive.judged_in(1)})
    assert densities.learned_from(archive, replace(settings, fold=None)) == archive.cases


def test_the_default_exposure_of_a_run_is_the_bones_alone() -> None:
    assert densities.DensityRun(Path("a"), Path("b")).exposure == CLEAN != Exposure()
