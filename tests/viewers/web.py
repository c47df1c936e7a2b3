"""One origin for a viewer and the PACS: files from folders, and a way through to DICOMweb.

A viewer that runs in a browser may only ask its own origin; hospitals put a reverse proxy before
both, and so do we.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.processes import LOOPBACK

TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
PACS_SECONDS = 60.0
_without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Site:
    """What an origin serves, tried in this order."""

    root: Path
    """A folder of files."""
    pages: Mapping[str, bytes] = field(default_factory=dict)
    """Content by path, before the files."""
    pacs_port: int | None = None
    """Where /dicom-web is answered; None for nowhere."""
    falls_back: bool = False
    """An unknown path without a suffix is the index, as an application of one page wants it."""


@contextmanager
def serving(site: Site) -> Iterator[str]:
    """The origin, as `http://127.0.0.1:port`, until the end of the context."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PACS_SECONDS

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if site.pacs_port is not None and path.startswith("/dicom-web/"):
                self._pass_on(site.pacs_port)
            elif (content := _content(site, path)) is None:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"")
            else:
                suffix = Path(path).suffix or ".html"
                self._send(HTTPStatus.OK, TYPES.get(suffix, "application/octet-stream"), content)

        def _pass_on(self, port: int) -> None:
            accept = {"Accept": self.headers.get("Accept", "*/*")}
            request = urllib.request.Request(f"http://{LOOPBACK}:{port}{self.path}", headers=accept)
            try:
                with _without_proxy.open(request, timeout=PACS_SECONDS) as response:
                    kind = response.headers.get("Content-Type", "")
                    self._send(response.status, kind, response.read())
            except urllib.error.HTTPError as error:
                self._send(error.code, "text/plain", error.read())

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            # without these two a browser hands out no memory that threads may share
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the browser's console names what failed."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Says nothing: a browser that closes a connection early is no fault."""

    with Quiet((LOOPBACK, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _content(site: Site, path: str) -> bytes | None:
    if path in site.pages:
        return site.pages[path]
    root = site.root.resolve()
    file = (root / path.lstrip("/")).resolve()
    if file.is_relative_to(root) and file.is_file():
        return file.read_bytes()
    index = root / "index.html"
    if site.falls_back and not file.suffix and index.is_file():
        return index.read_bytes()
    return None
