"""A network that is told where its views were taken from is told the same in training and in a job.

Numbers of a token: `published-models.md` 2.7.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import weights
from pipeline.geometry import mirror
from pipeline.models.poses import poses
from pipeline.models.recurrent import VARIANTS, Recurrent
from pipeline.models.volumetric import asked
from pipeline.reconstruct import reconstruct
from pipeline.training.settings import RunFault
from pipeline.training.volumes import train
from pipeline.training.volumes_data import Sample
from pipeline.training.volumes_evaluating import evaluate
from pipeline.types import Radiograph, Side, ViewName
from pipeline.volumetric_weights import export, file_name
from tests.lifting_nets import a_view, octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.published_folders import write_models
from tests.tiny_family import NARROW_RECURRENT, REGIONAL
from tests.toml_text import toml
from tests.toy_region import run_file, toy_archive
from tests.volumetric_nets import TOLD

ENGINE = "Res3D-GRU-3"
RUN = f"""
family = "{ENGINE}"
folder = "run"
grid = 8
batch = 2
log_every = 1
judged_views = [1, 3]
stages = [{{ name = "whole", steps = 2, most_views = 3 }}]
"""


AP, LL = a_view(ViewName.AP), a_view(ViewName.LL)


def small() -> Recurrent:
    """A network that has learned nothing and is told poses."""
    torch.manual_seed(1)
    told = {k: tuple(v) if isinstance(v, list) else v for k, v in NARROW_RECURRENT.items()}
    return Recurrent(replace(VARIANTS[ENGINE], has_pose=True, **told)).eval()  # type: ignore[arg-type]


def test_a_token_says_direction_distance_and_pitch() -> None:
    names = (ViewName.PA, ViewName.AP, ViewName.LL, ViewName.RL)

    found = poses([a_view(name) for name in names], 70)

    # the nominal rays run to the front, to the back, to the left and to the right of the patient
    directions = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])
    np.testing.assert_allclose(found[:, :2].numpy(), directions, atol=1e-6)
    # level, 1.15 m, and 280 mm in 70 pixels
    np.testing.assert_allclose(found[:, 2:].numpy(), [[0, 1.15, 4.0]] * 4, atol=1e-5)


def test_what_is_seen_from_one_place_has_one_token_whatever_the_view_is_called() -> None:
    turned = next(
        view
        for view in (a_view(ViewName.AP, primary_deg=deg) for deg in (90.0, -90.0))
        if np.allclose(view.source, LL.source)
    )

    torch.testing.assert_close(poses([turned], 64), poses([LL], 64), atol=1e-5, rtol=0)


def test_a_mirrored_view_has_the_mirrored_azimuth() -> None:
    view = a_view(ViewName.AP, primary_deg=20.0, secondary_deg=10.0)

    one, other = poses([view, mirror(view)], 64)

    assert abs(float(one[0])) > 0.3
    torch.testing.assert_close(other, one * torch.tensor([-1.0, 1, 1, 1, 1]), atol=1e-6, rtol=0)


def test_views_are_given_with_their_own_tokens() -> None:
    images, tokens = torch.rand(3, 3, 4, 4), torch.rand(3, 5)
    told, untold = (
        Sample(images, torch.zeros(2, 2, 2), tokens),
        Sample(images, torch.zeros(2, 2, 2)),
    )

    seen, poses_of = told.seen([2, 0])

    assert torch.equal(seen, images[[2, 0]][None])
    assert torch.equal(poses_of, tokens[[2, 0]][None])
    assert [tuple(part.shape) for part in untold.seen(slice(2))] == [(1, 2, 3, 4, 4)]


@torch.inference_mode()
def test_a_job_tells_the_network_its_cameras() -> None:
    net, pictures = small(), torch.rand(2, 3, 127, 127)

    right, swapped = (asked(net, pictures, views).occupancy for views in ([AP, LL], [LL, AP]))

    images, tokens = pictures[None], poses([AP, LL], 127)[None]
    torch.testing.assert_close(right, net.occupancy(images, tokens)[0])
    assert not torch.equal(right, swapped)


def test_a_run_that_asks_for_poses_is_trained_and_judged_with_them(tmp_path: Path) -> None:
    shutil.copy(toy_archive(tmp_path / "made.npz").path, tmp_path / "toy.npz")
    network = toml({"network": {**NARROW_RECURRENT, "has_pose": True}})
    path = run_file(tmp_path, RUN + REGIONAL + network)

    assert train(path, lambda _: None)
    evaluate(path, lambda _: None)

    told = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {one["views"] for one in told["items"]} == {1, 3}
    stored = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["net"]
    # 16 features and 5 numbers of the token
    assert {w.shape[-1] for name, w in stored.items() if w.dim() == 2 and "unit" in name} == {21}


def test_published_folders_tell_no_poses(tmp_path: Path) -> None:
    write_models(tmp_path, list("abcde"))
    network = toml({"network": {**NARROW_RECURRENT, "has_pose": True}})
    path = run_file(tmp_path, RUN + '[published]\nroot = "."\n' + network)

    with pytest.raises(RunFault, match=r"network\.has_pose"):
        train(path, lambda _: None)


def test_weights_that_are_told_poses_work_as_an_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    lifting_shipped(octahedra(((0.0, 0.0, 0.0), 40.0)), tmp_path)
    net = small()
    described = replace(TOLD, engine=ENGINE, level=0.3)
    export(net, tmp_path / file_name(described.region, ENGINE), described)
    noise = np.random.default_rng(0).normal(size=(140, 140)).astype(np.float32)
    images = [
        Radiograph(noise, np.ones_like(noise, np.bool_), view, "1.2", f"1.2.{view.name}", "1.3")
        for view in (AP, LL)
    ]

    made = reconstruct(images, region="hip", side=Side.RIGHT, model=ENGINE)

    assert [share.label for share in made.shares] == ["AP", "LL"]
    assert made.bones[0].probability.array.max() > 0.5
