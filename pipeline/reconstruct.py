"""Which engines there are, and what each of them makes of radiographs.

`algorithm` names an engine without loading it: the node asks for every job, and must not pay for
numerical libraries to do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

from pipeline.errors import PipelineError
from pipeline.types import Algorithm, Radiograph, Reconstruction, Side


class _EngineModule(Protocol):
    """What a module of `pipeline.models` offers."""

    def reconstruct(
        self, radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
    ) -> Reconstruction: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to make bones of radiographs."""

    module: str
    """Its `reconstruct` does the work; imported when there is some."""
    algorithm: Algorithm


ENGINES: Final[dict[str, Engine]] = {
    "visual-hull": Engine(
        "pipeline.models.visual_hull",
        Algorithm("Osteon visual hull", "1.0.0", "", (("grid", "128 x 128 x 128"),)),
    ),
}
"""By the name that a rule uses."""


class UnknownModel(PipelineError):
    """There is no such model."""


def algorithm(model: str) -> Algorithm:
    """What `model` is called in a result.

    Raises:
        UnknownModel: naming those that there are.
    """
    return _engine(model).algorithm


def reconstruct(
    radiographs: Sequence[Radiograph], *, region: str, side: Side, model: str
) -> Reconstruction:
    """The bones that `model` makes of the radiographs, with figures that say how good they are.

    Raises:
        UnknownModel: naming the models that there are.
        StudyError: the radiographs do not let themselves be reconstructed.
    """
    engine = _engine(model)
    module = cast("_EngineModule", import_module(engine.module))
    return module.reconstruct(radiographs, region, side, engine.algorithm)


def _engine(model: str) -> Engine:
    try:
        return ENGINES[model]
    except KeyError:
        names = ", ".join(sorted(ENGINES))
        raise UnknownModel(f"There is no model {model!r}; there is {names}") from None
