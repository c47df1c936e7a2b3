"""Bones from radiographs in one call, without a node.

    from pipeline.predict import reconstruct

    found = reconstruct(["ap.dcm", "lateral.dcm"], region="hip")
    found.bones[0].mesh.vertices        # (N, 3) LPS mm about the isocentre
    found.bones[0].probability.array    # (128, 128, 128)
    found.figures, found.assumptions    # what was checked, and what was not measured
    found.reasons                       # why a node would withhold this result; empty if it is fine
    found.shares                        # what an engine that weighs its views took from each

Arrays instead of files need their cameras: `pipeline.camera.camera` makes one of distances and
angles, `pipeline.camera.view_from_matrices` one of a calibration. Their axes must be those of the
patient (LPS), because the network knows bones upright; their origin may be anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.additions import with_additions
from pipeline.attributes import attributes
from pipeline.errors import ContradictoryGeometry, MissingGeometry
from pipeline.geometry import shifted, source_to_isocentre
from pipeline.pixels import read_dataset_of
from pipeline.quality import judge
from pipeline.radiograph import exposure, read_all
from pipeline.reconstruct import reconstruct as reconstruct_with
from pipeline.registry import default_engine
from pipeline.types import (
    Algorithm,
    Assume,
    Assumption,
    Bone,
    Figure,
    Float,
    Radiograph,
    Request,
    Share,
    Side,
    Source,
    View,
    Volume,
)
from pipeline.views import side as side_of

Image = str | Path | NDArray[np.floating]
ON_THE_RAY_MM = 1e-6
"""Rounding: the rays of files meet in the origin itself."""


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
    shares: tuple[Share, ...] = ()
    """How much of each voxel was taken from which view, of an engine that weighs several."""


def reconstruct(
    images: Sequence[Image],
    cameras: Sequence[View] | None = None,
    *,
    region: str,
    side: Side | None = None,
    model: str | None = None,
    assume: Assume | None = None,
    centre: ArrayLike | None = None,
    complete: bool = False,
) -> Found:
    """The bones of `region` that `images` show, in the frame of their cameras.

    Args:
        images: DICOM files, or arrays (rows, columns) that rise with the attenuation, of any
            scale; pixels of an array that are not finite are outside the collimation.
        cameras: One for each image; for arrays always, for files in place of what they say.
        region: As "hip" or "knee"; `pipeline.weights.regions` lists those with a network.
        side: Of the body; by default what the files say.
        model: The engine, one of `pipeline.registry.offers`, as "lifting" or "pix2vox++/F"; by
            default lifting where the region has a network, else "visual-hull".
        assume: What may be assumed of files that lack it; by default nothing.
        centre: (3,) mm, about which the bones are looked for: the middle of the joint. By default
            where the central rays meet, which for files is the origin.
        complete: Whether bones that are missing are added, as predicted and not imaged.

    Returns:
        Bones and quality. Nothing is withheld here: look at `reasons`.

    Raises:
        StudyError: the images cannot be used, or do not let themselves be reconstructed.
        PipelineError: there is no such model, no network for the region, or nothing completes it.
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
    views = [one.view for one in read]
    middle = meeting_point(views) if centre is None else np.asarray(centre, np.float64)
    about = [replace(one, view=_moved(one.view, -middle)) for one in read]
    name = model or default_engine(region)
    made = reconstruct_with(about, region=region, side=of, model=name)
    if complete:
        made = with_additions(made, region)
    bones = tuple(_bone_moved(bone, middle) for bone in made.bones)
    shares = tuple(replace(one, volume=_shifted(one.volume, middle)) for one in made.shares)
    reasons = judge(made.figures)
    return Found(bones, made.figures, made.assumptions, reasons, made.algorithm, read, shares)


def meeting_point(views: Sequence[View]) -> Float:
    """(3,) the point nearest to all central rays; of one ray, its point nearest to the origin."""
    total, moment = np.zeros((3, 3)), np.zeros(3)
    for view in views:
        ray = view.patient_from_detector[:3, 2]
        across = np.eye(3) - np.outer(ray, ray)
        total += across
        moment += across @ view.source
    point: Float = np.linalg.pinv(total, rcond=1e-6) @ moment
    return np.where(np.abs(point) < ON_THE_RAY_MM, 0.0, point)


def _moved(view: View, by: Float) -> View:
    moved = shifted(view, by)
    if source_to_isocentre(moved) <= 0:
        raise ContradictoryGeometry(
            f"The bones are looked for behind the source of the view {view.name}: give their centre"
        )
    return moved


def _bone_moved(bone: Bone, by: Float) -> Bone:
    return replace(
        bone,
        probability=_shifted(bone.probability, by),
        mesh=replace(bone.mesh, vertices=bone.mesh.vertices + by),
    )


def _shifted(volume: Volume, by: Float) -> Volume:
    patient_from_index = volume.patient_from_index.copy()
    patient_from_index[:3, 3] += by
    return replace(volume, patient_from_index=patient_from_index)


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
