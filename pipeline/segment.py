"""Which pixels of a radiograph are bone.

A radiograph is the sum of what lies along the ray, so bone is not a grey value: it is what rises
above the soft tissue around it. Three steps, all on an image of at most 512 pixels: the open beam
is told from the patient; the soft tissue is fitted as a smooth surface that also knows how deep
inside the outline of the patient a pixel lies, with the pixels that stick out left out of the fit;
what sticks out by more than a robust threshold, in one large piece, is bone. Marrow is bone here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from pipeline.errors import NoBone
from pipeline.geometry import binned, magnification
from pipeline.types import Image, Mask, Radiograph, View

MAX_SIDE_PX = 512
"""A pixel is then well below the voxel of a result, and a view costs a tenth of a second."""
DEGREE = 4
"""Of the polynomial of soft tissue: a third leaves corners standing, a fifth follows bone."""
PASSES = 15
SMALLEST_PIECE = 0.02
"""Smaller pieces, as a share of the largest one, are sesamoids, markers and noise."""
WEAKEST_PIECE = 0.5
"""A weaker piece, by its median excess as a share of the largest one's, is soft tissue."""
LARGEST_HOLE_MM2 = 150.0
"""At the isocentre. Smaller holes are marrow or noise; a larger one is a foramen."""
LEAST_AREA_MM2 = 100.0
"""At the isocentre: less is no bone that could be reconstructed."""
LEAST_CONTRAST = 4.0
"""Bone over the scatter of what is left of the soft tissue; below, the fit has found its noise."""


LEAST_RISE = 0.02
"""Bone over soft tissue, as a share of the grey values of the patient: else all is soft tissue."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """The bone of one radiograph, at reduced resolution."""

    mask: Mask
    """(view.rows, view.columns)."""
    excess: Image
    """Attenuation above the soft tissue, scale of the radiograph; 0 outside the mask."""
    is_valid: Mask
    view: View
    """The camera of the reduced image."""
    to_edge_px: Image | None = None
    """From a pixel centre beside the edge to the edge itself, 0 to 1; a half where it is None."""


def segment(radiograph: Radiograph) -> Silhouette:
    """The bone of a radiograph: light against its surroundings, in pieces that are large enough.

    Raises:
        NoBone: the image shows no more than soft tissue.
    """
    view = radiograph.view
    factor = max(1, -(-max(view.rows, view.columns) // MAX_SIDE_PX))
    small = binned(view, factor)
    image, is_valid = _reduced(radiograph, factor)
    patient = _patient(image, is_valid)
    excess = _above_soft_tissue(image, patient)
    least = LEAST_RISE * float(np.ptp(np.percentile(image[patient], [0.5, 99.5])))
    calm = ndimage.gaussian_filter(excess, 1.0)
    threshold = _threshold(calm[patient], least, view.name)
    mask = _pieces(patient & (calm > threshold), calm, small)
    if not mask.any():
        raise NoBone(f"The view {view.name} shows no piece of bone that is large enough")
    above = np.where(mask, excess, 0).astype(np.float32)
    return Silhouette(mask, above, is_valid, small, _to_edge(calm - threshold))


def _reduced(radiograph: Radiograph, factor: int) -> tuple[Image, Mask]:
    """Means over blocks of the valid pixels; a block is valid if most of it is."""
    rows, columns = (side // factor * factor for side in radiograph.attenuation.shape)
    weights = radiograph.is_valid[:rows, :columns].astype(np.float32)
    values = np.where(weights > 0, radiograph.attenuation[:rows, :columns], 0)
    count = _block_sums(weights, factor)
    mean = _block_sums(values, factor) / np.maximum(count, 1)
    return mean.astype(np.float32), count > factor * factor / 2


def _block_sums(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    rows, columns = image.shape
    blocks = image.reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.sum(axis=(1, 3)))


def _patient(image: Image, is_valid: Mask) -> Mask:
    """The valid pixels that are not the open beam.

    The open beam is the darkest mode, it is far below the patient, and it touches the border of
    what is valid. Where the patient fills the image there is none.
    """
    if is_valid.sum() < 100:
        raise NoBone("The image has no valid pixels")
    calm = ndimage.gaussian_filter(image, 1.5)
    low, high = np.percentile(calm[is_valid], [0.5, 99.5])
    threshold = low + 0.25 * (high - low)
    dark, share_px = is_valid & (calm < threshold), 0.002 * is_valid.sum()
    pieces, count = ndimage.label(dark)
    rim = is_valid & ~ndimage.binary_erosion(is_valid, iterations=2)
    touching = np.unique(pieces[rim & dark])
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    air = np.isin(pieces, [n for n in touching if n and sizes[n] > share_px])
    # the open beam is flat; the thin edge of a patient is a slope
    if air.any() and np.median(calm[air]) > low + 0.12 * (high - low):
        return is_valid
    return np.asarray(is_valid & ~ndimage.binary_dilation(air, iterations=2))


def _above_soft_tissue(image: Image, patient: Mask) -> Image:
    """What rises above a smooth surface through the pixels that are not bone.

    Source: the iteration of Lieber and Mahadevan-Jansen 2003, Appl. Spectrosc. 57:1363.
    """
    terms = _terms(patient)
    values = image[patient].astype(np.float64)
    kept = np.ones(len(values), np.bool_)
    every = max(1, len(values) // 20_000)
    left = values
    for _ in range(PASSES):
        rows = np.flatnonzero(kept)[::every]
        weights, *_ = np.linalg.lstsq(terms[rows], values[rows], rcond=None)
        left = values - terms @ weights
        spread = 1.4826 * np.median(np.abs(left[kept] - np.median(left[kept])))
        kept = left < np.median(left[kept]) + 1.5 * spread
        if kept.sum() < 10 * terms.shape[1]:
            break
    excess = np.zeros(image.shape, np.float32)
    excess[patient] = left
    return excess


def _terms(patient: Mask) -> NDArray[np.float64]:
    """A polynomial of place, and the chord of a round body at this depth below the skin."""
    rows, columns = np.nonzero(patient)
    y = 2 * rows / max(1, patient.shape[0] - 1) - 1
    x = 2 * columns / max(1, patient.shape[1] - 1) - 1
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    terms = [x**i * y**j for i, j in powers]
    if not patient.all():
        depth = ndimage.distance_transform_edt(np.pad(patient, 1, mode="edge"))[1:-1, 1:-1]
        share = np.minimum(depth[patient] / max(1.0, float(depth.max())), 1)
        terms += [np.sqrt(share * (2 - share)), np.sqrt(share), share]
    return np.stack(terms, axis=-1)


def _threshold(inside: Image, least_rise: float, name: str) -> float:
    """The value between soft tissue and bone."""
    if np.ptp(inside) <= least_rise:
        raise NoBone(f"The view {name} shows an even grey: no bone stands out")
    # three classes: soft tissue, one thin bone, bone over bone
    threshold = float(threshold_multiotsu(inside, classes=3)[0])
    soft, hard = inside[inside <= threshold], inside[inside > threshold]
    scatter = 1.4826 * float(np.median(np.abs(soft - np.median(soft))))
    if float(np.median(hard) - np.median(soft)) < max(LEAST_CONTRAST * scatter, least_rise):
        raise NoBone(f"No bone stands out from the soft tissue in the view {name}")
    return threshold


def _to_edge(above: Image) -> Image:
    """How far the zero of `above` is, to first order: without it an edge is a flight of steps."""
    slope = np.hypot(*np.gradient(above))
    away = np.abs(above) / np.maximum(slope, np.float32(1e-12))
    return np.asarray(np.clip(away, 0, 1), np.float32)


def _pieces(mask: Mask, excess: Image, view: View) -> Mask:
    """The largest pieces, their small holes filled."""
    steps = np.linalg.norm(view.detector_from_index[:3, :2], axis=0) / magnification(view)
    pixel_mm2 = float(np.prod(steps))
    opened = ndimage.binary_opening(mask, iterations=1)
    pieces, _ = ndimage.label(opened)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    least = max(SMALLEST_PIECE * sizes.max(), LEAST_AREA_MM2 / pixel_mm2)
    medians = np.array([0, *ndimage.median(excess, pieces, range(1, len(sizes)))])
    is_bone = (sizes >= least) & (medians >= WEAKEST_PIECE * medians[sizes.argmax()])
    kept = is_bone[pieces]
    holes, _ = ndimage.label(~kept)
    areas = np.bincount(holes.ravel()) * pixel_mm2
    areas[0] = np.inf
    return np.asarray(kept | (areas < LARGEST_HOLE_MM2)[holes])
