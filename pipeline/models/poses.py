"""Where each picture of a network was taken from, for networks that are told (`pose_token`).

Training, judging and engine give cameras of the same kind, about the centre of the cube and of a
right bone, so that a token means the same to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.camera import NOMINAL_PRIMARY_DEG
from pipeline.familiar import direction
from pipeline.models.recurrent import pose_token
from pipeline.projection import source_to_detector
from pipeline.types import View


def poses(views: Sequence[View], image_size: int) -> Tensor:
    """(V, 5) tokens of views whose whole images are shown in `image_size` rows and columns.

    The azimuth is that from which the ray to the isocentre comes, 0 of PA and 90 degrees of LL; the
    pitch is that of the picture's pixels at the detector.
    """
    told = []
    for view in views:
        at = direction(view)
        width = float(abs(view.detector_from_index[0, 1])) * view.columns
        azimuth = at.turn_deg + NOMINAL_PRIMARY_DEG[view.name]
        told.append((azimuth, at.tilt_deg, source_to_detector(view), width / image_size))
    return pose_token(*torch.tensor(told, dtype=torch.float32).T)
