"""Which nominal view an image is, and of which side of the body: told from its header, or not.

Every cue that speaks narrows the four views down; cues that exclude one another, or that leave
more than one view, give no answer but a reason. PatientOrientation never names a view: it only
tells frontal from lateral, because a lateral image can be displayed from either side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.attributes import Json, codes, text
from pipeline.camera import NOMINAL_PRIMARY_DEG
from pipeline.errors import ContradictoryGeometry
from pipeline.geometry import MAX_DEVIATION_DEG, uses_c_arm_angles
from pipeline.headers import orientation_letters
from pipeline.types import Radiograph, Side, ViewName

Views = frozenset[ViewName]
FRONTAL: Views = frozenset({ViewName.AP, ViewName.PA})
LATERAL: Views = frozenset({ViewName.LL, ViewName.RL})


@dataclass(frozen=True, slots=True)
class Known:
    """The view, and what told it."""

    view: ViewName
    because: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why no view can be told, for a technician."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Cue:
    says: str
    views: Views


_WORDS: dict[str, Views] = {
    **dict.fromkeys(("AP", "ANTEROPOSTERIOR", "ANTERIORPOSTERIOR"), frozenset({ViewName.AP})),
    **dict.fromkeys(("PA", "POSTEROANTERIOR", "POSTERIORANTERIOR"), frozenset({ViewName.PA})),
    **dict.fromkeys(("LL", "LLAT", "LEFTLATERAL", "LATERALLEFT"), frozenset({ViewName.LL})),
    **dict.fromkeys(("RL", "RLAT", "RIGHTLATERAL", "LATERALRIGHT"), frozenset({ViewName.RL})),
    **dict.fromkeys(("FRONTAL", "FRONT"), FRONTAL),
    **dict.fromkeys(("LAT", "LATERAL"), LATERAL),
}
"""Values of ViewPosition without blanks and signs; the two-letter ones are the standard's."""
_THROUGH = {
    **dict.fromkeys(("ML", "MEDIOLATERAL", "399260004", "R-10224"), "lateral"),
    **dict.fromkeys(("LM", "LATEROMEDIAL", "399352003", "R-10228"), "medial"),
}
"""Which side of a limb lies at the detector, where the ray is named by the limb."""
_SAYS_NOTHING = frozenset({"", "NONE", "UNKNOWN", "UNSPECIFIED", "OTHER", "NA"})
_CODES: dict[str, Views] = {
    **dict.fromkeys(("399348003", "R-10206"), frozenset({ViewName.AP})),
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), frozenset({ViewName.PA})),
    **dict.fromkeys(("399173006", "R-10236"), frozenset({ViewName.LL})),
    **dict.fromkeys(("399198007", "R-10232"), frozenset({ViewName.RL})),
    **dict.fromkeys(("399033003", "R-10202"), FRONTAL),
    **dict.fromkeys(("399067008", "R-102CD"), LATERAL),
}
"""CID 4010 of PS3.16, by SNOMED CT code and by its older SRT code."""
_SIDES = {
    **dict.fromkeys(("R", "RIGHT", "24028007", "G-A100"), Side.RIGHT),
    **dict.fromkeys(("L", "LEFT", "7771000", "G-A101"), Side.LEFT),
    **dict.fromkeys(("U", "B", "BOTH", "51440002", "G-A102"), Side.UNPAIRED),
}
_LOWER_LIMB = frozenset({
    "HIP", "LEG", "THIGH", "FEMUR", "KNEE", "PATELLA", "CALF", "TIBIA", "FIBULA", "TIBIAFIBULA",
    "UPRLEG", "LWRLEG", "ANKLE", "FOOT", "CALCANEUS", "HEEL",
})  # fmt: skip


def view_name(
    attributes: Mapping[str, Json], view_of_series: tuple[tuple[str, ViewName], ...] = ()
) -> Known | Unknown:
    """The nominal view of an image.

    ViewPosition, ViewCodeSequence and the angles of a C-arm must agree as far as they speak;
    the words of a series description count only where those leave the view open, and only as
    `view_of_series` (the rule's settings) says.

    Raises:
        ContradictoryGeometry: the side of the body is contradictory, where the view needs it.
    """
    cues: list[_Cue] = []
    for read in (_position, _coded, _angled):
        cue = read(attributes)
        if isinstance(cue, Unknown):
            return cue
        if cue is not None:
            cues.append(cue)
    left = _common(cues)
    if len(left) > 1 and (cue := _described(attributes, view_of_series)):
        cues.append(cue)
        left = _common(cues)
    if left == LATERAL and (cue := _by_lower_limb(attributes)):
        cues.append(cue)
        left = _common(cues)
    if cues and (cue := _oriented(attributes)):
        cues.append(cue)
        left = _common(cues)
    return _verdict(cues, left)


def side(attributes: Mapping[str, Json]) -> Side | None:
    """The side of the imaged part, None where no attribute names it.

    A description is never read for it, and BodyPartExamined says nothing about it.

    Raises:
        ContradictoryGeometry: the attributes name different sides.
    """
    named = {k: _SIDES.get(text(attributes, k)) for k in ("ImageLaterality", "Laterality")}
    for value, _ in codes(attributes, "AnatomicRegionSequence"):
        if value in _SIDES and len(value) > 1:
            named[f"AnatomicRegionSequence {value}"] = _SIDES[value]
    cues = {keyword: found for keyword, found in named.items() if found is not None}
    if len(set(cues.values())) > 1:
        said = ", ".join(f"{keyword} {found}" for keyword, found in cues.items())
        raise ContradictoryGeometry(f"The side of the body is contradictory: {said}")
    return next(iter(cues.values()), None)


def satisfies(expected: str, view: ViewName) -> bool:
    """True if `view` is what a rule expects: AP, PA, LL, RL, frontal or lateral, in any case.

    Raises:
        ValueError: the rule expects something else.
    """
    wanted = expected.strip().upper()
    if wanted in ("FRONTAL", "LATERAL"):
        return view in (FRONTAL if wanted == "FRONTAL" else LATERAL)
    return view is ViewName(wanted)


def labels(radiographs: Sequence[Radiograph]) -> tuple[str, ...]:
    """What pictures call each image: its view, with a number where several have the same.

    The numbers do not depend on the order of the images.
    """
    keys = [(one.sop_instance_uid, one.frame_number or 0) for one in radiographs]
    names = [one.view.name for one in radiographs]
    found = []
    for key, name in zip(keys, names, strict=True):
        alike = sorted(k for k, other in zip(keys, names, strict=True) if other is name)
        found.append(f"{name} {alike.index(key) + 1}" if len(alike) > 1 else str(name))
    return tuple(found)


def _position(attributes: Mapping[str, Json]) -> _Cue | Unknown | None:
    said = text(attributes, "ViewPosition")[:16]  # no more of a CS (PS3.5 6.2) is worth quoting
    word = re.sub(r"[^A-Z0-9]", "", said)
    if word in _SAYS_NOTHING:
        return None
    if word in _THROUGH:
        return _through_a_limb(attributes, f"ViewPosition {said}", _THROUGH[word])
    if word not in _WORDS:
        return Unknown(f"ViewPosition {said!r} is none of the views AP, PA, LL and RL")
    return _Cue(f"ViewPosition {said}", _WORDS[word])


def _coded(attributes: Mapping[str, Json]) -> _Cue | Unknown | None:
    """Modifiers are not read: of a code with "oblique" beside it, the view is not nominal."""
    said = codes(attributes, "ViewCodeSequence")
    if not said:
        return None
    value, meaning = said[0]
    label = f"ViewCodeSequence {value[:16]} {meaning[:64]}".rstrip()
    if len(said) > 1:
        return Unknown(f"{label} has modifiers; it is no nominal view")
    if value in _THROUGH:
        return _through_a_limb(attributes, label, _THROUGH[value])
    if value not in _CODES:
        return Unknown(f"{label} is none of the views AP, PA, LL and RL")
    return _Cue(label, _CODES[value])


def _through_a_limb(attributes: Mapping[str, Json], says: str, towards: str) -> _Cue:
    """The lateral side of a right limb is the patient's right, and its medial side the left."""
    of = side(attributes)
    if of not in (Side.RIGHT, Side.LEFT):
        return _Cue(says, LATERAL)
    right_at_detector = (of is Side.RIGHT) == (towards == "lateral")
    view = ViewName.RL if right_at_detector else ViewName.LL
    return _Cue(f"{says} of side {of}", frozenset({view}))


def _angled(attributes: Mapping[str, Json]) -> _Cue | Unknown | None:
    primary, secondary = (
        attributes.get(f"Positioner{which}Angle") for which in ("Primary", "Secondary")
    )
    if not uses_c_arm_angles(attributes) or not isinstance(primary, int | float):
        return None
    says = f"PositionerPrimaryAngle {primary:g}"
    near = [
        name
        for name, zero in NOMINAL_PRIMARY_DEG.items()
        if abs((primary - zero + 180) % 360 - 180) <= MAX_DEVIATION_DEG
    ]
    if isinstance(secondary, int | float) and abs(secondary) > MAX_DEVIATION_DEG:
        return Unknown(f"PositionerSecondaryAngle {secondary:g} is far from every nominal view")
    return _Cue(says, frozenset(near))


def _described(
    attributes: Mapping[str, Json], view_of_series: tuple[tuple[str, ViewName], ...]
) -> _Cue | None:
    """Whole words only: "ap" is not in "map"."""
    description = text(attributes, "SeriesDescription")
    for words, view in view_of_series:
        pattern = rf"(?<!\w){re.escape(words.strip().upper())}(?!\w)"
        if words.strip() and re.search(pattern, description):
            return _Cue(f"the rule's words {words.strip()!r}", frozenset({view}))
    return None


def _by_lower_limb(attributes: Mapping[str, Json]) -> _Cue | None:
    """A lateral of a leg is taken with the outer side of the limb at the detector.

    For arms it is the other way round or varies, and for the trunk there is no rule.
    Source: Clark's Positioning in Radiography, 13th ed., lower limb (mediolateral projections).
    """
    part = re.sub(r"[^A-Z]", "", text(attributes, "BodyPartExamined"))
    if part not in _LOWER_LIMB or side(attributes) not in (Side.RIGHT, Side.LEFT):
        return None
    return _through_a_limb(attributes, f"BodyPartExamined {part}", "lateral")


def _oriented(attributes: Mapping[str, Json]) -> _Cue | None:
    letters = orientation_letters(attributes)
    if letters is None:
        return None
    principal = {letters[0][0], letters[1][0]}
    said = f"PatientOrientation {letters[0]}\\{letters[1]}"
    if principal & set("LR"):
        return _Cue(said, frozenset() if principal & set("AP") else FRONTAL)
    return _Cue(said, LATERAL if principal & set("AP") else frozenset())


def _common(cues: list[_Cue]) -> Views:
    left: Views = frozenset(ViewName)
    for cue in cues:
        left &= cue.views
    return left


def _verdict(cues: list[_Cue], left: Views) -> Known | Unknown:
    said = ", ".join(cue.says for cue in cues)
    if len(left) == 1:
        return Known(next(iter(left)), said)
    if not left:
        return Unknown(f"The header contradicts itself about the view: {said}")
    if left == LATERAL:
        return Unknown(f"The view is lateral, but the header does not say which side: {said}")
    if left == FRONTAL:
        return Unknown(f"The view is frontal, but the header does not say AP or PA: {said}")
    return Unknown("ViewPosition and ViewCodeSequence are absent")
