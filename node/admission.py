"""Who may open an association, and who may wait for one: pure decisions on titles and addresses.

A place is taken by who was admitted, never by who only knocks; so nobody who is not listed can
take one, and of those who are, none can take all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from node.settings import Peer

CALLING_NOT_RECOGNISED = 0x03
CALLED_NOT_RECOGNISED = 0x07
MOST_STRANGERS: Final = 8
"""Connections of addresses that are not listed, at a time: enough to be told why not."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The caller is on the list."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Rejected:
    """The caller is refused; `reason` tells an administrator what to change."""

    diagnostic: int
    """Reason of an A-ASSOCIATE-RJ with source 1, the service user (PS3.8 9.3.4)."""
    reason: str


@dataclass(frozen=True, slots=True)
class Full:
    """There is no place now; `reason` tells an administrator which limit it was.

    An A-ASSOCIATE-RJ: transient, source 3, local limit exceeded (PS3.8 9.3.4).
    """

    reason: str


def may_knock(address: str, waiting: Sequence[str], *, peers: Sequence[Peer], at_most: int) -> bool:
    """True if one more connection of `address` may wait for its association.

    Args:
        address: Of the peer.
        waiting: The addresses of those who wait already, one for each connection.
        peers: Who is listed.
        at_most: Connections of one listed address.
    """
    if _is_listed(address, peers):
        return waiting.count(address) < at_most
    return sum(not _is_listed(each, peers) for each in waiting) < MOST_STRANGERS


def find_place(
    calling_ae_title: str, taken: Sequence[str], *, at_most: int, per_peer: int
) -> Full | None:
    """None if there is a place; `taken` has the AE title of each association that has one."""
    if len(taken) >= at_most:
        return Full(f"there are {at_most} associations already (maximum_associations)")
    if taken.count(calling_ae_title) >= per_peer:
        return Full(
            f"'{calling_ae_title}' has {per_peer} associations already "
            "(maximum_associations_per_peer)"
        )
    return None


def admit(
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
    *,
    peers: Sequence[Peer],
    own_ae_title: str,
    accept_any_called_ae_title: bool,
) -> Admitted | Rejected:
    """Admitted, if title and address stand together on the list, and we are who is called."""
    if not accept_any_called_ae_title and called_ae_title != own_ae_title:
        return Rejected(
            CALLED_NOT_RECOGNISED,
            f"it called '{called_ae_title}', but this node is '{own_ae_title}': "
            "correct the called AE title at the sender",
        )
    titled = [peer for peer in peers if peer.ae_title == calling_ae_title]
    if not titled:
        return Rejected(
            CALLING_NOT_RECOGNISED,
            f"the AE title '{calling_ae_title}' is not listed: "
            "add it under [[peers]] if it should send to this node",
        )
    for peer in titled:
        if _is_listed(address, (peer,)):
            return Admitted(peer)
    return Rejected(
        CALLING_NOT_RECOGNISED,
        f"the AE title '{calling_ae_title}' is listed, but not with the address {address}: "
        "add it to the addresses of this peer",
    )


def _is_listed(address: str, peers: Sequence[Peer]) -> bool:
    of = ip_address(address)
    return any(of in ip_network(network) for peer in peers for network in peer.addresses)
