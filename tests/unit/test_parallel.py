"""Two processes that train one network stay one network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.training.parallel import ALONE, any_of, average, team
from tests.toy_region import RUN, toy_archive

MEMBER = """
import json
import torch
from pipeline.training.parallel import any_of, average, team

torch.set_num_threads(1)
with team("cpu") as of:
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    unused = torch.nn.Parameter(torch.ones(2))
    seen = torch.randn(6, 3, generator=torch.Generator().manual_seed(5 + of.rank))
    for _ in range(3):
        net.zero_grad(set_to_none=True)
        unused.grad = None
        loss = net(seen).square().mean() + (unused.sum() if of.rank else 0)
        loss.backward()
        average(of, [*net.parameters(), unused])
        with torch.no_grad():
            for weight in net.parameters():
                weight.sub_(0.1 * weight.grad)
    said = {
        "seen": seen.tolist(),
        "weights": [weight.flatten().tolist() for weight in net.parameters()],
        "unused": unused.grad.tolist(),
        "any": any_of(of, of.rank == 1),
        "none": any_of(of, False),
    }
print(json.dumps(said))
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def members() -> list[dict[str, object]]:
    """What each of two processes says, as `torchrun` starts them."""
    root = Path(__file__).parents[2]
    told = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER],
            env={**told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [one.communicate(timeout=300)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0]
    return [json.loads(one.splitlines()[-1]) for one in said]


def test_two_processes_take_the_steps_of_one_with_both_batches(
    members: list[dict[str, object]],
) -> None:
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    both = torch.cat([torch.tensor(one["seen"]) for one in members])
    for _ in range(3):
        net.zero_grad()
        net(both).square().mean().backward()
        with torch.no_grad():
            for weight in net.parameters():
                assert weight.grad is not None
                weight.sub_(0.1 * weight.grad)

    for one in members:
        stepped = one["weights"]
        assert isinstance(stepped, list)
        for found, weight in zip(stepped, net.parameters(), strict=True):
            assert torch.allclose(torch.tensor(found), weight.flatten(), atol=1e-6)


def test_a_weight_without_a_gradient_in_one_process_counts_as_zero(
    members: list[dict[str, object]],
) -> None:
    assert [one["unused"] for one in members] == [[0.5, 0.5], [0.5, 0.5]]


def test_all_stop_when_one_does(members: list[dict[str, object]]) -> None:
    assert [one["any"] for one in members] == [True, True]
    assert [one["none"] for one in members] == [False, False]


def test_a_process_alone_is_the_first_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    weight = torch.nn.Parameter(torch.ones(2))

    with team("cpu") as of:
        average(of, [weight])

        assert of == ALONE
        assert of.is_first
        assert any_of(of, True)
        assert not any_of(of, False)
    assert weight.grad is None


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    toy_archive(tmp_path / "toy.npz")
    run = RUN.format(fold=1, scenes=4, steps=3, batch=1)
    (tmp_path / "run.toml").write_text(run, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "pipeline.training.command", "run.toml"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # the second one is silent, and writes no second line for a step
    assert ran.stdout.count("all steps are done") == 1
    lines = [json.loads(one) for one in (tmp_path / "run/curve.jsonl").read_text().splitlines()]
    assert [one["step"] for one in lines] == [1, 2, 3]
    assert torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["step"] == 3
    assert len(list((tmp_path / "run/pool").glob("*.npz"))) == 4
