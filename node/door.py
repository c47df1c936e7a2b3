"""What the receiver needs of the world around it, and what it knows of one request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Engine

from node.callers import Callers
from node.retention import free_bytes
from node.settings import Settings


@dataclass(frozen=True, slots=True)
class Door:
    """What the receiver needs of the world around it."""

    settings: Settings
    engine: Engine
    instances: Path
    """Root of the instance store."""
    quarantine: Path
    """Root of what was refused."""
    clock: Callable[[], datetime]
    free_bytes: Callable[[Path], int] = free_bytes
    callers: Callers = field(default_factory=Callers)
    """Shared with whoever answers them."""
    ended: set[str] = field(default_factory=set)
    """Associations that are over, where no row says so yet: the database may have been away."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One C-STORE request: who sent it, and the file that holds what came."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    sop_class_uid: str
    sop_instance_uid: str
    path: Path
    at: datetime
    handle: int | None = None
    """Of the file, where it is open still; its owner closes it."""
