"""Views and sides: what a header tells, what it leaves open, and what it contradicts."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.attributes import Json
from pipeline.errors import ContradictoryGeometry
from pipeline.types import Radiograph, Side, View, ViewName
from pipeline.views import Known, Unknown, labels, satisfies, side, view_name

AP, PA, LL, RL = ViewName
Header = dict[str, Json]


def coded(value: str, *modifiers: str) -> list[Json]:
    code: Header = {"CodeValue": value}
    if modifiers:
        code["Modifiers"] = [{"CodeValue": m} for m in modifiers]
    return [code]


@pytest.mark.parametrize(
    ("header", "view"),
    [
        ({"ViewPosition": "AP"}, AP),
        ({"ViewPosition": "pa "}, PA),
        ({"ViewPosition": "A-P"}, AP),
        ({"ViewPosition": "ANTERO-POSTERIOR"}, AP),
        ({"ViewPosition": "LL"}, LL),
        ({"ViewPosition": "RIGHT LATERAL"}, RL),
        ({"ViewCodeSequence": coded("399348003")}, AP),
        ({"ViewCodeSequence": coded("R-10206")}, AP),
        ({"ViewCodeSequence": coded("272479007")}, PA),
        ({"ViewCodeSequence": coded("399173006")}, LL),
        ({"ViewCodeSequence": coded("R-10232")}, RL),
        ({"ViewPosition": "UNKNOWN", "ViewCodeSequence": coded("272479007")}, PA),
        ({"ViewPosition": "FRONTAL", "ViewCodeSequence": coded("272479007")}, PA),
        ({"Modality": "XA", "PositionerPrimaryAngle": 0}, PA),
        ({"Modality": "XA", "PositionerPrimaryAngle": 30.5, "PositionerSecondaryAngle": 20}, PA),
        ({"Modality": "RF", "PositionerPrimaryAngle": 90}, LL),
        ({"Modality": "XA", "PositionerPrimaryAngle": -100}, RL),
        ({"Modality": "XA", "PositionerPrimaryAngle": -175}, AP),
        ({"Modality": "XA", "PositionerPrimaryAngle": 95, "ViewPosition": "LAT"}, LL),
        ({"ViewPosition": "AP", "PatientOrientation": ["F", "R"]}, AP),
        ({"ViewPosition": "LL", "PatientOrientation": ["PL", "F"]}, LL),
        # the lateral side of a right limb is the patient's right
        ({"ViewPosition": "ML", "ImageLaterality": "R"}, RL),
        ({"ViewPosition": "ML", "ImageLaterality": "L"}, LL),
        ({"ViewPosition": "LM", "ImageLaterality": "R"}, LL),
        ({"ViewCodeSequence": coded("399352003"), "Laterality": "L"}, RL),
        ({"ViewPosition": "LAT", "BodyPartExamined": "KNEE", "ImageLaterality": "R"}, RL),
        ({"ViewPosition": "LATERAL", "BodyPartExamined": "ankle", "Laterality": "L"}, LL),
    ],
)
def test_a_view_is_told_by_its_header(header: Header, view: ViewName) -> None:
    verdict = view_name(header)

    assert isinstance(verdict, Known)
    assert verdict.view is view
    assert verdict.because


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "absent"),
        ({"SeriesDescription": "Knee AP"}, "absent"),
        ({"PatientOrientation": ["L", "F"]}, "absent"),
        ({"ViewPosition": "LAT"}, "which side"),
        ({"ViewPosition": "LAT", "PatientOrientation": ["P", "F"]}, "which side"),
        ({"ViewPosition": "LAT", "BodyPartExamined": "ELBOW", "Laterality": "R"}, "which side"),
        ({"ViewPosition": "LAT", "BodyPartExamined": "KNEE"}, "which side"),
        ({"ViewPosition": "FRONTAL"}, "AP or PA"),
        ({"ViewPosition": "MLO"}, "MLO"),
        ({"ViewPosition": "LLD"}, "LLD"),
        ({"ViewPosition": "SKYLINE"}, "SKYLINE"),
        ({"ViewCodeSequence": coded("399006002")}, "399006002"),
        ({"ViewCodeSequence": coded("399348003", "260424009")}, "modifiers"),
        ({"ViewPosition": "AP", "ViewCodeSequence": coded("272479007")}, "contradicts itself"),
        ({"ViewPosition": "AP", "PatientOrientation": ["P", "F"]}, "contradicts itself"),
        ({"ViewPosition": "LL", "PatientOrientation": ["L", "F"]}, "contradicts itself"),
        ({"ViewPosition": "LL", "PatientOrientation": ["H", "F"]}, "contradicts itself"),
        (
            {"Modality": "XA", "ViewPosition": "AP", "PositionerPrimaryAngle": 0},
            "contradicts itself",
        ),
        (
            {"Modality": "XA", "PositionerPrimaryAngle": 0, "PositionerSecondaryAngle": 60},
            "PositionerSecondaryAngle 60",
        ),
        ({"Modality": "DX", "PositionerPrimaryAngle": 0}, "absent"),
    ],
)
def test_what_is_not_told_is_not_guessed(header: Header, reason: str) -> None:
    verdict = view_name(header)

    assert isinstance(verdict, Unknown)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("header", "view"),
    [
        ({"SeriesDescription": "Knie AP re"}, AP),
        ({"SeriesDescription": "KNIE SEITL. RE"}, RL),
        ({"SeriesDescription": "map of the knee"}, None),
        ({"SeriesDescription": "knie ap", "ViewPosition": "PA"}, PA),
        ({"SeriesDescription": "knie ap", "ViewPosition": "FRONTAL"}, AP),
        ({"SeriesDescription": "knie ap", "ViewPosition": "LAT"}, None),
        ({"SeriesDescription": "knie seitl.", "ViewPosition": "LAT"}, RL),
        ({"SeriesDescription": "knie ap", "PatientOrientation": ["A", "F"]}, None),
    ],
)
def test_words_count_only_as_the_rule_says_and_where_the_view_is_open(
    header: Header, view: ViewName | None
) -> None:
    words = (("ap", AP), ("seitl.", RL), ("ap", PA), ("", LL))

    verdict = view_name(header, words)

    assert (verdict.view if isinstance(verdict, Known) else None) is view


def region(*modifiers: str) -> Header:
    return {"AnatomicRegionSequence": coded("72696002", *modifiers)}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"ImageLaterality": "R"}, Side.RIGHT),
        ({"ImageLaterality": "l "}, Side.LEFT),
        ({"Laterality": "L"}, Side.LEFT),
        ({"ImageLaterality": "U"}, Side.UNPAIRED),
        ({"ImageLaterality": "B"}, Side.UNPAIRED),
        (region("24028007"), Side.RIGHT),
        (region("G-A101"), Side.LEFT),
        ({**region("G-A101"), "Laterality": "L"}, Side.LEFT),
        (region("51440002"), Side.UNPAIRED),
        (region(), None),
        ({}, None),
        ({"SeriesDescription": "KNEE RIGHT", "BodyPartExamined": "RIGHT KNEE"}, None),
        ({"ImageLaterality": "?"}, None),
    ],
)
def test_a_side_is_named_by_its_attributes_and_by_no_description(
    header: Header, expected: Side | None
) -> None:
    assert side(header) is expected


@pytest.mark.parametrize(
    "header",
    [
        {"ImageLaterality": "R", "Laterality": "L"},
        {"ImageLaterality": "B", "Laterality": "R"},
        {**region("24028007"), "ImageLaterality": "L"},
        region("24028007", "7771000"),
    ],
)
def test_sides_that_contradict_are_refused(header: Header) -> None:
    with pytest.raises(ContradictoryGeometry, match="side of the body"):
        side(header)


def an_image(name: ViewName, uid: str) -> Radiograph:
    view = View(name, np.zeros(3), np.eye(4), np.eye(4), 1, 1)
    empty = np.zeros((1, 1), np.float32)
    return Radiograph(empty, np.ones((1, 1), np.bool_), view, "1.2", uid, "1.2.4")


def test_images_are_called_by_their_views_and_numbered_where_several_have_the_same() -> None:
    second, side, first = (
        an_image(ViewName.AP, "1.9"),
        an_image(ViewName.LL, "1.1"),
        an_image(ViewName.AP, "1.3"),
    )

    assert labels([second, side, first]) == ("AP 2", "LL", "AP 1")
    assert labels([first, second]) == ("AP 1", "AP 2")
    assert labels([second, side]) == ("AP", "LL")


def test_what_a_rule_expects_is_a_view_or_a_kind_of_view() -> None:
    expectations = ("AP", "PA", "LL", "RL", "frontal", " Lateral")

    satisfied = {e: {v.value for v in ViewName if satisfies(e, v)} for e in expectations}

    assert satisfied == {
        "AP": {"AP"},
        "PA": {"PA"},
        "LL": {"LL"},
        "RL": {"RL"},
        "frontal": {"AP", "PA"},
        " Lateral": {"LL", "RL"},
    }
    with pytest.raises(ValueError, match="OBLIQUE"):
        satisfies("oblique", AP)
