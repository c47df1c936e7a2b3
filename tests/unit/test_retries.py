"""A wait grows, has a bound, ends, and is not the same for everyone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.retries import next_attempt
from node.settings import Retries

FIRST = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = Retries(first_s=5, factor=2, longest_s=900, give_up_after_s=86_400)


def wait_s(tries: int, key: str = "delivery 1", policy: Retries = POLICY) -> float:
    due = next_attempt(tries, FIRST, first_try_at=FIRST, policy=policy, key=key)
    assert due is not None
    return (due - FIRST).total_seconds()


@pytest.mark.parametrize(
    ("tries", "least_s"),
    [(1, 5), (2, 10), (3, 20), (4, 40), (8, 640), (9, 900), (10, 900), (10_000, 900)],
)
def test_each_wait_is_twice_the_one_before_up_to_the_longest(tries: int, least_s: float) -> None:
    assert least_s <= wait_s(tries) <= 1.25 * least_s


@pytest.mark.parametrize(
    ("after_s", "is_over"), [(0, False), (86_399, False), (86_400, True), (90_000, True)]
)
def test_it_is_given_up_after_a_day(after_s: float, is_over: bool) -> None:
    now = FIRST + timedelta(seconds=after_s)

    due = next_attempt(99, now, first_try_at=FIRST, policy=POLICY, key="delivery 1")

    assert (due is None) == is_over


def test_a_last_try_is_made_when_the_time_is_over_and_not_long_before() -> None:
    now = FIRST + timedelta(seconds=86_000)

    due = next_attempt(99, now, first_try_at=FIRST, policy=POLICY, key="delivery 1")

    assert due == FIRST + timedelta(seconds=86_400)


def test_the_last_try_does_not_follow_at_once() -> None:
    now = FIRST + timedelta(seconds=86_399)

    due = next_attempt(99, now, first_try_at=FIRST, policy=POLICY, key="delivery 1")

    assert due == now + timedelta(seconds=5)


def test_a_hundred_deliveries_do_not_come_back_in_the_same_second() -> None:
    waits = [wait_s(9, key=f"delivery {number}") for number in range(100)]
    busiest = max(sum(second <= wait < second + 1 for wait in waits) for second in range(900, 1126))

    assert busiest <= 5
    assert max(waits) - min(waits) > 180


@given(tries=st.integers(1, 10**6), key=st.text(max_size=40))
def test_the_same_question_has_the_same_answer(tries: int, key: str) -> None:
    assert wait_s(tries, key) == wait_s(tries, key)


@given(
    tries=st.integers(0, 10**6),
    passed_s=st.floats(-1e6, 86_399),
    policy=st.builds(
        Retries,
        first_s=st.floats(0.1, 60),
        factor=st.floats(1, 10),
        longest_s=st.floats(60, 3600),
        give_up_after_s=st.just(86_400.0),
    ),
)
def test_the_next_try_lies_in_the_future_whatever_the_clock_does(
    tries: int, passed_s: float, policy: Retries
) -> None:
    now = FIRST + timedelta(seconds=passed_s)

    due = next_attempt(tries, now, first_try_at=FIRST, policy=policy, key="delivery 1")

    assert due is not None
    assert now < due <= now + timedelta(seconds=1.25 * policy.longest_s + 1e-3)


def test_the_answer_is_in_utc_whatever_zone_now_is_in() -> None:
    now = FIRST.astimezone(timezone(timedelta(hours=2)))

    due = next_attempt(1, now, first_try_at=FIRST, policy=POLICY, key="delivery 1")

    assert due is not None
    assert due.tzinfo is UTC
    assert timedelta(seconds=5) <= due - FIRST <= timedelta(seconds=6.25)
