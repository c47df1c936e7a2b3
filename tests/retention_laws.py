"""Laws of retention, run on SQLite and on PostgreSQL: what is undelivered never goes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage import ledger, queries, retention
from storage.database import begin, reading
from storage.errors import NotAllowed
from storage.ledger import Receipt
from storage.lifecycle import Event, State
from storage.records import DeliveryState, Instance, StudyState
from storage.retention import Removable, Removed
from tests.storage_cases import (
    MADE,
    NODE,
    STUDY,
    T0,
    a_claimed_job,
    a_delivering_job,
    a_queued_job,
    after,
    an_instance,
    answer,
    everything,
    kinds,
    routed,
)

DAY = timedelta(days=1)


def may_go(engine: Engine) -> list[str]:
    with reading(engine) as conn:
        return [each.study_instance_uid for each in retention.removable(conn)]


def delivered(engine: Engine, study: str = STUDY) -> int:
    """A job of one object, which both destinations have acknowledged; its study is routed."""
    job_id = a_delivering_job(engine, study=study)
    assert routed(engine, 1, study)
    with reading(engine) as conn:
        due = [delivery.id for delivery in queries.deliveries(conn, job_id)]
    for delivery_id in due:
        answer(engine, delivery_id, DeliveryState.ACKNOWLEDGED)
    with begin(engine) as conn:
        assert ledger.settle(conn, NODE, job_id, 1, after(3)) is State.DELIVERED
    return job_id


def marked(engine: Engine, study: str = STUDY) -> Removed | None:
    with begin(engine) as conn:
        return ledger.mark_removed(conn, NODE, after(100), study, reason="too old")


def received(engine: Engine) -> Instance:
    with reading(engine) as conn:
        (instance,) = queries.instances(conn, STUDY)
    return instance


def test_a_delivered_study_may_go(engine: Engine) -> None:
    delivered(engine)

    assert may_go(engine) == [STUDY]


def test_a_study_that_waits_for_a_decision_stays(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())

    assert may_go(engine) == []
    assert marked(engine) is None


def test_a_declined_study_may_go(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
        ledger.decide(
            conn,
            NODE,
            after(5),
            study_instance_uid=STUDY,
            revision=1,
            completeness="quiet for 60 s",
            verdict=StudyState.DECLINED,
            rule="",
            reasons=("no rule takes it",),
            configuration_digest="",
        )

    assert may_go(engine) == [STUDY]


@pytest.mark.parametrize("make", [a_queued_job, a_claimed_job, a_delivering_job])
def test_a_study_whose_job_is_not_at_its_end_stays(engine: Engine, make: object) -> None:
    assert callable(make)
    make(engine)
    routed(engine, 1)

    assert may_go(engine) == []
    assert marked(engine) is None
    assert received(engine).removed_at is None


def test_a_study_whose_result_could_not_be_delivered_stays(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    routed(engine, 1)
    with begin(engine) as conn:
        ledger.advance(conn, NODE, job_id, 1, State.DELIVERING, Event.GAVE_UP, after(9))

    assert may_go(engine) == []


def test_a_study_whose_result_was_withheld_may_go(engine: Engine) -> None:
    job_id = a_claimed_job(engine)
    routed(engine, 1)
    with begin(engine) as conn:
        ledger.withhold(conn, NODE, job_id, 1, after(9), reasons=("one view only",), **MADE)

    assert may_go(engine) == [STUDY]


def test_a_study_that_somebody_is_sending_stays(engine: Engine) -> None:
    delivered(engine)
    with begin(engine) as conn:
        ledger.open_transfer(conn, NODE, "association", STUDY, after(50))

    assert may_go(engine) == []


def test_a_removal_keeps_every_row_and_is_in_the_audit_with_its_digests(engine: Engine) -> None:
    job_id = delivered(engine)
    with reading(engine) as conn:
        before = (queries.jobs(conn), queries.deliveries(conn, job_id), queries.study(conn, STUDY))

    gone = marked(engine)

    with reading(engine) as conn:
        assert before == (
            queries.jobs(conn),
            queries.deliveries(conn, job_id),
            queries.study(conn, STUDY),
        )
        entry = queries.entries(conn)[-1]
    assert gone == Removed((an_instance().path,), (job_id,))
    assert received(engine).removed_at == after(100)
    assert entry.kind == "study.pixels_removed"
    assert entry.details["instances"] == [
        {"sop_instance_uid": an_instance().sop_instance_uid, "sha256": an_instance().sha256}
    ]
    assert entry.details["reason"] == "too old"


def test_what_was_removed_is_not_removed_again(engine: Engine) -> None:
    delivered(engine)
    assert marked(engine) is not None
    before = everything(engine), kinds(engine)

    assert may_go(engine) == []
    assert marked(engine) is None
    assert (everything(engine), kinds(engine)) == before


def test_the_same_instance_sent_again_after_its_removal_makes_its_study_wait(
    engine: Engine,
) -> None:
    delivered(engine)
    marked(engine)

    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, an_instance(at=after(200)))

    with reading(engine) as conn:
        study = queries.study(conn, STUDY)
    assert receipt is Receipt.RESTORED
    assert received(engine).removed_at is None
    assert study is not None
    assert study.state is StudyState.WAITING
    assert kinds(engine)[-1] == "instance.restored"


def test_a_job_whose_pixels_were_removed_is_neither_requeued_nor_resent(engine: Engine) -> None:
    job_id = delivered(engine)
    marked(engine)

    for again in (ledger.requeue, ledger.resend):
        with pytest.raises(NotAllowed, match="send the study again"), begin(engine) as conn:
            again(conn, NODE, job_id, after(200))


def test_files_go_after_their_rows_and_results_with_them(engine: Engine, tmp_path: Path) -> None:
    job_id = delivered(engine)
    store, results = tmp_path / "instances", tmp_path / "results"
    path = a_file(store, an_instance().path)
    a_file(results, f"job-{job_id}/attempt-1/bone.dcm")
    gone = marked(engine)
    assert gone is not None

    with begin(engine) as conn:
        retention.remove(conn, NODE, gone, store, results)

    assert not path.exists()
    assert not (results / f"job-{job_id}").exists()


def test_a_file_that_was_received_again_between_mark_and_removal_stays(
    engine: Engine, tmp_path: Path
) -> None:
    delivered(engine)
    path = a_file(tmp_path, an_instance().path)
    gone = marked(engine)
    assert gone is not None
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance(at=after(200)))

    with begin(engine) as conn:
        retention.remove(conn, NODE, gone, tmp_path, tmp_path / "results")

    assert path.exists()


def test_what_a_cut_off_removal_has_left_is_removed_later(engine: Engine, tmp_path: Path) -> None:
    job_id = delivered(engine)
    image = a_file(tmp_path, an_instance().path)
    result = a_file(tmp_path, f"job-{job_id}/attempt-1/bone.dcm")
    other = a_file(tmp_path, f"job-{job_id + 1}/attempt-1/bone.dcm")
    marked(engine)

    with begin(engine) as conn:
        retention.remove_strays(conn, NODE, tmp_path, tmp_path, T0 + 2 * DAY)

    assert (image.exists(), result.exists(), other.exists()) == (False, False, True)


def test_a_stray_file_goes_after_a_day_and_a_needed_one_never(
    engine: Engine, tmp_path: Path
) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
    needed = a_file(tmp_path, an_instance().path)
    stray = a_file(tmp_path, an_instance("nobody's").path)

    with begin(engine) as conn:
        early = retention.remove_strays(conn, NODE, tmp_path, tmp_path, T0 + DAY / 2)
        late = retention.remove_strays(conn, NODE, tmp_path, tmp_path, T0 + 2 * DAY)

    assert (early, late) == (0, 1)
    assert needed.exists()
    assert not stray.exists()


def a_file(root: Path, path: str) -> Path:
    """Last written to at T0."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"pixels")
    os.utime(file, (T0.timestamp(), T0.timestamp()))
    return file


def of(name: str, days: float, size_bytes: int = 10) -> Removable:
    """A study that was last used so many days before T0."""
    return Removable(name, T0 - timedelta(days=days), size_bytes)


def names(chosen: tuple[Removable, ...]) -> list[str]:
    return [each.study_instance_uid for each in chosen]


def test_what_is_older_than_it_is_kept_goes_and_nothing_else() -> None:
    studies = [of("young", 1), of("old", 11), of("older", 12)]

    chosen = retention.choose(studies, T0, keep=timedelta(days=10), missing_bytes=0)

    assert names(chosen) == ["older", "old"]


def test_the_oldest_go_until_there_is_room_and_no_more() -> None:
    studies = [of("c", 1), of("a", 3), of("b", 2)]

    assert names(retention.choose(studies, T0, keep=None, missing_bytes=0)) == []
    assert names(retention.choose(studies, T0, keep=None, missing_bytes=10)) == ["a"]
    assert names(retention.choose(studies, T0, keep=None, missing_bytes=11)) == ["a", "b"]
    assert names(retention.choose(studies, T0, keep=None, missing_bytes=99)) == ["a", "b", "c"]


def test_a_clock_that_is_set_back_removes_nothing() -> None:
    studies = [of("received", 0)]

    assert retention.choose(studies, T0 - DAY, keep=DAY, missing_bytes=0) == ()
