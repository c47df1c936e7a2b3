"""Where a knee stands in its frame, and where closer looks at its bones are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.models.closer import centre_of
from pipeline.training.bones import read_vsd
from pipeline.training.knees import reference_of
from pipeline.training.pose import laid_on, moved
from pipeline.training.regions import WITHIN, region_named
from pipeline.training.signed_distance import Cube, signed_distance


@pytest.mark.data
def test_a_closer_look_at_a_knee_is_taken_where_its_network_learned(
    shared_data: Path, tmp_path: Path
) -> None:
    """z013, left: the only person of the data folder with a femur and a tibia in one scan."""
    for name in ("z013.npz", "landmarks.csv"):
        (tmp_path / name).symlink_to(shared_data / "bones" / "vsd" / name)
    (person,) = read_vsd(tmp_path)
    place = laid_on(
        person.bones["femur_L"].vertices, reference_of([person]), mirrored=True
    ).transform
    legs = {bone: moved(person.bones[f"{bone}_L"], place) for bone in ("femur", "tibia")}
    condyles = legs["femur"].vertices[:, 2].min()
    plateau = legs["tibia"].vertices[:, 2].max()
    assert 0 < condyles < 5, "the middle of the joint line is the origin, 2 mm below the condyles"
    assert -10 < plateau < 10, "the eminence rises between the condyles"
    cube = Cube(region_named("knee").cube_mm, 64)

    for name in ("distal_femur", "proximal_tibia"):
        within = WITHIN[name]
        distance = torch.from_numpy(signed_distance([legs[within.bone]], cube, 12.0))
        found = centre_of(distance, cube.edge, within.reach_mm, is_from_below=within.is_from_below)

        assert found is not None
        cut_out = found + torch.tensor(within.offset)
        learned = -torch.tensor(region_named(name).pivot)
        assert torch.linalg.norm(cut_out - learned) < 8, "mm: a deviation of its poses"
