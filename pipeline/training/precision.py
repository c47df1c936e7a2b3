"""Half precision where the processor has it, but for what it would compute wrongly.

The weight gradient of a 3 x 3 x 3 convolution over a grid of depth two, in bfloat16 on a CPU with
AVX-512, holds numbers that were never written: whatever lay in that memory before, now and then
nan. Seen with torch 2.13 (oneDNN) for most numbers of samples, channels, rows and columns that were
tried; other depths from 1 to 7, planar and transposed convolutions were sound. Such a convolution
is small and is done in full precision. Imports torch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

UNSOUND_DEPTH = 2


@contextmanager
def in_half(device: str) -> Iterator[None]:
    """In bfloat16, where `device` ("cpu", "cuda") is faster with it; else nothing changes."""
    if not _is_faster(device):
        yield
        return
    sound = _SoundConvolutions() if device == "cpu" else nullcontext()
    with torch.autocast(device, torch.bfloat16), sound:
        yield


class _SoundConvolutions(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not torch.conv3d or args[0].shape[2] != UNSOUND_DEPTH:
            return func(*args, **(kwargs or {}))
        whole: list[Any] = [one.float() if isinstance(one, torch.Tensor) else one for one in args]
        with torch.autocast("cpu", enabled=False):
            return func(*whole, **(kwargs or {}))


def _is_faster(device: str) -> bool:
    """Where bfloat16 is emulated it is slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
