"""The storage SCP of pynetdicom's documentation: the data set is decoded and saved, nothing synced.

Source: pynetdicom 3.0, "Writing your first SCP" and "Storage Service Examples". All is as there,
but for the number of associations, of which ten are allowed unless one asks for more.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    DigitalXRayImageStorageForPresentation,
)


def main(title: str, port: str, folder: str) -> None:
    """Serves until it is ended."""

    def handle_store(event: Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        ds.save_as(Path(folder) / ds.SOPInstanceUID, enforce_file_format=True)
        return 0x0000

    ae = AE(ae_title=title)
    ae.maximum_associations = 100
    ae.add_supported_context(DigitalXRayImageStorageForPresentation)
    ae.start_server(("127.0.0.1", int(port)), evt_handlers=[(evt.EVT_C_STORE, handle_store)])


if __name__ == "__main__":
    main(*sys.argv[1:])
