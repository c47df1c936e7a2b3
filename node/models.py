"""Which engine a rule means, and whether it can work with what the rule asks of it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from pipeline.errors import PipelineError
from pipeline.reconstruct import ENGINES, VISUAL_HULL, UnknownModel, algorithm, default_model
from pipeline.weights import NotTrained

AUTO: Final = "auto"
FRONTAL: Final = frozenset({"AP", "PA", "frontal"})
LATERAL: Final = frozenset({"LL", "RL", "lateral"})


def usable(model: str, region: str, views: AbstractSet[str]) -> str:
    """The engine that `model` names for `region`; `AUTO` is the network where there is one.

    Raises:
        ValueError: there is no such engine, it knows nothing of the region, or it needs other
            views.
    """
    try:
        model = default_model(region) if model == AUTO else model
        algorithm(model, region)
    except UnknownModel as fault:
        raise ValueError(f"no such model; there is {AUTO}, {', '.join(ENGINES)}") from fault
    except NotTrained as fault:
        raise ValueError(f"{fault}; with '{AUTO}' the rule gets {VISUAL_HULL}") from fault
    except PipelineError as fault:
        raise ValueError(f"{fault}; install the package anew") from fault
    if model == VISUAL_HULL:
        _require_both_directions(region, views)
    return model


def _require_both_directions(region: str, views: AbstractSet[str]) -> None:
    why = f"model {VISUAL_HULL}, which the region '{region}' has," if region else VISUAL_HULL
    if len(views) < 2:
        raise ValueError(f"{why} needs at least two views")
    if not views & FRONTAL or not views & LATERAL:
        raise ValueError(f"{why} needs a frontal and a lateral view")
