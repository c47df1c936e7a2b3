"""Runs of the volumetric families: stages, resumption, and the tables."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from node import learning
from pipeline.training.settings import RunFault
from pipeline.training.volumes import train
from pipeline.training.volumes_curve import draw
from pipeline.training.volumes_data import Item, Sample, Source
from pipeline.training.volumes_evaluating import evaluate
from pipeline.training.volumes_families import family
from pipeline.training.volumes_loop import Learned, Run, stage_at, start
from pipeline.training.volumes_loop import train as train_run
from pipeline.training.volumes_settings import Plan, Stage
from tests.published_folders import write_models
from tests.tiny_family import HEAD, NARROW, NETWORK, REGIONAL, plan_of
from tests.toy_region import run_file, toy_archive


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz").path


def _sample(number: int, views: range | list[int], generator: torch.Generator) -> Sample:
    """An image as bright as the share of the grid that is filled, with a little noise."""
    wanted = _wanted(number)
    noise = 0.05 * torch.rand(len(views), 3, 64, 64, generator=generator)
    return Sample(float(wanted.mean()) + noise, wanted)


def _wanted(number: int) -> Tensor:
    made = torch.zeros(8, 8, 8)
    made[: 2 + 4 * number, 2:6] = 1.0
    return made


def _learned() -> Learned:
    items = (Item("low", "ann", "box"), Item("high", "bea", "box"))
    source = Source(items, 3, _sample, _wanted)  # type: ignore[arg-type]  # ranges are sequences
    return Learned(source, source, 0.0)


def _begun(plan: Plan) -> Run:
    torch.manual_seed(plan.seed)
    return start(family(plan, NARROW), plan, plan.folder / "checkpoint.pt")


def _forever() -> float:
    return time.monotonic() + 1000


def test_a_step_belongs_to_its_stage(tmp_path: Path) -> None:
    assert [stage_at(plan_of(tmp_path), step) for step in range(4)] == [0, 0, 1, 1]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    for steps in (1, 2, 3):
        folder = tmp_path / str(steps)
        folder.mkdir()
        whole = _begun(plan_of(folder, seed=3))
        assert train_run(whole, plan_of(folder), _learned(), until=_forever())
        (folder / "checkpoint.pt").unlink()
        stopped = iter([False] * steps + [True])

        class Clock(float):
            """Is over after so many steps."""

            def __le__(self, _: float) -> bool:
                return next(stopped)  # noqa: B023  # is asked within the same turn of the loop

        part = _begun(plan_of(folder, seed=3))
        assert not train_run(part, plan_of(folder), _learned(), until=Clock(0))
        again = _begun(plan_of(folder, seed=3))
        assert again.step == steps
        assert train_run(again, plan_of(folder), _learned(), until=_forever())
        state, other = whole.family.network.state_dict(), again.family.network.state_dict()
        for name, value in state.items():
            assert torch.allclose(value.float(), other[name].float(), atol=1e-5), name


def test_the_first_stage_leaves_the_merger_as_it_is_and_the_second_does_not(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path)
    run = _begun(plan)
    before = {name: value.clone() for name, value in run.family.network.state_dict().items()}
    train_run(run, replace(plan, stages=plan.stages[:1]), _learned(), until=_forever())
    single = {name: value.clone() for name, value in run.family.network.state_dict().items()}
    train_run(run, plan, _learned(), until=_forever())
    fused = run.family.network.state_dict()
    merger = [name for name in before if name.startswith("merger") and "weight" in name]
    assert merger
    assert all(torch.equal(before[name], single[name]) for name in merger)
    assert any(not torch.equal(single[name], fused[name]) for name in merger)


def test_what_is_shown_again_and_again_is_learned(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, stages=(Stage("single", 40, 1, 1, rate=10.0),), batch=4)
    train_run(_begun(plan), plan, _learned(), until=_forever())
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, 41)]
    assert lines[-1]["total"] < 0.5 * lines[0]["total"]


def test_the_curve_has_a_panel_for_each_loss(tmp_path: Path) -> None:
    lines = [{"step": n, "total": 2.0 / n, "seconds_a_step": 1.0} for n in (1, 2)]
    lines.append({"step": 3, "total": 0.5, "refined": 0.2, "seconds_a_step": 1.0})
    (tmp_path / "curve.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))

    with Image.open(draw(tmp_path)) as picture:
        size = picture.size

    # two panels of 5.5 x 3.6 inches at 110 dots
    assert size == (1210, 396)


def test_a_loss_that_is_no_number_breaks_the_run_off(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    run = _begun(plan)
    broken = replace(run.family, loss=lambda *_: {"total": torch.tensor(math.nan)})
    with pytest.raises(RunFault, match="loss of step 0 is nan"):
        train_run(replace(run, family=broken), plan, _learned(), until=_forever())
    large = replace(run.family, loss=lambda *_: {"total": torch.tensor(3.0)}, largest_loss=2.0)
    with pytest.raises(RunFault, match="is 3"):
        train_run(replace(run, family=large), plan, _learned(), until=_forever())


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    train_run(_begun(plan), plan, _learned(), until=_forever())
    wider = family(plan, {**NARROW, "stem": 16})
    with pytest.raises(RunFault, match="of another run"):
        start(wider, plan, tmp_path / "checkpoint.pt")


def test_a_run_begins_with_what_is_alike_in_the_network_of_another(tmp_path: Path) -> None:
    before = plan_of(tmp_path / "before")
    before.folder.mkdir()
    train_run(_begun(before), before, _learned(), until=_forever())
    taught = _begun(before).family.network.state_dict()
    file = before.folder / "checkpoint.pt"
    plan = replace(plan_of(tmp_path), begin_with=file)

    own = start(family(plan, NARROW), plan, tmp_path / "none.pt")
    wider = start(family(plan, {**NARROW, "decoder": [8, 16]}), plan, tmp_path / "none.pt")

    assert own.step == wider.step == 0
    assert all(torch.equal(v, taught[k]) for k, v in own.family.network.state_dict().items())
    found = wider.family.network.state_dict()
    same = {name for name, value in found.items() if value.shape == taught[name].shape}
    assert same
    assert same != set(found)
    assert all(torch.equal(found[name], taught[name]) for name in same)


def test_a_beginning_that_is_none_is_refused(tmp_path: Path) -> None:
    plan = replace(plan_of(tmp_path), begin_with=tmp_path / "gone.pt")
    with pytest.raises(RunFault, match=r"no .*gone\.pt to begin with"):
        _begun(plan)
    torch.save({"net": {"other": torch.zeros(2)}}, tmp_path / "gone.pt")
    with pytest.raises(RunFault, match="nothing in it is alike"):
        _begun(plan)


def test_a_run_on_a_region_is_simulated_trained_and_judged(toy: Path, tmp_path: Path) -> None:
    shutil.copy(toy, tmp_path)
    path = run_file(tmp_path, HEAD + REGIONAL + NETWORK)
    said: list[str] = []

    with pytest.raises(RunFault, match="train first"):
        evaluate(path, said.append)
    is_done = train(path, said.append)
    table = evaluate(path, said.append)

    assert is_done
    assert "pix2vox++/F: 2 items of 3 views" in said
    assert len(list((tmp_path / "pool").glob("*.npz"))) == 2
    text = table.read_text(encoding="utf-8")
    assert text.startswith("pix2vox++/F after 4 steps.")
    assert "| network | 3 | 1 | 1 |" in text
    assert "| mean shape | 1 | 1 | 1 |" in text
    told = json.loads((tmp_path / "run" / "results.json").read_text())
    # the people of fold 0 are toy-0 and toy-2; one scene shows the first of them
    assert {item["owner"] for item in told["items"]} == {"toy-0"}
    orders = [one for one in told["claims"] if "orders" in one["name"]]
    # the fusion does not know an order
    assert orders
    assert all(one["found"]["mean"] < 1e-5 for one in orders)


def test_a_run_on_published_folders_is_trained_and_judged(tmp_path: Path) -> None:
    write_models(tmp_path, list("abcde"))
    write_models(tmp_path, list("fghij"), category="03001627")
    text = HEAD + NETWORK + '[published]\nroot = "."\ncrop = 10\njitter = 0.4\n'
    path = run_file(tmp_path, text)

    assert train(path, lambda _: None)
    table = evaluate(path, lambda _: None).read_text(encoding="utf-8")

    many = run_file(tmp_path, text.replace("judged_views = [1, 3]", "judged_views = [5]"))
    with pytest.raises(RunFault, match="no more than 3 views"):
        evaluate(many, lambda _: None)
    assert "| 02691156 | views |" in table
    assert "| network | 3 | 2 | 2 |" in table.split("| all | views |")[1]


def test_the_commands_follow_a_run_of_a_family(tmp_path: Path) -> None:
    write_models(tmp_path, list("abcde"))
    path = run_file(tmp_path, HEAD + NETWORK + '[published]\nroot = "."\n')
    out = Console(record=True, width=200)

    assert learning.train(out, path)
    learning.evaluate(out, path)

    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000
    assert "results.md" in out.export_text()


def test_what_a_region_has_not_is_named(toy: Path, tmp_path: Path) -> None:
    path = run_file(tmp_path, HEAD + REGIONAL + NETWORK)
    with pytest.raises(RunFault, match="There is no archive"):
        train(path, lambda _: None)
    shutil.copy(toy, tmp_path)
    other = run_file(tmp_path, HEAD + REGIONAL.replace("femur", "rib") + NETWORK)
    with pytest.raises(RunFault, match="has femur, hip_bone, not 'rib'"):
        train(other, lambda _: None)
    empty = REGIONAL.replace("scenes = 2\n", "").replace("held_scenes = 1\n", "")
    with pytest.raises(RunFault, match="no scenes in"):
        train(run_file(tmp_path, HEAD + empty + NETWORK), lambda _: None)
