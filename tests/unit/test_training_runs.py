"""Training runs: what a run file may say, that a run resumes, and how its network is judged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from node.learning import LearningError, evaluate, train
from pipeline.models.field import centres
from pipeline.models.lifting import Answer, Features, Seen
from pipeline.training import archive as archives
from pipeline.training.archive import Archive
from pipeline.training.batches import Batch, Conditions
from pipeline.training.exposure import CLEAN
from pipeline.training.given import Given, Reconstruct
from pipeline.training.judging import (
    Condition,
    Judgement,
    as_markdown,
    judged,
    summarised,
)
from pipeline.training.loop import Training, start
from pipeline.training.loop import train as train_run
from pipeline.training.losses import coarse_loss_of, loss_of, shadow_loss_of
from pipeline.training.pool import fill
from pipeline.training.posing import PoseRange
from pipeline.training.regions import REGIONS, WITHIN
from pipeline.training.settings import RunFault, read
from tests.toy_region import CENTRES, REGION, RUN, SIZE, SMALL, radius, run_file, toy_archive


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


@pytest.fixture(scope="module")
def pool(toy: Archive) -> Path:
    folder = toy.path.parent / "pool"
    fill(toy, toy.cases, folder, 2, image_size=SIZE, seed=1)
    return folder


@pytest.mark.parametrize("region", [region.name for region in REGIONS])
def test_every_region_has_a_run_file_that_can_be_followed(region: str) -> None:
    config = Path(__file__).parents[2] / "config"
    settings = read(config / f"train-{region}.toml")
    assert settings.archive.name == f"{region}.npz"
    assert settings.folder.name == region
    # a closer look is taken from two views and more
    one_view = 0.0 if region in WITHIN else 0.5
    assert settings.training.conditions.one_view == pytest.approx(one_view)
    closer = [read(config / name).folder.name for name in settings.evaluation.closer]
    assert closer == [name for name, within in WITHIN.items() if within.region == region]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("archive = 'a'", "folder is missing"),
        ("archive = 'a'\nfolder = 'b'\nsteps = 3", "Unknown key steps"),
        ("archive = 'a'\nfolder = 'b'\n[training]\nstep = 3", "Unknown key training.step"),
        ("archive = 'a'\nfolder = 'b'\n[training]\nsteps = 'many'", "training.steps must be"),
        ("archive = 'a'\nfolder = 'b'\ntraining = 3", "training must be a table"),
        ("archive = 'a'\nfolder = 'b'\n[network]\nplanar = 3", "network.planar must be a list"),
        ("archive = 3\nfolder = 'b'", "archive must be a path"),
        ("archive = 'a'\nfolder = 'b'\n[training]\nsteps = true", "training.steps must be"),
        ("archive = ", "Invalid value"),
    ],
)
def test_what_a_run_file_says_wrongly_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RunFault, match=words):
        read(run_file(tmp_path, text))


def test_nobody_may_be_left_out_by_name(tmp_path: Path) -> None:
    text = "archive = 'a'\nfolder = 'b'\nfold = 'none'"
    assert read(run_file(tmp_path, text)).fold is None


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(pool: Path, tmp_path: Path) -> None:
    training = Training(steps=4, batch=2, threads=1, log_every=1, conditions=Conditions(points=64))
    whole = start(SMALL, training, tmp_path / "none.pt")
    assert train_run(whole, training, pool, tmp_path, until=time.monotonic() + 100)

    broken = tmp_path / "broken"
    broken.mkdir()
    part = start(SMALL, training, broken / "checkpoint.pt")
    stopped = iter([False, False, True])

    class Clock(float):
        """Is over at the third step."""

        def __le__(self, _: float) -> bool:
            return next(stopped)

    assert not train_run(part, training, pool, broken, until=Clock(0))
    again = start(SMALL, training, broken / "checkpoint.pt")
    assert again.step == 2
    assert train_run(again, training, pool, broken, until=time.monotonic() + 100)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        # moments are kept in half precision
        assert torch.allclose(one, other, atol=1e-3)


def test_a_bone_that_is_unknown_teaches_nothing() -> None:
    answer = Answer(*(torch.randn(1, 9, 2, requires_grad=True) for _ in range(3)))
    losses = loss_of(answer, torch.randn(1, 9, 2) * 5, torch.tensor([[True, False]]))
    sum(losses.values()).backward()  # type: ignore[union-attr]
    for part in answer:
        assert part.grad is not None
        assert part.grad[..., 0].abs().sum() > 0
        assert part.grad[..., 1].abs().sum() == 0


def test_shadows_teach_the_images_of_views_that_are_there_and_bones_that_are_known() -> None:
    logits = torch.zeros(1, 2, 2, 4, 4, requires_grad=True)
    nothing = torch.zeros(1, 2, 2, 16, 16)
    seen = Seen(
        nothing, torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3), torch.tensor([[True, False]])
    )
    known = torch.tensor([[False, True]])
    batch = Batch(
        seen,
        torch.zeros(1, 1, 3),
        torch.zeros(1, 1, 2),
        known,
        torch.zeros(1, 2, 4, 4, 4),
        torch.ones(1, 2, 2, 4, 4, dtype=torch.bool),
    )
    loss = shadow_loss_of(Features(nothing, nothing, nothing, seen, logits), batch)
    assert float(loss.detach()) == pytest.approx(np.log(2))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.ne(0).flatten(2).any(dim=-1).tolist() == [[True, False]]
    assert logits.grad[0, 0, 1].lt(0).all()
    assert logits.grad[0, 0, 0].eq(0).all()


def test_the_grid_is_taught_at_the_centres_of_its_own_voxels() -> None:
    fine = torch.linspace(-6, 6, 16).expand(1, 1, 16, 16, 16)
    coarse = fine.unflatten(-1, (8, 2)).mean(-1)[:, :, ::2, ::2]
    batch = Batch(
        _nobody(),
        torch.zeros(1),
        torch.zeros(1),
        torch.ones(1, 1, dtype=torch.bool),
        fine,
        torch.zeros(1),
    )
    told = Features(torch.zeros(1), torch.zeros(1), coarse, _nobody(), torch.zeros(1))
    assert float(coarse_loss_of(told, batch)) < 1e-5
    off = told._replace(coarse=coarse + 2.0)
    assert float(coarse_loss_of(off, batch)) == pytest.approx(2.0)
    unknown = batch._replace(has=torch.zeros(1, 1, dtype=torch.bool))
    assert float(coarse_loss_of(off, unknown)) == 0.0


def _nobody() -> Seen:
    return Seen(*(torch.zeros(1) for _ in range(4)))


def test_the_best_error_that_can_be_told_is_the_true_one() -> None:
    distances = torch.full((1, 1, 1), 5.0)
    answers = [
        Answer(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), log))
        for log in torch.linspace(-1, 3, 81).tolist()
    ]
    has = torch.ones(1, 1, dtype=torch.bool)
    best = min(answers, key=lambda one: float(loss_of(one, distances, has)["likelihood"]))
    assert abs(float(best.log_error.exp()) - 2.0) < 0.1


def _truth(off: float) -> Reconstruct:
    """An engine that knows where the balls of the first person are, `off` mm too large."""

    def reconstruct(_: Given) -> Tensor:
        points = centres(REGION.cube_mm, REGION.voxels)
        balls = [
            (points - torch.tensor(CENTRES[bone])).norm(dim=-1) - radius(0, bone) - off
            for bone in CENTRES
        ]
        return torch.stack(balls).unflatten(1, (REGION.voxels,) * 3)

    return reconstruct


STILL = Condition("still", CLEAN, pose=PoseRange(0, 0, 0, 0, 0))
MOVED = Condition("moved", CLEAN)


@pytest.mark.parametrize(("off", "expected"), [(0.0, 0.0), (1.5, 1.5)])
def test_a_surface_that_is_off_by_so_much_is_judged_so(
    toy: Archive, off: float, expected: float
) -> None:
    found = judged(_truth(off), toy, toy.cases[:1], (STILL,), image_size=SIZE)
    assert [one.bone for one in found] == list(CENTRES)
    for one in found:
        assert one.assd_mm == pytest.approx(expected, abs=0.12)
        assert one.dice > (0.97 if off == 0 else 0.8)


@pytest.mark.parametrize("off", [0.0, 1.5])
def test_the_place_is_judged_apart_from_the_shape(toy: Archive, off: float) -> None:
    """The truth of the still pose is off in a moved one, by about as much as that was moved."""
    found = judged(_truth(off), toy, toy.cases[:1], (MOVED,), image_size=SIZE)
    for one in found:
        assert 1.8 < one.assd_mm < 25
        assert one.shape_mm == pytest.approx(off, abs=0.3)


def test_means_are_over_people_and_not_over_sides() -> None:
    rows = [("a", 1.0), ("a", 3.0), ("b", 5.0)]
    judgements = [
        Judgement("c", person, person, "femur", 0.9, assd, 2.0, 0.5) for person, assd in rows
    ]
    (summary,) = summarised(judgements)
    assert summary.people == 2
    assert summary.assd_mm == pytest.approx(3.5)
    assert summary.assd_worst == 5.0
    assert summary.assd_low <= 3.5 <= summary.assd_high
    assert "| c | femur | 2 |" in as_markdown([summary])


def test_the_command_trains_resumes_draws_and_judges(toy: Archive, tmp_path: Path) -> None:
    (tmp_path / "toy.npz").write_bytes(toy.path.read_bytes())
    out = Console(record=True, width=120)
    assert train(out, run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=2, batch=2)))
    assert train(out, run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=3, batch=2)))
    run = tmp_path / "run"
    lines = (run / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    evaluate(out, tmp_path / "run.toml")
    cases = json.loads((run / "results.json").read_text())["cases"]
    assert {case["person"] for case in cases} == {"toy-0", "toy-2"}
    assert "After 3 steps" in (run / "results.md").read_text()


def test_a_run_that_cannot_be_followed_says_why(toy: Archive, tmp_path: Path) -> None:
    out = Console(record=True)
    path = run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=2, batch=2))
    with pytest.raises(LearningError, match="There is no archive"):
        train(out, path)
    (tmp_path / "toy.npz").write_bytes(toy.path.read_bytes())
    with pytest.raises(LearningError, match="train first"):
        evaluate(out, path)
    path = run_file(tmp_path, RUN.format(fold='"none"', scenes=2, steps=2, batch=2))
    with pytest.raises(LearningError, match="nobody is left to judge on"):
        evaluate(out, path)


def test_an_archive_is_what_was_written(toy: Archive) -> None:
    again = archives.load(toy.path)
    assert again.cases == toy.cases
    assert again.near(again.cases[0]).shape == (3, 48, 48, 48)
