"""Trained tomographies as files: one region, one kind of view, and from where bone is cut out.

The format is that of `pipeline.weights`, safetensors with a digest over header and tensors. The
network knows no camera, and a radiograph has no depth: so the header says which views it has
learned from, how much of its square they showed, and over which depth its planes lie.
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
from pipeline.weights import NotTrained

if TYPE_CHECKING:
    from pipeline.models.tomography import Tomography

FORMAT: Final = "osteon-tomography-1"
ENGINE: Final = "tomography"
"""As rules name it."""
LARGEST_FILE: Final = 16_000_000
"""Bytes: the published network takes 8.5 million in half precision."""


@dataclass(frozen=True, slots=True)
class TrainedTomography:
    """What the header of a weights file says."""

    region: str
    is_paired: bool
    """The body has the region on both sides: the network knows the right one."""
    familiar: Familiar
    image_size: int
    """Rows and columns of the radiograph that the network sees; the density has half as many."""
    cube_mm: float
    """Edge of the cube about the isocentre: its planes stand over this depth, and the square that
    is cut out of a radiograph shows it."""
    threshold: float
    """Density from which a voxel is bone: there it agreed best with those learned from."""
    least_shown: float
    """Share of its square that a radiograph has to show."""
    least_agreement: float
    """Of density and radiograph (`tomography.agreement`); below, the result is withheld."""
    trained: str
    """One line: on whom, how long, with which seed."""
    shape: Mapping[str, Any]
    """The fields of `TomographyShape`; `export` takes them from the network."""
    stated: Stated = UNSTATED
    digest: str = ""
    """SHA-256, hex; the file says it."""
    path: Path = Path()


def file_name(region: str) -> str:
    """What the weights file of a region is called."""
    return f"{region}.{ENGINE}{weights.SUFFIX}"


def trained_tomographies() -> dict[str, TrainedTomography]:
    """The files that there are, by region.

    Raises:
        BrokenWeights: one is damaged, or two are of one region.
    """
    found: dict[str, TrainedTomography] = {}
    for path in sorted(weights.FOLDER.glob(f"*{weights.SUFFIX}")):
        if format_of(path) != FORMAT:
            continue
        one = read_header(path)
        if one.region in found:
            raise BrokenWeights(f"{path.name} is a second tomography of the region {one.region}")
        found[one.region] = one
    return found


def tomography_for(region: str) -> TrainedTomography:
    """The tomography of `region`.

    Raises:
        NotTrained: naming the regions that there are.
        BrokenWeights: as `trained_tomographies`.
    """
    known = trained_tomographies()
    if region not in known:
        names = ", ".join(known) or "none"
        raise NotTrained(f"There is no tomography of the region {region!r}; there is {names}")
    return known[region]


def read_header(path: Path) -> TrainedTomography:
    """What a weights file says of itself; its tensors are not read.

    Raises:
        BrokenWeights: it is cut off, of another format, or contradicts itself.
    """
    return told_by(path, FORMAT, _trained)


def load(path: Path) -> Tomography:
    """The network of a weights file, ready to be asked, in float32.

    Raises:
        BrokenWeights: as `read_header`, or the tensors are damaged, not finite, or do not fit.
    """
    from pipeline.models.tomography import (  # noqa: PLC0415 - a header is read without torch
        Tomography,
        TomographyShape,
    )

    trained = read_header(path)
    tensors = tensors_of(path, trained.digest, largest=LARGEST_FILE)
    try:
        shape = TomographyShape(**{**trained.shape, "blocks": tuple(trained.shape["blocks"])})
        net = Tomography(shape)
        wanted = {name for name in net.state_dict() if is_asked(name)}
        if wanted != set(tensors):
            raise ValueError(", ".join(sorted(wanted ^ set(tensors))))  # noqa: TRY301 - told below
        net.load_state_dict(tensors, strict=False)
    except Exception as fault:
        raise BrokenWeights(f"{path.name} does not fit its network: {fault}") from fault
    if trained.image_size % shape.multiple:
        raise BrokenWeights(f"{path.name} says images that its network cannot take")
    return net.eval().requires_grad_(requires_grad=False)


def export(net: Tomography, path: Path, described: TrainedTomography) -> TrainedTomography:
    """Write `net` with all that is known of it, whole or not at all, as float16.

    Returns:
        `described` as it reads from the file.

    Raises:
        BrokenWeights: a weight is not finite in float16, or the file would be too large.
    """
    told = replace(described, shape=asdict(net.shape))
    metadata = {
        "format": FORMAT,
        "engine": ENGINE,
        "region": told.region,
        "trained": told.trained,
        **{name: json.dumps(getattr(told, name)) for name in ("is_paired", "shape", *_NUMBERS)},
        "familiar": json.dumps(asdict(told.familiar)),
        **to_metadata(told.stated),
    }
    state = {name: tensor for name, tensor in net.state_dict().items() if is_asked(name)}
    write(path, state, metadata, largest=LARGEST_FILE)
    return read_header(path)


_NUMBERS = ("image_size", "cube_mm", "threshold", "least_shown", "least_agreement")


def _trained(metadata: Mapping[str, str], path: Path) -> TrainedTomography:
    numbers = {name: float(json.loads(metadata[name])) for name in _NUMBERS}
    familiar = familiar_from(json.loads(metadata["familiar"]))
    told = [*numbers.values(), familiar.turn_deg, familiar.tilt_deg]
    told += [*familiar.source_to_detector, *familiar.magnification]
    if not all(math.isfinite(number) for number in told):
        raise ValueError("a number: not finite")
    if min(numbers["image_size"], numbers["cube_mm"], numbers["threshold"]) <= 0:
        raise ValueError("image_size, cube_mm or threshold: not positive")
    return TrainedTomography(
        region=metadata["region"],
        is_paired=bool(json.loads(metadata["is_paired"])),
        familiar=familiar,
        image_size=int(numbers["image_size"]),
        cube_mm=numbers["cube_mm"],
        threshold=numbers["threshold"],
        least_shown=numbers["least_shown"],
        least_agreement=numbers["least_agreement"],
        trained=metadata["trained"],
        shape=json.loads(metadata["shape"]),
        stated=from_metadata(metadata),
        digest=metadata["sha256"],
        path=path,
    )
