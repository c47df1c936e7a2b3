"""A study is never complete before evidence, and always by the ceiling."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.completeness import Complete, Waiting, decide
from node.settings import Completeness
from node.study import Image, ReceivedStudy, received_study
from storage.records import Instance, Study, StudyState

START = datetime(2026, 3, 29, 0, 59, 50, tzinfo=UTC)
POLICY = Completeness(quiet_s=30, ceiling_s=900)
SECONDS = st.floats(0, 4000, allow_nan=False)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def image(seconds: float = 0.0) -> Image:
    return Image(f"1.2.3.{int(seconds * 1000)}", "1.2.4", "ab", at(seconds), "DX", "OSTEON", {})


def received(*arrivals: float, sending: int = 0, pacs_count: int | None = None) -> ReceivedStudy:
    return ReceivedStudy(
        study_instance_uid="1.2",
        images=tuple(image(seconds) for seconds in arrivals),
        first_received_at=at(min(arrivals)),
        last_received_at=at(max(arrivals)),
        open_associations=sending,
        pacs_count=pacs_count,
        revision=len(arrivals),
    )


CASES = {
    "both views here, still sending": (received(0, 1, sending=1), 1, True, "every view"),
    "both views here, at once": (received(0), 0, True, "every view"),
    "PACS counts as many": (received(0, 1, pacs_count=2), 1, False, "PACS counts no more"),
    "PACS counts fewer": (received(0, 1, pacs_count=1), 1, False, "PACS counts no more"),
    "PACS counts more": (received(0, 1, pacs_count=3), 1, False, None),
    "PACS counts as many, sending": (received(0, 1, sending=1, pacs_count=2), 1, False, None),
    "PACS counts none": (received(0, pacs_count=0), 1, False, "PACS counts no more"),
    "PACS not asked": (received(0, 1), 1, False, None),
    "just not quiet": (received(0, 1), 30.999, False, None),
    "quiet": (received(0, 1), 31, False, "nothing came for 30 s"),
    "quiet, PACS counts more": (received(0, 1, pacs_count=3), 31, False, "nothing came for 30 s"),
    "quiet, but sending": (received(0, 1, sending=1), 600, False, None),
    "just below the ceiling": (received(0, 890, sending=2), 899.999, False, None),
    "ceiling, still sending": (received(0, 899, sending=2), 900, False, "900 s have passed"),
    "ceiling, not quiet": (received(0, 899), 900, False, "900 s have passed"),
    "clock set back a little": (received(0, 1), -20, False, None),
    "clock set back an hour": (received(0, 1), -3599, False, "clock was set back by 3600 s"),
    "clock set back, sending": (received(0, 1, sending=1), -3599, False, None),
}


@pytest.mark.parametrize(("study", "now_s", "is_satisfied", "evidence"), CASES.values(), ids=CASES)
def test_completeness_is_decided_by_this_table(
    study: ReceivedStudy, now_s: float, is_satisfied: bool, evidence: str | None
) -> None:
    decision = decide(study, at(now_s), POLICY, is_satisfied)

    if evidence is None:
        assert isinstance(decision, Waiting)
    else:
        assert isinstance(decision, Complete)
        assert evidence in decision.evidence


@given(
    arrivals=st.lists(SECONDS, min_size=1, max_size=6, unique=True),
    order=st.randoms(use_true_random=False),
    sending=st.integers(0, 2),
    pacs_count=st.none() | st.integers(0, 8),
    later=SECONDS,
)
def test_the_order_of_arrival_has_no_influence(
    arrivals: list[float], order: object, sending: int, pacs_count: int | None, later: float
) -> None:
    study = received(*arrivals, sending=sending, pacs_count=pacs_count)
    images = list(study.images)
    order.shuffle(images)  # type: ignore[attr-defined]  # hypothesis hands a random.Random
    now = at(max(arrivals) + later)

    decision = decide(replace(study, images=tuple(images)), now, POLICY, False)

    assert decision == decide(study, now, POLICY, False)


@given(
    arrivals=st.lists(SECONDS, min_size=1, max_size=6),
    sending=st.integers(0, 2),
    pacs_count=st.none() | st.integers(0, 8),
    later=SECONDS,
)
def test_it_is_never_complete_before_evidence_and_always_by_the_ceiling(
    arrivals: list[float], sending: int, pacs_count: int | None, later: float
) -> None:
    study = received(*arrivals, sending=sending, pacs_count=pacs_count)
    now = at(max(arrivals) + later)
    is_past_the_ceiling = now - at(min(arrivals)) >= timedelta(seconds=900)
    is_quiet = sending == 0 and now - at(max(arrivals)) >= timedelta(seconds=30)
    is_counted = sending == 0 and pacs_count is not None and pacs_count <= len(arrivals)

    decision = decide(study, now, POLICY, False)

    is_due = is_past_the_ceiling or is_quiet or is_counted
    assert isinstance(decision, Complete) == is_due


@given(arrivals=st.lists(SECONDS, min_size=1, max_size=4), sending=st.integers(0, 1), later=SECONDS)
def test_a_wait_ends_later_than_now_and_when_it_ends_the_study_is_complete(
    arrivals: list[float], sending: int, later: float
) -> None:
    study = received(*arrivals, sending=sending)
    now = at(max(arrivals) + later)

    decision = decide(study, now, POLICY, False)

    if isinstance(decision, Waiting):
        assert decision.until > now
        assert isinstance(decide(study, decision.until, POLICY, False), Complete)


@given(step_s=st.floats(0, 1e7, allow_nan=False))
def test_a_clock_that_is_set_back_delays_a_study_by_no_more_than_the_quiet_period(
    step_s: float,
) -> None:
    """Looked at right after the step, and twice the quiet period after the last image."""
    study = received(0, 10)
    moments = (at(10 - step_s + passed_s) for passed_s in (0.25, 60.25))

    decisions = [decide(study, now, POLICY, False) for now in moments]

    assert any(isinstance(decision, Complete) for decision in decisions)


def test_a_clock_that_is_set_back_between_two_images_does_not_move_the_ceiling_back() -> None:
    study = replace(received(0), first_received_at=at(3600), open_associations=1)

    decision = decide(study, at(900), POLICY, False)

    assert isinstance(decision, Complete)


@pytest.mark.parametrize("zone", [ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-7))])
def test_daylight_saving_and_zones_have_no_influence(zone: ZoneInfo | timezone) -> None:
    """START is ten seconds before Europe's clocks go forward by an hour."""
    study = received(0)

    assert isinstance(decide(study, at(29).astimezone(zone), POLICY, False), Waiting)
    assert isinstance(decide(study, at(30).astimezone(zone), POLICY, False), Complete)


def instance(uid: str, seconds: float) -> Instance:
    return Instance(
        sop_instance_uid=uid,
        study_instance_uid="1.2",
        series_instance_uid="1.2.4",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256="ab",
        size_bytes=10,
        path="ab/ab.dcm",
        received_at=at(seconds),
        calling_ae_title="DX",
        called_ae_title="OSTEON",
        peer_address="127.0.0.1",
        attributes={"Modality": "DX"},
    )


@pytest.mark.parametrize(
    ("decided_s", "start_s"),
    [(None, 0), (-1, 0), (50, 100), (100, 130), (500, 130)],
    ids=["undecided", "decided before", "late image", "two late", "clock set back since"],
)
def test_a_round_of_waiting_begins_with_the_first_image_after_the_last_decision(
    decided_s: float | None, start_s: float
) -> None:
    row = Study("1.2", StudyState.WAITING, at(0), at(130), 3, 3, ())
    rows = [instance("1.3.1", 0), instance("1.3.2", 100), instance("1.3.3", 130)]
    decided_at = None if decided_s is None else at(decided_s)

    study = received_study(row, rows, open_associations=1, pacs_count=7, decided_at=decided_at)

    assert study.first_received_at == at(start_s)
    assert study.last_received_at == at(130)
    assert [one.sop_instance_uid for one in study.images] == ["1.3.1", "1.3.2", "1.3.3"]
    assert (study.open_associations, study.pacs_count, study.revision) == (1, 7, 3)
