"""Who may open an association: a pure decision on AE titles and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from node.settings import Peer

CALLING_NOT_RECOGNISED = 0x03
CALLED_NOT_RECOGNISED = 0x07


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
        if any(ip_address(address) in ip_network(network) for network in peer.addresses):
            return Admitted(peer)
    return Rejected(
        CALLING_NOT_RECOGNISED,
        f"the AE title '{calling_ae_title}' is listed, but not with the address {address}: "
        "add it to the addresses of this peer",
    )
