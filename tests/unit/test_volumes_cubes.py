"""What a family fills is written as cubes, in mm of a region or in the authors' unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.training.published_layout import Published
from pipeline.training.volumes_cubes import write_cubes
from pipeline.training.volumes_data import Item, Sample, Source
from pipeline.training.volumes_families import family
from pipeline.training.volumes_settings import Regional, VolumeRun
from tests.tiny_family import NARROW, plan_of
from tests.toy_region import toy_archive


def filled() -> Tensor:
    """(8, 8, 8): a rod of three voxels along x, one above and one below the authors' level."""
    made = torch.zeros(8, 8, 8)
    made[2, 3, 4:7] = 0.9
    made[5, 5, 5], made[6, 6, 6] = 0.31, 0.29
    return made


def a_source() -> Source:
    """Five items of three views."""

    def sample(_: int, views: Sequence[int], __: torch.Generator) -> Sample:
        return Sample(torch.zeros(len(views), 3, 64, 64), filled())

    items = tuple(Item(f"item-{n}", f"owner-{n}", "box") for n in range(5))
    return Source(items, 3, sample, lambda _: filled())


def written(folder: Path, data: Published | Regional) -> list[Path]:
    plan = replace(plan_of(folder), judged_views=(1, 3, 8))
    made = replace(family(plan, NARROW), occupancy=lambda *_: filled()[None])
    return list(write_cubes(made, VolumeRun(plan, data, NARROW), a_source()))


def vertices(path: Path) -> np.ndarray:
    lines = path.read_text(encoding="ascii").splitlines()
    return np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)


def test_the_first_items_are_written_from_the_most_views_that_there_are(tmp_path: Path) -> None:
    found = written(tmp_path, Published(tmp_path))

    assert [path.name for path in found] == [f"item-{n}-3-views.obj" for n in range(4)]
    # four exposed voxels above 0.3, of eight corners each
    assert all(len(vertices(path)) == 4 * 8 for path in found)


def test_cubes_of_published_folders_have_the_authors_pitch_and_edge(tmp_path: Path) -> None:
    corners = vertices(written(tmp_path, Published(tmp_path))[0])[:24]

    # the rod: three cubes of 0.01 whose middles are 0.011 apart
    assert np.ptp(corners, axis=0) == pytest.approx([0.032, 0.01, 0.01], abs=1e-6)


def test_cubes_of_a_region_stand_in_its_cube_in_mm(tmp_path: Path) -> None:
    archive = toy_archive(tmp_path / "toy.npz")
    data = Regional(tmp_path / "toy.npz", tmp_path / "pool", tmp_path / "held", "femur")

    corners = vertices(written(tmp_path, data)[0])[:24]

    step = archive.region.cube_mm / 8
    # voxel (2, 3, 5) of 8, z y x
    assert corners.mean(axis=0) == pytest.approx(np.array([1.5, -0.5, -1.5]) * step, rel=1e-4)
