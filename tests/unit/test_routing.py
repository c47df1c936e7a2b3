"""A study becomes one case for each side, or sentences that say why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.routing import Case, Declined, is_satisfied, route
from pipeline.types import Side
from tests.factories import radiograph, two_views
from tests.studies import NO_VIEW, cases_of, reasons_of, rule, study_of


def views_of(case: Case) -> list[tuple[str, str]]:
    return [(chosen.image.sop_instance_uid, chosen.view) for chosen in case.chosen]


def test_two_views_of_one_side_are_one_case_in_the_order_of_the_rule() -> None:
    ap, ll = two_views()

    (case,) = cases_of(study_of(ll, ap))

    assert case.rule.name == "hip"
    assert case.side is Side.RIGHT
    assert views_of(case) == [(ap.SOPInstanceUID, "AP"), (ll.SOPInstanceUID, "LL")]
    assert case.unused == ()


def test_both_sides_of_one_study_are_two_cases() -> None:
    right = two_views()
    left = two_views(study="left", PatientID="TEST-study", ImageLaterality="L")

    cases = cases_of(study_of(left[0], right[1], left[1], right[0]))

    assert [case.side for case in cases] == [Side.RIGHT, Side.LEFT]
    for case, sent in zip(cases, (right, left), strict=True):
        assert [uid for uid, _ in views_of(case)] == [ds.SOPInstanceUID for ds in sent]
        assert case.unused == ()


def test_a_side_that_has_all_views_is_a_case_though_the_other_side_has_not() -> None:
    right = two_views()
    left = radiograph(study="left", PatientID="TEST-study", ImageLaterality="L")

    (case,) = cases_of(study_of(*right, left))

    assert case.side is Side.RIGHT
    assert [one.image.sop_instance_uid for one in case.unused] == [left.SOPInstanceUID]


def test_an_image_of_unknown_side_joins_a_study_of_one_side() -> None:
    ap, ll = radiograph(ImageLaterality="L"), radiograph(view="LL", ImageLaterality=None)

    (case,) = cases_of(study_of(ap, ll))

    assert case.side is Side.LEFT
    assert len(case.chosen) == 2
    assert "1 of 2" in case.side_because


def test_an_image_of_unknown_side_joins_neither_of_two() -> None:
    images = [*two_views(), *two_views(study="left", PatientID="TEST-study", ImageLaterality="L")]
    silent = radiograph(image="silent", ImageLaterality=None, AcquisitionTime="235959")

    cases = cases_of(study_of(*images, silent))

    for case in cases:
        assert silent.SOPInstanceUID not in dict(views_of(case))
        assert [one.image.sop_instance_uid for one in case.unused] == [silent.SOPInstanceUID]


def test_a_side_that_no_image_names_is_the_one_that_the_rule_assumes() -> None:
    study = study_of(*two_views(ImageLaterality=None))

    (case,) = cases_of(study, rule(assume={"side": "L"}))

    assert case.side is Side.LEFT
    assert "assumes" in case.side_because


def test_an_image_that_names_its_side_is_not_overruled_by_the_rule() -> None:
    (case,) = cases_of(study_of(*two_views()), rule(assume={"side": "L"}))

    assert case.side is Side.RIGHT


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"AcquisitionTime": "101112"}, {"AcquisitionTime": "101113"}),
        ({"AcquisitionTime": "101112"}, {"AcquisitionTime": "101112.5"}),
        ({"AcquisitionDate": "20251231"}, {"AcquisitionTime": "000001"}),
        ({"InstanceNumber": 9}, {"InstanceNumber": 10}),
        ({"AcquisitionDate": None, "ContentTime": "10"}, {"AcquisitionDate": None}),
        ({}, {}),
    ],
    ids=["time", "fraction", "date", "instance number", "content time", "arrival"],
)
def test_of_several_images_of_a_view_the_latest_is_taken(
    earlier: dict[str, Any], later: dict[str, Any]
) -> None:
    first = radiograph(image="first", **earlier)
    retake = radiograph(image="retake", **later)
    lateral = radiograph(view="LL")
    order = (first, retake) if earlier == later else (retake, first)

    (case,) = cases_of(study_of(*order, lateral))

    assert views_of(case)[0] == (retake.SOPInstanceUID, "AP")
    assert [one.image.sop_instance_uid for one in case.unused] == [first.SOPInstanceUID]
    assert "later image of the same view" in case.unused[0].reason


def test_a_late_copy_without_geometry_does_not_replace_the_image_itself() -> None:
    ap, ll = two_views()
    copy = radiograph(image="copy", AcquisitionTime="235959", ImagerPixelSpacing=None)

    (case,) = cases_of(study_of(ap, copy, ll))

    assert views_of(case)[0] == (ap.SOPInstanceUID, "AP")
    assert "Spacing" in case.unused[0].reason


def test_a_view_that_the_rule_does_not_ask_for_is_named_as_unused() -> None:
    pa = radiograph(view="PA", AcquisitionTime="235959")

    (case,) = cases_of(study_of(*two_views(), pa), rule(views=["AP", "lateral"]))

    assert [chosen.view for chosen in case.chosen] == ["AP", "LL"]
    assert [one.reason for one in case.unused] == ["The rule does not ask for the view PA"]


def test_geometry_that_the_rule_assumes_is_not_missed() -> None:
    study = study_of(*two_views(DistanceSourceToDetector=None))

    assert is_satisfied(study, (rule(assume={"source_to_detector": 1100.0}),))
    assert not is_satisfied(study, (rule(),))


def test_a_view_that_the_rule_reads_from_the_description_counts() -> None:
    images = [
        radiograph(SeriesDescription="Hip a.p.", **NO_VIEW),
        radiograph(view="LL", SeriesDescription="Hip axial", **NO_VIEW),
    ]

    (case,) = cases_of(
        study_of(*images), rule(assume={"view_of_series": {"a.p.": "AP", "axial": "LL"}})
    )

    assert [chosen.view for chosen in case.chosen] == ["AP", "LL"]
    assert "a.p." in case.chosen[0].because


def test_an_assumed_side_tells_which_lateral_it_is() -> None:
    """A lateral of a leg has the outer side of the limb at the detector: RL for a right one."""
    silent = {"ImageLaterality": None, "ViewCodeSequence": None, "BodyPartExamined": "HIP"}
    images = [
        radiograph(ImageLaterality=None),
        radiograph(view="RL", **{**silent, "ViewPosition": "LATERAL"}),
    ]

    (case,) = cases_of(study_of(*images), rule(assume={"side": "R"}))

    assert [chosen.view for chosen in case.chosen] == ["AP", "RL"]


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(["R", 3, None])
KEYWORDS = st.sampled_from([
    "Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality",
    "ViewCodeSequence", "AnatomicRegionSequence", "PatientOrientation", "AcquisitionDate",
    "AcquisitionTime", "InstanceNumber", "SeriesNumber", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "ImagerPixelSpacing", "PixelSpacing", "Rows", "Columns",
    "SeriesDescription", "PositionerPrimaryAngle", "PositionerType",
])  # fmt: skip


@given(changes=st.dictionaries(KEYWORDS, ODD, max_size=5))
def test_whatever_stands_in_a_header_ends_in_cases_or_in_sentences(
    changes: dict[str, Any],
) -> None:
    study = STUDY_OF_TWO
    first = replace(study.images[0], attributes={**study.images[0].attributes, **changes})

    routed = route(replace(study, images=(first, *study.images[1:])), (rule(),))

    if isinstance(routed, Declined):
        assert routed.reasons
        assert all(reason.endswith(".") for reason in routed.reasons)


STUDY_OF_TWO = study_of(*two_views())
MANY = study_of(
    *two_views(),
    *two_views(study="left", PatientID="TEST-study", ImageLaterality="L"),
    radiograph(image="retake", AcquisitionTime="101500"),
    radiograph(image="silent", ImageLaterality=None),
    radiograph(image="unknown", **NO_VIEW),
    radiograph(image="skull", BodyPartExamined="SKULL"),
)


@given(order=st.permutations(range(len(MANY.images))), count=st.integers(1, len(MANY.images)))
def test_the_order_of_arrival_has_no_influence_on_the_route(order: list[int], count: int) -> None:
    chosen = order[:count]
    images = tuple(MANY.images[number] for number in chosen)
    in_order = tuple(MANY.images[number] for number in sorted(chosen))

    routed = route(replace(MANY, images=images), (rule(),))
    expected = route(replace(MANY, images=in_order), (rule(),))

    assert routed == expected


def test_two_patients_under_one_study_are_never_mixed() -> None:
    ap, ll = two_views()
    ll.PatientID = "TEST-other"

    (reason,) = reasons_of(study_of(ap, ll))

    assert "more than one patient" in reason
    assert "TEST-other" not in reason


def test_a_name_that_was_corrected_under_the_same_patient_id_changes_nothing() -> None:
    ap, ll = two_views()
    ll.PatientName = "Test^Married"

    (case,) = cases_of(study_of(ap, ll))

    assert len(case.chosen) == 2


def test_an_image_without_a_patient_id_is_of_the_patient_of_its_study() -> None:
    ap, ll = two_views()
    ll.PatientID = None

    (case,) = cases_of(study_of(ap, ll))

    assert len(case.chosen) == 2
