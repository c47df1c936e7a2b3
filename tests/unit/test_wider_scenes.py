"""Radiographs of a larger region, of which a closer look is given a piece.

Expected: where the larger region's cube stands, from the two rows of the table; what a piece is,
from the closer look itself (`cut_out`); balls whose place is known.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.models.framing import FIELD, cut_out
from pipeline.projection import project
from pipeline.training.archive import Archive
from pipeline.training.batches import (
    Conditions,
    Cut,
    assembled,
    radiographs_of,
    sample_of,
    taken_of,
)
from pipeline.training.exposure import CLEAN
from pipeline.training.pool import Simulated, fill, load, simulate
from pipeline.training.posing import STILL
from pipeline.training.regions import WITHIN, region_named
from pipeline.training.shots import draw_shots, draw_wider
from pipeline.training.volumes_data import Size, scenes
from tests.toy_region import CENTRES, OTHER, toy_archive

SIZE = 96
CUT = Cut(120.0, 64)
SMALLER, LARGER = region_named("proximal_femur"), region_named("hip")
PLAIN = Conditions(exposure=CLEAN, one_view=0.0, three_views=1.0, points=8)


def random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Balls in a region that lies within the hip."""
    made = toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")
    return replace(made, region=replace(SMALLER, cube_mm=120.0, voxels=48, far_mm=256.0))


@pytest.fixture(scope="module")
def scene(archive: Archive) -> Simulated:
    return simulate(
        archive.cases[0],
        archive,
        image_size=SIZE,
        pose=STILL,
        shots=draw_wider(archive.region, SIZE, random()),
        generator=random(),
    )[0]


@pytest.mark.parametrize("name", sorted(WITHIN))
def test_the_larger_region_is_in_the_middle_of_its_radiographs(name: str) -> None:
    smaller = region_named(name)
    larger = region_named(WITHIN[name].region)
    # the same point of the patient, in both frames
    middle = np.subtract(smaller.pivot, larger.pivot)
    shots = draw_wider(smaller, SIZE, random())
    for shot, alone in zip(shots, draw_shots(larger.cube_mm, SIZE, random()), strict=True):
        seen_by = shot.about_cube(SIZE)
        assert project(seen_by, middle) == pytest.approx(((SIZE - 1) / 2,) * 2)
        assert np.allclose(seen_by.source - middle, alone.camera(SIZE).source)
        shown = shot.spacing * SIZE * shot.source_to_patient / shot.source_to_detector
        assert shown == pytest.approx(larger.cube_mm * FIELD, rel=0.13)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_piece_is_what_a_closer_look_cuts_out(scene: Simulated, is_wrong: bool) -> None:
    chosen = (0, 1, 2)
    found, _ = sample_of(scene, chosen, PLAIN, is_wrong=is_wrong, generator=random(), cut=CUT)
    taken = taken_of(scene, chosen, PLAIN, is_wrong=is_wrong, generator=random())
    frames = cut_out(radiographs_of(taken), cube_mm=CUT.cube_mm, size=CUT.size)

    assert found.images.shape == (1, 3, 2, CUT.size, CUT.size)
    for number, frame in enumerate(frames):
        assert np.allclose(found.sources[0, number], frame.view.source, atol=1e-3)
        valid = found.images[0, number, 1] > 0
        assert torch.equal(valid, frame.is_valid)
        shades = torch.stack([found.images[0, number, 0][valid], frame.image[valid]])
        assert float(torch.corrcoef(shades)[0, 1]) > 0.99


def test_a_ball_and_its_shadow_are_where_the_camera_of_the_piece_sees_them(
    scene: Simulated,
) -> None:
    found, shadows = sample_of(scene, (0, 1, 2), PLAIN, is_wrong=False, generator=random(), cut=CUT)
    for number, matrix in enumerate(found.projections[0]):
        for bone, centre in enumerate(CENTRES.values()):
            x, y, w = (matrix @ torch.tensor([*centre, 1.0])).tolist()
            column, row = ((at / w + 1) / 2 * CUT.size / 2 - 0.5 for at in (x, y))
            middle = shadows[number, bone].nonzero().double().mean(dim=0)
            assert middle.tolist() == pytest.approx([row, column], abs=0.7)


def test_a_wrongly_told_camera_moves_the_piece_and_not_the_radiograph(scene: Simulated) -> None:
    one, other = (
        taken_of(scene, (0, 1), PLAIN, is_wrong=is_wrong, generator=random())
        for is_wrong in (False, True)
    )
    (right, _), (wrong, _) = (
        sample_of(scene, (0, 1), PLAIN, is_wrong=is_wrong, generator=random(), cut=CUT)
        for is_wrong in (False, True)
    )
    assert torch.equal(one.images, other.images)
    assert not torch.allclose(right.images, wrong.images, atol=0.1)


def test_the_other_leg_begins_beyond_the_larger_region(archive: Archive) -> None:
    """A bone beside the smaller cube, and within the larger one, stays when that leg is away."""
    shots = [
        replace(shot, is_alone=alone)
        for alone in (False, True)
        for shot in draw_wider(archive.region, SIZE, random())[:1]
    ]
    both, alone = simulate(
        archive.cases[0], archive, image_size=SIZE, pose=STILL, shots=shots, generator=random()
    )[0].thickness
    row, column = np.round(project(shots[0].about_cube(SIZE), OTHER)).astype(int)
    assert 60 < OTHER[0] < LARGER.cube_mm / 2
    assert alone[row, column] == pytest.approx(both[row, column])


def test_a_batch_mixes_radiographs_of_both_regions(archive: Archive, scene: Simulated) -> None:
    shots = draw_shots(120.0, CUT.size, random())
    narrow = simulate(
        archive.cases[0],
        archive,
        image_size=CUT.size,
        pose=STILL,
        shots=shots,
        generator=random(),
    )[0]
    batch = assembled([scene, narrow], PLAIN, random(), cut=CUT)
    assert batch.seen.images.shape == (2, 3, 2, CUT.size, CUT.size)
    assert batch.shadows.shape == (2, 3, 2, CUT.size // 2, CUT.size // 2)


def test_a_network_that_looks_once_refuses_radiographs_of_a_larger_region(
    scene: Simulated,
) -> None:
    with pytest.raises(ValueError, match="looks closer"):
        assembled([scene], PLAIN, random())


def test_a_pool_holds_the_share_of_larger_radiographs_that_was_asked_for(
    archive: Archive, tmp_path: Path
) -> None:
    fill(archive, archive.cases, tmp_path, 6, image_size=32, seed=4, between=0.0, wider=0.5)
    scenes = [load(path) for path in sorted(tmp_path.glob("*.npz"))]
    sizes = [one.thickness.shape[-1] for one in scenes]
    assert {(one.is_wider, size) for one, size in zip(scenes, sizes, strict=True)} == {
        (True, 48),
        (False, 32),
    }
    middle = np.subtract(SMALLER.pivot, LARGER.pivot)
    for one in scenes:
        assert np.allclose([shot.isocentre for shot in one.shots], middle if one.is_wider else 0.0)


def test_a_network_that_knows_no_camera_is_shown_the_region_alone(
    archive: Archive, tmp_path: Path
) -> None:
    fill(archive, archive.cases, tmp_path, 6, image_size=32, seed=4, between=0.0, wider=0.5)
    files = sorted(tmp_path.glob("*.npz"))
    narrow = [file.stem for file in files if not load(file).is_wider]

    found = scenes(
        files,
        archive.cases,
        region=archive.region,
        bone="femur",
        size=Size(image=32, grid=8),
        exposure=CLEAN,
    )

    assert 0 < len(narrow) < len(files)
    assert [item.name for item in found.items] == narrow
