"""When something is tried again: exponential, bounded, and spread so that not all come at once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from node.settings import Retries

SPREAD = 0.25
"""The largest part of a wait that is added to it, by the key."""


def next_attempt(
    tries: int, now: datetime, *, first_try_at: datetime, policy: Retries, key: str
) -> datetime | None:
    """When the next try is due after `tries` that failed; None means give up. Aware UTC.

    The wait is `first_s` times `factor` for each further failure, at most `longest_s`, and up to a
    quarter longer by a number that is drawn from `key` and `tries`: the same question has the same
    answer, and many deliveries to one destination do not come back in the same second. The last
    try is made when `give_up_after_s` have passed, not before.

    Args:
        tries: how many have failed, at least 1.
        now: aware; when the last one failed.
        first_try_at: aware; since when it is being tried.
        policy: the waits.
        key: what is tried, as the id of a delivery.
    """
    now, first_try_at = now.astimezone(UTC), first_try_at.astimezone(UTC)
    give_up_at = first_try_at + timedelta(seconds=policy.give_up_after_s)
    if now >= give_up_at:
        return None
    wait = timedelta(seconds=_wait_s(tries, policy) * (1 + SPREAD * _fraction(f"{key} {tries}")))
    return min(now + wait, max(give_up_at, now + timedelta(seconds=policy.first_s)))


def longest_wait(policy: Retries) -> timedelta:
    """No `next_attempt` lies further ahead, unless the clock was set back since."""
    return timedelta(seconds=policy.longest_s * (1 + SPREAD))


def _wait_s(tries: int, policy: Retries) -> float:
    # 64 doublings exceed any `longest_s`; the bound keeps the power from overflowing.
    return min(policy.first_s * policy.factor ** min(max(tries - 1, 0), 64), policy.longest_s)


def _fraction(key: str) -> float:
    """A number from 0 to 1 that depends on nothing but `key`."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) / 0xFFFFFFFF
