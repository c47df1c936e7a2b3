"""Laws of receiving, run on SQLite and on PostgreSQL: what is new, the same, or in conflict."""

from __future__ import annotations

from itertools import count
from typing import Any

from sqlalchemy import Engine

from storage import audit, ledger, queries
from storage.database import begin, reading
from storage.ledger import Receipt
from storage.records import StudyState
from tests.storage_cases import (
    NODE,
    STUDY,
    T0,
    after,
    an_instance,
    everything,
    kinds,
    routed,
    together,
)


def test_a_new_instance_makes_its_study_wait(engine: Engine) -> None:
    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, an_instance())

    with reading(engine) as conn:
        study = queries.study(conn, STUDY)
        assert queries.instances(conn, STUDY) == (an_instance(),)
    assert receipt is Receipt.NEW
    assert study is not None
    assert (study.state, study.revision, study.instances) == (StudyState.WAITING, 1, 1)


def test_the_same_instance_again_changes_nothing_but_is_in_the_audit(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
    assert routed(engine, 1)
    before = everything(engine)

    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, an_instance(at=after(60)))

    assert receipt is Receipt.SAME
    assert everything(engine) == before
    assert kinds(engine)[-1] == "instance.same"


def test_the_same_instance_again_is_known_where_it_lies_now(engine: Engine) -> None:
    old, new = an_instance(), an_instance()
    object.__setattr__(old, "path", f"aa/bb/{old.sha256}.dcm")
    with begin(engine) as conn:
        ledger.receive(conn, NODE, old)

    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, new)

    assert receipt is Receipt.SAME
    with reading(engine) as conn:
        assert queries.instances(conn, STUDY) == (new,)


def test_other_content_under_the_same_uid_leaves_the_first_as_it_was(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
    before = everything(engine)

    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, an_instance(content="other", at=after(60)))

    assert receipt is Receipt.CONFLICT
    assert everything(engine) == before
    assert kinds(engine)[-1] == "instance.conflict"


def test_the_same_uid_in_another_study_is_a_conflict_and_makes_no_study(engine: Engine) -> None:
    stray = an_instance(content="other")
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())

    with begin(engine) as conn:
        receipt = ledger.receive(conn, NODE, _moved(stray, "1.2.999"))

    assert receipt is Receipt.CONFLICT
    with reading(engine) as conn:
        assert queries.study(conn, "1.2.999") is None


def test_a_late_instance_makes_a_routed_study_wait_again(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance("1"))
    assert routed(engine, 1)

    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance("2", at=after(60)))

    with reading(engine) as conn:
        study = queries.study(conn, STUDY)
    assert study is not None
    assert (study.state, study.revision, study.reasons) == (StudyState.WAITING, 2, ())
    assert (study.first_received_at, study.last_received_at) == (T0, after(60))


def test_one_of_many_that_receive_the_same_instance_at_once_has_it_new(engine: Engine) -> None:
    def receive() -> Receipt:
        with begin(engine) as conn:
            return ledger.receive(conn, f"node-{next(numbers)}", an_instance())

    numbers = count(1)
    receipts = together([receive] * 6)

    assert sorted(receipts) == [Receipt.NEW] + [Receipt.SAME] * 5
    with reading(engine) as conn:
        study = queries.study(conn, STUDY)
        assert isinstance(audit.verify(conn), audit.Verified)
    assert study is not None
    assert study.revision == 1


def test_a_number_that_json_cannot_say_does_not_refuse_the_instance(engine: Engine) -> None:
    odd = an_instance()
    object.__setattr__(odd, "attributes", {"KVP": float("nan"), "Deep": [{"X": float("-inf")}]})

    with begin(engine) as conn:
        ledger.receive(conn, NODE, odd)

    with reading(engine) as conn:
        stored = queries.instance_by_uid(conn, odd.sop_instance_uid)
    assert stored is not None
    assert stored.attributes == {"KVP": "nan", "Deep": [{"X": "-inf"}]}


def test_a_decision_on_an_older_revision_is_not_written(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance("1"))
        ledger.receive(conn, NODE, an_instance("2"))
    before = everything(engine), kinds(engine)

    assert not routed(engine, revision=1)

    assert (everything(engine), kinds(engine)) == before


def test_a_decision_is_kept_with_its_reasons(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())

    assert routed(engine, revision=1)

    with reading(engine) as conn:
        (decision,) = queries.decisions(conn, STUDY)
        study = queries.study(conn, STUDY)
    assert (decision.verdict, decision.rule) == (StudyState.ROUTED, "knee")
    assert decision.completeness == "quiet for 60 s"
    assert decision.reasons == ("Modality is DX",)
    assert study is not None
    assert study.state is StudyState.ROUTED


def test_a_study_is_being_sent_until_its_last_association_ends(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
        for association in ("a", "a", "b"):
            ledger.open_transfer(conn, NODE, association, STUDY, T0)
        ledger.open_transfer(conn, "other-node", "a", STUDY, T0)

    still_open = []
    for close in ("a", "b"):
        with begin(engine) as conn:
            still_open.append(queries.open_transfers(conn, STUDY))
            ledger.close_transfers(conn, NODE, close)
    with begin(engine) as conn:
        still_open.append(queries.open_transfers(conn, STUDY))
        ledger.close_transfers(conn, "other-node")
        still_open.append(queries.open_transfers(conn, STUDY))

    assert still_open == [3, 2, 1, 0]


def test_what_the_pacs_counted_is_forgotten_when_an_instance_comes(engine: Engine) -> None:
    counted = []
    for name in ("1", "2"):
        with begin(engine) as conn:
            ledger.receive(conn, NODE, an_instance(name))
            study = queries.study(conn, STUDY)
            ledger.count_study(conn, STUDY, 1, 5)
            after_it = queries.study(conn, STUDY)
        assert study is not None
        assert after_it is not None
        counted.append((study.pacs_count, after_it.pacs_count))

    assert counted == [(None, 5), (None, None)]


def _moved(instance: Any, study: str) -> Any:
    object.__setattr__(instance, "study_instance_uid", study)
    return instance
