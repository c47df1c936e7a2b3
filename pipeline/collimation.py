"""Which pixels show the patient: not padding, not behind a shutter, not outside the collimation.

The tags say so where they are present (PS3.3 C.7.6.11 Display Shutter, C.8.7.3 X-Ray Collimator).
Where they say nothing, the image does: a border that a collimator left is a flat strip with
one straight, sharp edge along the whole side, and the field of an image intensifier is a disc
between four equal corners. Air beside a limb is flat, too, but its edge is the skin, neither
straight nor along the side, and it stays valid. Letters in the strip do not make it patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.ndimage import binary_erosion, binary_opening
from skimage.draw import polygon
from skimage.morphology import convex_hull_image

from pipeline.pixels import Stored
from pipeline.types import Image, Mask

LEAST_PART = 0.1
"""A shutter that leaves less is a fault in the header (edges in mm, say) and does not count."""
COARSE_PX = 320
FLAT = 0.06
"""How far a pixel of the border may be from the border's median, of the range of the image."""
STEP = 0.08
FLAT_PART = 0.9
"""Part of the border that must be flat; the rest may be letters."""
EDGE_PART = 0.7
"""Part of the edge along which the image must step up, or down, at the same line."""
ROUND_PART = 0.97
CONVEX_PART = 0.95
BOX_PART = 0.95
"""What fills its bounding box has no round edge: a straight limb, say."""
FULL_PART = 0.9
"""A round field fills the image; a round thing in air, a head, say, does not."""


@dataclass(frozen=True, slots=True)
class _Box:
    """Rows and columns, 0-based, the last ones not included."""

    top: int
    bottom: int
    left: int
    right: int


def valid_pixels(ds: Dataset, stored: Stored, attenuation: Image) -> Mask:
    """(rows, columns): True where the image shows the patient."""
    told = tagged_field(ds, attenuation.shape)
    inside = told if not told.all() else seen_field(attenuation)
    return inside & ~padding(ds, stored)


def padding(ds: Dataset, stored: Stored) -> Mask:
    """True where a pixel was filled in to make the image rectangular (PS3.3 C.7.5.1.1.2)."""
    value, limit = (_padding_value(ds, k) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted((value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def tagged_field(ds: Dataset, shape: tuple[int, ...]) -> Mask:
    """What shutters and collimators of the header leave; all where they are absent or absurd."""
    field = np.ones(shape, bool)
    for device in ("Shutter", "Collimator"):
        for kind in _words(ds, f"{device}Shape"):
            part = _shape(ds, device, kind, shape)
            if part is not None and part.mean() >= LEAST_PART:
                field &= part
    return field if field.mean() >= LEAST_PART else np.ones(shape, bool)


def seen_field(attenuation: Image) -> Mask:
    """The collimated field as the image itself shows it; all where it shows none."""
    finite = np.where(np.isfinite(attenuation), attenuation, 0)
    low, high = np.percentile(finite[:: max(1, finite.shape[0] // 512)], (0.5, 99.5))
    if not high > low:
        return np.ones(attenuation.shape, bool)
    scaled = ((np.clip(finite, low, high) - low) / (high - low)).astype(np.float32)
    field = _between_corners(scaled)
    if field is not None:
        return field
    box = _collimated_box(scaled)
    field = np.zeros(attenuation.shape, bool)
    field[box.top : box.bottom, box.left : box.right] = True
    return field


def _shape(ds: Dataset, device: str, kind: str, shape: tuple[int, ...]) -> Mask | None:
    """One shape of the header, None where it is unknown or incomplete."""
    match kind:
        case "RECTANGULAR":
            return _rectangle(ds, device, shape)
        case "CIRCULAR":
            return _circle(ds, device, shape)
        case "POLYGONAL":
            return _polygon(ds, device, shape)
        case _:
            return None


def _rectangle(ds: Dataset, device: str, shape: tuple[int, ...]) -> Mask | None:
    """Rows and columns of the header count from 1; the edges themselves are inside."""
    names = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
    edges = [_numbers(ds, f"{device}{name}", 1) for name in names]
    if not all(edges):
        return None
    left, right, upper, lower = (edge[0] for edge in edges)
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    inside: Mask = (column >= left) & (column <= right) & (row >= upper) & (row <= lower)
    return inside


def _circle(ds: Dataset, device: str, shape: tuple[int, ...]) -> Mask | None:
    """The radius counts columns; rows may have another spacing."""
    centre = _numbers(ds, f"CenterOfCircular{device}", 2)
    radius = _numbers(ds, f"RadiusOfCircular{device}", 1)
    if not centre or not radius:
        return None
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    away = ((row - centre[0]) * _aspect(ds)) ** 2 + (column - centre[1]) ** 2
    inside: Mask = away <= radius[0] ** 2
    return inside


def _polygon(ds: Dataset, device: str, shape: tuple[int, ...]) -> Mask | None:
    corners = _numbers(ds, f"VerticesOfThePolygonal{device}", 6)
    if not corners or len(corners) % 2:
        return None
    inside = np.zeros(shape, bool)
    rows, columns = np.reshape(corners, (-1, 2)).T - 1
    inside[polygon(rows, columns, shape)] = True
    return inside


def _collimated_box(scaled: Image) -> _Box:
    """What is left after cutting a collimated border off every side that has one."""
    box = _Box(0, scaled.shape[0], 0, scaled.shape[1])
    # the second round sees the sides without the corners that the first one cut off
    for _ in range(2):
        part = scaled[box.top : box.bottom, box.left : box.right]
        left, right = _border(part), _border(part[:, ::-1])
        part = part[:, left : part.shape[1] - right]
        top, bottom = _border(part.T), _border(part.T[:, ::-1])
        box = _Box(box.top + top, box.bottom - bottom, box.left + left, box.right - right)
    return box


def _border(image: Image) -> int:
    """How many columns at the left lie outside the collimation; 0 if there is no edge."""
    step = max(1, max(image.shape) // COARSE_PX)
    coarse = image[::step, ::step]
    width = coarse.shape[1]
    best, score = 0, EDGE_PART
    for cut in range(2, width // 2):
        outside = coarse[:, :cut]
        middle = np.median(outside)
        if np.mean(np.abs(outside - middle) <= FLAT) < FLAT_PART:
            break
        change = coarse[:, min(cut + 2, width - 1)] - coarse[:, cut - 1]
        along = max(np.mean(change > STEP), np.mean(change < -STEP))
        if along > score:
            best, score = cut, float(along)
    if not best:
        return 0
    edge = _sharpest(image, (best - 1) * step, (best + 3) * step)
    is_dark = np.median(image[:, :edge]) < 0.5
    return 0 if is_dark and not _is_cut(image, edge) else edge


def _is_cut(image: Image, edge: int) -> bool:
    """True if a dark border ends like a mask and not like air beside a straight limb.

    A mask ends within two pixels; a limb is round, and grows from its skin as a square root.
    """
    outside = np.median(image[:, :edge])
    away = np.abs(image[:, max(0, edge - 8) : edge + 40] - outside)
    begun = np.flatnonzero(np.median(away, axis=0) > FLAT / 2)
    if not begun.size or not 2 <= begun[0] < away.shape[1] - 24:
        return False
    before, near, deep = (away[:, begun[0] + n] for n in (-2, 1, 24))
    rises = deep > STEP
    is_straight = np.mean(before <= FLAT / 2) >= FLAT_PART
    return bool(is_straight and rises.any() and np.mean(near[rises] >= 0.7 * deep[rises]) >= 0.8)


def _sharpest(image: Image, first: int, last: int) -> int:
    """The column of the strongest step, just behind it, so that no blur of the edge is left."""
    first, last = max(first, 0), min(last, image.shape[1] - 1)
    steps = np.abs(np.median(np.diff(image[:, first : last + 1], axis=1), axis=0))
    strong = np.flatnonzero(steps > 0.25 * steps.max()) if steps.size else np.zeros(1, np.int64)
    return first + int(strong[-1]) + 1


def _between_corners(scaled: Image) -> Mask | None:
    """The field of an image intensifier, if all four corners are one flat value outside it.

    Corners without any exposure leave a convex field: disc, octagon, or what blades cut off
    them. Black corners of an image to look at might be air about a limb: only a disc counts.
    """
    corners = scaled[[0, 0, -1, -1], [0, -1, 0, -1]]
    if np.ptp(corners) > 0.02:
        return None
    step = max(1, max(scaled.shape) // COARSE_PX)
    shown = np.abs(scaled[::step, ::step] - np.median(corners)) > 0.03
    if not 0.3 < shown.mean() < 0.98:
        return None
    field = np.asarray(binary_opening(shown, np.ones((3, 3))), bool)
    hull: Mask = convex_hull_image(field) if field.any() else field
    if hull.all() or field.sum() < CONVEX_PART * hull.sum():
        return None
    if np.median(corners) < 0.97 and not _is_round(hull):
        return None
    inner = np.asarray(binary_erosion(hull, np.ones((3, 3))), bool)
    enlarged = np.asarray(np.kron(inner, np.ones((step, step), bool)), bool)
    return enlarged[: scaled.shape[0], : scaled.shape[1]]


def _is_round(field: Mask) -> bool:
    """True for a disc whose outermost parts blades may have cut off."""
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    if max(np.ptp(rows), np.ptp(columns)) < FULL_PART * min(field.shape):
        return False
    if field.sum() > BOX_PART * box:
        return False
    radius = max(np.ptp(rows), np.ptp(columns)) / 2
    row, column = np.ogrid[: field.shape[0], : field.shape[1]]
    away = (row - (rows[0] + rows[-1]) / 2) ** 2 + (column - (columns[0] + columns[-1]) / 2) ** 2
    inside = away <= (radius + 0.5) ** 2
    disc = inside & np.any(field, axis=1, keepdims=True) & np.any(field, axis=0, keepdims=True)
    return bool((disc & field).sum() >= ROUND_PART * (disc | field).sum())


def _padding_value(ds: Dataset, keyword: str) -> int | None:
    """As signed as the pixels, whatever the VR of the attribute says."""
    found = _numbers(ds, keyword, 1)
    if not found:
        return None
    bits = 1 << int(ds.BitsAllocated)
    value = int(found[0]) % bits
    return value - bits if ds.get("PixelRepresentation", 0) == 1 and value >= bits // 2 else value


def _aspect(ds: Dataset) -> float:
    """Row spacing over column spacing."""
    for keyword in ("ImagerPixelSpacing", "PixelSpacing", "PixelAspectRatio"):
        pair = _numbers(ds, keyword, 2)
        if pair and pair[0] > 0 and pair[1] > 0:
            return float(pair[0] / pair[1])
    return 1.0


def _numbers(ds: Dataset, keyword: str, least: int) -> list[float]:
    """The finite values of an attribute, none if there are fewer than `least`."""
    value = ds.get(keyword)
    if value is None or isinstance(value, str | bytes):
        return []
    try:
        found: NDArray[np.float64] = np.atleast_1d(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        return []
    return found.tolist() if len(found) >= least and np.isfinite(found).all() else []


def _words(ds: Dataset, keyword: str) -> list[str]:
    value = ds.get(keyword)
    several = [value] if isinstance(value, str) else list(value or ())
    return [str(word).strip().upper() for word in several]
