"""A machine with a large GPU and nothing but torch and numpy: what it needs, and what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.training.loop import Training, batches
from pipeline.training.pool import fill
from pipeline.training.settings import read
from tests.toy_region import RUN, SIZE, run_file, toy_archive

ROOT = Path(__file__).parents[2]
BARE = """
import sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""Of a `sitecustomize.py`, which every process of Python begins with."""


def needed_by(*names: str) -> set[str]:
    """The modules of these distributions and of all that they require here."""
    wanted, seen = list(names), set[str]()
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            required = [Requirement(one) for one in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        wanted += [
            one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if seen & {canonicalize_name(owner) for owner in owners}
    }


def test_a_run_takes_torch_and_numpy_alone_in_all_its_processes(tmp_path: Path) -> None:
    absent = set(metadata.packages_distributions()) - needed_by("torch", "numpy") - {"pipeline"}
    absent |= {"node", "storage"}
    assert {"scipy", "safetensors", "pydicom"} <= absent
    (tmp_path / "sitecustomize.py").write_text(f"ABSENT = {absent!r}\n{BARE}", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    toy_archive(tmp_path / "toy.npz")
    path = run_file(tmp_path, RUN.format(fold=0, scenes=2, steps=2, batch=2))

    done = run("-m", "pipeline.training.command", str(path))

    assert done.returncode == 0, done.stderr
    assert "all steps are done" in done.stdout
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert "No module named 'scipy'" in run("-c", "import scipy").stderr


def test_the_recipe_for_a_gpu_trains_the_network_of_the_recipe_for_two_cores() -> None:
    """So that its checkpoint is as large: 12.9 MiB were measured, of 16 that are allowed."""
    gpu, cores = (read(ROOT / "config" / name) for name in ("train-hip-gpu.toml", "train-hip.toml"))

    assert gpu.network == cores.network
    assert gpu.training.device == "cuda"
    assert gpu.training.conditions == cores.training.conditions
    assert gpu.limit_minutes is not None
    assert gpu.limit_minutes <= 9


@pytest.mark.parametrize("ahead", [2, 5])
def test_batches_are_the_same_however_many_are_made_ahead(tmp_path: Path, ahead: int) -> None:
    toy = toy_archive(tmp_path / "toy.npz")
    fill(toy, toy.cases, tmp_path / "pool", 2, image_size=SIZE, seed=1, between=0.0)

    one, several = (
        list(batches(tmp_path / "pool", Training(steps=4, batch=1, ahead=count), 1))
        for count in (1, ahead)
    )

    assert len(one) == len(several) == 3
    for batch, other in zip(one, several, strict=True):
        assert batch.seen.images.equal(other.seen.images)
        assert batch.points.equal(other.points)
