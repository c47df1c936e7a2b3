"""Orthanc as the hospital's PACS: Debian's package on loopback, in a folder of its own."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import LOOPBACK, Process, absent, free_port, is_listening, program, wait_until

PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = (
    "/usr/share/orthanc/plugins",
    "/usr/lib/orthanc",
    "/usr/local/share/orthanc/plugins",
)
START_SECONDS = 60.0

_without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc."""

    ae_title: str
    dicom_port: int
    http_port: int
    process: Process

    def request(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        """What REST answers to GET, or to POST where there is a body.

        Raises:
            RuntimeError: HTTP 400 and above, with what Orthanc said.
        """
        url = f"http://{LOOPBACK}:{self.http_port}{path}"
        headers = {"Accept": "application/dicom+json"} if path.startswith("/dicom-web") else {}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with _without_proxy.open(request, timeout=60) as response:
                answer: bytes = response.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method or ''} {path}: {error.code} {error.read()!r}") from error
        return answer

    def get(self, path: str) -> Any:
        """GET, as JSON."""
        return json.loads(self.request(path))

    def post(self, path: str, data: object) -> Any:
        """POST of JSON, as JSON."""
        return json.loads(self.request(path, json.dumps(data).encode()) or b"null")

    def know(self, name: str, ae_title: str, port: int) -> None:
        """Adds a peer on loopback to the modalities, in place of any of the same AE title.

        Orthanc reports what it commits itself to to the first that it finds by the title.
        """
        for other, known in self.get("/modalities?expand").items():
            if known["AET"] == ae_title:
                self.request(f"/modalities/{other}", method="DELETE")
        entry = {"AET": ae_title, "Host": LOOPBACK, "Port": port, "Timeout": 60}
        self.request(f"/modalities/{name}", json.dumps(entry).encode(), "PUT")

    def upload(self, file: bytes) -> str:
        """Stores a DICOM file over REST; returns Orthanc's own id of the instance."""
        return str(json.loads(self.request("/instances", file))["ID"])

    def send(self, ids: Sequence[str], modality: str) -> Mapping[str, Any]:
        """C-STORE of instances, series or studies to a modality, to the end.

        Raises:
            RuntimeError: one was not accepted.
        """
        done: Mapping[str, Any] = self.post(f"/modalities/{modality}/store", list(ids))
        return done

    def echo(self, modality: str) -> None:
        """C-ECHO to a modality.

        Raises:
            RuntimeError: it did not answer.
        """
        self.request(f"/modalities/{modality}/echo", b"{}")

    def id_of(self, uid: str) -> str | None:
        """Orthanc's own id of a study, series or instance; None where it holds none."""
        found = json.loads(self.request("/tools/lookup", uid.encode()))
        return str(found[0]["ID"]) if found else None

    def file(self, sop_instance_uid: str) -> bytes:
        """The stored DICOM file of an instance."""
        return self.request(f"/instances/{self.id_of(sop_instance_uid)}/file")

    def sop_instance_uids(self, study_instance_uid: str) -> frozenset[str]:
        """The instances of one study that Orthanc holds."""
        if (study := self.id_of(study_instance_uid)) is None:
            return frozenset()
        instances = self.get(f"/studies/{study}/instances")
        return frozenset(one["MainDicomTags"]["SOPInstanceUID"] for one in instances)

    def qido(self, level: str, **query: str) -> list[dict[str, Any]]:
        """Answer of QIDO-RS at "studies", "series" or "instances", in the DICOM JSON model."""
        words = urllib.parse.urlencode(query)
        found: list[dict[str, Any]] = self.get(f"/dicom-web/{level}?{words}")
        return found

    def wait_for(self, claim: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Returns once `claim()` holds.

        Raises:
            TimeoutError: not within `seconds`.
        """
        wait_until(claim, seconds, what, every=0.1)


def dicomweb_plugin() -> str:
    """The path of Orthanc's DICOMweb plugin, else skips or fails like `program`."""
    for folder in PLUGIN_FOLDERS:
        if (path := Path(folder) / PLUGIN).exists():
            return str(path)
    return absent("Orthanc's DICOMweb plugin (orthanc-dicomweb) is not installed")


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    ae_title: str = "ORTHANC",
    dicom_port: int | None = None,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Orthanc]:
    """An Orthanc that stores into `folder` and answers on loopback, stopped at the end.

    Args:
        folder: Kept, so that a second run in it is the same PACS come back.
        ae_title: Its own title; it accepts every title that calls.
        dicom_port: Given where a peer must find it again; else a free one.
        settings: Orthanc's own settings, over ours.
    """
    command = program("Orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    http, dicom = free_port(), dicom_port or free_port()
    plan = _configuration(folder, ae_title, dicom, http) | dict(settings or {})
    path = folder / "orthanc.json"
    path.write_text(json.dumps(plan, indent=1))
    with Process(
        [command, path],
        log=folder / "orthanc.log",
        cwd=folder,
        environment={"TCP_NODELAY": "1", "LC_ALL": "C.UTF-8"},
    ) as process:
        orthanc = Orthanc(ae_title, dicom, http, process)
        process.wait_until(lambda: _is_up(orthanc), START_SECONDS, "Orthanc answers")
        yield orthanc


def _is_up(orthanc: Orthanc) -> bool:
    if not is_listening(orthanc.http_port) or not is_listening(orthanc.dicom_port):
        return False
    try:
        orthanc.get("/system")
    except (OSError, RuntimeError, ValueError):
        return False
    return True


def _configuration(folder: Path, ae_title: str, dicom: int, http: int) -> dict[str, object]:
    return {
        "Name": ae_title,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "HttpBindAddresses": [LOOPBACK],
        "HttpDescribeErrors": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": ae_title,
        "DicomPort": dicom,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalitiesInDatabase": True,
        "DicomScuTimeout": 20,
        "StableAge": 1,
        "SyncStorageArea": True,
        "Plugins": [dicomweb_plugin()],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
