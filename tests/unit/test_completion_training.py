"""Training of a completion: what it can learn, that it goes on where it was, and how it is judged.

Expected: `published-models.md` 9, rows 24 and 26, and hand-made maps.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.models.completion import Completion, CompletionShape, Kind, loss
from pipeline.training.completion_judging import atlas_of, evaluate, judged, summarised
from pipeline.training.completion_pairs import JudgedPair, Pair
from pipeline.training.completions import train
from pipeline.training.label_maps import LabelledPerson, Labels, write, zoomed
from pipeline.training.removing import without_anatomies
from pipeline.training.settings import RunFault

NAMES = ("a_R", "a_L", "b")
BOX = (320.0, 320.0, 320.0)
RUN = """
folder = "run"
archive = "maps.npz"
fold = 1
judged_instances = 3
[network]
size = 32
divided_by = 8
[training]
batch = 1
log_every = 2
checkpoint_every = 2
"""


def body(seed: int) -> Labels:
    """Two blocks beside a column in 32^3 voxels, each where nobody else has it."""
    random = np.random.default_rng(seed)
    made = np.zeros((32,) * 3, np.uint8)
    z, y = (int(n) for n in random.integers(6, 14, 2))
    made[z : z + 9, y : y + 8, 5:12] = 1
    made[z : z + 9, y : y + 8, 20:27] = 2
    made[4:28, y : y + 5, 14:18] = 3
    return made


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_missing_anatomies_of_four_people_can_be_learned() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    complete, given = (
        torch.from_numpy(np.stack(maps)).long()
        for maps in zip(
            *(
                (one, without_anatomies(one, 0.1, random))
                for one in (zoomed(body(seed), (16, 16, 16)) for seed in range(4))
                for _ in range(3)
            ),
            strict=True,
        )
    )
    net = Completion(CompletionShape(Kind.SKIP, classes=4, divided_by=8, one_hot=True))
    optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)

    for step in range(480):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / 480)
        one = slice(step % 12, step % 12 + 1)
        optimiser.zero_grad()
        loss(net(given[one]), complete[one])["total"].backward()
        optimiser.step()
    with torch.no_grad():
        made = net.completed(given).numpy()

    scores = [
        dice(one == number, truth.numpy() == number)
        for one, truth, left in zip(made, complete, given, strict=True)
        for number in (1, 2, 3)
        if not bool((left == number).any())
    ]
    assert len(scores) >= 12
    assert np.mean(scores) > 0.9
    # a copy of the input has none of it, and nothing of the input is changed
    kept = given.numpy() > 0
    assert np.array_equal(made[kept], given.numpy()[kept])


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    people = {LabelledPerson(f"z{n}", f"z{n}", "made", "none", n % 2): body(n) for n in range(4)}
    write(tmp_path / "maps.npz", NAMES, BOX, people)
    return tmp_path


def run_file(folder: Path, steps: int, before: str = "") -> Path:
    path = folder / "run.toml"
    path.write_text(f"{before}{RUN}steps = {steps}\n", encoding="utf-8")
    return path


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
    assert stored["step"] == 4
    return dict(stored["net"])


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    a_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(run_file(a_run, 4), say=lambda _: None)
    straight = checkpoint(a_run)
    (a_run / "run" / "checkpoint.pt").unlink()

    # a clock of a second a glance: the limit of five seconds falls after some steps
    clock = iter(range(10_000))
    with monkeypatch.context() as patched:
        patched.setattr("time.monotonic", lambda: float(next(clock)))
        is_done = train(run_file(a_run, 4, "limit_minutes = 0.09\n"), say=lambda _: None)
    assert not is_done
    assert train(run_file(a_run, 4), say=lambda _: None)

    assert all(torch.equal(value, straight[name]) for name, value in checkpoint(a_run).items())


def test_a_checkpoint_of_another_network_is_refused(a_run: Path) -> None:
    train(run_file(a_run, 1), say=lambda _: None)
    path = run_file(a_run, 2)
    path.write_text(path.read_text().replace("divided_by = 8", "divided_by = 4"))

    with pytest.raises(RunFault, match="is of another network"):
        train(path, say=lambda _: None)


def test_a_judgement_needs_a_training(a_run: Path) -> None:
    with pytest.raises(RunFault, match="train first"):
        evaluate(run_file(a_run, 1), say=lambda _: None)


def test_a_judgement_is_a_table_beside_the_atlas_and_the_input(a_run: Path) -> None:
    train(run_file(a_run, 2), say=lambda _: None)

    table = evaluate(run_file(a_run, 2), say=lambda _: None)

    rows = json.loads(table.with_suffix(".json").read_text())
    assert {one["label"] for one in rows["judgements"]} <= set(NAMES)
    assert {one["person"] for one in rows["judgements"]} == {"z1", "z3"}
    assert all(one["copied"] == 0 for one in rows["judgements"])
    assert "input copied" in table.read_text()


def test_only_what_was_missing_is_judged() -> None:
    complete = body(0)
    given = np.where(complete == 2, 0, complete).astype(np.uint8)
    shifted = np.where(given > 0, given, np.roll(complete, 1, axis=0)).astype(np.uint8)
    pair = JudgedPair("Test^One", "made", Pair(complete, given))

    (one,) = judged([pair], NAMES, lambda _: shifted, np.zeros_like(complete), BOX)

    # a block of 9 voxels along z, moved by one of them: 8 of 9 agree
    assert one.label == "a_L"
    assert one.network == pytest.approx(8 / 9)
    assert (one.atlas, one.copied) == (0.0, 0.0)
    # no voxel of a surface is farther than one step of 10 mm from the other
    assert 0 < one.assd_mm <= one.hd95_mm <= 10
    assert one.f_score == pytest.approx(1.0)


def test_nobody_is_judged_on_what_is_borrowed() -> None:
    complete = body(0)
    given = np.where(complete == 2, 0, complete).astype(np.uint8)
    pair = JudgedPair("Test^One", "made", Pair(complete, given), unjudged=(2,))

    assert not judged([pair], NAMES, lambda _: complete, np.zeros_like(complete), BOX)


def test_the_atlas_is_the_commonest_label() -> None:
    maps = [np.array([[row]], np.uint8) for row in ([1, 0, 2], [1, 3, 2], [2, 3, 1])]

    assert atlas_of(maps, 3).ravel().tolist() == [1, 3, 2]


def test_a_person_with_more_pieces_weighs_no_more() -> None:
    complete = body(0)
    given = np.where(complete == 1, 0, complete).astype(np.uint8)
    nothing = np.zeros_like(complete)
    good = JudgedPair("Test^Good", "made", Pair(complete, given))
    bad = JudgedPair("Test^Bad", "made", Pair(complete, given))

    found = judged([good], NAMES, lambda _: complete, nothing, BOX)
    found += 3 * judged([bad], NAMES, lambda part: part, nothing, BOX)
    label, everything = summarised(found, NAMES)[:2]

    assert (label.label, everything.label) == ("a_R", "all")
    assert label.network == pytest.approx(0.5)
    assert (label.low, label.high) == (0.0, 1.0)
