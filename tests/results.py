"""Small reconstructions whose truth is known by hand, and requests to encode them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from pydicom import Dataset

from pipeline.camera import camera
from pipeline.types import (
    Algorithm,
    Bone,
    Code,
    Mesh,
    ObjectKind,
    Radiograph,
    Reconstruction,
    Request,
    ResultObject,
    Side,
    Source,
    View,
    ViewName,
    Volume,
)
from tests.factories import file_bytes, two_views

FEMUR = Code("71341001", "SCT", "Femur")
TIBIA = Code("12611008", "SCT", "Tibia")
AT = datetime(2026, 1, 2, 12, 30, 15, tzinfo=UTC)
Array = NDArray[np.float64]


def affine(
    shape: Sequence[int], spacing: Sequence[float] = (2.0, 1.0, 1.5), turn: Array | None = None
) -> Array:
    """(k, j, i, 1) to LPS mm, k along z, j along y, i along x, then turned; centred on 0.

    `turn` is (3, 3), columns in LPS; one with determinant -1 makes a left-handed grid.
    """
    axes = np.zeros((3, 3))
    axes[[2, 1, 0], [0, 1, 2]] = spacing
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if turn is None else turn) @ axes
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return matrix


def turned(degrees: float) -> Array:
    """A rotation about an oblique axis."""
    return np.asarray(trimesh.transformations.rotation_matrix(np.radians(degrees), [1, 2, 3]))[
        :3, :3
    ]


def centres(patient_from_index: Array, shape: Sequence[int]) -> Array:
    """(Z, Y, X, 3) LPS mm of all voxel centres."""
    index = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    return np.asarray((index @ patient_from_index.T)[..., :3])


def box(
    name: str = "Femur",
    *,
    code: Code = FEMUR,
    side: Side = Side.RIGHT,
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    extents: Sequence[float] = (8.0, 6.0, 14.0),
    shape: Sequence[int] = (20, 24, 28),
    patient_from_index: Array | None = None,
) -> Bone:
    """A box-shaped bone: 0.9 inside, 0.1 in a shell of 2 mm around it, 0 outside."""
    matrix = affine(shape) if patient_from_index is None else patient_from_index
    away = np.abs(centres(matrix, shape) - np.array(centre)) - np.array(extents) / 2
    outside = away.max(axis=-1)
    values = np.where(outside <= 0, 0.9, np.where(outside <= 2, 0.1, 0.0)).astype(np.float32)
    solid = trimesh.creation.box(extents=extents).apply_translation(centre)
    mesh = Mesh(np.asarray(solid.vertices, float), np.asarray(solid.faces, np.int64))
    return Bone(name, code, side, Volume(values, matrix), mesh)


def reconstruction(*bones: Bone, **changes: Any) -> Reconstruction:
    """The bones as an engine would bring them back; one box where none is given."""
    engine = Algorithm("Visual hull", "1.0", parameters=(("threshold", "0.5"),))
    fields: dict[str, Any] = {"bones": bones or (box(),), "algorithm": engine}
    return Reconstruction(**(fields | changes))


def request(folder: Path, images: Sequence[Dataset] | None = None, **changes: Any) -> Request:
    """A request whose sources lie in `folder`/in, and whose objects go to `folder`/out."""
    images = two_views() if images is None else images
    return request_of_files(
        folder, {str(ds.SOPInstanceUID): file_bytes(ds) for ds in images}, **changes
    )


def request_of_files(folder: Path, files: dict[str, bytes], **changes: Any) -> Request:
    """The same from the bytes of the files, by SOP instance UID."""
    incoming, outgoing = folder / "in", folder / "out"
    incoming.mkdir(parents=True, exist_ok=True)
    outgoing.mkdir(exist_ok=True)
    sources = []
    for number, (uid, content) in enumerate(files.items()):
        path = incoming / f"{number}.dcm"
        path.write_bytes(content)
        sources.append(Source(path, uid, hashlib.sha256(content).hexdigest()))
    fields: dict[str, Any] = {
        "sources": tuple(sources),
        "region": "hip",
        "views": ("AP", "LL"),
        "side": Side.RIGHT,
        "model": "visual-hull",
        "rule": "hip-two-views",
        "configuration_digest": "0" * 64,
        "node": "node-1",
        "at": AT,
        "folder": outgoing,
    }
    return Request(**(fields | changes))


def a_view(name: ViewName) -> View:
    """A camera whose 4 x 4 pixels see all of a box."""
    return camera(
        name,
        source_to_detector=1150.0,
        source_to_patient=950.0,
        row_spacing=10.0,
        column_spacing=10.0,
        rows=4,
        columns=4,
    )


def radiographs(images: Sequence[Dataset] | None = None, **changes: Any) -> tuple[Radiograph, ...]:
    """The images as the reconstruction saw them; their pixels do not matter to the encoder."""
    made = []
    for number, ds in enumerate(two_views() if images is None else images):
        fields: dict[str, Any] = {
            "attenuation": np.zeros((4, 4), np.float32),
            "is_valid": np.ones((4, 4), np.bool_),
            "view": a_view((ViewName.AP, ViewName.LL)[number % 2]),
            "sop_class_uid": str(ds.SOPClassUID),
            "sop_instance_uid": str(ds.SOPInstanceUID),
            "series_instance_uid": str(ds.SeriesInstanceUID),
        }
        made.append(Radiograph(**(fields | changes)))
    return tuple(made)


def of_kind(written: Sequence[ResultObject], kind: ObjectKind) -> list[Path]:
    """The files of a kind, in the order of writing."""
    return [one.path for one in written if one.kind is kind]


def one_of_each(written: Sequence[ResultObject]) -> list[ResultObject]:
    """The first object of each kind, in the order of writing."""
    return list({one.kind: one for one in reversed(written)}.values())[::-1]
