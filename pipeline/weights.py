"""Trained weights: one file a region, and in its header all that is known of it.

A file is in the safetensors format: tensors behind a JSON header. The header says which region and
bones the network knows, how large it is, how its own error scale is calibrated, at which limits a
result is withheld, and a SHA-256 over all of this and over the tensors. That digest is the identity
of the weights. A header is read with the standard library alone, because the node asks for every
job and must not pay for torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import PipelineError
from pipeline.safetensors_header import BrokenWeights, format_of, tensors_of, told_by, write
from pipeline.stated import UNSTATED, Stated, from_metadata, to_metadata
from pipeline.types import Code

if TYPE_CHECKING:
    from pipeline.models.lifting import Lifting

FAMILY: Final = "osteon-lifting-"
FORMAT: Final = f"{FAMILY}1"
OURS: Final = "osteon-"
"""Files of other kinds of network lie beside those of this one, and begin their format so."""
SUFFIX: Final = ".safetensors"
FOLDER: Final = Path(__file__).with_name("weights")
"""The weights that are shipped; beside each file lies its model card."""
LARGEST_FILE: Final = 16_000_000
"""Bytes: weights travel with the package."""


class NotTrained(PipelineError):
    """There is no trained network for this region."""


@dataclass(frozen=True, slots=True)
class TrainedBone:
    """One bone that a network gives, in the order of its outputs."""

    name: str
    """As viewers and reports list it."""
    code: Code
    is_paired: bool = True
    """The body has it on both sides: the network knows the right one, a left one is mirrored."""
    error_factor: float = 1.0
    """By which the network's own error scale is multiplied to be right on people left out."""
    is_required: bool = True
    """Without it a result is withheld; a fibula may lie beside a small image."""


@dataclass(frozen=True, slots=True)
class Limits:
    """At which figures a result is withheld; each is justified in the model card."""

    outline_agreement: float = 0.35
    """Least share of the outlines that lie on an edge of their radiograph. Simulated, the true
    bones reach 0.63 to 0.86, surfaces that are wrong by 2 mm 0.37 to 0.56, by 3 mm 0.23 to 0.44,
    and bones in a radiograph that is not theirs at most 0.30 (weights/README.md)."""
    own_error_mm: float = 4.0
    """Largest mean error that the network expects of a surface: beyond, it is a guess."""
    unseen: float = 0.6
    """Largest share of a bone's surface that no image shows."""


@dataclass(frozen=True, slots=True)
class Closer:
    """That a network takes a closer look at one bone of a region, and where."""

    region: str
    bone: str
    """As the region lists it; it is the only bone of the network."""
    reach_mm: float
    """The bone is found by the mean of its voxels down to so far below its top."""
    is_from_below: bool
    """Or up to so far above its lowest voxel."""
    offset: tuple[float, float, float]
    """mm, from there to the centre of the network's cube, x y z of a right bone."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What the header of a weights file says."""

    region: str
    bones: tuple[TrainedBone, ...]
    shape: Mapping[str, Any]
    """The fields of `pipeline.models.lifting.Shape`."""
    limits: Limits
    trained: str
    """One line: on whom, how long, with which seed."""
    digest: str
    """SHA-256, hex."""
    path: Path
    closer: Closer | None = None
    """Of a network that is asked after that of another region, never by a rule."""
    stated: Stated = UNSTATED


def regions(folder: Path | None = None) -> dict[str, Trained]:
    """The weights that there are, by region; without those that look closer at a bone of one.

    Raises:
        BrokenWeights: one of the files is damaged, or two are of one region.
    """
    return {name: one for name, one in _all(folder).items() if one.closer is None}


def closer_looks(region: str) -> tuple[Trained, ...]:
    """The networks that look closer at bones of `region`, in the order of their names.

    Raises:
        BrokenWeights: as `regions`.
    """
    return tuple(one for one in _all(None).values() if one.closer and one.closer.region == region)


def digest_for(region: str) -> str:
    """SHA-256, hex, of all networks that a result for `region` comes from.

    Raises:
        NotTrained: as `trained_for`.
        BrokenWeights: the same.
    """
    first, closer = trained_for(region), closer_looks(region)
    if not closer:
        return first.digest
    return hashlib.sha256("".join(one.digest for one in (first, *closer)).encode()).hexdigest()


def trained_for(region: str) -> Trained:
    """The weights of `region`.

    Raises:
        NotTrained: naming the regions that there are.
        BrokenWeights: as `regions`.
    """
    known = regions()
    if region not in known:
        names = ", ".join(known) or "none"
        raise NotTrained(f"There is no trained network for the region {region!r}; there is {names}")
    return known[region]


def read_header(path: Path) -> Trained:
    """What a weights file says of itself; its tensors are not read.

    Raises:
        BrokenWeights: it is cut off, is of another version, or contradicts itself.
    """
    return told_by(path, FORMAT, _trained)


def load(path: Path) -> Lifting:
    """The network of a weights file, ready to be asked, in float32.

    Raises:
        BrokenWeights: as `read_header`, or the tensors are damaged, not finite, or do not fit.
    """
    from pipeline.models.lifting import Lifting, Shape  # noqa: PLC0415 - the node reads headers

    trained = read_header(path)
    tensors = tensors_of(path, trained.digest)
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in trained.shape.items()
    }
    try:
        net = Lifting(Shape(**fields))
        net.load_state_dict(tensors)
    except Exception as fault:
        raise BrokenWeights(f"{path.name} does not fit its network: {fault}") from fault
    return net.eval().requires_grad_(requires_grad=False)


def export(net: Lifting, path: Path, described: Trained) -> Trained:
    """Write `net` with all that is known of it, whole or not at all, as float16.

    Args:
        net: Trained; its own shape is what is written.
        path: Ends in `SUFFIX`.
        described: Region, bones, limits and `trained`; the rest follows from `net`.

    Returns:
        `described` as it reads from the file.

    Raises:
        BrokenWeights: a weight is not finite in float16, the file would be too large, or the
            bones are not those of the network.
    """
    if len(described.bones) != len(net.shape.bones):
        raise BrokenWeights("The network gives another number of bones than are described")
    metadata = {
        "format": FORMAT,
        "region": described.region,
        "bones": json.dumps([asdict(bone) for bone in described.bones]),
        "shape": json.dumps(asdict(net.shape)),
        "limits": json.dumps(asdict(described.limits)),
        "trained": described.trained,
        **to_metadata(described.stated),
    }
    if described.closer:
        metadata["closer"] = json.dumps(asdict(described.closer))
    write(path, net.state_dict(), metadata, largest=LARGEST_FILE)
    return read_header(path)


def described(
    region: str,
    bones: tuple[TrainedBone, ...],
    limits: Limits,
    trained: str,
    closer: Closer | None = None,
    stated: Stated = UNSTATED,
) -> Trained:
    """What `export` is told of a network; digest and path are those of the file, later."""
    return Trained(region, bones, {}, limits, trained, "", Path(), closer, stated)


def relimited(path: Path, limits: Limits, bones: tuple[TrainedBone, ...] | None = None) -> Trained:
    """Write the limits, or the calibration of the bones, of a weights file anew."""
    trained = read_header(path)
    return export(load(path), path, replace(trained, limits=limits, bones=bones or trained.bones))


def _all(folder: Path | None) -> dict[str, Trained]:
    found: dict[str, Trained] = {}
    for path in sorted((folder or FOLDER).glob(f"*{SUFFIX}")):
        said = format_of(path)
        if said.startswith(OURS) and not said.startswith(FAMILY):
            continue
        one = read_header(path)
        if one.region in found:
            raise BrokenWeights(f"{path.name} is a second file for the region {one.region}")
        found[one.region] = one
    return found


def _trained(metadata: Mapping[str, str], path: Path) -> Trained:
    bones = tuple(
        TrainedBone(**{**bone, "code": Code(**bone["code"])})
        for bone in json.loads(metadata["bones"])
    )
    shape = json.loads(metadata["shape"])
    limits = Limits(**json.loads(metadata["limits"]))
    if len(bones) != len(shape["bones"]):
        raise ValueError("bones: another number than the network gives")
    closer = closer_from(json.loads(metadata["closer"])) if "closer" in metadata else None
    numbers = [*asdict(limits).values(), *(bone.error_factor for bone in bones)]
    if closer:
        numbers += [closer.reach_mm, *closer.offset]
        if len(bones) != 1:
            raise ValueError("closer: the network gives more than one bone")
    if not all(math.isfinite(float(number)) for number in numbers):
        raise ValueError("limits: not finite")
    return Trained(
        region=metadata["region"],
        bones=bones,
        shape=shape,
        limits=limits,
        trained=metadata["trained"],
        digest=metadata["sha256"],
        path=path,
        closer=closer,
        stated=from_metadata(metadata),
    )


def closer_from(told: Mapping[str, Any]) -> Closer:
    """What a header says of a closer look.

    Raises:
        KeyError: it says less.
        ValueError: a number is none.
    """
    x, y, z = (float(number) for number in told["offset"])
    return Closer(
        str(told["region"]),
        str(told["bone"]),
        float(told["reach_mm"]),
        bool(told["is_from_below"]),
        (x, y, z),
    )
