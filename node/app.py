"""The composition root: settings to objects, and the order of start and stop.

Start: database, what was claimed before, receiver, engines, clockwork; the receiver comes before
the engines, because a modality should not wait for torch. Stop is the reverse: no new association,
the runs under way end, the processes end; whatever was unfinished is in the rows.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog
from pydicom import config as pydicom_config
from pynetdicom.transport import ThreadedAssociationServer
from sqlalchemy.engine import Engine

from node import census, dispatch, outbox, pledging, proving, receiver, retention, timers
from node.callers import Callers
from node.dispatch import Dispatcher
from node.door import Door
from node.engine import EngineRoom, MakePool, spawned
from node.errors import NodeError
from node.outbox import Outbox
from node.pledging import Desk
from node.retention import Housekeeping
from node.settings import Settings, digest
from node.timers import Task
from node.translate import Folders
from storage import database, ledger
from storage.records import Json

log = structlog.get_logger()

SWEEP_EVERY_S = 3600.0
MAKE_ROOM_EVERY_S = 10.0
CENSUS_EVERY_S = 5.0
REPORT_EVERY_S = 1.0
LOOKS_EVERY_S = 1.0
"""Whether it was asked to end."""


class PortTakenError(NodeError):
    """The receiver's port is taken."""


class SchemaDiffersError(NodeError):
    """The database is of another version."""


@dataclass(frozen=True, slots=True)
class Station:
    """A node that is composed, but not running."""

    settings: Settings
    engine: Engine
    folders: Folders
    clock: Callable[[], datetime]


def compose(settings: Settings) -> Station:
    """The node's parts, with folders made and the database opened; nothing runs yet."""
    root = settings.node.folder
    folders = Folders(root / "instances", root / "quarantine", root / "results")
    for folder in (folders.instances, folders.quarantine, folders.results):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    return Station(
        settings=settings,
        engine=database.connect(settings.database_url),
        folders=folders,
        clock=now,
    )


def now() -> datetime:
    """The only clock of the node: aware UTC."""
    return datetime.now(UTC)


def require_schema(station: Station) -> None:
    """The schema is current; an empty database gets it at once, an older one is left to `migrate`.

    Raises:
        SchemaDiffersError: the database is of another version.
    """
    if database.is_current(station.engine):
        return
    if not database.is_empty(station.engine):
        raise SchemaDiffersError(
            "The database is of another version of Osteon: back it up, then run `osteon migrate`."
        )
    database.migrate(station.engine)


def serve(station: Station, until: threading.Event, make_pool: MakePool = spawned) -> None:
    """The node has run, from the first C-ECHO that it answers until the event is set.

    Args:
        station: As composed.
        until: Set to end it.
        make_pool: The engines: processes of their own, unless a test has another.

    Raises:
        PortTakenError: somebody else listens there.
    """
    settings, node = station.settings, station.settings.node.name
    require_schema(station)
    room = EngineRoom(settings.reconstruction, make_pool)
    world = Dispatcher(
        settings, digest(settings), station.engine, station.folders, room, station.clock
    )
    recovered = dispatch.recover(world)
    with database.begin(station.engine) as conn:
        details: dict[str, Json] = {
            "recovered_jobs": recovered,
            "configuration_digest": world.configuration,
        }
        ledger.note(conn, node, station.clock(), "node.started", details=details)
    callers = Callers()
    server = _listen(station, callers)
    log.info("listening", ae_title=settings.receiver.ae_title, port=settings.receiver.port)
    room.warm()
    stop_timers = timers.start(_tasks(station, world, callers))
    try:
        # a signal that the kernel hands to another thread wakes nobody who waits without an end:
        # its handler runs in this thread, the next time that it does anything
        while not until.wait(LOOKS_EVERY_S):
            pass
    finally:
        log.info("stopping")
        server.shutdown()
        stop_timers()
        room.stop()
        with database.begin(station.engine) as conn:
            ledger.note(conn, node, station.clock(), "node.stopped")


def serve_until_signal(station: Station, make_pool: MakePool = spawned) -> None:
    """As `serve`, until SIGTERM or SIGINT."""
    # What was loaded by now stays: to look through it again and again for what has gone takes a
    # tenth of the time of the receiver.
    gc.collect()
    gc.freeze()
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: until.set())
    serve(station, until, make_pool)


def _listen(station: Station, callers: Callers) -> ThreadedAssociationServer:
    own = station.settings.receiver
    door = Door(
        station.settings,
        station.engine,
        station.folders.instances,
        station.folders.quarantine,
        station.clock,
        callers=callers,
    )
    try:
        return receiver.listen(door)
    except OSError as fault:
        raise PortTakenError(
            f"Cannot listen on {own.host}:{own.port}: {fault.strerror}. "
            "Does another node run, or another program use this port?"
        ) from fault


def _tasks(station: Station, world: Dispatcher, callers: Callers) -> tuple[Task, ...]:
    settings = station.settings
    poll_s = settings.reconstruction.poll_s
    boxes = [
        Outbox(destination, settings, station.engine, station.folders, station.clock)
        for destination in settings.destinations
    ]
    home = Housekeeping(
        settings, station.engine, station.folders, station.clock, retention.free_bytes
    )
    desk = Desk(settings, station.engine, station.folders.instances, station.clock, callers)
    tasks = [
        Task("dispatch", poll_s, partial(dispatch.tick, world)),
        *(Task(f"to {box.destination.name}", poll_s, partial(outbox.empty, box)) for box in boxes),
        *(Task(f"proof of {b.destination.name}", poll_s, partial(proving.prove, b)) for b in boxes),
        *(
            Task(
                f"reports to {peer.ae_title}", REPORT_EVERY_S, partial(pledging.report, desk, peer)
            )
            for peer in settings.peers
        ),
        Task("sweep", SWEEP_EVERY_S, partial(retention.sweep, home)),
        Task("room", MAKE_ROOM_EVERY_S, partial(retention.make_room, home)),
    ]
    if settings.completeness.ask is not None:
        take_census = partial(census.take, station.engine, settings, station.clock)
        tasks.append(Task("census", CENSUS_EVERY_S, take_census))
    return tuple(tasks)
