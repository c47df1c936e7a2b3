"""Who may open an association. Diagnostics: PS3.8 9.3.4, source 1."""

import pytest

from node.admission import (
    MOST_STRANGERS,
    Admitted,
    Full,
    Rejected,
    admit,
    find_place,
    may_knock,
)
from node.settings import Peer, Receiver

XRAY = Peer(ae_title="XRAY", addresses=("10.0.0.7", "10.1.0.0/16"))


def asked(calling: str = "XRAY", called: str = "OSTEON", address: str = "10.0.0.7") -> object:
    return admit(
        calling,
        called,
        address,
        peers=(XRAY,),
        own_ae_title="OSTEON",
        accept_any_called_ae_title=False,
    )


def test_a_listed_title_from_a_listed_address_is_admitted() -> None:
    assert asked() == Admitted(XRAY)


def test_a_network_admits_each_of_its_addresses() -> None:
    assert asked(address="10.1.200.3") == Admitted(XRAY)


@pytest.mark.parametrize(
    ("calling", "called", "address", "diagnostic", "hint"),
    [
        ("STRANGER", "OSTEON", "10.0.0.7", 3, "add it under [[peers]]"),
        ("XRAY", "OSTEON", "10.0.0.8", 3, "add it to the addresses"),
        ("xray", "OSTEON", "10.0.0.7", 3, "not listed"),
        ("XRAY", "OSTEO", "10.0.0.7", 7, "correct the called AE title"),
    ],
)
def test_a_rejection_says_what_to_change(
    calling: str, called: str, address: str, diagnostic: int, hint: str
) -> None:
    verdict = asked(calling, called, address)

    assert isinstance(verdict, Rejected)
    assert verdict.diagnostic == diagnostic
    assert hint in verdict.reason


def test_any_called_title_is_taken_only_where_the_settings_say_so() -> None:
    verdict = admit(
        "XRAY",
        "ANYTHING",
        "10.0.0.7",
        peers=(XRAY,),
        own_ae_title="OSTEON",
        accept_any_called_ae_title=True,
    )

    assert isinstance(verdict, Admitted)


def test_strangers_wait_in_a_small_number_however_many_addresses_they_have() -> None:
    waiting = [f"10.9.0.{number}" for number in range(MOST_STRANGERS)]

    assert may_knock("10.9.1.1", waiting[1:], peers=(XRAY,), at_most=32)
    assert not may_knock("10.9.1.1", waiting, peers=(XRAY,), at_most=32)


def test_strangers_that_wait_keep_no_listed_address_out() -> None:
    waiting = [f"10.9.0.{number}" for number in range(1000)]

    assert may_knock("10.0.0.7", waiting, peers=(XRAY,), at_most=1)


def test_a_listed_address_waits_as_often_as_there_are_associations() -> None:
    assert may_knock("10.0.0.7", ["10.0.0.7"], peers=(XRAY,), at_most=2)
    assert not may_knock("10.0.0.7", ["10.0.0.7"] * 2, peers=(XRAY,), at_most=2)


@pytest.mark.parametrize(
    ("taken", "limit"),
    [
        (["A"] * 3, None),
        (["XRAY", "A", "A"], None),
        (["A"] * 4, "maximum_associations)"),
        (["XRAY", "XRAY", "A"], "maximum_associations_per_peer)"),
    ],
)
def test_a_place_is_found_until_all_or_those_of_the_peer_are_taken(
    taken: list[str], limit: str | None
) -> None:
    full = find_place("XRAY", taken, at_most=4, per_peer=2)

    assert full is None if limit is None else isinstance(full, Full) and limit in full.reason


def test_a_gateway_finds_a_hundred_places_where_nothing_is_set() -> None:
    assert Receiver().places_per_peer >= 100
