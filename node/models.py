"""Which engine a rule means, and whether it can work with what the rule asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline import completion_weights
from pipeline.errors import PipelineError
from pipeline.registry import ENGINES, VISUAL_HULL, UnknownEngine, default_engine, offer
from pipeline.weights import NotTrained

AUTO: Final = "auto"


def usable(engine: str, region: str, views: Sequence[str]) -> str:
    """The engine that `engine` names for `region`; `AUTO` is the network where there is one.

    Raises:
        ValueError: there is no such engine, it knows nothing of the region, or it needs other
            views.
    """
    try:
        name = default_engine(region) if engine == AUTO else engine
        offered = offer(name, region)
    except UnknownEngine as fault:
        raise ValueError(f"no such engine; there is {AUTO}, {', '.join(ENGINES)}") from fault
    except NotTrained as fault:
        raise ValueError(f"{fault}; with '{AUTO}' the rule gets {_instead(region)}") from fault
    except PipelineError as fault:
        raise ValueError(f"{fault}; install the package anew") from fault
    if reason := offered.views.refusal(views):
        which = f"{name}, which the region '{region}' has," if engine == AUTO else name
        raise ValueError(f"{which} {reason}")
    return name


def completable(engine: str, region: str) -> None:
    """Nothing, if what `engine` gives of `region` can be completed.

    Raises:
        ValueError: it cannot; the reason is for whoever wrote the rule.
    """
    try:
        completion_weights.require(region, offer(engine, region).bones)
    except PipelineError as fault:
        raise ValueError(f"{fault}; leave `complete` out") from fault


def _instead(region: str) -> str:
    """What `AUTO` stands for, as far as it can be told."""
    try:
        return default_engine(region)
    except PipelineError:
        return VISUAL_HULL
