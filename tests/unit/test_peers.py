"""The peers that the network is compared with: what they are given, that they learn, the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from node.learning import LearningError, compare
from pipeline.models.framing import FIELD, projection
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions
from pipeline.training.exposure import CLEAN
from pipeline.training.given import Given
from pipeline.training.judging import Judgement, isosurface
from pipeline.training.loop import Training
from pipeline.training.peers_budget import AT_FIRST, spend
from pipeline.training.peers_cubes import cube_engine, cube_loss_of, repeated
from pipeline.training.peers_table import Engine, as_markdown, compared
from pipeline.training.pool import fill
from pipeline.training.posing import centres
from pipeline.training.settings import Peers
from pipeline.types import ViewName
from tests.toy_region import CENTRES, RUN, as_seen, radius, straight, toy_archive

SIZE = 32
CUBE_MM = 120.0
STILL = Conditions(exposure=CLEAN)
PEERS = """
[peers]
engines = {engines}
grid = 32
attention = [4, 8]
rounds = 4
"""


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


def _judgements(values: dict[str, list[float]]) -> list[Judgement]:
    return [
        Judgement(
            "c", person, f"{person}-{side}", "femur", 1 - value / 100, value, 2 * value, value
        )
        for person, sides in values.items()
        for side, value in enumerate(sides)
    ]


def test_a_peer_that_is_always_so_much_worse_is_so_without_doubt() -> None:
    """People differ by a factor of nine, both engines alike: the pairs leave no interval."""
    people = {"a": [1.0, 3.0], "b": [5.0], "c": [9.0]}
    worse = {person: [v + 0.5 for v in sides] for person, sides in people.items()}

    rows = compared({"lifting": _judgements(people), "peer": _judgements(worse)}, "lifting")

    ours, peer = rows
    assert (ours.engine, peer.engine, peer.people) == ("lifting", "peer", 3)
    assert ours.means["assd_mm"].mean == pytest.approx((2 + 5 + 9) / 3)
    assert ours.means["assd_mm"].high - ours.means["assd_mm"].low > 3
    assert not ours.differences
    for measure, shift in (("dice", -0.005), ("assd_mm", 0.5), ("hd95_mm", 1.0)):
        apart = peer.differences[measure]
        assert (apart.mean, apart.low, apart.high) == pytest.approx((shift, shift, shift))
    table = as_markdown([Engine("peer", 12345, 60.0, 0.5)], rows, "lifting")
    assert "| peer | 12,345 | 60 | 0.50 |" in table
    assert "+0.50 (+0.50 to +0.50)" in table


def test_two_people_who_disagree_leave_everything_open() -> None:
    """Drawn anew, both are the same one in half of the draws: a quarter each, far above 2.5 %."""
    ours, peer = _judgements({"a": [1.0], "b": [1.0]}), _judgements({"a": [1.0], "b": [2.0]})
    apart = compared({"lifting": ours, "peer": peer}, "lifting")[1].differences["assd_mm"]
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.5, 0.0, 1.0))


def test_engines_that_were_judged_on_different_people_are_not_compared() -> None:
    found = {"lifting": _judgements({"a": [1.0]}), "peer": _judgements({"b": [1.0]})}
    with pytest.raises(ValueError, match="different cases"):
        compared(found, "lifting")


def _run_file(folder: Path, toy: Archive, engines: list[str]) -> Path:
    (folder / "toy.npz").write_bytes(toy.path.read_bytes())
    path = folder / "run.toml"
    run = RUN.format(fold=0, scenes=2, steps=4000, batch=2) + PEERS.format(engines=engines)
    path.write_text(run, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("views", "engines", "judged"),
    [
        (1, ["attention-unet", "shape-model", "visual-hull"], ["attention-unet", "shape-model"]),
        (2, ["visual-hull"], ["visual-hull"]),
    ],
)
def test_the_command_trains_judges_and_writes_one_table(
    pool: Path, tmp_path: Path, views: int, engines: list[str], judged: list[str]
) -> None:
    """One view has no hull, and is one of the conditions; two views are the four others."""
    small = toy_archive(tmp_path / "small.npz", people=2)
    path = _run_file(tmp_path, small, engines)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pool").symlink_to(pool)

    compare(Console(record=True, width=120), path, views=views, minutes=0.01)

    folder = tmp_path / "run" / f"compare-{views}"
    told = json.loads((folder / "compared.json").read_text())
    assert [engine["name"] for engine in told["engines"]] == ["lifting", *judged]
    assert all(e["trained_s"] > 0 for e in told["engines"] if e["name"] != "visual-hull")
    conditions = {1: 1, 2: 4}[views]
    assert len(told["rows"]) == conditions * 2 * (1 + len(judged))
    assert {case["person"] for case in told["cases"]["lifting"]} == {"toy-0"}
    assert "minus that of lifting" in (folder / "compared.md").read_text()


def test_a_comparison_that_cannot_be_made_says_why(toy: Archive, tmp_path: Path) -> None:
    out = Console(record=True)
    path = _run_file(tmp_path, toy, ["visual-hull"])
    with pytest.raises(LearningError, match="train first"):
        compare(out, path, views=2, minutes=None)
    with pytest.raises(LearningError, match="no scenes"):
        compare(out, path, views=2, minutes=0.01)
    path = _run_file(tmp_path, toy, ["a-transformer"])
    with pytest.raises(LearningError, match=r"peers\.engines: a-transformer"):
        compare(out, path, views=2, minutes=None)
