"""A cross-validation: one run file, a network for each fold, and one table of all people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from node.__main__ import app
from node.learning import LearningError, evaluate, train
from pipeline.training.settings import RunFault, of_folds, read
from tests.tiny_family import HEAD, NETWORK, REGIONAL
from tests.toy_region import RUN, run_file, toy_archive

BEGINS = 'begin_with = "other/checkpoint.pt"\n'


@pytest.fixture
def toy_run(tmp_path: Path) -> Path:
    """People toy-0 and toy-2 are in fold 0, toy-1 in fold 1."""
    toy_archive(tmp_path / "toy.npz")
    return run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=2, batch=2))


def test_each_fold_has_a_folder_and_a_beginning_of_its_own(tmp_path: Path) -> None:
    text = BEGINS + RUN.format(fold=1, scenes=2, steps=2, batch=2)
    run = read(run_file(tmp_path, text))

    crossed = [of_folds(run, [fold]) for fold in range(5)]

    assert crossed[1] == run
    assert [one.fold for one in crossed] == [(0,), (1,), (2,), (3,), (4,)]
    assert len({one.folder for one in crossed}) == 5
    assert crossed[3].folder == tmp_path / "run" / "fold-3"
    assert crossed[3].begin_with == tmp_path / "other" / "fold-3" / "checkpoint.pt"
    assert crossed[3].training == run.training


@pytest.mark.parametrize("fold", [-1, 5])
def test_there_are_five_folds(tmp_path: Path, fold: int) -> None:
    run = read(run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=2, batch=2)))
    with pytest.raises(RunFault, match="from 0 to 4"):
        of_folds(run, [0, fold])
    with pytest.raises(RunFault, match="from 0 to 4"):
        read(run_file(tmp_path, RUN.format(fold=fold, scenes=2, steps=2, batch=2)))


def test_folds_that_are_left_out_together_have_one_folder_whatever_their_order(
    tmp_path: Path,
) -> None:
    run = read(run_file(tmp_path, RUN.format(fold="[2, 1]", scenes=2, steps=2, batch=2)))

    assert of_folds(run, [1, 2]) == run
    assert of_folds(run, [4, 3]) == of_folds(run, [3, 4, 4])
    assert of_folds(run, [4, 3]).folder.name == "fold-3-4"


def test_everyone_is_judged_by_the_network_that_has_not_seen_them(toy_run: Path) -> None:
    out, folder = Console(record=True, width=120), toy_run.parent / "run"
    assert train(out, toy_run)
    assert train(out, toy_run, (1,))
    assert (folder / "fold-1" / "curve.png").exists()

    evaluate(out, toy_run, [(0,), (1,)])

    cases = json.loads((folder / "crossed.json").read_text())["cases"]
    assert {case["person"] for case in cases} == {"toy-0", "toy-1", "toy-2"}
    assert "of 2 networks" in (folder / "crossed.md").read_text()
    evaluate(out, toy_run, [(1,)])
    alone = json.loads((folder / "crossed.json").read_text())["cases"]
    assert alone == [case for case in cases if case["person"] == "toy-1"]
    assert not (folder / "results.md").exists()


def test_several_folds_are_left_out_together(tmp_path: Path) -> None:
    toy_archive(tmp_path / "toy.npz")
    run = run_file(tmp_path, RUN.format(fold=4, scenes=2, steps=1, batch=2))
    command = CliRunner()

    trained = command.invoke(app, ["train", str(run), "--fold", "1,2"])
    assert trained.exit_code == 0, trained.output
    pool = tmp_path / "run" / "fold-1-2" / "pool"
    assert len(list(pool.glob("*.npz"))) == 2
    assert "2 legs of 2 people" in trained.output

    judged = command.invoke(app, ["evaluate", str(run), "--fold", "1,2"])
    assert judged.exit_code == 0, judged.output
    cases = json.loads((tmp_path / "run" / "crossed.json").read_text())["cases"]
    assert {case["person"] for case in cases} == {"toy-1"}


def test_nobody_is_judged_twice(toy_run: Path) -> None:
    told = CliRunner().invoke(app, ["evaluate", str(toy_run), "--fold", "0", "--fold", "1,0"])

    assert told.exit_code != 0
    assert "fold 0 would be judged twice" in told.output.replace("\n", " ")


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_folds_are_named_by_numbers(toy_run: Path, command: str) -> None:
    told = CliRunner().invoke(app, [command, str(toy_run), "--fold", "one"])

    assert told.exit_code != 0
    assert "as 1 or 1,2, not 'one'" in told.output.replace("\n", " ")


def test_the_cross_validations_begin_with_the_same_people_left_out() -> None:
    config = Path(__file__).parents[2] / "config"
    hip = read(config / "crossed-hip.toml")
    read(config / "crossed-knee.toml")
    for name in hip.evaluation.closer:
        closer = of_folds(read(config / name), [1, 2])
        assert closer.begin_with == of_folds(hip, [1, 2]).folder / "checkpoint.pt"


def test_a_fold_that_was_not_trained_is_named(toy_run: Path) -> None:
    told = CliRunner().invoke(app, ["evaluate", str(toy_run), "--fold", "3"])

    assert told.exit_code != 0
    assert "fold-3" in told.output.replace("\n", "")
    assert "train first" in told.output.replace("\n", " ")


def test_families_are_not_trained_fold_by_fold(tmp_path: Path) -> None:
    run = run_file(tmp_path, HEAD + NETWORK + REGIONAL)
    with pytest.raises(LearningError, match="leave out --fold"):
        train(Console(), run, (1,))
    with pytest.raises(LearningError, match="leave out --fold"):
        evaluate(Console(), run, [(1,)])
