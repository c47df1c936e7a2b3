"""What the soak calls flat."""

from __future__ import annotations

import os
import random
import threading

import pytest

from benchmarks.soak import MAY_RISE, Sample, after_warm_up, is_flat, rise_per_s, sample


def samples(minutes: int, mb_a_minute: float, noise_mb: float = 0.0) -> list[Sample]:
    """One a minute."""
    wobble = random.Random(1)
    return [
        Sample(60.0 * n, n, 100 + n * mb_a_minute + wobble.uniform(-noise_mb, noise_mb), 40, 9)
        for n in range(minutes + 1)
    ]


def test_the_slope_is_that_of_the_line() -> None:
    assert rise_per_s(samples(20, 3.0), "memory_mb") == pytest.approx(3.0 / 60)


def test_what_only_wobbles_is_flat() -> None:
    found = samples(20, 0.0, noise_mb=5.0)

    assert all(is_flat(found, what) for what in MAY_RISE)


def test_a_leak_of_one_megabyte_a_minute_is_seen_through_the_wobble() -> None:
    assert not is_flat(after_warm_up(samples(20, 1.0, noise_mb=5.0)), "memory_mb")


def test_what_fills_while_it_warms_up_is_not_judged() -> None:
    first = Sample(0.0, 0, 10.0, 10, 1)

    assert after_warm_up([first, *samples(20, 0.0)[4:]])[0].at_s == 240.0


def test_a_thread_and_a_descriptor_more_are_counted() -> None:
    before = sample(os.getpid(), 0.0, 0)
    ends, stop = os.pipe(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()

    after = sample(os.getpid(), 0.0, 0)

    stop.set()
    thread.join()
    for end in ends:
        os.close(end)
    assert (after.threads - before.threads, after.descriptors - before.descriptors) == (1, 2)
