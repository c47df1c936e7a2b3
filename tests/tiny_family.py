"""A volumetric family that is trained in a second: its layers, its plan and its run file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.training.volumes_settings import Plan, Stage

NARROW: dict[str, object] = {
    "image_size": 64,
    "stem": 8,
    "heads": [8, 8, 8],
    "decoder": [8, 4],
}
"""Pix2Vox++/F at 8 voxels."""
NARROW_RECURRENT: dict[str, object] = {
    "planar": [4, 4, 4, 4, 4, 4],
    "features": 16,
    "hidden": 8,
    "cells": 2,
    "spatial": [8, 8, 4],
}
"""Res3D-GRU-3 at 8 voxels."""
NETWORK = """
[network]
image_size = 64
stem = 8
heads = [8, 8, 8]
decoder = [8, 4]
"""
HEAD = """
family = "pix2vox++/F"
folder = "run"
grid = 8
batch = 2
log_every = 1
judged_views = [1, 3]
stages = [{ name = "single", steps = 2, most_views = 1 }, { name = "fusion", steps = 2 }]
"""
REGIONAL = """
[regional]
archive = "toy.npz"
pool = "pool"
held = "held"
bone = "femur"
scenes = 2
held_scenes = 1
held_views = 3
image_size = 32
"""


def plan_of(folder: Path, **changes: object) -> Plan:
    """Two steps alone and two of fusion, with these fields changed."""
    stages = (Stage("single", 2, 1, 1), Stage("fusion", 2, 1, 3))
    plan = Plan("pix2vox++/F", folder, stages, grid=8, batch=2, log_every=1)
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of Plan
