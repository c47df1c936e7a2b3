"""Anatomies drawn from a shape model: balls, whose place and size are known by hand."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.anatomy import FOLDER, WIDEST, Model, drawn, model
from pipeline.geometry import grid
from pipeline.types import Side

CUBE, WIDE = 100.0, 200.0
CENTRE, RADIUS = np.array([20.0, -5.0, 10.0]), 22.0


def _ball(edge: float, size: int) -> NDArray[np.float32]:
    """(Z, Y, X) mm: of a ball in a cube about the origin."""
    along = ((np.arange(size) + 0.5) / size - 0.5) * edge
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    away = np.sqrt((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2 + (z - CENTRE[2]) ** 2)
    return (away - RADIUS).astype(np.float32)


def _model(*shifts: tuple[float, float, float]) -> Model:
    """A ball, and modes that move everything by (x, y, z) mm."""
    near = np.stack([_ball(CUBE, 64), np.full((64, 64, 64), 30, np.float32)])
    still = np.zeros((3, 6, 6, 6), np.float32)
    modes = [still + np.array(shift, np.float32)[:, None, None, None] for shift in shifts]
    stacked = np.stack(modes) if modes else np.zeros((0, 3, 6, 6, 6), np.float32)
    return Model(("ball",), near, CUBE, _ball(WIDE, 64), WIDE, still, stacked)


def _at(*points: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(points, np.float32)


def test_without_a_mode_the_template_is_drawn() -> None:
    made = drawn(_model(), Side.RIGHT, 1)
    middle = tuple(CENTRE)
    found = made.distances(_at(middle, (middle[0] + RADIUS, *middle[1:]), (-40, 40, -40)))[0]
    assert found[:2] == pytest.approx([-RADIUS, 0], abs=1.3)
    assert found[2] > 20


def test_a_left_one_is_the_mirror_image() -> None:
    right, left = drawn(_model(), Side.RIGHT, 1), drawn(_model(), Side.LEFT, 1)
    points = np.random.default_rng(0).uniform(-45, 45, (200, 3)).astype(np.float32)
    mirrored = points * np.array([-1, 1, 1], np.float32)
    assert np.allclose(right.distances(points), left.distances(mirrored), atol=1e-4)


def test_a_mode_moves_the_surface_by_what_is_drawn() -> None:
    made = drawn(_model((4.0, 0.0, 0.0)), Side.RIGHT, 3)
    weight = np.clip(np.random.default_rng(3).normal(size=1), -WIDEST, WIDEST)[0]
    # the template is looked up at p + shift, so that the ball lies at its centre less the shift
    where = CENTRE - [4.0 * weight, 0, 0]
    assert made.distances(_at(tuple(where)))[0, 0] == pytest.approx(-RADIUS, abs=1.3)
    grid_of = grid(CUBE, 50)
    volume = made.occupancy(0, (50, 50, 50), grid_of)
    share = volume.array.sum() * 8
    assert share == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    index = np.argwhere(volume.array > 0.5).mean(axis=0)
    assert (grid_of @ [*index, 1])[:3] == pytest.approx(where, abs=0.5)


def test_a_seed_is_an_anatomy() -> None:
    of = _model((4.0, 1.0, 0.0), (0.0, 0.0, 3.0))
    one, same, other = (drawn(of, Side.LEFT, seed).displacement for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_bones_attenuate_more_than_what_is_around_them_and_air_does_not() -> None:
    made = drawn(_model(), Side.RIGHT, 1).density(spacing=5.0)
    affine = made.patient_from_index

    def at(*point: float) -> float:
        index = np.linalg.solve(affine, [*point, 1])[:3].round().astype(int)
        return float(made.array[tuple(index)])

    shell = CENTRE - [0, 0, RADIUS - 1]
    assert at(*shell) > at(*CENTRE) > at(20, 60, 10) > 0
    assert at(-120, 100, 0) == 0


def test_beyond_the_cube_the_bones_go_on() -> None:
    model = replace(_model(), far=np.full((64, 64, 64), -3, np.float32))
    made = drawn(model, Side.RIGHT, 1)
    assert (made.distances(_at((0, 0, 80)))[:, 0] == -3).sum() >= 1


def test_an_anatomy_without_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="side"):
        drawn(_model(), Side.UNPAIRED, 1)


def test_what_is_shipped_is_named_by_its_card_and_its_bones_are_whole() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.safetensors"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
        of = model(path.stem)
        made = drawn(of, Side.LEFT, 7)
        for number in range(len(of.bones)):
            volume = made.occupancy(number, (64, 64, 64), grid(of.cube_mm, 64))
            sizes = np.bincount(ndimage.label(volume.array > 0.5)[0].ravel())[1:]
            assert sizes.max() > 0.98 * sizes.sum()
