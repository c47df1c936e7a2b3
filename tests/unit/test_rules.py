"""A rule that cannot work is refused at the start; a condition is met by what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import Fault, SettingsError
from node.rules import Assumed, Priority, Rule
from node.settings import load
from pipeline.types import Assume, Side, ViewName

DESTINATION = """[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs.example"
"""
RULE: dict[str, Any] = {
    "name": "hip",
    "region": "hip",
    "views": ["frontal", "lateral"],
    "destinations": ["pacs"],
    "match": {"modality": "DX"},
}


def faults_of(folder: Path, rule: dict[str, Any], destination: str = DESTINATION) -> list[Fault]:
    path = folder / "node.toml"
    lines = [destination, "[[rules]]", *(f"{key} = {toml(value)}" for key, value in rule.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    return list(caught.value.faults)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


RULE_FAULTS = {
    "no such destination": ({"destinations": ["pcas"]}, "destinations", "did you mean 'pacs'?"),
    "no destination": ({"destinations": []}, "destinations", "at least 1"),
    "one view": ({"views": ["AP"], "engine": "visual-hull"}, "engine", "needs at least 2 views"),
    "two frontal views": (
        {"views": ["AP", "PA"], "engine": "visual-hull"},
        "engine",
        "a frontal and a lateral view",
    ),
    "view twice": ({"views": ["AP", "AP"]}, "views", "only once"),
    "overlapping views": ({"views": ["AP", "frontal", "LL"]}, "views", "'frontal' stands for"),
    "unknown view": ({"views": ["AP", "oblique"]}, "views[1]", "must be 'AP'"),
    "unknown engine": ({"engine": "magic"}, "engine", "there is auto, lifting, visual-hull, pix"),
    "the key of before": ({"model": "lifting"}, "model", "it is called engine now"),
    "unknown priority": ({"priority": "now"}, "priority", "must be 'stat'"),
    "frame 0": ({"frame_number": 0}, "frame_number", "greater than or equal to 1"),
    "no kind": ({"kinds": []}, "kinds", "at least 1"),
    "a notice as a result": ({"kinds": ["notice"]}, "kinds", "in place of bones"),
    "a notice beside bones": (
        {"kinds": ["segmentation", "notice"]},
        "kinds",
        "notify_declined or notify_withheld",
    ),
    "a report alone": ({"kinds": ["report"]}, "kinds", "shows no bone"),
    "unknown kind": ({"kinds": ["pdf"]}, "kinds[0]", "must be 'model-volume'"),
    "no condition": ({"match": {}}, "match", "at least one condition"),
    "two ways in one": (
        {"match": {"modality": {"equals": "a", "contains": "b"}}},
        "match.modality",
        "exactly one",
    ),
    "no way": ({"match": {"modality": {}}}, "match.modality", "exactly one"),
    "misspelt condition": (
        {"match": {"modality": {"equal": "a"}}},
        "match.modality.equal",
        "did you mean equals?",
    ),
    "misspelt attribute": ({"match": {"modalty": "a"}}, "match.modalty", "mean modality?"),
    "number for a text": ({"match": {"modality": 3}}, "match.modality", "must be a valid"),
    "empty text": ({"match": {"modality": " "}}, "match.modality.equals", "at least 1"),
    "broken pattern": (
        {"match": {"modality": {"pattern": "("}}},
        "match.modality.pattern",
        "not a regular expression",
    ),
    "source behind detector": (
        {"assume": {"source_to_detector": 900.0, "source_to_patient": 900.0}},
        "assume",
        "must be smaller",
    ),
    "metres": ({"assume": {"pixel_spacing": -0.1}}, "assume.pixel_spacing", "greater than 0"),
    "unknown side": ({"assume": {"side": "left"}}, "assume.side", "must be 'R'"),
    "unknown word view": (
        {"assume": {"view_of_series": {"ap": "front"}}},
        "assume.view_of_series[0][1]",
        "must be 'AP'",
    ),
}


@pytest.mark.parametrize(("change", "path", "message"), RULE_FAULTS.values(), ids=RULE_FAULTS)
def test_a_rule_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, change: dict[str, Any], path: str, message: str
) -> None:
    faults = faults_of(tmp_path, RULE | change)

    assert faults[0].path == f"rules[0].{path}"
    assert message in faults[0].message
    assert faults[0].line is not None


def test_a_rule_whose_objects_its_destination_does_not_take_is_refused(tmp_path: Path) -> None:
    destination = DESTINATION + 'kinds = ["model-volume"]'

    faults = faults_of(tmp_path, RULE | {"kinds": ["segmentation"]}, destination)

    assert [fault.message for fault in faults] == [
        "'pacs' takes none of the kinds that this rule writes"
    ]


def test_a_notice_to_nobody_that_is_known_is_refused_with_a_hint(tmp_path: Path) -> None:
    destination = f'[notices]\ndestinations = ["pacz"]\n{DESTINATION}'

    (fault,) = faults_of(tmp_path, RULE, destination)

    assert fault.path == "notices.destinations"
    assert "did you mean 'pacs'?" in fault.message
    assert fault.line == 2


HOLDS = {
    "plain": ("DX", " dx ", True),
    "plain, part only": ("DX", "DXR", False),
    "equals": ({"equals": "Ünder"}, "üNDER", True),
    "sharp s": ({"equals": "Fuß"}, "FUSS", True),
    "one of": ({"one_of": ["CR", "DX"]}, "dx", True),
    "none of": ({"one_of": ["CR", "DX"]}, "XA", False),
    "contains": ({"contains": "hip"}, "Left HIP ap", True),
    "contains not": ({"contains": "hip"}, "knee", False),
    "pattern": ({"pattern": r"\bhip\b.*(ap|lat)"}, "Left Hip, LAT", True),
    "pattern, word only": ({"pattern": r"\bhip\b"}, "chips", False),
    "pattern beyond 64": ({"pattern": "hip"}, "x" * 64 + "hip", False),
    "pattern of sorts": ({"pattern": "^[A-Z]{2}[0-9]?$"}, "dx", True),
}


@pytest.mark.parametrize(("condition", "text", "is_met"), HOLDS.values(), ids=HOLDS)
def test_texts_are_compared_without_case_and_surrounding_blanks(
    condition: object, text: str, is_met: bool
) -> None:
    rule = Rule.model_validate(RULE | {"match": {"modality": condition}})

    assert rule.match.modality is not None
    assert rule.match.modality.holds(text) == is_met


def test_what_a_rule_assumes_reaches_the_pipeline() -> None:
    assume = {
        "source_to_detector": 1150,
        "source_to_patient": 1000.5,
        "pixel_spacing": 0.14,
        "patient_orientation": True,
        "side": "L",
        "view_of_series": {"a.p.": "AP", "axial": "LL"},
    }

    rule = Rule.model_validate(RULE | {"assume": assume})

    assert rule.assume.side is Side.LEFT
    assert rule.to_assume() == Assume(
        source_to_detector=1150,
        source_to_patient=1000.5,
        pixel_spacing=0.14,
        patient_orientation=True,
        view_of_series=(("a.p.", ViewName.AP), ("axial", ViewName.LL)),
    )


def test_a_rule_assumes_nothing_unless_told() -> None:
    rule = Rule.model_validate(RULE)

    assert rule.assume == Assumed()
    assert rule.to_assume() == Assume()


def test_stat_goes_before_high_before_routine() -> None:
    assert [Priority(name).rank for name in ("stat", "high", "routine")] == [0, 1, 2]
