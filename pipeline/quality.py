"""The checks that withhold a result: does the surface explain the views, and do the views agree?

Two silhouettes share little: the extent along the axis that both see, and the amount of bone in
each slice across it, because what an X-ray adds up does not depend on where it comes from. Both
are compared; they catch views of different patients, poses and scales. A wrong distance that is
wrong alike in both views cannot be seen here: it makes a larger bone, not a contradiction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.geometry import source_to_isocentre, unproject
from pipeline.render import silhouette
from pipeline.segment import Silhouette
from pipeline.surface import volume_of
from pipeline.types import Figure, Float, Mask, Mesh, View, Volume

AGREEMENT = "silhouette agreement"
EXTENT = "agreement of the extent along the shared axis"
PROFILE = "agreement of the bone along the shared axis"
SCALE = "scale of one view against the other"
VOLUME = "volume"
CUT = "silhouette cut by the image border"
PIECES = "pieces"
OUTLINE = "outline on an edge of the view"
OWN_ERROR = "expected error of"
UNSEEN = "surface outside every image,"
DENSITY = "agreement of the density with the view"

LEAST_AGREEMENT = 0.80
LEAST_EXTENT = 0.90
LEAST_PROFILE = 0.75
SCALES = (0.88, 1.14)
"""A patient table and a wall stand differ by 13 % in SID; good headers agree within 3 %."""
VOLUME_CM3 = (5.0, 3000.0)
"""From the bones of a finger to a whole pelvis with both hips."""
MOST_CUT = 0.40
MOST_PIECES = 12
SCALE_TOLERANCE = 0.005
"""Correlations closer than this are equally good."""
BINS = 64
"""Slices along the shared axis."""

_REASONS = {
    AGREEMENT: "The surface does not fill the silhouette of the view {detail}: {value:.2f} of it"
    " agree, {low:.2f} are needed. Check that the images are of one patient in one pose",
    EXTENT: "The two views do not show the same object: the lengths along their shared axis agree"
    " to {value:.2f}, {low:.2f} are needed. Check distances, pixel spacing and the pose",
    PROFILE: "The two views do not show the same object: the amounts of bone along their shared"
    " axis agree to {value:.2f}, {low:.2f} are needed. Check distances, pixel spacing and the pose",
    SCALE: "One view shows the bone {value:.2f} times as long as the other along their shared axis."
    " Check the distances and the pixel spacing of both",
    VOLUME: "The volume of {value:.0f} cm3 is not that of a bone ({low:.0f} to {high:.0f} cm3)."
    " Check the pixel spacing and the distances",
    CUT: "The view {detail} cuts the bone: {value:.2f} of its outline lie on the border of the"
    " image, at most {high:.2f} may. Take the view with a larger field",
    PIECES: "The result falls into {value:.0f} pieces, at most {high:.0f} are plausible. Check for"
    " metal, a cast or foreign objects in the images",
    OUTLINE: "The bones do not explain the view {detail}: {value:.2f} of their outline lie on edges"
    " of the radiograph, {low:.2f} are needed. Check that the images are of one patient, of this"
    " side and in one pose, and that views, angles and distances are right",
    OWN_ERROR: "The network does not trust its {detail}: it expects to be {value:.1f} mm wrong, at"
    " most {high:.1f} may be. Check that the images show this part of the body",
    DENSITY: "The density does not explain the view {detail}: they agree to {value:.2f}, {low:.2f}"
    " are needed. Check that the image shows this part of the body, in this view",
    UNSEEN: "{value:.0%} of the {detail} lie outside every image, at most {high:.0%} may. Take"
    " views with a larger field, or check where the beam was centred",
}


@dataclass(frozen=True, slots=True)
class _Slices:
    """What one view sees along the shared axis."""

    amount: Float
    """Bone in each slice, scale of the radiograph."""
    low: float
    high: float


def figures(
    silhouettes: Sequence[Silhouette], probability: Volume, mesh: Mesh
) -> tuple[Figure, ...]:
    """What was measured about a result, each with its limits.

    Args:
        silhouettes: What the reconstruction was made of, at least two.
        probability: The grid of the result; what the images show beyond it is not held against it.
        mesh: The surface of the result.
    """
    _, pieces = ndimage.label(probability.array > 0.5)
    return (
        *(_agreement(seen, probability, mesh) for seen in silhouettes),
        *_shared_axis(silhouettes, probability),
        Figure(VOLUME, volume_of(mesh) / 1000, "cm3", *VOLUME_CM3),
        *(
            Figure(f"{CUT} {seen.view.name}", _share_cut(seen), "", None, MOST_CUT)
            for seen in silhouettes
        ),
        Figure(PIECES, float(pieces), "", 1.0, float(MOST_PIECES)),
    )


def judge(figures: Sequence[Figure]) -> tuple[str, ...]:
    """Why the result must be withheld, a sentence for a technician each; empty if it is fine."""
    return tuple(_sentence(figure) for figure in figures if not figure.is_within)


def _sentence(figure: Figure) -> str:
    name = max((known for known in _REASONS if figure.name.startswith(known)), key=len, default="")
    if not name:
        return f"The figure {figure.name} is {figure.value:g} {figure.unit}".strip()
    detail = figure.name.removeprefix(name).strip()
    low, high = figure.low or 0.0, figure.high or 0.0
    return _REASONS[name].format(value=figure.value, low=low, high=high, detail=detail)


def _agreement(seen: Silhouette, probability: Volume, mesh: Mesh) -> Figure:
    """Intersection over union of the result's shadow and the silhouette."""
    shadow = silhouette(mesh, seen.view)
    in_grid = _sees_the_grid(seen.view, probability) & seen.is_valid
    both, either = shadow & seen.mask & in_grid, (shadow | seen.mask) & in_grid
    value = float(both.sum() / max(1, either.sum()))
    return Figure(f"{AGREEMENT} {seen.view.name}", value, "", LEAST_AGREEMENT, None)


def _sees_the_grid(view: View, probability: Volume) -> Mask:
    """The pixels whose ray passes the plane of the isocentre well inside the grid."""
    points = _at_the_isocentre(view)
    index_from_patient = np.linalg.inv(probability.patient_from_index)
    index = points @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]
    last = np.array(probability.array.shape) - 1
    margin = 0.03 * last
    return np.asarray(((index > margin) & (index < last - margin)).all(axis=-1))


def _at_the_isocentre(view: View) -> Float:
    """(rows, columns, 3): where each ray passes the plane of the isocentre."""
    pixels = np.moveaxis(np.indices((view.rows, view.columns)), 0, -1)
    return unproject(view, pixels, source_to_isocentre(view))


def _shared_axis(
    silhouettes: Sequence[Silhouette], probability: Volume
) -> tuple[Figure, Figure, Figure]:
    """The two views that look most across each other, compared along the axis that both see."""
    rays = np.stack([seen.view.patient_from_detector[:3, 2] for seen in silhouettes])
    cosines = np.abs(rays @ rays.T)
    first, second = (int(n) for n in np.unravel_index(cosines.argmin(), cosines.shape))
    axis = np.cross(rays[first], rays[second])
    axis /= np.linalg.norm(axis)
    edge = float(np.linalg.norm(probability.patient_from_index[:3, :3], axis=0).max())
    half = 0.47 * edge * max(probability.array.shape)
    a, b = (_slices(silhouettes[n], axis, half) for n in (first, second))
    union = max(a.high, b.high) - min(a.low, b.low)
    common = max(0.0, min(a.high, b.high) - max(a.low, b.low))
    extent = common / union if union > 0 else 0.0
    return (
        Figure(EXTENT, extent, "", LEAST_EXTENT, None),
        Figure(PROFILE, _correlation(a.amount, b.amount), "", LEAST_PROFILE, None),
        Figure(SCALE, _scale(a.amount, b.amount), "", *SCALES),
    )


def _slices(seen: Silhouette, axis: Float, half: float) -> _Slices:
    """Bone summed across `axis` in slices from -half to half mm, and the extent of the mask."""
    along = _at_the_isocentre(seen.view) @ axis
    inside = np.abs(along) < half
    amount, _ = np.histogram(
        along[inside], bins=BINS, range=(-half, half), weights=np.clip(seen.excess, 0, None)[inside]
    )
    here = along[seen.mask & inside]
    if not here.size:
        return _Slices(amount, 0.0, 0.0)
    return _Slices(amount, float(here.min()), float(here.max()))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's, of profiles blurred by a slice; -1 to 1, 0 where one of them is flat."""
    a, b = (ndimage.gaussian_filter1d(p, 1.5) - p.mean() for p in (a, b))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _scale(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How much longer the profile `b` is than `a`: of the scales that fit almost best, the one
    nearest to 1, because a plain shaft fits at any scale."""
    places = np.arange(BINS) - (BINS - 1) / 2
    scales = np.geomspace(0.6, 1 / 0.6, 51)
    fits = []
    for scale in scales:
        stretched = places * scale
        common = np.abs(stretched) <= places[-1]
        fits.append(_correlation(a[common], np.interp(stretched[common], places, b)))
    good = np.array(fits) >= max(fits) - SCALE_TOLERANCE
    return float(min(scales[good], key=lambda scale: abs(np.log(scale))))


def _share_cut(seen: Silhouette) -> float:
    """Share of the outline of the mask that lies on the border of the valid image."""
    rim = seen.mask & ~ndimage.binary_erosion(seen.mask, border_value=0)
    inner = ndimage.binary_erosion(seen.is_valid, iterations=2, border_value=0)
    return float((rim & ~inner).sum() / max(1, rim.sum()))
