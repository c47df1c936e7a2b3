"""Each engine judged on the same samples, in a process of its own, and kept.

So the memory that is told is of that engine, one that fails or dies takes nobody with it, and
another engine can be added without judging all again: what was found of an engine is kept with a
fingerprint of its checkpoints, its run file and the samples.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.metrics import dice
from pipeline.training.given import Engine
from pipeline.training.peers_engines import Comparison, Entrant, comparison_of, engine_of, states
from pipeline.training.peers_samples import Sample, read
from pipeline.training.surfaces import MARGIN_MM, apart, isosurface

KIB_IN_GB = 1024 / 1e9
POINTS = 5_000
"""Of each surface: their mean is sure to a hundredth, and there are many surfaces."""
Judge = Callable[[Path, Entrant, Sequence[Path]], "Found"]
"""From a run file, an entrant and the files of the samples."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One bone of one sample, from so many views."""

    views: int
    person: str
    case: str
    bone: str
    dice: float
    iou: float
    assd_mm: float
    hd95_mm: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a reconstruction from so many views."""

    views: int
    seconds: float
    """Of the processor, of all threads together; the median over the samples."""
    memory_gb: float
    """The most that the process has held, torch included."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one engine."""

    name: str
    fingerprint: str
    failed: str = ""
    """Why there is nothing else."""
    parameters: int = 0
    trained: str = ""
    remark: str = ""
    refused: tuple[tuple[int, str], ...] = ()
    costs: tuple[Cost, ...] = ()
    judgements: tuple[Judgement, ...] = ()


def found_of(
    entrant: Entrant, of: Comparison, files: Sequence[Path], judge: Judge | None = None
) -> Found:
    """What was found of an entrant: what is kept, if nothing has changed since, or judged now.

    Whatever goes wrong with it is told in its place, and tried again by the next call.
    """
    mark = _fingerprint(entrant, of, files)
    path = of.folder / f"{entrant.name.replace('/', '-')}.json"
    if path.exists():
        found = _read(json.loads(path.read_text(encoding="utf-8")))
        if found.fingerprint == mark:
            return found
    try:
        found = (judge or in_own_process)(of.path, entrant, files)
    except Exception as fault:  # noqa: BLE001  # the border of a process: its failure is a row
        return Found(entrant.name, mark, failed=str(fault) or type(fault).__name__)
    found = replace(found, fingerprint=mark)
    path.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return found


def in_own_process(path: Path, entrant: Entrant, files: Sequence[Path]) -> Found:
    """As `judged`, in a process that ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one:
        return one.submit(judged, path, entrant, files).result()


def judged(path: Path, entrant: Entrant, files: Sequence[Path]) -> Found:
    """The entrant of a run file's comparison, judged on each sample from each number of views.

    Raises:
        RunFault: it is not trained, or is of another region.
    """
    of = comparison_of(path)
    torch.set_num_threads(of.settings.comparison.threads)
    engine = engine_of(entrant, of)
    counts = [
        views for views in sorted(of.settings.comparison.views) if views not in engine.refused
    ]
    seconds: dict[int, list[float]] = {views: [] for views in counts}
    memory: dict[int, float] = {}
    judgements = []
    # few views first: the most that was held never falls
    for views in counts:
        for file in files:
            sample = read(file, of.archive.region.cube_mm)
            began = time.process_time()
            distances = engine.reconstruct(sample.given.first(views))
            seconds[views].append(time.process_time() - began)
            memory[views] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB_IN_GB
            judgements += _judgements(engine, views, sample, distances.numpy(), of)
    return Found(
        entrant.name,
        "",
        parameters=engine.parameters,
        trained=engine.trained,
        remark=engine.remark,
        refused=tuple(engine.refused.items()),
        costs=tuple(Cost(views, median(seconds[views]), memory[views]) for views in counts),
        judgements=tuple(judgements),
    )


def _judgements(
    engine: Engine, views: int, sample: Sample, distances: NDArray[np.float32], of: Comparison
) -> list[Judgement]:
    edge = of.archive.region.cube_mm
    found = []
    for bone, distance in zip(engine.bones, distances, strict=True):
        if bone not in sample.inside:
            continue
        overlap = dice(sample.inside[bone].numpy(), distance < 0)
        made, true = isosurface(distance, edge), sample.surfaces[bone]
        assd, hd95 = apart(made, true, edge / 2 - MARGIN_MM, samples=POINTS)
        # of one pair of masks, the one follows from the other
        iou = overlap / (2 - overlap)
        found.append(Judgement(views, sample.person, sample.case, bone, overlap, iou, assd, hd95))
    return found


def _fingerprint(entrant: Entrant, of: Comparison, files: Sequence[Path]) -> str:
    """Of all that decides what is found; who else is compared is no part of it."""
    settings = of.settings
    told = [
        entrant.name,
        settings.fold,
        settings.network,
        replace(settings.peers, engines=()),
        settings.evaluation.closer,
        settings.comparison.views,
        settings.comparison.threads,
        [f"{file.parent.name}/{file.name}" for file in files],
    ]
    digest = hashlib.sha256(repr(told).encode())
    for state in states(entrant, of):
        with state.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _read(stored: dict[str, Any]) -> Found:
    costs = tuple(Cost(**one) for one in stored.pop("costs"))
    judgements = tuple(Judgement(**one) for one in stored.pop("judgements"))
    refused = tuple((views, why) for views, why in stored.pop("refused"))
    return Found(**stored, refused=refused, costs=costs, judgements=judgements)
