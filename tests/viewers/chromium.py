"""Headless Chromium, driven by the DevTools protocol over two pipes.

With `--remote-debugging-pipe` the browser reads commands from file descriptor 3 and answers on 4,
each message ended by a NUL: no port is opened, and no driver package is needed.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import select
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.processes import Process, absent

NAMES = ("chromium", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 120.0


class PageError(RuntimeError):
    """A script that was run in the page threw."""


class Page:
    """One tab; what its console said is kept for the report of a failure."""

    def __init__(self, process: Process, commands: int, answers: int) -> None:
        """Takes over the pipes of a browser that was just started."""
        self._process, self._commands, self._answers = process, commands, answers
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session: str | None = None
        self.said: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def resize(self, width: int, height: int) -> None:
        """The page is `width` by `height` CSS pixels, each one pixel of a screenshot."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)

    def open(self, url: str) -> None:
        """The page begins to load `url`."""
        self._ask("Page.navigate", url=url)

    def run(self, expression: str, *arguments: object) -> Any:
        """The value, as JSON, of a JavaScript expression, or of a function of `arguments`.

        A promise is waited for.

        Raises:
            PageError: it threw.
        """
        if arguments:
            words = ", ".join(json.dumps(argument) for argument in arguments)
            expression = f"({expression})({words})"
        done = self._ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if thrown := done.get("exceptionDetails"):
            raise PageError(thrown.get("exception", {}).get("description", thrown["text"]))
        return done["result"].get("value")

    def wait_until(self, claim: str | Callable[[], bool], seconds: float, what: str) -> None:
        """Returns once `claim`, a JavaScript expression or a function of ours, holds.

        Raises:
            TimeoutError: it did not hold within `seconds`; carries the console's last lines.
        """
        deadline = time.monotonic() + seconds
        while not (claim() if callable(claim) else self.run(claim)):
            if time.monotonic() > deadline:
                said = "\n".join(self.said[-20:])
                raise TimeoutError(f"{what}: not within {seconds:g} s\n{said}")
            time.sleep(0.2)

    def settles(self, law: Callable[[], None], seconds: float) -> None:
        """Returns once `law`, which looks at the page afresh each time, has found nothing amiss.

        A viewer moves its camera at once and its pixels when the machine finds time: what does not
        hold yet may hold soon. What is wrong stays wrong, and is raised in the end.

        Raises:
            AssertionError: the last look, `seconds` after the first, still found a fault.
            PageError: in that look the page threw.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return law()
            except (AssertionError, PageError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def screenshot(self, path: Path) -> NDArray[np.uint8]:
        """(rows, columns, 3) of what is on the screen, also written to `path`."""
        png = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(png)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while (answer := self._next(deadline, method)).get("id") != number:
            self._hear(answer)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], 0.5)
            if ready:
                self._unread += os.read(self._answers, 1 << 20)
            elif not self._process.is_running or time.monotonic() > deadline:
                raise TimeoutError(f"No answer to {method}\n{self._process.tail()}")
        first, self._unread = self._unread.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message

    def _hear(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                words = [one.get("value", one.get("description", "")) for one in parameters["args"]]
                self.said.append(f"{parameters['type']}: {' '.join(map(str, words))}")
            case "Runtime.exceptionThrown":
                thrown = parameters["exceptionDetails"]
                text = thrown.get("exception", {}).get("description", thrown["text"])
                self.said.append(f"thrown: {text}")
            case "Log.entryAdded":
                entry = parameters["entry"]
                self.said.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")


def browser() -> str:
    """The path of Chromium, else skips or fails as for every peer."""
    found = (shutil.which(name) for name in NAMES)
    return next((path for path in found if path), "") or absent("Chromium is not installed")


@contextmanager
def running_page(folder: Path, width: int, height: int) -> Iterator[Page]:
    """A tab of a browser that keeps its profile in `folder`, stopped at the end."""
    command = browser()
    folder.mkdir(parents=True, exist_ok=True)
    to, back = folder / "commands", folder / "answers"
    for pipe in (to, back):
        os.mkfifo(pipe)
    # opened for both ways, so that neither side waits for the other to come or to stay
    commands, answers = os.open(to, os.O_RDWR), os.open(back, os.O_RDWR)
    words = [command, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    shell: list[str | Path] = [
        "sh",
        "-c",
        'in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out"',
        "sh",
        to,
        back,
    ]
    try:
        with Process(
            [*shell, *words],
            log=folder / "chromium.log",
            cwd=folder,
            environment={"HOME": str(folder)},
        ) as process:
            page = Page(process, commands, answers)
            page.resize(width, height)
            yield page
    finally:
        os.close(commands)
        os.close(answers)
