"""The header of a safetensors file: eight bytes of length, JSON, and the tensors behind it.

Read with the standard library alone, because the node asks for every job and must not pay for
torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER: Final = 1_000_000
Told = TypeVar("Told")


class BrokenWeights(PipelineError):
    """A file of trained weights cannot be used: it is damaged, or made for another version."""


def header_of(path: Path) -> tuple[dict[str, Any], int, int]:
    """The JSON header, where the tensors start, and how many bytes of them there are.

    Raises:
        BrokenWeights: the file is cut off, or has no such header.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(LARGEST_HEADER, size - 8):
            raise BrokenWeights(f"{path.name} is no weights file, or cut off")
        header, start = parsed(length.to_bytes(8, "little") + file.read(length), path.name)
    return header, start, size - start


def format_of(path: Path) -> str:
    """What the file calls its format; empty where it says nothing.

    Raises:
        BrokenWeights: as `header_of`.
    """
    metadata = header_of(path)[0].get("__metadata__")
    return str(metadata.get("format", "")) if isinstance(metadata, dict) else ""


def metadata_of(path: Path, file_format: str) -> Mapping[str, str]:
    """What a file of this format says of itself; its tensors are all there.

    Raises:
        BrokenWeights: it is cut off, or of another format.
    """
    header, _, size = header_of(path)
    said = format_of(path)
    if said != file_format:
        raise BrokenWeights(f"{path.name} is of the format {said or None!r}, not {file_format!r}")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if not ends or max(ends) != size:
        announced = max(ends, default=0)
        raise BrokenWeights(f"{path.name} has {size} bytes of tensors, not {announced}: cut off")
    metadata: Mapping[str, str] = header["__metadata__"]
    return metadata


def told_by(path: Path, file_format: str, read: Callable[[Mapping[str, str], Path], Told]) -> Told:
    """What `read` makes of what a file of this format says of itself.

    Raises:
        BrokenWeights: it is cut off, of another format, or `read` lacks or cannot use something.
    """
    metadata = metadata_of(path, file_format)
    try:
        return read(metadata, path)
    except (KeyError, TypeError, ValueError) as fault:
        raise BrokenWeights(f"The header of {path.name} lacks or garbles {fault}") from fault


def is_asked(name: str) -> bool:
    """True if answers hang on a tensor: they do not on the counts of running statistics."""
    return not name.endswith("num_batches_tracked")


def whole(path: Path, digest: str) -> bytes:
    """The content of a file whose header and tensors have this SHA-256.

    Raises:
        BrokenWeights: they have another.
    """
    content = path.read_bytes()
    header, start = parsed(content, path.name)
    if digest_of(header, content[start:]) != digest:
        raise BrokenWeights(f"{path.name} is damaged: its content has another SHA-256 than it says")
    return content


def tensors_of(path: Path, digest: str, *, largest: int | None = None) -> dict[str, Tensor]:
    """The tensors of a file in float32, by name; they are those of the digest, and finite.

    Raises:
        BrokenWeights: they are not, or the file has more than `largest` bytes.
    """
    from safetensors.torch import load  # noqa: PLC0415 - a header is read without torch

    if largest is not None and path.stat().st_size > largest:
        raise BrokenWeights(f"{path.name} is larger than {largest} bytes")
    content = whole(path, digest)
    try:
        tensors = {name: tensor.float() for name, tensor in load(content).items()}
    except Exception as fault:
        raise BrokenWeights(f"{path.name} holds no tensors: {fault}") from fault
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise BrokenWeights(f"{path.name} has weights that are no finite numbers")
    return tensors


def parsed(content: bytes, name: str = "the file") -> tuple[dict[str, Any], int]:
    """The JSON header at the beginning of `content`, and where the tensors start.

    Raises:
        BrokenWeights: naming the file as `name`.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
    except ValueError as fault:
        raise BrokenWeights(f"The header of {name} is no JSON") from fault
    if not isinstance(header, dict):
        raise BrokenWeights(f"The header of {name} is no table")
    return header, start


def written(header: Mapping[str, Any]) -> bytes:
    """The header as bytes, always the same: safetensors itself shuffles the metadata."""
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def digest_of(header: Mapping[str, Any], tensors: bytes) -> str:
    """SHA-256 over the header without the digest itself, and over the tensors."""
    metadata = {k: v for k, v in header["__metadata__"].items() if k != "sha256"}
    said = json.dumps({**header, "__metadata__": metadata}, sort_keys=True)
    return hashlib.sha256(said.encode() + b"\0" + tensors).hexdigest()


def write(
    path: Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    largest: int | None = None,
) -> None:
    """Write a network's state as float16 under a header with its SHA-256, whole or not at all.

    Args:
        path: Of the file.
        state: Tensors by name.
        metadata: What the header says besides `sha256`.
        largest: Bytes that the file may have.

    Raises:
        BrokenWeights: a weight is not finite in float16, or the file would be too large.
    """
    from safetensors.torch import save  # noqa: PLC0415 - a header is read without torch

    tensors = {name: tensor.cpu().half().contiguous() for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise BrokenWeights("The network has weights that are no finite numbers in float16")
    content = save(tensors)
    header, start = parsed(content)
    header["__metadata__"] = dict(metadata)
    header["__metadata__"]["sha256"] = digest_of(header, content[start:])
    content = written(header) + content[start:]
    if largest is not None and len(content) > largest:
        raise BrokenWeights(f"The weights take {len(content)} bytes, more than {largest}")
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)
