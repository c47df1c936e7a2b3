"""Whoever is declined is told why, in sentences, completely, and without patient data."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from node.routing import Declined, route
from tests.factories import Kind, radiograph, two_views
from tests.studies import NO_VIEW, reasons_of, rule, study_of

SENTENCES = {
    "one view": (
        [radiograph()],
        "Rule 'hip' needs a frontal and a lateral view; only an AP view is here.",
    ),
    "one unknown view": (
        [radiograph(**NO_VIEW)],
        "Rule 'hip' needs a frontal and a lateral view; only one image of unknown view is here.",
    ),
    "a view and two unknown": (
        [radiograph(view="RL"), radiograph(**NO_VIEW), radiograph(image="b", **NO_VIEW)],
        "Rule 'hip' needs a frontal and a lateral view; "
        "only an RL view and 2 images of unknown view are here.",
    ),
    "the same view twice": (
        [radiograph(view="PA"), radiograph(view="PA", image="b")],
        "Rule 'hip' needs a frontal and a lateral view; only 2 PA views are here.",
    ),
    "a view of each side": (
        [radiograph(ImageLaterality="L"), radiograph(view="LL")],
        "Rule 'hip' needs a frontal and a lateral view of one side; "
        "of the right side only an LL view is here, of the left side only an AP view is here.",
    ),
    "both hips and a lateral": (
        [radiograph(ImageLaterality="U"), radiograph(view="LL")],
        "Rule 'hip' needs a frontal and a lateral view of one side; "
        "of the right side only an LL view is here, of no single side only an AP view is here.",
    ),
    "no side": (
        two_views(ImageLaterality=None),
        "Rule 'hip' needs a frontal and a lateral view of one side; "
        "of the 2 images here, none tells its side.",
    ),
    "one view without side": (
        [radiograph(ImageLaterality=None)],
        "Rule 'hip' needs a frontal and a lateral view; only one image is here.",
    ),
    "no distance": (
        two_views(DistanceSourceToDetector=None),
        "Rule 'hip' has its views, but not their geometry.",
    ),
    "no rule": (
        [radiograph(BodyPartExamined="SKULL")],
        "No rule takes this study: DX, body part 'SKULL', 'Hip AP'.",
    ),
    "no header": (
        [radiograph(BodyPartExamined=None, Modality=None, SeriesDescription=None,
                    StudyDescription=None)],
        "No rule takes this study: no modality, no body part, no description.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("images", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_first_reason_is_a_sentence_that_says_what_is_missing(
    images: list[Dataset], sentence: str
) -> None:
    assert reasons_of(study_of(*images))[0] == sentence


DETAILS = {
    "view": ([radiograph(**NO_VIEW)], ["Image 1 of series 1: ViewPosition"]),
    "unnumbered": (
        [radiograph(InstanceNumber=None, **NO_VIEW)],
        [f"Image {radiograph().SOPInstanceUID}: ViewPosition"],
    ),
    "side": (
        two_views(ImageLaterality=None),
        ["Image 1 of series 1: No image says its side", "Image 1 of series 3: No image says"],
    ),
    "contradictory side": (
        [radiograph(Laterality="L")],
        ["Image 1 of series 1: The side of the body is contradictory"],
    ),
    "all geometry of all images": (
        [
            radiograph(DistanceSourceToDetector=None, ImagerPixelSpacing=None),
            radiograph(view="LL", PatientOrientation=None),
        ],
        ["series 1: DistanceSourceToDetector", "series 1: ", "series 3: PatientOrientation"],
    ),
    "rule": (
        [radiograph(Kind.XA, BodyPartExamined="PELVIS")],
        [
            "Rule 'hip' does not take it: Modality is 'XA', and it asks for one of 'CR', 'DX'; "
            "BodyPartExamined is 'PELVIS', and it asks for 'HIP'."
        ],
    ),
    "absent": (
        [radiograph(BodyPartExamined=None)],
        ["Rule 'hip' does not take it: BodyPartExamined is absent, and it asks for 'HIP'."],
    ),
}


@pytest.mark.parametrize(("images", "parts"), DETAILS.values(), ids=DETAILS)
def test_the_other_reasons_name_every_image_and_every_lack(
    images: list[Dataset], parts: list[str]
) -> None:
    others = reasons_of(study_of(*images))[1:]

    assert len(others) == len(parts)
    for other, part in zip(others, parts, strict=True):
        assert part in other


def test_of_many_conditions_that_do_not_hold_the_first_three_are_told() -> None:
    asks = ("modality", "body_part_examined", "view_position", "station_name", "protocol_name")

    reason = reasons_of(study_of(radiograph()), rule(match=dict.fromkeys(asks, "X")))[1]

    assert "ViewPosition is 'AP'" in reason
    assert reason.endswith("; and 2 more do not fit.")


def test_without_rules_the_reason_says_so() -> None:
    declined = route(study_of(*two_views()), ())

    assert declined == Declined(("No rules are configured; add [[rules]] to the settings.",), "")


def test_a_study_without_images_is_declined_and_no_crash() -> None:
    assert reasons_of(study_of()) == ("The study has no image.",)


def test_a_study_of_many_images_is_declined_in_a_few_sentences() -> None:
    unknown = [
        radiograph(image=str(n), SeriesDescription=f"Run {n}", InstanceNumber=n, **NO_VIEW)
        for n in range(40)
    ]

    of_rule = reasons_of(study_of(*unknown))
    of_none = reasons_of(study_of(*unknown), rule(match={"modality": "XA"}))

    assert len(of_rule) == 14
    assert of_rule[-1] == "And 28 more of this kind."
    assert of_none[0].endswith("'Run 12'; and 35 more.")


def test_no_reason_repeats_what_describes_the_patient() -> None:
    planted = {"PatientName": "Planted^Name", "PatientID": "PLANTED", "AccessionNumber": "PLANTED2"}
    studies = [
        study_of(radiograph(**planted)),
        study_of(radiograph(**planted, **NO_VIEW)),
        study_of(radiograph(**planted, BodyPartExamined="SKULL")),
        study_of(*two_views(**planted, DistanceSourceToDetector=None)),
    ]

    told = " ".join(reason for study in studies for reason in reasons_of(study))

    assert "planted" not in told.lower()
