"""Who asks for an association is let in or told why not: in the answer, the log and the audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.engine import Engine

from node.admission import Admitted, Full, Rejected, admit, find_place, may_knock
from node.news import once_every
from node.places import give_place
from node.settings import Settings
from storage import database, ledger
from storage.records import Json

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

log = structlog.get_logger()

PERMANENT: Final = 0x01
TRANSIENT: Final = 0x02
BY_SERVICE_USER: Final = 0x01
BY_PRESENTATION: Final = 0x03
LOCAL_LIMIT_EXCEEDED: Final = 0x02
AUDIT_A_REJECTION_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """What a decision about a caller needs of the world around it."""

    settings: Settings
    engine: Engine
    clock: Callable[[], datetime]
    is_news: Callable[[str, datetime], bool] = field(
        default_factory=lambda: once_every(AUDIT_A_REJECTION_EVERY)
    )

    def may_knock(self, address: str, waiting: Sequence[str]) -> bool:
        """True if one more connection of `address` may wait; see `node.admission`."""
        peers, at_most = self.settings.peers, self.settings.receiver.maximum_associations
        is_free = may_knock(address, waiting, peers=peers, at_most=at_most)
        if not is_free and self.is_news(address, self.clock()):
            log.warning("connection_refused", address=address, reason="too many are waiting")
        return is_free

    def on_requested(self, event: Event) -> None:
        """The association has a place, or is rejected; PS3.8 9.3.4."""
        calling, called = titles(event.assoc)
        own = self.settings.receiver
        verdict = admit(
            calling,
            called,
            event.assoc.requestor.address,
            peers=self.settings.peers,
            own_ae_title=own.ae_title,
            accept_any_called_ae_title=own.accept_any_called_ae_title,
        )
        match verdict:
            case Admitted():
                if (full := self._without_place(event.assoc, calling)) is not None:
                    answer = (TRANSIENT, BY_PRESENTATION, LOCAL_LIMIT_EXCEEDED)
                    self._reject(event.assoc, answer, full.reason)
            case Rejected(diagnostic, reason):
                self._reject(event.assoc, (PERMANENT, BY_SERVICE_USER, diagnostic), reason)

    def _without_place(self, assoc: Association, calling: str) -> Full | None:
        """None if the association has a place now."""
        own = self.settings.receiver
        return give_place(
            assoc,
            calling,
            lambda taken: find_place(
                calling, taken, at_most=own.maximum_associations, per_peer=own.places_per_peer
            ),
        )

    def _reject(self, assoc: Association, answer: tuple[int, int, int], reason: str) -> None:
        address = assoc.requestor.address
        log.warning("association_rejected", address=address, reason=reason)
        assoc.acse.send_reject(*answer)
        assoc.kill()
        at = self.clock()
        if not self.is_news(f"{address} {reason}", at):
            return
        details: dict[str, Json] = {"peer_address": address, "reason": reason}
        with database.begin(self.engine) as conn:
            ledger.note(conn, self.settings.node.name, at, "association.rejected", details=details)


def titles(assoc: Association) -> tuple[str, str]:
    """Calling and called AE title, without their padding."""
    asked = assoc.requestor.primitive
    assert asked is not None  # noqa: S101 - an acceptor acts only once it was asked
    return asked.calling_ae_title.strip(), asked.called_ae_title.strip()
