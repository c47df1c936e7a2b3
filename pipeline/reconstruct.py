"""Which engines there are, and what each of them makes of radiographs.

`algorithm` names an engine without loading it: the node asks for every job, and must not pay for
numerical libraries to do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from pipeline.errors import PipelineError
from pipeline.types import Algorithm, Radiograph, Reconstruction, Side
from pipeline.weights import digest_for, regions

LIFTING: Final = "lifting"
VISUAL_HULL: Final = "visual-hull"
ENGINES: Final[dict[str, str]] = {
    LIFTING: "pipeline.models.lifting_engine",
    VISUAL_HULL: "pipeline.models.visual_hull",
}
"""By the name that a rule uses: the module that does the work, imported when there is some."""
GRID: Final = ("grid", "128 x 128 x 128")


class _EngineModule(Protocol):
    """What a module of `pipeline.models` offers."""

    def reconstruct(
        self, radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
    ) -> Reconstruction: ...


class UnknownModel(PipelineError):
    """There is no such model."""


def default_model(region: str) -> str:
    """The engine of a rule that names none: the network where the region has one."""
    return LIFTING if region in regions() else VISUAL_HULL


def algorithm(model: str, region: str = "") -> Algorithm:
    """What `model` is called in a result for `region`, where the visual hull is named a fallback.

    Raises:
        UnknownModel: naming those that there are.
        NotTrained: the model needs weights, and there are none for the region.
    """
    _require(model)
    if model == LIFTING:
        return Algorithm("Osteon lifting network", "1.1.0", digest_for(region), (GRID,))
    why = "chosen by rule" if region in regions() else "no trained network for this region"
    return Algorithm(f"Osteon visual hull, {why}", "1.0.0", "", (GRID,))


def reconstruct(
    radiographs: Sequence[Radiograph], *, region: str, side: Side, model: str
) -> Reconstruction:
    """The bones that `model` makes of the radiographs, with figures that say how good they are.

    Raises:
        UnknownModel: naming the models that there are.
        NotTrained: the model needs weights, and there are none for the region.
        StudyError: the radiographs do not let themselves be reconstructed.
    """
    made_by = algorithm(model, region)
    module = cast("_EngineModule", import_module(ENGINES[model]))
    return module.reconstruct(radiographs, region, side, made_by)


def warm() -> None:
    """All that a first job would wait for is loaded: the engines and their networks."""
    for module in ENGINES.values():
        import_module(module)
    from pipeline.models import lifting_engine  # noqa: PLC0415 - the node reads only names

    for region in regions():
        lifting_engine.warm(region)


def _require(model: str) -> None:
    if model not in ENGINES:
        raise UnknownModel(f"There is no model {model!r}; there is {', '.join(sorted(ENGINES))}")
