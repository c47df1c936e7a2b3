"""Trained volumetric networks as files: one engine, one bone of one region, and where its cube is.

The format is that of `pipeline.weights`, safetensors with a digest over header and tensors. The
networks know no camera; so the header says, beside what the network is and how good, which views
it has learned from, how large a cube it fills, and how that cube is found in a patient.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline import weights
from pipeline.familiar import Familiar, familiar_from
from pipeline.safetensors_header import (
    BrokenWeights,
    format_of,
    is_asked,
    tensors_of,
    told_by,
    write,
)
from pipeline.stated import UNSTATED, Stated, from_metadata, to_metadata
from pipeline.types import Code
from pipeline.weights import Closer, Limits, TrainedBone, closer_from

if TYPE_CHECKING:
    from pipeline.models.volumetric import Volumetric

FORMAT: Final = "osteon-volumetric-1"
LARGEST_FILE: Final = 250_000_000
"""Bytes: Pix2Vox++/A at 128 voxels takes 206 million; what is shipped is far smaller."""


@dataclass(frozen=True, slots=True)
class TrainedVolumetric:
    """What the header of a weights file says."""

    engine: str
    """As rules name it."""
    region: str
    """That it was trained for, and the beginning of the file's name."""
    bone: TrainedBone
    shape: Mapping[str, Any]
    """The fields of the network's shape."""
    grid: int
    """Voxels along each edge."""
    cube_mm: float
    image_size: int
    """Rows and columns of the squares that are cut out of radiographs, before they are pictures
    of the network's own size."""
    level: float
    """The probability at the surface, 0 to 1."""
    familiar: Familiar
    limits: Limits
    trained: str
    """One line: on whom, how long, with which seed."""
    within: Closer | None = None
    """Where the cube lies about a bone that the lifting network of a region finds; None where it
    lies about the isocentre."""
    stated: Stated = UNSTATED
    digest: str = ""
    """SHA-256, hex; the file says it."""
    path: Path = Path()

    @property
    def serves(self) -> str:
        """The region that a rule names."""
        return self.within.region if self.within else self.region


def file_name(region: str, engine: str) -> str:
    """What the weights file of an engine is called, as `proximal_femur.pix2vox-f.safetensors`."""
    return f"{region}.{engine.lower().replace('/', '-').replace('+', '')}{weights.SUFFIX}"


def trained_networks() -> tuple[TrainedVolumetric, ...]:
    """The files that there are, in the order of their names.

    Raises:
        BrokenWeights: one is damaged, or two serve the same region with the same engine.
    """
    files = sorted(weights.FOLDER.glob(f"*{weights.SUFFIX}"))
    found = [read_header(path) for path in files if format_of(path) == FORMAT]
    served: dict[tuple[str, str], Path] = {}
    for one in found:
        other = served.setdefault((one.engine, one.serves), one.path)
        if other != one.path:
            raise BrokenWeights(
                f"{one.path.name} and {other.name} are both of {one.engine} for {one.serves}"
            )
    return tuple(found)


def read_header(path: Path) -> TrainedVolumetric:
    """What a weights file says of itself; its tensors are not read.

    Raises:
        BrokenWeights: it is cut off, of another format, or contradicts itself.
    """
    return told_by(path, FORMAT, _trained)


def load(path: Path) -> Volumetric:
    """The network of a weights file, ready to be asked, in float32.

    Raises:
        BrokenWeights: as `read_header`, or the tensors are damaged, not finite, or do not fit.
    """
    from pipeline.models.volumetric import network  # noqa: PLC0415 - a header is read without torch

    trained = read_header(path)
    tensors = tensors_of(path, trained.digest, largest=LARGEST_FILE)
    try:
        net = network(trained.engine, trained.shape)
        lacking, unknown = net.load_state_dict(tensors, strict=False)
        if unknown or any(is_asked(name) for name in lacking):
            raise ValueError(f"{', '.join([*lacking, *unknown])}")  # noqa: TRY301 - told below
    except Exception as fault:
        raise BrokenWeights(f"{path.name} does not fit its network: {fault}") from fault
    if net.shape.grid_size != trained.grid:
        raise BrokenWeights(f"{path.name} says {trained.grid} voxels, its network gives others")
    return net.eval().requires_grad_(requires_grad=False)


def export(net: Volumetric, path: Path, described: TrainedVolumetric) -> TrainedVolumetric:
    """Write `net` with all that is known of it, whole or not at all, as float16.

    Args:
        net: Trained; its own shape and grid are what is written.
        path: Of the file.
        described: All the rest.

    Returns:
        `described` as it reads from the file.

    Raises:
        BrokenWeights: a weight is not finite in float16, or the file would be too large.
    """
    told = replace(described, shape=asdict(net.shape), grid=net.shape.grid_size)
    metadata = {
        "format": FORMAT,
        "engine": told.engine,
        "region": told.region,
        "trained": told.trained,
        **{name: json.dumps(getattr(told, name)) for name in _NUMBERS},
        **{name: json.dumps(asdict(getattr(told, name))) for name in ("bone", "limits")},
        "shape": json.dumps(told.shape),
        "familiar": json.dumps(asdict(told.familiar)),
        **to_metadata(told.stated),
    }
    if told.within:
        metadata["within"] = json.dumps(asdict(told.within))
    state = {name: tensor for name, tensor in net.state_dict().items() if is_asked(name)}
    write(path, state, metadata, largest=LARGEST_FILE)
    return read_header(path)


_NUMBERS = ("cube_mm", "image_size", "grid", "level")


def _trained(metadata: Mapping[str, str], path: Path) -> TrainedVolumetric:
    told = {name: json.loads(metadata[name]) for name in ("bone", "limits", "shape", "familiar")}
    cube_mm, image_size, grid, level = (float(json.loads(metadata[name])) for name in _NUMBERS)
    bone = TrainedBone(**{**told["bone"], "code": Code(**told["bone"]["code"])})
    familiar = familiar_from(told["familiar"])
    limits = Limits(**told["limits"])
    within = closer_from(json.loads(metadata["within"])) if "within" in metadata else None
    numbers = [cube_mm, level, bone.error_factor, *asdict(limits).values()]
    numbers += [familiar.turn_deg, familiar.tilt_deg]
    numbers += [*familiar.source_to_detector, *familiar.magnification]
    if not all(math.isfinite(float(number)) for number in numbers):
        raise ValueError("limits: not finite")
    if not (0 < level < 1 and min(cube_mm, image_size, grid) > 0):
        raise ValueError("level, cube_mm, image_size or grid: out of range")
    return TrainedVolumetric(
        engine=metadata["engine"],
        region=metadata["region"],
        bone=bone,
        shape=told["shape"],
        grid=int(grid),
        cube_mm=cube_mm,
        image_size=int(image_size),
        level=level,
        familiar=familiar,
        limits=limits,
        trained=metadata["trained"],
        within=within,
        stated=from_metadata(metadata),
        digest=metadata["sha256"],
        path=path,
    )
