"""C-ECHO and C-STORE as a service class provider.

An instance is written while it arrives (pynetdicom's chunked mode, straight into the store's own
folder), its header is read, the file is fsynced and renamed, the row is committed, and only then
does 0x0000 leave. Pixels are never decoded here, and a peer's UID never becomes a path.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer
from sqlalchemy.engine import Connection

from node.arriving import P_DATA_TF, TooLargeError
from node.committing import report_of
from node.descriptors import allow_descriptors
from node.door import Arrival, Door
from node.gatekeeper import Gatekeeper, titles
from node.header import (
    Header,
    UnreadableHeaderError,
    data_set_digest,
    read_header,
    require_match,
)
from node.pledging import Desk, on_action
from node.proving import heard
from node.references import TRANSFER_SYNTAXES, read_references
from node.refusing import answer, refuse, turn_away
from node.retention import MEBIBYTE
from node.sop_classes import RECEIVED_SOP_CLASSES, RECEIVED_TRANSFER_SYNTAXES
from node.statuses import OTHER_CONTENT, OUT_OF_RESOURCES, PROCESSING_FAILURE, SUCCESS
from node.storing import Storing
from node.wire import arrived, serve, unfinished
from storage import database, files, ledger, queries
from storage.crashpoints import Point, reached
from storage.errors import StorageError, StorageFull, StoreUnavailable
from storage.grouping import GroupCommit
from storage.records import Instance

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event, EventHandlerType

log = structlog.get_logger()


def listen(door: Door) -> ThreadedAssociationServer:
    """A running server; stop it with `shutdown()`.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    pynetdicom_config.STORE_RECV_CHUNKED_DATASET = True
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    # pynetdicom names its files by `tempfile`; a rename needs them on the store's file system.
    tempfile.tempdir = str(files.incoming(door.instances))
    files.prepare(door.quarantine)
    own = door.settings.receiver
    if (allowed := allow_descriptors(own.maximum_associations)) is not None:
        log.warning("descriptors_are_few", allowed=allowed, needs=own.maximum_associations)
    ae = AE(ae_title=own.ae_title)
    ae.maximum_associations = sys.maxsize  # counted by us: who only knocks has no place
    ae.maximum_pdu_size = own.maximum_pdu_bytes
    ae.network_timeout = own.network_timeout_s
    ae.acse_timeout = own.idle_timeout_s
    ae.dimse_timeout = own.idle_timeout_s
    # The handler decides by address too; these hold should it ever fail.
    ae.require_calling_aet = sorted({peer.ae_title for peer in door.settings.peers})
    ae.require_called_aet = not own.accept_any_called_ae_title
    ae.add_supported_context(Verification)
    for sop_class in RECEIVED_SOP_CLASSES:
        ae.add_supported_context(sop_class, list(RECEIVED_TRANSFER_SYNTAXES))
    # Modalities ask us, the provider; a PACS that we asked reports, which makes us the user.
    syntaxes = list(TRANSFER_SYNTAXES)
    ae.add_supported_context(StorageCommitmentPushModel, syntaxes, scu_role=True, scp_role=True)
    desk = Desk(door.settings, door.engine, door.instances, door.clock, door.callers)
    keeper = Gatekeeper(door.settings, door.engine, door.clock)
    writes = GroupCommit(door.engine)
    handlers: list[EventHandlerType] = [
        (evt.EVT_REQUESTED, keeper.on_requested),
        (evt.EVT_C_STORE, _on_store, [door, writes]),
        (evt.EVT_N_ACTION, on_action, [desk]),
        (evt.EVT_N_EVENT_REPORT, _on_report, [door]),
        (evt.EVT_DIMSE_RECV, door.callers.on_message),
        (evt.EVT_DATA_SENT, _on_sent),
        (evt.EVT_CONN_CLOSE, door.callers.on_closed),
        (evt.EVT_CONN_CLOSE, _on_closed, [door, writes]),
    ]
    most_bytes = own.maximum_instance_mib * MEBIBYTE
    store = partial(_on_plain_store, door=door, writes=writes)
    return serve(ae, (own.host, own.port), handlers, keeper.may_knock, most_bytes, store)


def _on_report(event: Event, door: Door) -> tuple[int, None]:
    """The status of one N-EVENT-REPORT: a destination says what it answers for; PS3.4 J.3.3."""
    said = event.request
    assert isinstance(said, N_EVENT_REPORT)  # noqa: S101 - bound to EVT_N_EVENT_REPORT
    encoded = b"" if said.EventInformation is None else said.EventInformation.getvalue()
    try:
        report = report_of(read_references(encoded, str(event.context.transfer_syntax)))
        heard(door.engine, door.settings, report, door.clock())
    except Exception:
        log.exception("report_not_heard")
        return PROCESSING_FAILURE, None
    return SUCCESS, None


def _on_sent(event: Event) -> None:
    if event.data[0] == P_DATA_TF:
        reached(Point.AFTER_STATUS)


def _on_closed(event: Event, door: Door, writes: GroupCommit) -> None:
    if (half := unfinished(event.assoc)) is not None:
        _leave_nothing(half, event.assoc, door)
    door.ended.add(_association(event.assoc))
    ended = frozenset(door.ended)
    writes.commit(lambda conn: _close_transfers(conn, door.settings.node.name, ended))
    door.ended.difference_update(ended)


def _close_transfers(conn: Connection, node: str, associations: Iterable[str]) -> None:
    for association in associations:
        ledger.close_transfers(conn, node, association)


def _leave_nothing(half: Path, assoc: Association, door: Door) -> None:
    """Of the instance that was arriving; one that went on without end is told of."""
    try:
        with suppress(StorageError, OSError):
            arrived(assoc, half)
    except TooLargeError as fault:
        turn_away(Arrival(*_parties(assoc), "", "", half, door.clock()), door, fault)
    finally:
        half.unlink(missing_ok=True)


def _on_store(event: Event, door: Door, writes: GroupCommit) -> int | Dataset:
    """The status of a C-STORE that pynetdicom has read."""
    stored, path = event.request, event.dataset_path
    assert isinstance(stored, C_STORE)  # noqa: S101 - bound to EVT_C_STORE
    uids = str(stored.AffectedSOPClassUID), str(stored.AffectedSOPInstanceUID)
    arrival = Arrival(*_parties(event.assoc), *uids, path, door.clock())
    try:
        return _status(arrival, lambda: arrived(event.assoc, path), door, writes, event.assoc)
    finally:
        path.unlink(missing_ok=True)


def _on_plain_store(
    assoc: Association, storing: Storing, door: Door, writes: GroupCommit
) -> int | Dataset:
    """The status of a C-STORE that our own reactor has read."""
    asked, path, handle = storing.request, storing.path, storing.handle
    uids = asked.sop_class_uid, asked.sop_instance_uid
    arrival = Arrival(*_parties(assoc), *uids, path, door.clock(), handle)
    return _status(arrival, storing.arriving.digest, door, writes, assoc)


def _status(
    arrival: Arrival,
    digest: Callable[[], files.Digest | None],
    door: Door,
    writes: GroupCommit,
    assoc: Association,
) -> int | Dataset:
    """Of one C-STORE; PS3.4 B.2.3."""
    told = {"sop_instance_uid": arrival.sop_instance_uid, "ae": arrival.calling_ae_title}
    try:
        found = digest()
        _require_room(door)
        return _keep(arrival, found, door, writes, _association(assoc))
    except TooLargeError as fault:
        return turn_away(arrival, door, fault)
    except StorageError as fault:
        log.error("instance_not_kept", reason=str(fault), **told)  # noqa: TRY400 - it is told
        return answer(OUT_OF_RESOURCES, str(fault))
    except Exception as fault:
        log.exception("instance_not_kept", **told)
        return answer(PROCESSING_FAILURE, type(fault).__name__)


def _parties(assoc: Association) -> tuple[str, str, str]:
    """Calling and called AE title, and the address of who calls."""
    return *titles(assoc), assoc.requestor.address


def _association(assoc: Association) -> str:
    return f"{id(assoc):x}"


def _keep(
    arrival: Arrival,
    digest: files.Digest | None,
    door: Door,
    writes: GroupCommit,
    association: str,
) -> int | Dataset:
    try:
        header = read_header(arrival.path, arrival.handle)
        require_match(header, arrival.sop_class_uid, arrival.sop_instance_uid)
    except UnreadableHeaderError as fault:
        return refuse(arrival, door, arrival.path, fault.status, str(fault))
    written = files.adopt(door.instances, arrival.path, digest, arrival.handle)
    instance = _instance(arrival, header, written)
    receipt = writes.commit(lambda conn: _write_row(conn, instance, door, association))
    reached(Point.AFTER_ROW)
    if receipt is ledger.Receipt.CONFLICT and not _is_same_data_set(header, written, door):
        path = door.instances / written.path
        return refuse(arrival, door, path, OTHER_CONTENT, "the SOPInstanceUID is already taken")
    return SUCCESS


def _write_row(
    conn: Connection, instance: Instance, door: Door, association: str
) -> ledger.Receipt:
    node, study = door.settings.node.name, instance.study_instance_uid
    receipt = ledger.receive(conn, node, instance)
    if receipt is ledger.Receipt.RESTORED and not (door.instances / instance.path).exists():
        raise StoreUnavailable("its bytes were removed at the same moment: send it again")
    if receipt is not ledger.Receipt.CONFLICT:
        ledger.open_transfer(conn, node, association, study, instance.received_at)
    reached(Point.BEFORE_ROW)
    return receipt


def _require_room(door: Door) -> None:
    """Room is refused while there still is some: for what others are sending, and for the rows."""
    reserve_mib = door.settings.retention.refuse_below_mib
    if door.free_bytes(door.instances) < reserve_mib * MEBIBYTE:
        raise StorageFull(f"less than {reserve_mib} MiB are free: nothing more is received")


def _is_same_data_set(header: Header, written: files.Written, door: Door) -> bool:
    """True if the first file of this UID differs in nothing but its file meta information."""
    with database.reading(door.engine) as conn:
        first = queries.instance_by_uid(conn, header.sop_instance_uid)
    if first is None or first.removed_at is not None:
        return False
    if first.transfer_syntax_uid != header.transfer_syntax_uid:
        return False
    return data_set_digest(door.instances / first.path) == data_set_digest(
        door.instances / written.path
    )


def _instance(arrival: Arrival, header: Header, written: files.Written) -> Instance:
    return Instance(
        sop_instance_uid=header.sop_instance_uid,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        sha256=written.sha256,
        size_bytes=written.size_bytes,
        path=written.path,
        received_at=arrival.at,
        calling_ae_title=arrival.calling_ae_title,
        called_ae_title=arrival.called_ae_title,
        peer_address=arrival.peer_address,
        attributes=header.attributes,
    )
