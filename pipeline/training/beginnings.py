"""A training that begins with the network of another one, instead of with chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.models.lifting import OUTPUTS, Shape
from pipeline.training.loop import Run


def begin_with(run: Run, checkpoint: Path) -> None:
    """The network of `checkpoint` is that of `run`, without the bones that it does not give.

    Raises:
        ValueError: the checkpoint is of no such network, or lacks a bone.
    """
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    known = fewer_bones(stored["average"], json.loads(stored["shape"]), run.net.shape)
    try:
        run.net.load_state_dict(known)
        run.average.load_state_dict(known)
    except RuntimeError as fault:
        raise ValueError(f"its layers are of another size: {fault}") from fault


def fewer_bones(
    weights: Mapping[str, Tensor], of: Mapping[str, Any], wanted: Shape
) -> dict[str, Tensor]:
    """The weights of a network as those of one that gives only some of its bones.

    What its point head made of the distances of the others is lost.

    Args:
        weights: Its state.
        of: The fields of its shape.
        wanted: All but the bones and the cube is the same; the cube may be another.

    Raises:
        ValueError: a bone is wanted that the network does not give.
    """
    known = list(of["bones"])
    missing = set(wanted.bones) - set(known)
    if missing:
        raise ValueError(f"it knows {', '.join(known)}, not {', '.join(sorted(missing))}")
    rows = torch.tensor([known.index(bone) for bone in wanted.bones])
    answers = (rows[:, None] * OUTPUTS + torch.arange(OUTPUTS)).flatten()
    space = wanted.spatial[0]
    columns = torch.cat(
        [
            torch.arange(space),
            space + rows,
            torch.arange(space + len(known), weights["head.0.weight"].shape[1]),
        ]
    )
    made = {name: weight.float() for name, weight in weights.items()}
    for name in ("shadow", "coarse"):
        for part in ("weight", "bias"):
            made[f"{name}.{part}"] = made[f"{name}.{part}"][rows]
    made["head.0.weight"] = made["head.0.weight"][:, columns]
    for part in ("weight", "bias"):
        made[f"head.4.{part}"] = made[f"head.4.{part}"][answers]
    return made
