"""The peers that start from true outlines: the visual hull and the shape model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.metrics import dice
from pipeline.models.framing import projection
from pipeline.projection import binned
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions, sample_of
from pipeline.training.exposure import CLEAN
from pipeline.training.given import Given
from pipeline.training.outlines import true_outlines
from pipeline.training.peers_hull import camera_of, hull_engine
from pipeline.training.peers_shape import BoneShape, learned, shape_engine
from pipeline.training.pool import Simulated, simulate
from pipeline.training.posing import RIGID, centres
from pipeline.training.shots import Shot
from pipeline.types import ViewName
from tests.toy_region import CENTRES, as_seen, radius, straight, toy_archive

SIZE = 32
CUBE_MM = 120.0
STILL = Conditions(exposure=CLEAN)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz", people=4)


@pytest.mark.parametrize(
    "shot", [straight(ViewName.AP, 12.0, size=SIZE), straight(ViewName.RL, -7.0, size=SIZE)]
)
def test_a_camera_is_found_again_in_its_projection(shot: Shot) -> None:
    view = shot.camera(SIZE)
    wanted = projection(view)
    found = camera_of(wanted, 16, 48)
    assert np.allclose(projection(found), wanted)
    assert np.allclose(found.source, view.source)


@pytest.fixture(scope="module")
def shapes(toy: Archive) -> tuple[BoneShape, ...]:
    return learned(toy, toy.cases[1:], modes=3)


@pytest.fixture(scope="module")
def moved(toy: Archive) -> Simulated:
    """The first person, turned and moved, from the front and from the side; the bones alone."""
    shots = [straight(name, size=64) for name in (ViewName.AP, ViewName.LL)]
    generator = torch.Generator().manual_seed(5)
    simulated, scene, _ = simulate(
        toy.cases[0], toy, image_size=64, pose=RIGID, shots=shots, generator=generator
    )
    outlines = true_outlines(scene, [shot.camera(64) for shot in shots])
    return replace(simulated, field=scene.near[:-1], shadows=outlines)


def test_the_outline_of_a_ball_is_where_its_tangents_are(moved: Simulated) -> None:
    """The angle between the ray to its middle and a tangent has the sine radius / distance."""
    for view, shot in enumerate(moved.shots):
        camera = binned(shot.camera(64), 2)
        rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
        index = np.stack([rows, columns, np.zeros((32, 32)), np.ones((32, 32))], axis=-1)
        detector = index @ camera.detector_from_index.T
        pixels = (detector @ camera.patient_from_detector.T)[..., :3]
        ways = pixels - camera.source
        for bone, name in enumerate(CENTRES):
            middle = _middle(moved.field[bone]) - camera.source
            cosine = ways @ middle / np.linalg.norm(ways, axis=-1) / np.linalg.norm(middle)
            apart = np.linalg.norm(middle) * np.sqrt(1 - cosine**2) - radius(0, name)
            is_clear = np.abs(apart) > 0.4
            assert ((apart < 0) == moved.shadows[view, bone].numpy())[is_clear].all()


def test_outlines_tell_more_than_the_mean_shape(
    moved: Simulated, shapes: tuple[BoneShape, ...]
) -> None:
    """A person who is smaller than the mean; a pixel of an outline is 4.7 mm."""
    views, _ = sample_of(moved, (0, 1), STILL, is_wrong=False, generator=torch.Generator())
    given = Given(views, (), moved.shadows)

    found = {
        "nothing": torch.stack([shape.mean for shape in shapes]),
        "hull": hull_engine(cube_mm=CUBE_MM, size=48)(given),
        "shape": shape_engine(shapes, cube_mm=CUBE_MM, size=48, rounds=50)(given),
    }

    for bone in range(len(CENTRES)):
        overlap = {k: dice(moved.field[bone] < 0, made[bone] < 0) for k, made in found.items()}
        assert overlap["nothing"] < 0.8
        assert overlap["hull"] > 0.9
        assert overlap["shape"] > 0.94


def test_a_bone_without_a_shadow_is_nowhere_in_the_hull() -> None:
    views = as_seen(
        torch.zeros(2, SIZE, SIZE),
        straight(ViewName.AP, size=SIZE),
        straight(ViewName.LL, size=SIZE),
    )
    shadows = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    shadows[0, 0, 6:10, 6:10] = True
    assert (hull_engine(cube_mm=CUBE_MM, size=24)(Given(views, (), shadows)) > 0).all()


def test_people_who_differ_in_size_alone_have_one_mode(
    toy: Archive, shapes: tuple[BoneShape, ...]
) -> None:
    """Of the distances to concentric balls: the mean is that to the mean ball, the mode is flat."""
    everywhere = centres(48, CUBE_MM, torch.device("cpu"))
    for bone, (name, centre) in zip(shapes, CENTRES.items(), strict=True):
        radii = np.array([radius(person, name) for person in (1, 2, 3)])
        away = (everywhere - torch.tensor(centre)).norm(dim=-1) - radii.mean()
        is_near = away.abs() < 5
        assert (bone.mean - away)[is_near].abs().max() < 0.15
        assert (bone.modes[0].abs() - radii.std(ddof=1))[is_near].abs().max() < 0.15


def _middle(distance: Tensor) -> NDArray[np.float64]:
    """(3,) mm, of a bone (Z, Y, X) over the cube."""
    inside = (distance < 0).nonzero().double().mean(dim=0)
    return np.asarray((((inside + 0.5) / len(distance) - 0.5) * CUBE_MM).flip(0).numpy())
