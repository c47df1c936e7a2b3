"""Every bone of a result has a strong colour of its own, and the same one from study to study."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from skimage.color import rgb2lab

from pipeline.colours import colours
from pipeline.drawing import CAUTION
from pipeline.types import Bone, Code
from tests.results import box

KNEE = {"Femur": "71341001", "Tibia": "12611008", "Patella": "64234005", "Fibula": "87342007"}
PELVIS = {"Hip bone": "118645006", "Sacrum": "54735007", "Femur": "71341001"}
MUDDLE = 25.0
"""A distance in CIELab below which two colours are mixed up at a glance."""


def _bones(codes: dict[str, str]) -> list[Bone]:
    return [box(name, code=Code(value, "SCT", name)) for name, value in codes.items()]


def _distances(*many: tuple[int, int, int]) -> list[float]:
    return [
        float(np.linalg.norm(rgb2lab(np.array(one) / 255) - rgb2lab(np.array(other) / 255)))
        for one, other in combinations(many, 2)
    ]


def test_no_two_bones_of_a_result_can_be_mixed_up() -> None:
    for bones in (_bones(KNEE), _bones(PELVIS), _bones(KNEE) + _bones(KNEE), _bones(KNEE | PELVIS)):
        assert min(_distances(*colours(bones))) > MUDDLE


def test_no_bone_has_the_colour_of_a_caution() -> None:
    for rgb in colours(_bones(KNEE | PELVIS)):
        assert min(_distances(rgb, CAUTION)) > MUDDLE


def test_a_bone_has_its_colour_whatever_lies_beside_it() -> None:
    (alone,) = colours(_bones({"Tibia": KNEE["Tibia"]}))

    assert colours(_bones(KNEE))[1] == alone


def test_the_colours_of_the_bones_stay_strong_under_half_transparency() -> None:
    for rgb in colours(_bones(KNEE | PELVIS)):
        _, *hue = rgb2lab((np.array(rgb) / 2 + 85 / 2) / 255)
        assert np.hypot(*hue) > 20


def test_more_bones_than_colours_still_have_one_each() -> None:
    assert len(colours(_bones(KNEE) * 9)) == 36
