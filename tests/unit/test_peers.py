"""The peers that the network is compared with: what they are given, and that they learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.framing import FIELD, projection
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions
from pipeline.training.exposure import CLEAN
from pipeline.training.given import Given
from pipeline.training.loop import Training
from pipeline.training.peers_budget import AT_FIRST, spend
from pipeline.training.peers_cubes import cube_engine, cube_loss_of, repeated
from pipeline.training.pool import fill
from pipeline.training.posing import centres
from pipeline.training.settings import Peers
from pipeline.training.surfaces import isosurface
from pipeline.types import ViewName
from tests.toy_region import CENTRES, as_seen, radius, straight, toy_archive

SIZE = 32
CUBE_MM = 120.0
STILL = Conditions(exposure=CLEAN)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz", people=4)


@pytest.fixture(scope="module")
def pool(toy: Archive) -> Path:
    folder = toy.path.parent / "pool"
    fill(toy, toy.cases[1:2], folder, 2, image_size=SIZE, seed=1)
    return folder


def test_a_radiograph_is_repeated_along_its_depth_at_the_scale_of_the_isocentre() -> None:
    """Frontal images show x to the right, lateral ones y; both show z upwards."""
    across = ((torch.arange(SIZE) + 0.5) / SIZE * 2 - 1) * CUBE_MM * FIELD / 2
    image = across[None, :] - 1000 * across[:, None]
    views = as_seen(
        torch.stack([image, image]),
        straight(ViewName.AP, size=SIZE),
        straight(ViewName.LL, size=SIZE),
    )

    frontal, lateral = repeated(views, 2, CUBE_MM, 16)[0]

    along = ((torch.arange(16) + 0.5) / 16 - 0.5) * CUBE_MM
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    assert torch.allclose(frontal, x + 1000 * z, atol=0.05)
    assert torch.allclose(lateral, y + 1000 * z, atol=0.05)


@pytest.mark.parametrize("name", [ViewName.PA, ViewName.RL])
def test_a_view_from_the_other_side_is_repeated_as_that_from_this_one(name: ViewName) -> None:
    """A bead in the plane of the isocentre is in its own column of the cube."""
    shot = straight(name, size=SIZE)
    bead = np.array([20.0, 0.0, -15.0] if name is ViewName.PA else [0.0, 20.0, -15.0])
    column, row, depth = projection(shot.camera(SIZE)) @ np.append(bead, 1.0)
    image = torch.zeros(1, SIZE, SIZE)
    place = [int((share / depth + 1) / 2 * SIZE) for share in (row, column)]
    image[0, place[0], place[1]] = 1.0

    cube = repeated(as_seen(image, shot), 1, CUBE_MM, 24)[0, 0]

    depths = 1 if name is ViewName.PA else 2
    assert cube.std(dim=depths).max() < 1e-6
    brightest = np.array(np.unravel_index(int(cube.argmax()), cube.shape))[::-1]
    found = ((brightest + 0.5) / 24 - 0.5) * CUBE_MM
    is_told = np.arange(3) != (1 if name is ViewName.PA else 0)
    assert np.abs(found - bead)[is_told].max() < 5.0


def _balls(size: int) -> Tensor:
    """(1, 2, N, N, N) mm: the balls of the first toy person."""
    points = centres(size, CUBE_MM, torch.device("cpu"))
    return torch.stack(
        [(points - torch.tensor(c)).norm(dim=-1) - radius(0, b) for b, c in CENTRES.items()]
    )[None]


def test_the_loss_is_least_where_the_share_of_each_voxel_is_right() -> None:
    field, has = _balls(32), torch.ones(1, 2, dtype=torch.bool)
    share = (0.5 - field * 32 / CUBE_MM).clamp(1e-4, 1 - 1e-4)
    best = float(cube_loss_of(share.logit(), field, has, CUBE_MM))
    for off in (-0.5, 0.5):
        assert float(cube_loss_of(share.logit() + off, field, has, CUBE_MM)) > best
    assert float(cube_loss_of(-share.logit(), field, has, CUBE_MM)) > best + 1


def test_a_bone_that_is_unknown_teaches_a_peer_nothing() -> None:
    logits = torch.zeros(1, 2, 8, 8, 8, requires_grad=True)
    cube_loss_of(logits, _balls(16), torch.tensor([[False, True]]), CUBE_MM).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].eq(0).all()
    assert logits.grad[0, 1].ne(0).all()


def test_the_surface_of_a_cube_of_shares_lies_between_its_voxels() -> None:
    class Knows(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return (0.5 - _balls(32) * 32 / CUBE_MM).clamp(1e-4, 1 - 1e-4).logit()

    views = as_seen(
        torch.zeros(2, SIZE, SIZE),
        straight(ViewName.AP, size=SIZE),
        straight(ViewName.LL, size=SIZE),
    )
    engine = cube_engine(Knows(), grid=32, cube_mm=CUBE_MM, size=48)
    distances = engine(Given(views, (), torch.zeros(0))).numpy()

    for bone, (name, centre) in enumerate(CENTRES.items()):
        mesh = isosurface(distances[bone], CUBE_MM)
        assert mesh is not None
        away = np.linalg.norm(mesh.vertices - centre, axis=1) - radius(0, name)
        # a voxel is 3.75 mm
        assert np.abs(away).mean() < 0.4


def test_a_published_network_learns_from_the_pool_and_goes_on_from_its_checkpoint(
    pool: Path, tmp_path: Path
) -> None:
    from pipeline.training import peers_nets

    peers = Peers(grid=32, attention=(4, 8), learning_rate=0.02)
    training = Training(steps=8, batch=2, threads=1)
    checkpoint = tmp_path / "checkpoint.pt"
    losses = []
    for steps in (2, 8):
        run = peers_nets.start(
            "attention-unet", peers, training, checkpoint, views=2, bones=2, cube_mm=CUBE_MM
        )
        assert run.step == (0 if steps == 2 else 2)
        part = Training(steps=steps, batch=2, threads=1)
        losses.append(peers_nets.train(run, peers, part, pool, checkpoint, until=float("inf")))
    assert losses[1] < 0.95 * losses[0]


def test_every_weight_of_the_large_network_is_taught() -> None:
    from pipeline.training.peers_nets import network_named

    net = network_named("swin-unetr", Peers(swin=12), views=2, bones=2)
    logits = net(torch.randn(1, 2, 64, 64, 64, generator=torch.Generator().manual_seed(1)))
    assert logits.shape == (1, 2, 64, 64, 64)
    cube_loss_of(logits, _balls(64), torch.ones(1, 2, dtype=torch.bool), CUBE_MM).backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_a_budget_is_spent_whatever_the_pace_and_not_twice(tmp_path: Path) -> None:
    """Each step takes 3 s: 100 s are 33 steps or 34, also when it was interrupted."""
    now, taken, asked = [0.0], [0], []

    def go(steps: int, until: float) -> None:
        asked.append(steps)
        while now[0] < until and taken[0] < steps:
            taken[0] += 1
            now[0] += 3.0

    def spent(seconds: float) -> float:
        return spend(seconds, tmp_path, lambda: taken[0], go, clock=lambda: now[0])

    assert spent(50.0) == pytest.approx(50, abs=3)
    now[0] += 1000.0
    assert spent(100.0) == pytest.approx(100, abs=3)
    assert taken[0] in (33, 34)
    assert asked[0] == AT_FIRST
    # after the first part the pace is known
    assert set(asked[1:]) <= {16, 17, 33, 34}
    assert spent(100.0) == pytest.approx(100, abs=3)
    assert taken[0] in (33, 34)
