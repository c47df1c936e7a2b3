"""What completion adds to a result is apart from it and marked; what was seen does not change.

Expected: issue 6, item 4, and blocks whose places are known by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.additions import added_by
from pipeline.types import Bone, Code, Reconstruction, Request
from tests.toy_pelvis import (
    COMPLETION,
    NAMES,
    ORIGIN,
    SIZE,
    VOXEL,
    completer,
    mirrored,
    seen,
    truth,
)


def added(made: Reconstruction) -> dict[str, Bone]:
    """The additions by name and side."""
    return {f"{one.name} {one.side}": one for one in made.bones if one.is_predicted}


def inside(bone: Bone) -> np.ndarray:
    """(N, 3) LPS mm of the voxels of a bone."""
    affine = bone.probability.patient_from_index
    index = np.argwhere(bone.probability.array >= 0.5)
    found: np.ndarray = index @ affine[:3, :3].T + affine[:3, 3]
    return found


def structure_at(places: np.ndarray) -> np.ndarray:
    """(N,) the true number at LPS mm."""
    index = np.round((places - ORIGIN) / 10).astype(int)
    within = ((index >= 0) & (index < SIZE)).all(axis=1)
    x, y, z = np.clip(index, 0, SIZE - 1).T
    return np.where(within, truth()[z, y, x], 0)


def of_input(before: Bone, after: Bone) -> tuple[slice, ...]:
    """Where the grid of `before` lies in that of `after`."""
    old, new = (one.probability.patient_from_index for one in (before, after))
    start = np.round(np.linalg.inv(new) @ old[:, 3])[:3].astype(int)
    np.testing.assert_allclose(new @ [*start, 1], old[:, 3], atol=1e-9)
    np.testing.assert_array_equal(new[:3, :3], old[:3, :3])
    shape = before.probability.array.shape
    return tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))


def blocks(seed: int) -> np.ndarray:
    """Structures that lie anywhere and over each other: an answer that makes no sense."""
    random = np.random.default_rng(seed)
    made = np.zeros((SIZE,) * 3, np.uint8)
    for number in random.integers(1, len(NAMES) + 1, 12):
        a, b = np.sort(random.integers(0, SIZE + 1, (2, 3)), axis=0)
        made[a[0] : b[0], a[1] : b[1], a[2] : b[2]] = number
    return made


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_nothing_that_was_seen_changes_whatever_is_predicted(seed: int) -> None:
    before = seen(seed=seed)

    after = added_by(completer(blocks(seed)), before, COMPLETION)

    assert after.figures[: len(before.figures)] == before.figures
    assert after.algorithm == before.algorithm
    for one, same in zip(before.bones, after.bones, strict=False):
        field = of_input(one, same)
        outside = np.ones(same.probability.array.shape, bool)
        outside[field] = False
        part = same.probability.array[field]
        assert part.tobytes() == one.probability.array.tobytes()
        assert not same.probability.array[outside].any()
        assert same.mesh is one.mesh
        assert (same.name, same.code, same.side, same.is_predicted) == (
            one.name, one.code, one.side, False,
        )  # fmt: skip
        for new in added(after).values():
            mask = new.probability.array >= 0.5
            assert not (mask & (same.probability.array >= 0.5)).any()
            if (new.code, new.side) == (one.code, one.side):
                assert not mask[field].any()


def test_what_is_missing_is_added_where_it_is() -> None:
    made = added_by(completer(), seen(), COMPLETION)

    found = added(made)
    assert set(found) == {"Hip bone L", "Sacrum U", "Femur R", "Femur L"}
    assert made.completed_by == COMPLETION
    for name, bone in found.items():
        words = name.lower().replace(" u", "").replace("hip bone", "hip_bone").replace(" ", "_")
        number = 1 + [one.lower() for one in NAMES].index(words)
        places = inside(bone)
        # between voxels of 10 mm probabilities are linear: edges are rounded, by a third of a voxel
        assert (structure_at(places) == number).all()
        missing = (truth() == number).sum() * 1000 * (0.5 if name == "Femur R" else 1.0)
        assert 0.7 * missing <= len(places) * VOXEL**3 <= missing
        assert made.assumptions[-1].value.count(name.removesuffix(" U")) == 1


def test_a_bone_that_the_field_cuts_goes_on_without_a_gap() -> None:
    before = seen()

    after = added_by(completer(), before, COMPLETION)

    femur = before.bones[0]
    lowest = inside(femur)[:, 2].min()
    assert inside(added(after)["Femur R"])[:, 2].max() == pytest.approx(lowest - VOXEL)


@pytest.mark.parametrize("femora_end", [False, True])
def test_a_shaft_that_goes_on_to_the_end_of_the_box_is_added_where_it_does_so_in_people(
    femora_end: bool,
) -> None:
    answer = truth()
    answer[:3, 6:10, 3:6] = 4

    made = added_by(completer(answer, femora_end=femora_end), seen(), COMPLETION)

    said = {one.value for one in made.assumptions}
    if femora_end:
        assert "no Femur R added" in said
    else:
        lowest = inside(added(made)["Femur R"])[:, 2].min()
        # in the last voxels of the box
        assert abs(lowest - ORIGIN[2]) < 5
        assert "Femur R goes on beyond what was added" in said


def test_a_left_study_is_completed_as_the_mirror_image_of_a_right_one() -> None:
    right = added_by(completer(), seen(), COMPLETION)

    left = added_by(completer(), mirrored(seen()), COMPLETION)

    expected = mirrored(right)
    assert len(left.bones) == len(expected.bones)
    for one, other in zip(left.bones, expected.bones, strict=True):
        assert (one.name, one.side, one.is_predicted) == (
            other.name,
            other.side,
            other.is_predicted,
        )
        np.testing.assert_array_equal(one.probability.array, other.probability.array)
        np.testing.assert_allclose(
            one.probability.patient_from_index, other.probability.patient_from_index, atol=1e-9
        )
        here, there = (part.vertices.min(axis=0) for part in (one.mesh, other.mesh))
        np.testing.assert_allclose(here, there, atol=2.0)


def test_where_everything_is_in_view_nothing_is_added() -> None:
    before = seen(NAMES, (slice(2, 15), slice(5, 11), slice(2, 14)))

    after = added_by(completer(), before, COMPLETION)

    assert [one.probability.array.shape for one in after.bones] == [
        one.probability.array.shape for one in before.bones
    ]
    assert after.bones == before.bones
    assert after.figures == before.figures
    (said,) = after.assumptions
    assert said.value == "nothing added"


def test_of_too_little_nothing_is_guessed() -> None:
    # of the femur the upper 2 of 6 layers are shown, and no other bone
    before = seen(("femur_R",), (slice(7, 12), slice(5, 11), slice(2, 8)))

    after = added_by(completer(), before, COMPLETION)

    assert after.bones == before.bones
    assert "would be a guess" in after.assumptions[-1].reason


def test_bones_that_no_engine_tells_apart_are_not_completed() -> None:
    before = seen(("hip_bone_R",))
    hull = replace(before.bones[0], name="Bone", code=Code("272673000", "SCT", "Bone"))

    after = added_by(completer(), replace(before, bones=(hull,)), COMPLETION)

    assert after.bones == (hull,)
    assert "None of the bones" in after.assumptions[-1].reason


def test_what_is_not_plausible_is_refused_in_words_and_the_rest_is_added() -> None:
    answer = truth()
    answer[answer == 3] = 0  # without a sacrum
    answer[2:9, 2, 14] = 3  # and a needle for it, of 7 cm3 where 32 are usual

    made = added_by(completer(answer), seen(), COMPLETION)

    assert "Sacrum U" not in added(made)
    assert any(a.value == "no Sacrum added" and "too small" in a.reason for a in made.assumptions)
    assert "Femur R" in added(made)


def test_how_much_was_added_is_a_figure_without_a_limit() -> None:
    made = added_by(completer(), seen(), COMPLETION)

    told = {one.name: one for one in made.figures}
    sacrum = told["predicted, not imaged: Sacrum"]
    # 4 x 4 x 2 voxels of 1 cm3, its edges rounded
    assert 0.7 * 32 < sacrum.value <= 32
    assert (sacrum.unit, sacrum.low, sacrum.high) == ("cm3", None, None)


def test_nothing_is_completed_unless_a_request_asks_for_it() -> None:
    assert Request.__dataclass_fields__["complete"].default is False
