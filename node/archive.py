"""A small archive that plays the PACS in the demo: it accepts everything and keeps it as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from pynetdicom.events import Event


@dataclass(slots=True)
class Archive:
    """What was stored, by number of arrival; files are never named by what a peer sent."""

    folder: Path
    port: int = 0
    files: list[Path] = field(default_factory=list)


@contextmanager
def running(folder: Path, ae_title: str, port: int) -> Iterator[Archive]:
    """An archive on the loopback interface, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = Archive(folder, port)
    ae = AE(ae_title=ae_title)
    ae.supported_contexts = AllStoragePresentationContexts
    ae.add_supported_context(Verification)
    handlers = [(evt.EVT_C_STORE, _keep, [archive])]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    try:
        yield archive
    finally:
        if server is not None:
            server.shutdown()


def _keep(event: Event, archive: Archive) -> int:
    path = archive.folder / f"{len(archive.files) + 1:04d}.dcm"
    path.write_bytes(event.encoded_dataset())
    archive.files.append(path)
    return 0x0000
