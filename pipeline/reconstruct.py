"""What an engine makes of radiographs; which engines there are stands in `pipeline.registry`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from pipeline.registry import algorithm, engine_named, offers
from pipeline.types import Algorithm, Radiograph, Reconstruction, Side


class _EngineModule(Protocol):
    """What a module of `pipeline.models` offers."""

    def reconstruct(
        self, radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
    ) -> Reconstruction: ...

    def warm(self, region: str) -> None: ...


def reconstruct(
    radiographs: Sequence[Radiograph], *, region: str, side: Side, model: str
) -> Reconstruction:
    """The bones that `model` makes of the radiographs, with figures that say how good they are.

    Raises:
        UnknownEngine: naming the engines that there are.
        NotTrained: the engine needs weights, and there are none for the region.
        StudyError: the radiographs do not let themselves be reconstructed.
    """
    made_by = algorithm(model, region)
    return _module(model).reconstruct(radiographs, region, side, made_by)


def warm() -> None:
    """All that a first job would wait for is loaded: the engines and their networks."""
    for one in offers():
        module = _module(one.engine.name)
        if one.digest:
            module.warm(one.region)


def _module(engine: str) -> _EngineModule:
    return cast("_EngineModule", import_module(engine_named(engine).module))
