"""Trained completion networks as files: tensors behind a header that says all that is known.

The format is that of `pipeline.weights`, safetensors with a digest over header and tensors, with
another content: the structures, their usual middles and volumes, and the box they lie in. A file
that is shipped also says the regions whose reconstructions it completes, and by which bones it
finds its place in them. A header is read without torch: the node asks for every rule and job.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline import weights
from pipeline.errors import PipelineError
from pipeline.safetensors_header import BrokenWeights, metadata_of, tensors_of, told_by, write
from pipeline.stated import UNSTATED, Stated, from_metadata, to_metadata
from pipeline.structures import Structure, meaning_of
from pipeline.types import Algorithm

if TYPE_CHECKING:
    from pipeline.completing import Completer
    from pipeline.models.completion import Completion

FORMAT: Final = "osteon-completion-1"
SUFFIX: Final = f".completion{weights.SUFFIX}"
LARGEST_FILE: Final = 150_000_000
"""Bytes: the largest published network takes 66 million in half precision."""
NAME: Final = "Anatomy completion"
"""Of the algorithm, in every object that it added something to."""
VERSION: Final = "1.0.0"


class NothingCompletes(PipelineError):
    """There is no completion for these bones."""


@dataclass(frozen=True, slots=True)
class TrainedCompletion:
    """What the header of a weights file says, beside the shape of the network."""

    name: str
    """Of what it completes, as `pelvis`."""
    structures: tuple[Structure, ...]
    box_mm: tuple[float, float, float]
    """Edges along z, y, x."""
    size: int
    """Voxels along each edge."""
    trained: str
    """One line: on whom, how long."""
    regions: tuple[str, ...] = ()
    """Whose reconstructions it completes, as rules name them."""
    placed_by: tuple[str, ...] = ()
    """Structures without their sides, as `hip_bone`: one of them must have been reconstructed."""
    stated: Stated = UNSTATED
    kind: str = ""
    """Which of the three networks, as `skip`; the file says it."""
    task: str = ""
    """What the network answers with, as `residual`; the file says it."""
    digest: str = ""
    """SHA-256, hex, of the file's content; the file says it."""
    path: Path = Path()


def shipped() -> tuple[TrainedCompletion, ...]:
    """All that stand beside the other weights, by name.

    Raises:
        BrokenWeights: a file is damaged.
    """
    return tuple(read_header(path) for path in sorted(weights.FOLDER.glob(f"*{SUFFIX}")))


def trained_for(region: str) -> TrainedCompletion:
    """What completes the bones of `region`.

    Raises:
        NothingCompletes: naming the regions that there are.
        BrokenWeights: a file is damaged, or two are of one region.
    """
    here = shipped()
    found = [one for one in here if region in one.regions]
    if len(found) > 1:
        names = " and ".join(one.path.name for one in found)
        raise BrokenWeights(f"{names} complete the same region, {region}")
    if not found:
        known = ", ".join(sorted(name for one in here for name in one.regions)) or "none"
        raise NothingCompletes(f"Nothing completes the region {region!r}; there is {known}")
    return found[0]


def require(region: str, bones: Collection[str]) -> None:
    """Nothing, if the bones of this region can be completed from those that an engine gives.

    Args:
        region: As a rule names it.
        bones: As an engine names them.

    Raises:
        NothingCompletes: for whoever wrote the rule.
    """
    trained = trained_for(region)
    needed = [meaning_of(name).words for name in trained.placed_by]
    if not set(needed) & set(bones):
        given = ", ".join(bones)
        raise NothingCompletes(
            f"What is missing is placed by the {' or '.join(needed).lower()}, and the engine gives"
            f" {given}"
        )


def algorithm_for(region: str) -> Algorithm:
    """What completes the bones of `region`, as results name it.

    Raises:
        NothingCompletes: as `trained_for`.
    """
    trained = trained_for(region)
    grid = " x ".join([str(trained.size)] * 3)
    return Algorithm(NAME, VERSION, trained.digest, (("grid", grid),))


def export(net: Completion, path: Path, described: TrainedCompletion) -> TrainedCompletion:
    """Write `net` with all that is known of it, whole or not at all, as float16.

    Raises:
        BrokenWeights: a weight is not finite in float16, or the structures are not those of `net`.
    """
    if net.shape.classes != len(described.structures) + 1:
        raise BrokenWeights("The network has another number of classes than are described")
    metadata = {
        "format": FORMAT,
        "name": described.name,
        "structures": json.dumps([asdict(one) for one in described.structures]),
        "box_mm": json.dumps(described.box_mm),
        "size": json.dumps(described.size),
        "shape": json.dumps(asdict(net.shape)),
        "trained": described.trained,
        "regions": json.dumps(described.regions),
        "placed_by": json.dumps(described.placed_by),
        **to_metadata(described.stated),
    }
    write(path, net.state_dict(), metadata)
    return read_header(path)


def read_header(path: Path) -> TrainedCompletion:
    """What a weights file says of itself; its tensors are not read.

    Raises:
        BrokenWeights: it is cut off, of another format, or garbled.
    """
    return told_by(path, FORMAT, _trained)


def _trained(metadata: Mapping[str, str], path: Path) -> TrainedCompletion:
    z, y, x = (float(edge) for edge in json.loads(metadata["box_mm"]))
    shape = json.loads(metadata["shape"])
    return TrainedCompletion(
        name=metadata["name"],
        structures=tuple(_structure(one) for one in json.loads(metadata["structures"])),
        box_mm=(z, y, x),
        size=int(json.loads(metadata["size"])),
        trained=metadata["trained"],
        regions=tuple(map(str, json.loads(metadata["regions"]))),
        placed_by=tuple(map(str, json.loads(metadata["placed_by"]))),
        stated=from_metadata(metadata),
        kind=str(shape["kind"]),
        task=str(shape["task"]),
        digest=metadata["sha256"],
        path=path,
    )


def _structure(told: dict[str, Any]) -> Structure:
    x, y, z = (float(number) for number in told["middle"])
    extent = told.get("extent")
    return Structure(
        str(told["name"]),
        (x, y, z),
        float(told["volume_mm3"]),
        None if extent is None else (float(extent[0]), float(extent[1]), float(extent[2])),
        bool(told.get("ends_in_box", True)),
    )


def load(path: Path) -> Completer:
    """The completer of a weights file, in float32.

    Raises:
        BrokenWeights: as `network`.
    """
    import torch  # noqa: PLC0415 - a header is read without torch

    from pipeline.completing import Completer  # noqa: PLC0415 - the same

    trained, net = read_header(path), network(path)

    def chances(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            answer = net(torch.from_numpy(labels[None].astype(np.int64)))
        return np.asarray(answer[0].softmax(dim=0).numpy())

    return Completer(trained.structures, trained.box_mm, trained.size, chances)


def network(path: Path) -> Completion:
    """The network of a weights file, ready to be asked, in float32.

    Raises:
        BrokenWeights: as `read_header`, or the tensors are damaged, not finite, or do not fit.
    """
    from pipeline.models.completion import (  # noqa: PLC0415 - a header is read without torch
        Completion,
        CompletionShape,
        Kind,
        Task,
    )

    trained = read_header(path)
    tensors = tensors_of(path, trained.digest, largest=LARGEST_FILE)
    try:
        told: dict[str, Any] = json.loads(metadata_of(path, FORMAT)["shape"])
        shape = CompletionShape(**{**told, "kind": Kind(told["kind"]), "task": Task(told["task"])})
        net = Completion(shape)
        net.load_state_dict(tensors)
    except Exception as fault:
        raise BrokenWeights(f"{path.name} does not fit its network: {fault}") from fault
    if shape.classes != len(trained.structures) + 1:
        raise BrokenWeights(f"{path.name} has another number of structures than of classes")
    return net.eval().requires_grad_(requires_grad=False)
