"""An answer reaches whoever asked, however the threads are scheduled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from node.checkpoint import LOOK_AGAIN_S, Checkpoint, Turnstile, keep_answers

ASKED = 40


class Drowsy:
    """Mixed in before an event: whoever is let go takes a moment to come to."""

    def wait(self, timeout: float | None = None) -> bool:
        held = super().wait(timeout)  # type: ignore[misc] # of the event beside
        time.sleep(0.004)
        return bool(held)


class DrowsyCheckpoint(Drowsy, Checkpoint):
    """Ours, with the same drowsiness."""


@pytest.fixture
def assoc() -> Iterator[Association]:
    scp = AE()
    scp.add_supported_context(Verification)
    server = scp.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    scu = AE()
    scu.dimse_timeout = 1
    scu.add_requested_context(Verification)
    made = scu.associate("127.0.0.1", server.server_address[1])
    assert made.is_established
    yield made
    made.release()
    server.shutdown()


def answers(assoc: Any) -> int:
    """How many of the requests, one after the other, were answered."""
    count = 0
    for _ in range(ASKED):
        if not assoc.is_established:
            break
        count += "Status" in assoc.send_c_echo()
    return count


def test_every_request_is_answered_though_the_thread_is_slow_to_come_to(
    assoc: Association,
) -> None:
    assoc._reactor_checkpoint = DrowsyCheckpoint(assoc.is_alive)

    assert answers(assoc) == ASKED


def test_an_association_goes_on_after_it_was_given_the_checkpoint(assoc: Association) -> None:
    keep_answers(assoc)

    assert answers(assoc) == ASKED
    assoc.release()
    assert assoc.is_released


def test_a_turnstile_is_passed_at_once_where_there_is_news() -> None:
    turnstile = Turnstile()
    turnstile.tell()
    began = time.monotonic()

    assert turnstile.wait()
    assert time.monotonic() - began < LOOK_AGAIN_S


def test_a_turnstile_is_passed_now_and_then_without_news() -> None:
    turnstile = Turnstile()

    assert turnstile.wait()
    assert turnstile.wait()


def test_a_turnstile_that_is_closed_holds_whoever_comes() -> None:
    turnstile = Turnstile()
    turnstile.clear()
    turnstile.tell()

    assert not turnstile.wait(timeout=0.001)

    turnstile.set()
    turnstile.tell()
    assert turnstile.wait(timeout=0.001)


def test_errands_are_run_once_and_in_order_by_whoever_passes() -> None:
    turnstile = Turnstile()
    run: list[str] = []
    began = time.monotonic()
    turnstile.ask(lambda: run.append("first"))
    turnstile.ask(lambda: run.append("second"))

    turnstile.wait()

    assert run == ["first", "second"]
    assert time.monotonic() - began < LOOK_AGAIN_S
    turnstile.wait()
    assert run == ["first", "second"]


def test_an_errand_waits_while_the_turnstile_is_closed() -> None:
    turnstile = Turnstile()
    run: list[str] = []
    turnstile.clear()
    turnstile.ask(lambda: run.append("errand"))
    turnstile.wait(timeout=0.001)

    before = list(run)
    turnstile.set()
    turnstile.wait()

    assert (before, run) == ([], ["errand"])
