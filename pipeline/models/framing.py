"""Radiographs as the lifting network wants them: one size, one display, cameras with them.

Each image is resampled onto a square of its own detector plane that shows the cube about the
isocentre, in the customary orientation of its view: head up, and the patient's right, or front, at
the left. So the network never sees a flip, a bin factor or a hospital's crop; what the detector did
not record is marked invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from pipeline.camera import CUSTOMARY, orientation_axes
from pipeline.models.lifting import Seen, normalised
from pipeline.projection import pixel_from_patient, shifted, source_to_detector
from pipeline.types import Float, Radiograph, View

FIELD = 1.25
"""What an image shows at the isocentre, as a share of the cube's edge."""


class Framed(NamedTuple):
    """A radiograph as the network wants it."""

    image: Tensor
    """(size, size) float32, rising with the attenuation."""
    is_valid: Tensor
    """(size, size) bool."""
    view: View


def cut_out(
    radiographs: Sequence[Radiograph],
    *,
    cube_mm: float,
    size: int,
    about: ArrayLike = (0.0, 0.0, 0.0),
) -> tuple[Framed, ...]:
    """The squares of radiographs that show the cube about a point (3,), mm, now the isocentre."""
    away = -np.asarray(about, np.float64)
    return tuple(
        Framed(
            *framed(
                one.attenuation,
                one.is_valid,
                shifted(one.view, away),
                cube_mm=cube_mm,
                size=size,
            )
        )
        for one in radiographs
    )


def seen_in(frames: Sequence[Framed]) -> Seen:
    """One sample of all frames, for the network."""
    return seen(
        torch.stack([one.image for one in frames]),
        torch.stack([one.is_valid for one in frames]),
        [one.view for one in frames],
    )


def framed(
    image: ArrayLike, is_valid: ArrayLike, view: View, *, cube_mm: float, size: int
) -> tuple[Tensor, Tensor, View]:
    """The square of a radiograph that shows the cube.

    Args:
        image: (H, W), rising with the attenuation.
        is_valid: (H, W) bool.
        view: The camera of the image.
        cube_mm: Edge of the cube about the isocentre, mm.
        size: Rows and columns of the result.

    Returns:
        The image (size, size) float32, where it is valid (size, size) bool, and its camera.
    """
    target = _frame(view, cube_mm, size)
    source_from_target = _index_from_index(view, target)
    values = torch.as_tensor(np.ascontiguousarray(np.asarray(image, np.float32)))
    valid = torch.as_tensor(np.asarray(is_valid, np.float32))
    # averaged over as many pixels as one of the result covers, so that fine detail is no noise
    factor = max(1, int(np.sqrt(abs(np.linalg.det(source_from_target[:2, :2]))) + 0.5))
    factor = min(factor, *values.shape)
    # padding may hold anything, also what is no number
    shown = torch.where(valid > 0, values, torch.zeros_like(values))
    both = avg_pool2d(torch.stack([shown, valid])[None], factor)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    index = torch.stack([rows, columns, torch.ones_like(rows)], dim=-1).double()
    at = index @ torch.from_numpy(source_from_target).T
    extent = torch.tensor([n // factor * factor for n in values.shape], dtype=torch.float64)
    place = (((at[..., :2] + 0.5) / extent) * 2 - 1).flip(-1).float()
    sampled = grid_sample(both, place[None], padding_mode="zeros", align_corners=False)[0]
    made = sampled[0] / sampled[1].clamp(min=1e-6)
    return made, sampled[1] > 0.5, target


def seen(images: Tensor, is_valid: Tensor, views: Sequence[View]) -> Seen:
    """One sample of all views, for the network.

    Args:
        images: (V, H, W) attenuation of any scale.
        is_valid: (V, H, W) bool.
        views: The cameras of these images.
    """
    stacked = torch.stack([normalised(images, is_valid), is_valid.float()], dim=1)
    projections = torch.from_numpy(np.stack([projection(view) for view in views])).float()
    sources = torch.from_numpy(np.stack([view.source for view in views])).float()
    present = torch.ones(1, len(views), dtype=torch.bool)
    return Seen(stacked[None], projections[None], sources[None], present)


def projection(view: View) -> Float:
    """(3, 4) LPS mm to (column * w, row * w, w), from -1 to 1 between the image's outer edges."""
    rows, columns = view.rows, view.columns
    square_from_pixel = np.array(
        [[0.0, 2 / columns, 1 / columns - 1], [2 / rows, 0.0, 1 / rows - 1], [0.0, 0.0, 1.0]]
    )
    product: Float = square_from_pixel @ pixel_from_patient(view)
    return product


def _frame(view: View, cube_mm: float, size: int) -> View:
    """The camera of the square: the same source and plane, other pixels."""
    sid = source_to_detector(view)
    ray = view.patient_from_detector[:3, 2]
    depth = float(-(ray @ view.source))
    centre = view.source - view.source * (sid / depth)
    axes = _in_plane(orientation_axes(view.name, CUSTOMARY[view.name]), ray)
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :2], patient_from_detector[:3, 2] = axes.T, ray
    patient_from_detector[:3, 3] = view.patient_from_detector[:3, 3]
    offset = np.linalg.inv(patient_from_detector) @ np.append(centre, 1.0)
    spacing = cube_mm * FIELD * sid / depth / size
    half = spacing * (size - 1) / 2
    detector_from_index = np.zeros((4, 4))
    detector_from_index[0, 1] = detector_from_index[1, 0] = spacing
    detector_from_index[:2, 3] = offset[:2] - half
    detector_from_index[2, 2] = detector_from_index[3, 3] = 1.0
    return replace(
        view,
        patient_from_detector=patient_from_detector,
        detector_from_index=detector_from_index,
        rows=size,
        columns=size,
    )


def _in_plane(axes: Float, ray: Float) -> Float:
    """The directions nearest to `axes` (2, 3) that span the detector plane at right angles."""
    down = axes[1] - ray * (ray @ axes[1])
    down /= np.linalg.norm(down)
    along = np.cross(down, ray)
    along *= np.sign(along @ axes[0])
    return np.stack([along, down])


def _index_from_index(view: View, target: View) -> NDArray[np.float64]:
    """(3, 3): (row, column, 1) of `target` to that of `view`; both lie in one plane."""
    patient_from_target = target.patient_from_detector @ target.detector_from_index
    detector_from_patient = np.linalg.inv(view.patient_from_detector)
    in_detector = (detector_from_patient @ patient_from_target)[np.ix_([0, 1, 3], [0, 1, 3])]
    plane_from_index = view.detector_from_index[np.ix_([0, 1, 3], [0, 1, 3])]
    made: NDArray[np.float64] = np.linalg.inv(plane_from_index) @ in_detector
    return made
