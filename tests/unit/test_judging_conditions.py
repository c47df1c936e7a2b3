"""Under which conditions a region is judged."""

from __future__ import annotations

import pytest
import torch

from pipeline.training.extents import Extent
from pipeline.training.judging import CONDITIONS, conditions_of
from pipeline.training.posing import RIGID
from pipeline.training.real_bodies import RealBody
from pipeline.training.regions import region_named


def _body() -> RealBody:
    edge = Extent(torch.zeros(2), torch.ones(2))
    return RealBody(torch.zeros(2, 2, 2, dtype=torch.uint8), torch.eye(4).double(), edge)


def test_without_bodies_of_real_people_a_hip_is_judged_in_bodies_of_closed_form() -> None:
    *straight, turned = conditions_of(region_named("hip"), (), ())
    assert tuple(straight) == CONDITIONS
    assert turned.bodies == ()


def test_bodies_that_were_learned_from_are_told_apart_from_those_that_were_not() -> None:
    learned, other = _body(), _body()

    *before, of_other, of_learned, _ = conditions_of(region_named("hip"), (learned,), (other,))

    assert tuple(before) == CONDITIONS
    assert of_other.bodies[0] is other
    assert of_learned.bodies[0] is learned
    assert "learned" not in of_other.name
    assert of_learned.name.endswith("that was learned from")


@pytest.mark.parametrize("region", ["knee", "distal_femur", "proximal_tibia"])
def test_a_region_with_a_joint_is_judged_bent_too(region: str) -> None:
    *straight, last = conditions_of(region_named(region), (), ())

    assert {one.pose for one in straight} == {RIGID}
    assert last.pose.bent == 1.0
    assert "bent" in last.name


@pytest.mark.parametrize("region", ["hip", "proximal_femur", "acetabulum"])
def test_a_hip_is_judged_with_its_thigh_turned_too(region: str) -> None:
    *straight, last = conditions_of(region_named(region), (), ())

    assert {one.pose for one in straight} == {RIGID}
    assert last.pose.bent == 1.0
    assert last.name == "neighbours, thigh flexed by up to 25 degrees and turned"
