"""The networks that take pictures without cameras and give the voxels of one cube, by their names.

They are built from what a weights file says of their shape, and asked the same two things: how
likely each voxel is bone, and which view that was taken from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from torch import Tensor

from pipeline.models.pix2vox import Pix2Vox, Pix2VoxShape
from pipeline.models.poses import poses
from pipeline.models.recurrent import VARIANTS, Recurrent, RecurrentShape
from pipeline.models.recurrent_layers import Unit, Unpool
from pipeline.types import View

Volumetric = Pix2Vox | Recurrent
PIX2VOX: Final = ("pix2vox++/F", "pix2vox++/A")


class Asked(NamedTuple):
    """What a network says of one sample of V views."""

    occupancy: Tensor
    """(D, D, D), 0 to 1, axes z, y, x."""
    shares: Tensor
    """(V, D, D, D): which view contributed where; over the views they sum to 1."""


def network(engine: str, shape: Mapping[str, Any]) -> Volumetric:
    """The network of an engine, its weights not yet those of a file.

    Raises:
        ValueError: there is no such engine, or the parts of the shape do not fit.
        TypeError: the shape has no such field.
    """
    fields: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in shape.items()
    }
    if engine in PIX2VOX:
        return Pix2Vox(Pix2VoxShape(**fields))
    if engine in VARIANTS:
        fields |= {"unit": Unit(fields["unit"]), "unpool": Unpool(fields["unpool"])}
        return Recurrent(RecurrentShape(**fields))
    raise ValueError(f"no network is called {engine}")


def asked(net: Volumetric, pictures: Tensor, views: Sequence[View] = ()) -> Asked:
    """What `net` says of the views.

    Args:
        net: Not in training.
        pictures: (V, C, H, W) float32, 0 to 1, as `pictures.pictures` makes them.
        views: Their cameras about the centre of the cube, for a network that is told poses.
    """
    images = pictures[None]
    if isinstance(net, Pix2Vox):
        fusion = net(images)
        return Asked(fusion.refined[0], fusion.weights[0])
    told = poses(views, net.shape.image_size)[None] if net.shape.has_pose else None
    answer = net.answered(images, told)
    return Asked(answer.occupancy[0], answer.shares[0])
