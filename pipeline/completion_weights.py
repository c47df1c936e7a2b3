"""Trained completion networks as files: tensors behind a header that says all that is known.

The format is that of `pipeline.weights`, safetensors with a digest over header and tensors, with
another content: the structures, their usual middles and volumes, and the box they lie in.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.completing import Completer, Structure
from pipeline.safetensors_header import BrokenWeights, digest_of, header_of, parsed, write

if TYPE_CHECKING:
    from pipeline.models.completion import Completion

FORMAT: Final = "osteon-completion-1"
LARGEST_FILE: Final = 150_000_000
"""Bytes: the largest published network takes 66 million in half precision."""


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
    digest: str = ""
    """SHA-256, hex, of the file's content; the file says it."""


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
    }
    write(path, net.state_dict(), metadata)
    return read_header(path)


def read_header(path: Path) -> TrainedCompletion:
    """What a weights file says of itself; its tensors are not read.

    Raises:
        BrokenWeights: it is cut off, of another format, or garbled.
    """
    metadata = _metadata(path)
    try:
        z, y, x = (float(edge) for edge in json.loads(metadata["box_mm"]))
        return TrainedCompletion(
            name=metadata["name"],
            structures=tuple(
                Structure(**{**one, "middle": tuple(one["middle"])})
                for one in json.loads(metadata["structures"])
            ),
            box_mm=(z, y, x),
            size=int(json.loads(metadata["size"])),
            trained=metadata["trained"],
            digest=metadata["sha256"],
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise BrokenWeights(f"The header of {path.name} lacks or garbles {fault}") from fault


def load(path: Path) -> Completer:
    """The completer of a weights file, in float32.

    Raises:
        BrokenWeights: as `read_header`, or the tensors are damaged, not finite, or do not fit.
    """
    import torch  # noqa: PLC0415 - a header is read without torch
    from safetensors.torch import load as tensors_of  # noqa: PLC0415 - the same

    from pipeline.models.completion import (  # noqa: PLC0415 - the same
        Completion,
        CompletionShape,
        Kind,
        Task,
    )

    trained = read_header(path)
    if path.stat().st_size > LARGEST_FILE:
        raise BrokenWeights(f"{path.name} is larger than {LARGEST_FILE} bytes")
    content = path.read_bytes()
    header, start = parsed(content, path.name)
    if digest_of(header, content[start:]) != trained.digest:
        raise BrokenWeights(f"{path.name} is damaged: its content has another SHA-256 than it says")
    told: dict[str, Any] = json.loads(header["__metadata__"]["shape"])
    try:
        shape = CompletionShape(**{**told, "kind": Kind(told["kind"]), "task": Task(told["task"])})
        net = Completion(shape)
        tensors = {name: tensor.float() for name, tensor in tensors_of(content).items()}
        net.load_state_dict(tensors)
    except Exception as fault:
        raise BrokenWeights(f"{path.name} does not fit its network: {fault}") from fault
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise BrokenWeights(f"{path.name} has weights that are no finite numbers")
    if shape.classes != len(trained.structures) + 1:
        raise BrokenWeights(f"{path.name} has another number of structures than of classes")
    net.eval().requires_grad_(requires_grad=False)

    def chances(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            answer = net(torch.from_numpy(labels[None].astype(np.int64)))
        return np.asarray(answer[0].softmax(dim=0).numpy())

    return Completer(trained.structures, trained.box_mm, trained.size, chances)


def _metadata(path: Path) -> dict[str, str]:
    header, _, size = header_of(path)
    metadata = header.get("__metadata__")
    said = metadata.get("format") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or said != FORMAT:
        raise BrokenWeights(f"{path.name} is of the format {said!r}, not {FORMAT!r}")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if not ends or max(ends) != size:
        announced = max(ends, default=0)
        raise BrokenWeights(f"{path.name} has {size} bytes of tensors, not {announced}: cut off")
    return metadata
