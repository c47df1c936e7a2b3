"""OHIF as a radiologist uses it: a study is opened, a series is clicked, a picture is looked at.

The page's own scripts are asked where a canvas lies in the patient; which way is left is also
read from the letters at the edges, and what is shown only ever from the screenshot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.viewers.bumps import RED
from tests.viewers.chromium import Page, PageError

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SECONDS = 100.0
"""How long a machine may take that has other work to do; the viewer needs about five."""
ATTEMPTS = 3
SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "pacs",
    "configuration": {
        "friendlyName": "PACS",
        "name": "pacs",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "wadoUriRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": False,
        "singlepart": "bulkdata,video",
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
SETTINGS: dict[str, object] = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "disableConfirmationPrompts": True,
    "investigationalUseDialog": {"option": "never"},
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "defaultDataSourceName": "pacs",
    "dataSources": [SOURCE],
}
PAGES = {"/app-config.js": f"window.config = {json.dumps(SETTINGS)};".encode()}

VIEWPORTS = """
cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports()).filter(
  viewport => viewport.element.closest('[data-cy="viewport-pane"]')
).map(viewport => {
  const {left, top, width, height} = viewport.canvas.getBoundingClientRect();
  const pane = viewport.element.closest('[data-cy="viewport-pane"]');
  const letters = [...pane.querySelectorAll('.orientation-marker')].map(
    one => [[...one.classList].find(name => name.includes('-mid')), one.innerText.trim()]);
  const corners = [[0, 0], [1, 0], [0, 1]].map(at => [...viewport.canvasToWorld(at)]);
  return {name: viewport.id, left, top, width, height, letters, corners};
})
"""
CLICK = """
series => {
  const names = ['study-browser-thumbnail', 'study-browser-thumbnail-no-image'];
  const one = document.querySelector(
    names.map(name => `[data-cy="${name}"][data-series="${series}"]`).join());
  if (!one) return false;
  one.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));
  return true;
}
"""
COUNT = "window.services ? services.displaySetService.getActiveDisplaySets().length : 0"
JUMP = """
at => {
  const [viewport] = cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
  return cornerstone.utilities.jumpToSlice(viewport.element, {imageIndex: at});
}
"""
SLICES = """
cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports()).map(
  viewport => viewport.getImageData() ? viewport.getNumberOfSlices() : 0)[0]
"""
HAS_IMAGES = """
(viewports => viewports.length > 0 && viewports.every(viewport => viewport.getImageData()))(
  cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports()))
"""
SLICE = """
cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports()).map(
  viewport => viewport.getSliceIndex())[0]
"""


@dataclass(frozen=True, slots=True)
class Viewport:
    """One canvas on the screen, and the plane of the patient that it shows."""

    name: str
    left: float
    top: float
    width: float
    height: float
    letters: dict[str, str]
    """What stands at the "left" and at the "top" edge: R, L, A, P, H or F."""
    patient_from_canvas: Array
    """(3, 3): LPS mm of (column, row, 1), in pixels of the canvas from its upper left corner."""

    def crop(self, screen: Pixels) -> Pixels:
        """The part of a screenshot that is this canvas."""
        left, top = round(self.left), round(self.top)
        return screen[top : top + int(self.height), left : left + int(self.width)]

    def points(self, shown: Pixels) -> Array:
        """(rows, columns, 3): LPS mm of the centre of every pixel of a crop."""
        rows, columns = np.indices(shown.shape[:2])
        # the crop began at a whole pixel of the screen
        row = rows + 0.5 + round(self.top) - self.top
        column = columns + 0.5 + round(self.left) - self.left
        index = np.stack([column, row, np.ones_like(row)], axis=-1)
        return np.asarray(index @ self.patient_from_canvas.T)


def holds(page: Page, opened: Callable[[], None], law: Callable[[], None]) -> None:
    """`law` holds of what `opened` opens.

    On a slow machine OHIF sometimes never writes the letters at the edges, and nothing but opening
    the study anew brings them. What is wrong with the study is wrong each time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            opened()
            page.settles(law, SECONDS / 2)
        except (AssertionError, PageError, TimeoutError):
            if attempt == ATTEMPTS:
                raise
        else:
            return


def open_study(page: Page, origin: str, study: str, series: int, *, layout: str = "") -> None:
    """The study is open, and its list shows so many series."""
    chosen = f"&hangingprotocolId={layout}" if layout else ""
    page.open(f"{origin}/viewer?StudyInstanceUIDs={study}{chosen}")
    page.wait_until(f"({COUNT}) >= {series}", SECONDS, f"OHIF lists {series} series")
    page.wait_until(HAS_IMAGES, SECONDS, "OHIF has loaded the images")


def double_click(page: Page, series_number: int) -> None:
    """The series has been opened from the list, as a radiologist does it."""
    page.wait_until(
        lambda: bool(page.run(CLICK, series_number)), SECONDS, f"Series {series_number} is listed"
    )


def open_series(page: Page, series_number: int, slices: int) -> None:
    """The one canvas on the screen shows a series of so many slices."""
    double_click(page, series_number)
    page.wait_until(f"{SLICES} === {slices}", SECONDS, f"Series {series_number} is open")


def jump(page: Page, index: int) -> None:
    """The one canvas on the screen has turned to the slice `index`, from 0.

    Its camera has; the picture follows when it is drawn.
    """
    page.run(JUMP, index)
    page.wait_until(f"{SLICE} === {index}", SECONDS, f"Slice {index} is open")


def viewports(page: Page) -> list[Viewport]:
    """All canvases on the screen; none while OHIF exchanges one for another."""
    return [
        Viewport(
            one["name"],
            one["left"],
            one["top"],
            one["width"],
            one["height"],
            {str(edge).removesuffix("-mid"): letter for edge, letter in one["letters"]},
            _plane(np.array(one["corners"])),
        )
        for one in page.run(VIEWPORTS)
    ]


def still(page: Page, path: Path, wanted: int) -> Pixels:
    """A screenshot in which `wanted` canvases show the segment, and which the next one equals.

    A slow machine may not have begun to draw: what is asked of it is asked by `Page.settles`.
    """
    last, deadline = page.screenshot(path), time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.5)
        screen = page.screenshot(path)
        shown = [is_segment(one.crop(screen)).any() for one in viewports(page)]
        if sum(shown) == wanted and np.array_equal(screen, last):
            return screen
        last = screen
    said = "\n".join(page.said[-20:])
    raise TimeoutError(f"The segment is not in {wanted} canvases, see {path}\n{said}")


def is_segment(shown: Pixels) -> Mask:
    """True where the pixels have the hue of the bone's display colour.

    OHIF lays it over the grey image with an opacity of one half: red stays well above green and
    blue, which are alike; all else on the screen is grey, or blue.
    """
    red, green, blue = (shown[..., channel].astype(int) for channel in range(3))
    apart = (RED[0] - RED[1]) / 4
    return np.asarray((red - green > apart) & (abs(green - blue) < apart))


def _plane(corners: Array) -> Array:
    origin, right, below = corners
    return np.stack([right - origin, below - origin, origin], axis=1)
