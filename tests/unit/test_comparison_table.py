"""The table of a comparison: paired differences, reasons for what is not there, failures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.training.peers_judging import Cost, Found, Judgement
from pipeline.training.peers_table import as_markdown, compared

PEOPLE = {"a": [1.0, 3.0], "b": [5.0], "c": [9.0]}
"""ASSD of each leg; an overlap follows from it."""


def found(name: str, values: dict[str, list[float]], views: int = 2) -> Found:
    judgements = tuple(
        Judgement(
            views,
            person,
            f"{person}-{leg}",
            "femur",
            dice=1 - value / 100,
            iou=1 - value / 50,
            assd_mm=value,
            hd95_mm=2 * value,
        )
        for person, legs in values.items()
        for leg, value in enumerate(legs)
    )
    costs = (Cost(views, 0.5, 1.25),)
    return Found(name, "", "", 12345, "60 steps, 1 min", costs=costs, judgements=judgements)


def test_a_peer_that_is_always_so_much_worse_is_so_without_doubt() -> None:
    """People differ by a factor of nine, both engines alike: the pairs leave no interval."""
    worse = {person: [value + 0.5 for value in legs] for person, legs in PEOPLE.items()}

    ours, peer = compared([found("lifting", PEOPLE), found("peer", worse)], "lifting")

    assert (ours.engine, peer.engine, peer.views, peer.people) == ("lifting", "peer", 2, 3)
    assert ours.means["assd_mm"].mean == pytest.approx((2 + 5 + 9) / 3)
    assert ours.means["assd_mm"].high - ours.means["assd_mm"].low > 3
    assert (ours.worst_mm, peer.worst_mm) == (9.0, 9.5)
    assert not ours.differences
    shifts = {"dice": -0.005, "iou": -0.01, "assd_mm": 0.5, "hd95_mm": 1.0}
    for measure, shift in shifts.items():
        apart = peer.differences[measure]
        assert (apart.mean, apart.low, apart.high) == pytest.approx((shift, shift, shift))


def test_two_people_who_disagree_leave_everything_open() -> None:
    """Drawn anew, both are the same one in half of the draws: a quarter each, far above 2.5 %."""
    ours, peer = found("lifting", {"a": [1.0], "b": [1.0]}), found("peer", {"a": [1.0], "b": [2.0]})
    apart = compared([ours, peer], "lifting")[1].differences["assd_mm"]
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.5, 0.0, 1.0))


def test_engines_that_were_judged_on_different_people_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different cases"):
        compared([found("lifting", {"a": [1.0]}), found("peer", {"b": [1.0]})], "lifting")


def test_the_figures_of_an_engine_do_not_depend_on_who_else_is_there() -> None:
    ours, peer, other = (found(name, PEOPLE) for name in ("lifting", "peer", "other"))
    two = compared([ours, peer], "lifting")
    three = compared([ours, other, peer], "lifting")
    assert [row for row in three if row.engine != "other"] == two


def test_what_an_engine_cannot_take_is_a_dash_with_its_reason_below() -> None:
    ours = found("lifting", PEOPLE)
    peer = replace(found("peer", PEOPLE), refused=((1, "no depth"), (5, "too many")))
    text = as_markdown([ours, peer], compared([ours, peer], "lifting"), (1, 2), "lifting")
    assert "| peer | 1 | - | - | - | - | - | - | - | - |" in text
    assert "| peer | 2 | 0.947 (0.910 to 0.980) |" in text
    assert "| 0.5 | 1.2 |" in text
    assert "- peer, 1 view: no depth." in text
    # nobody asked for five
    assert "too many" not in text


def test_an_engine_that_failed_is_a_row_that_says_why() -> None:
    ours = found("lifting", PEOPLE)
    failed = Found("peer", "", failed="There is no checkpoint.pt: train first")
    rows = compared([ours, failed], "lifting")
    text = as_markdown([ours, failed], rows, (2,), "lifting")
    assert [row.engine for row in rows] == ["lifting"]
    assert "| peer | - | - | failed: There is no checkpoint.pt: train first |" in text
    assert "| lifting | 12,345 | 60 steps, 1 min |  |" in text


def test_without_the_reference_the_others_are_still_told() -> None:
    failed = Found("lifting", "", failed="train first")
    (row,) = compared([failed, found("peer", PEOPLE)], "lifting")
    assert row.engine == "peer"
    assert not row.differences
