"""The first rule that takes an image decides, with the images that meet all its conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.matching import matching, taken
from tests.factories import Kind, radiograph, two_views
from tests.studies import cases_of, rule, study_of


def test_the_first_rule_that_takes_an_image_decides() -> None:
    rules = (
        rule("chest", match={"body_part_examined": "CHEST"}),
        rule("first"),
        rule("second"),
    )
    study = study_of(*two_views())

    assert matching(study, rules) == rules[1]
    assert cases_of(study, *rules)[0].rule.name == "first"


def test_all_conditions_must_hold_for_the_same_image() -> None:
    ap = radiograph(BodyPartExamined="KNEE")
    ll = radiograph(Kind.XA, view="LL")

    assert matching(study_of(ap, ll), (rule(),)) is None


def test_only_the_images_for_which_the_conditions_hold_are_used() -> None:
    ap, ll = two_views()
    knee = radiograph(image="knee", BodyPartExamined="KNEE", AcquisitionTime="235959")
    study = study_of(ap, ll, knee)

    (case,) = cases_of(study)

    assert [one.sop_instance_uid for one in taken(study, rule())] == [
        ap.SOPInstanceUID,
        ll.SOPInstanceUID,
    ]
    assert case.unused == ()


@pytest.mark.parametrize(
    ("asks", "value", "is_taken"),
    [
        ("modality", "dx", True),
        ("body_part_examined", "hip", True),
        ("view_position", "ap", True),
        ("calling_ae_title", "DXROOM1", True),
        ("calling_ae_title", "DXROOM2", False),
        ("called_ae_title", "osteon", True),
        ("station_name", {"contains": "oom"}, True),
        ("study_description", {"pattern": "^hip.*views$"}, True),
        ("series_description", "Hip AP", True),
        ("series_description", "Hip", False),
        ("protocol_name", {"pattern": ".*"}, False),
    ],
)
def test_a_rule_can_ask_about_each_of_nine_things(asks: str, value: object, is_taken: bool) -> None:
    study = study_of(radiograph())

    assert (matching(study, (rule(match={asks: value}),)) is not None) == is_taken


def test_of_several_values_one_is_enough() -> None:
    study = study_of(radiograph())
    (image,) = study.images
    several = replace(image, attributes={"ProtocolName": ["Pelvis", "Hip"], "Modality": None})
    asks = rule(match={"protocol_name": "hip"})

    assert matching(replace(study, images=(several,)), (asks,)) is asks
