"""The volumetric families: what each fulfils, its rates, and what it has not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.settings import RunFault
from pipeline.training.volumes_families import FAMILIES, Family, family
from pipeline.training.volumes_settings import Stage
from tests.tiny_family import NARROW, NARROW_RECURRENT, plan_of


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "pix2vox"}, "family must be one of"),
        ({"grid": 16}, "the layers make 8"),
        ({"stages": (Stage("whole", 2),)}, "has no stage 'whole', only single, fusion"),
    ],
)
def test_a_family_that_is_asked_for_what_it_has_not_says_so(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(RunFault, match=words):
        family(plan_of(tmp_path, **changes), NARROW)


def _made(name: str, folder: Path) -> Family:
    stages = (Stage("single", 1),) if name.startswith("pix2vox") else (Stage("whole", 1),)
    network = dict(NARROW if name.startswith("pix2vox") else NARROW_RECURRENT)
    if name == "pix2vox++/A":
        network |= {"refiner": [4], "hidden": 8}
    return family(plan_of(folder, family=name, stages=stages), network)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_family_fulfils_the_contract(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = _made(name, tmp_path)
    images = torch.rand(2, 2, 3, made.size.image, made.size.image)
    wanted = torch.rand(2, 8, 8, 8)
    losses = made.loss(images, wanted, made.stages[-1])
    losses["total"].backward()
    moved = {id(w) for group in made.groups(made.stages[-1]) for w in group["params"]}
    assert moved == {id(w) for w in made.network.parameters()}
    assert all(group["lr"] > 0 for group in made.groups(made.stages[0]))
    made.network.eval()
    with torch.no_grad():
        found, shares = made.occupancy(images), made.shares(images)
    assert found.shape == (2, 8, 8, 8)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert shares.shape == (2, 2, 8, 8, 8)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2, 8, 8, 8), atol=1e-5)


def test_published_rates_are_halved_or_divided_where_the_papers_do(tmp_path: Path) -> None:
    fused, recurrent = (_made(name, tmp_path) for name in ("pix2vox++/F", "Res3D-GRU-3"))
    # epoch 150 of 250, and iteration 20,000 of 60,000
    assert [fused.rate("single", done) for done in (0.0, 0.599, 0.601)] == [1.0, 1.0, 0.5]
    rates = [recurrent.rate("whole", done) for done in (0.0, 0.333, 0.334, 0.999)]
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1])
