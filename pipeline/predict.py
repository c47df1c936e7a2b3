"""Bones from radiographs in one call, without a node.

    from pipeline.predict import reconstruct

    found = reconstruct(["ap.dcm", "lateral.dcm"], region="hip")
    found.bones[0].mesh.vertices        # (N, 3) LPS mm about the isocentre
    found.bones[0].probability.array    # (128, 128, 128)
    found.figures, found.assumptions    # what was checked, and what was not measured
    found.reasons                       # why a node would withhold this result; empty if it is fine

Arrays instead of files need their cameras: `pipeline.camera.camera` makes one of distances and
angles, `pipeline.camera.view_from_matrices` one of a calibration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.attributes import attributes
from pipeline.errors import ContradictoryGeometry, MissingGeometry
from pipeline.pixels import read_dataset_of
from pipeline.quality import judge
from pipeline.radiograph import exposure, read_all
from pipeline.reconstruct import default_model
from pipeline.reconstruct import reconstruct as reconstruct_with
from pipeline.types import (
    Algorithm,
    Assume,
    Assumption,
    Bone,
    Figure,
    Radiograph,
    Request,
    Side,
    Source,
    View,
)
from pipeline.views import side as side_of

Image = str | Path | NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Found:
    """Bones, and how far to trust them."""

    bones: tuple[Bone, ...]
    figures: tuple[Figure, ...]
    assumptions: tuple[Assumption, ...]
    reasons: tuple[str, ...]
    """Why a node would withhold this result, a sentence each; empty if quality passes."""
    algorithm: Algorithm
    radiographs: tuple[Radiograph, ...]
    """The images as they were read, with the cameras that were used."""


def reconstruct(
    images: Sequence[Image],
    cameras: Sequence[View] | None = None,
    *,
    region: str,
    side: Side | None = None,
    model: str | None = None,
    assume: Assume | None = None,
) -> Found:
    """The bones of `region` that `images` show, in the frame of their isocentre.

    Args:
        images: DICOM files, or arrays (rows, columns) that rise with the attenuation, of any
            scale; pixels of an array that are not finite are outside the collimation.
        cameras: One for each image; for arrays always, for files in place of what they say.
        region: As "hip" or "knee"; `pipeline.weights.regions` lists those with a network.
        side: Of the body; by default what the files say.
        model: "lifting" or "visual-hull"; by default the network where the region has one.
        assume: What may be assumed of files that lack it; by default nothing.

    Returns:
        Bones and quality. Nothing is withheld here: look at `reasons`.

    Raises:
        StudyError: the images cannot be used, or do not let themselves be reconstructed.
        PipelineError: there is no such model, or no network for the region.
        ValueError: the number of cameras is not that of the images.
    """
    if cameras is not None and len(cameras) != len(images):
        raise ValueError(f"{len(images)} images need as many cameras, not {len(cameras)}")
    files = [Path(one) for one in images if not isinstance(one, np.ndarray)]
    of = side or _side(files)
    if cameras is not None:
        read = tuple(
            _with_camera(image, view, number, of)
            for number, (image, view) in enumerate(zip(images, cameras, strict=True))
        )
    elif len(files) < len(images):
        raise MissingGeometry("An array has no geometry: give the camera of each image")
    else:
        read = read_all(_request(files, region, of, assume or Assume()))
    name = model or default_model(region)
    made = reconstruct_with(read, region=region, side=of, model=name)
    reasons = judge(made.figures)
    return Found(made.bones, made.figures, made.assumptions, reasons, made.algorithm, read)


def _side(files: Sequence[Path]) -> Side:
    """The side that the files name; unpaired where none does."""
    named = {side_of(attributes(read_dataset_of(path))) for path in files} - {None}
    if len(named) > 1:
        raise ContradictoryGeometry("The images are of different sides")
    return next((one for one in named if one is not None), Side.UNPAIRED)


def _with_camera(image: Image, view: View, number: int, side: Side) -> Radiograph:
    if isinstance(image, np.ndarray):
        values = np.asarray(image, np.float32)
        is_valid = np.isfinite(values)
        seen = np.where(is_valid, values, np.float32(0))
        found = Radiograph(seen, is_valid, view, "", f"{number:06d}", "", side=side)
    else:
        ds = read_dataset_of(Path(image))
        shown = exposure(ds)
        found = Radiograph(
            shown.attenuation,
            shown.is_valid,
            view,
            str(ds.SOPClassUID),
            str(ds.SOPInstanceUID),
            str(ds.SeriesInstanceUID),
            side=side,
            assumptions=shown.assumptions,
        )
    if found.attenuation.shape != (view.rows, view.columns):
        raise ContradictoryGeometry(
            f"Image {number + 1} has {found.attenuation.shape} pixels, its camera"
            f" {(view.rows, view.columns)}"
        )
    return found


def _request(files: Sequence[Path], region: str, side: Side, assume: Assume) -> Request:
    """What the reader of a node's images wants to know; nothing is written."""
    return Request(
        sources=tuple(_source(path) for path in files),
        region=region,
        views=(),
        side=side,
        model="",
        rule="",
        configuration_digest="",
        node="",
        at=datetime.fromtimestamp(0, UTC),
        folder=Path(),
        assume=assume,
    )


def _source(path: Path) -> Source:
    uid = str(read_dataset_of(path).get("SOPInstanceUID", ""))
    return Source(path, uid, hashlib.sha256(path.read_bytes()).hexdigest())
