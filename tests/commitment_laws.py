"""Laws of requests for storage commitment, run on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Engine

from storage import commitments, ledger
from storage.database import begin, reading
from storage.files import Written
from storage.records import Commitment, CommitmentState, NewCommitment, Reference
from tests.storage_cases import DX, NODE, T0, after, an_instance, kinds, together

ASKED = NewCommitment(
    "2.25.9", "MODALITY", "OSTEON", "127.0.0.1", (Reference(DX, "2.25.1"), Reference(DX, "2.25.2"))
)
OTHER = replace(ASKED, asked=(Reference(DX, "2.25.3"),))
HOUR = timedelta(hours=1)


def owe(
    engine: Engine, new: NewCommitment = ASKED, at: datetime = T0, most: int = 10
) -> int | None:
    with begin(engine) as conn:
        return ledger.owe(conn, NODE, at, new, next_attempt_at=at, most_pending=most)


def the(engine: Engine, number: int | None) -> Commitment:
    assert number is not None
    with reading(engine) as conn:
        found = commitments.commitment(conn, number)
    assert found is not None
    return found


def due(engine: Engine, at: datetime, peer: str = "MODALITY", node: str = NODE) -> list[int]:
    with reading(engine) as conn:
        found = commitments.due(conn, node, peer, at, longest_wait=HOUR)
    return [each.id for each in found]


def reported(engine: Engine, number: int | None, at: datetime = T0) -> None:
    with begin(engine) as conn:
        ledger.report(conn, at, the(engine, number), answer={"committed": ["2.25.1"]})


def test_a_request_is_owed_an_answer_until_it_was_heard(engine: Engine) -> None:
    number = owe(engine)

    before = due(engine, T0)
    reported(engine, number, after(5))

    assert before == [number]
    assert the(engine, number).made_of == ASKED
    assert the(engine, number).state is CommitmentState.REPORTED
    assert the(engine, number).reported_at == after(5)
    assert due(engine, after(10)) == []
    assert kinds(engine) == ["commitment.asked", "commitment.reported"]


def test_the_same_question_again_is_the_same_request_and_is_answered_again(engine: Engine) -> None:
    number = owe(engine)
    reported(engine, number)
    in_another_order = replace(ASKED, asked=ASKED.asked[::-1], peer_address="127.0.0.2")

    again = owe(engine, in_another_order, after(60))

    assert again == number
    assert the(engine, again).made_of.peer_address == "127.0.0.2"
    assert not the(engine, again).is_duplicate
    assert due(engine, after(60)) == [number]


def test_another_question_under_the_same_transaction_is_a_duplicate(engine: Engine) -> None:
    first = owe(engine)

    second = owe(engine, OTHER)

    assert not the(engine, first).is_duplicate
    assert the(engine, second).is_duplicate
    with reading(engine) as conn:
        of_both = commitments.of_transaction(conn, "2.25.9")
    assert [each.id for each in of_both] == [first, second]


def test_two_peers_may_choose_the_same_transaction_uid(engine: Engine) -> None:
    owe(engine)

    other = owe(engine, replace(OTHER, calling_ae_title="OTHER"))

    assert not the(engine, other).is_duplicate


def test_a_peer_is_answered_only_what_it_asked_itself_and_by_the_node_that_it_asked(
    engine: Engine,
) -> None:
    owe(engine)

    assert due(engine, T0, peer="OTHER") == []
    assert due(engine, T0, node="another") == []


def test_a_peer_that_asks_too_much_is_told_so_and_others_are_not(engine: Engine) -> None:
    numbers = [owe(engine, replace(ASKED, transaction_uid=f"2.25.{n}"), most=3) for n in range(4)]

    other = owe(engine, replace(ASKED, calling_ae_title="OTHER"), most=3)
    again = owe(engine, replace(ASKED, transaction_uid="2.25.0"), most=3)

    assert None not in numbers[:3]
    assert numbers[3] is None
    assert other is not None
    assert again == numbers[0]


def test_what_nobody_heard_waits_and_is_given_up_at_last(engine: Engine) -> None:
    number = owe(engine)
    with begin(engine) as conn:
        ledger.put_off(conn, T0, the(engine, number), reason="away", next_attempt_at=after(60))

    waits = due(engine, after(59)), due(engine, after(60)), the(engine, number).reason
    with begin(engine) as conn:
        ledger.put_off(conn, T0, the(engine, number), reason="away", next_attempt_at=None)

    assert waits == ([], [number], "away")
    assert the(engine, number).state is CommitmentState.GIVEN_UP
    assert the(engine, number).tries == 2
    assert due(engine, after(3600)) == []
    assert kinds(engine)[-1] == "commitment.given_up"


def test_a_clock_that_was_set_back_makes_nobody_wait_for_longer(engine: Engine) -> None:
    number = owe(engine, at=T0)

    assert due(engine, T0 - timedelta(minutes=59)) == []
    assert due(engine, T0 - timedelta(hours=2)) == [number]


def test_what_was_heard_is_not_put_off_nor_told_twice(engine: Engine) -> None:
    number = owe(engine)
    before = the(engine, number)
    reported(engine, number)

    with begin(engine) as conn:
        ledger.put_off(conn, T0, before, reason="late", next_attempt_at=None)
        ledger.report(conn, after(9), before, answer={})

    assert the(engine, number).state is CommitmentState.REPORTED
    assert kinds(engine) == ["commitment.asked", "commitment.reported"]


def test_the_same_question_at_the_same_time_is_one_request(engine: Engine) -> None:
    numbers = together([lambda: owe(engine)] * 4)

    assert len(set(numbers)) == 1


def test_what_is_held_is_found_however_many_are_asked_for(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
    uid = an_instance().sop_instance_uid
    others = [f"2.25.{number}" for number in range(1500)]

    with reading(engine) as conn:
        found = commitments.received(conn, [*others, uid])

    assert found == {uid: an_instance()}


def test_what_was_refused_is_known_by_peer_and_status(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.quarantine(
            conn,
            NODE,
            T0,
            calling_ae_title="MODALITY",
            peer_address="127.0.0.1",
            affected_sop_instance_uid="2.25.1",
            status=0xC001,
            reason="other content",
            written=Written("a", "0" * 64, 1),
        )

    def refused(peer: str, status: int) -> frozenset[str]:
        with reading(engine) as conn:
            return commitments.refused(conn, ["2.25.1", "2.25.2"], peer, status)

    assert refused("MODALITY", 0xC001) == {"2.25.1"}
    assert refused("OTHER", 0xC001) == frozenset()
    assert refused("MODALITY", 0xC000) == frozenset()
