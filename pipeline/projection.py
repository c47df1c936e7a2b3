"""What a camera sees: points to pixels and back, and the cameras of parts of its image.

Pure algebra of `View`, with numpy alone, so that training can use it on a machine that knows
nothing of DICOM. Which camera took an instance stands in `geometry`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from pipeline.types import Float, View, ViewName

_MIRRORED = {ViewName.LL: ViewName.RL, ViewName.RL: ViewName.LL}


def source_to_detector(view: View) -> float:
    """SID, mm, along the central axis."""
    return float(_ray_of(view) @ (view.patient_from_detector[:3, 3] - view.source))


def source_to_isocentre(view: View) -> float:
    """SOD, mm, along the central axis."""
    return float(-(_ray_of(view) @ view.source))


def magnification(view: View) -> float:
    """Size at the detector over size at the isocentre."""
    return source_to_detector(view) / source_to_isocentre(view)


def patient_from_pixel(view: View) -> Float:
    """(4, 4) pixel centre (row, column, 0, 1) to its place on the detector, LPS mm."""
    product: Float = view.patient_from_detector @ view.detector_from_index
    return product


def pixel_from_patient(view: View) -> Float:
    """(3, 4) LPS mm to (row * w, column * w, w), w being the depth from the source, mm."""
    sid = source_to_detector(view)
    plane_from_detector = np.array(
        [[sid, 0.0, 0.0, 0.0], [0.0, sid, 0.0, 0.0], [0.0, 0.0, 1.0, sid]]
    )
    plane_from_index = view.detector_from_index[np.ix_([0, 1, 3], [0, 1, 3])]
    detector_from_patient = np.linalg.inv(view.patient_from_detector)
    matrix: Float = np.linalg.inv(plane_from_index) @ plane_from_detector @ detector_from_patient
    return matrix


def project(view: View, points: ArrayLike) -> Float:
    """Where points (..., 3) are seen: (..., 2) row and column, pixel centres at whole numbers.

    A point that is not before the source is seen nowhere: nan.
    """
    p = np.asarray(points, np.float64)
    matrix = pixel_from_patient(view)
    w = p @ matrix[2, :3] + matrix[2, 3]
    seen = np.where(w > 0, w, np.nan)
    pixels: Float = (p @ matrix[:2, :3].T + matrix[:2, 3]) / seen[..., None]
    return pixels


def unproject(view: View, pixels: ArrayLike, depth: ArrayLike) -> Float:
    """The points (..., 3) that are seen at `pixels` (..., 2), `depth` mm from the source.

    Depth is measured along the central axis: the isocentre has SOD, the whole detector SID.
    """
    reach = np.asarray(depth, np.float64)[..., None] / source_to_detector(view)
    points: Float = view.source + (_on_detector(view, pixels) - view.source) * reach
    return points


def rays(view: View, pixels: ArrayLike) -> Float:
    """Unit directions (..., 3) from the source to `pixels` (..., 2)."""
    towards = _on_detector(view, pixels) - view.source
    unit: Float = towards / np.linalg.norm(towards, axis=-1, keepdims=True)
    return unit


def binned(view: View, factor: int) -> View:
    """The camera of the image averaged over blocks of `factor` x `factor` pixels.

    Blocks start at the first pixel; rows and columns that fill no block are dropped.
    """
    if factor < 1 or factor > min(view.rows, view.columns):
        raise ValueError(f"{view.rows} x {view.columns} pixels cannot be binned by {factor}")
    return _resampled(view, factor, (factor - 1) / 2, view.rows // factor, view.columns // factor)


def cropped(view: View, row: int, column: int, rows: int, columns: int) -> View:
    """The camera of `image[row:row + rows, column:column + columns]`."""
    shift = np.eye(4)
    shift[:2, 3] = row, column
    return replace(
        view, detector_from_index=view.detector_from_index @ shift, rows=rows, columns=columns
    )


def mirror(view: View) -> View:
    """The camera that sees the mirrored patient (x to -x) in the same image: LL becomes RL."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    return replace(
        view,
        name=_MIRRORED.get(view.name, view.name),
        source=flip[:3, :3] @ view.source,
        patient_from_detector=flip @ view.patient_from_detector,
    )


def shifted(view: View, by: ArrayLike) -> View:
    """The camera, moved with its detector by (3,) mm: what it sees of a patient moved as far."""
    patient_from_detector = view.patient_from_detector.copy()
    patient_from_detector[:3, 3] += np.asarray(by, np.float64)
    source = view.source + np.asarray(by, np.float64)
    return replace(view, source=source, patient_from_detector=patient_from_detector)


def grid(extent_mm: float, size: int, centre: ArrayLike = (0.0, 0.0, 0.0)) -> Float:
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm, of a cube of `size`^3 voxels about `centre`.

    `extent_mm` runs from the outer face of the first voxel to that of the last; i runs along
    +x, j along +y, k along +z.
    """
    spacing = extent_mm / size
    patient_from_index = np.eye(4)
    patient_from_index[:3, :3] = np.fliplr(np.eye(3)) * spacing
    patient_from_index[:3, 3] = np.asarray(centre, np.float64) - spacing * (size - 1) / 2
    return patient_from_index


def _ray_of(view: View) -> Float:
    return view.patient_from_detector[:3, 2]


def _on_detector(view: View, pixels: ArrayLike) -> Float:
    matrix = patient_from_pixel(view)
    points: Float = np.asarray(pixels, np.float64) @ matrix[:3, :2].T + matrix[:3, 3]
    return points


def _resampled(view: View, step: float, first: float, rows: int, columns: int) -> View:
    """The camera of an image whose pixel (i, j) lies at `first + step * (i, j)` of the old one."""
    old_from_new = np.diag([step, step, 1.0, 1.0])
    old_from_new[:2, 3] = first
    return replace(
        view,
        detector_from_index=view.detector_from_index @ old_from_new,
        rows=rows,
        columns=columns,
    )
