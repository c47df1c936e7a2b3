"""How well what is missing is completed, on people that were not learned from.

Judged is only what was missing: a copy of the input has a Dice of 0 there. Beside the network
stands an atlas, the commonest label of the training people at each voxel, which never looks at its
input; both may only add to what was given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.metrics import dice
from pipeline.training.completion_pairs import JudgedPair, pairs_of
from pipeline.training.completion_settings import read
from pipeline.training.completions import Say, trained
from pipeline.training.label_maps import Labels, Triple
from pipeline.training.over_people import by_person, interval

Completer = Callable[[Labels], Labels]
"""From an incomplete map to a complete one."""
WORTH_JUDGING = 10
"""Voxels: a smaller missing piece is not judged."""
F_SCORE_MM = 10.0
"""Two surfaces nearer than this agree, in the F-score."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One missing label of one pair."""

    person: str
    condition: str
    label: str
    network: float
    """Dice."""
    atlas: float
    """Dice of the atlas."""
    copied: float
    """Dice of the input itself."""
    assd_mm: float
    """Between the surfaces of the missing part, of the network; the longest diagonal of the box
    where it added nothing; nan where the size of a voxel is unknown, as the others."""
    hd95_mm: float
    chamfer_mm: float
    """The sum of the mean distances of both ways."""
    f_score: float
    """At `F_SCORE_MM`."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One label, or all of them, over people and pairs."""

    label: str
    count: int
    network: float
    """Mean Dice over the people, each with the mean over its pairs, as the others."""
    atlas: float
    copied: float
    low: float
    """2.5 % of network - atlas, people drawn again and again."""
    high: float
    """97.5 %."""
    assd_mm: float
    hd95_mm: float
    chamfer_mm: float
    f_score: float


def evaluate(path: Path, say: Say = print) -> Path:
    """Judge the network of a run; the path of the table, in Markdown with JSON beside it.

    Raises:
        RunFault: the run has no checkpoint, or nobody to judge on.
    """
    run = read(path)
    pairs = pairs_of(run)
    torch.set_num_threads(run.training.threads)
    learning = trained(run, len(pairs.names))
    net = learning.average

    def network(given: Labels) -> Labels:
        labels = torch.from_numpy(given[None].astype(np.int64)).to(run.training.device)
        with torch.no_grad():
            made = net.completed(labels)
        return np.asarray(made[0].cpu().numpy(), np.uint8)

    atlas = atlas_of(pairs.learned(), len(pairs.names))
    judgements = judged(pairs.judged(), pairs.names, network, atlas, pairs.box_mm)
    summaries = summarised(judgements, pairs.names)
    table = f"After {learning.taken}.\n\n{as_markdown(summaries)}"
    (run.folder / "results.md").write_text(table, encoding="utf-8")
    rows = {
        "summaries": [asdict(one) for one in summaries],
        "judgements": [asdict(one) for one in judgements],
    }
    (run.folder / "results.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    say(table)
    return run.folder / "results.md"


def atlas_of(maps: Iterable[Labels], labels: int) -> Labels:
    """The commonest label of each voxel; of two as common ones, the lower number."""
    counts: NDArray[np.int32] | None = None
    for one in maps:
        if counts is None:
            counts = np.zeros((labels + 1, *one.shape), np.int32)
        for number in np.unique(one):
            counts[number] += one == number
    if counts is None:
        raise ValueError("An atlas needs at least one map")
    return np.asarray(counts.argmax(axis=0), np.uint8)


def judged(
    pairs: Iterable[JudgedPair],
    names: Sequence[str],
    network: Completer,
    atlas: Labels,
    box_mm: Triple | None,
) -> list[Judgement]:
    """Every missing label of every pair that is somebody's own and large enough."""
    found = []
    for one in pairs:
        given, complete = one.pair.incomplete, one.pair.complete
        is_free = given == 0
        made = {
            "network": network(given),
            "atlas": np.where(is_free, atlas, given),
            "copied": given,
        }
        for number in np.unique(complete[is_free & (complete > 0)]):
            missing = is_free & (complete == number)
            if number in one.unjudged or missing.sum() < WORTH_JUDGING:
                continue
            parts = {name: is_free & (labels == number) for name, labels in made.items()}
            overlaps = {name: dice(part, missing) for name, part in parts.items()}
            agreement = _agreement(parts["network"], missing, box_mm)
            label = names[number - 1]
            found.append(Judgement(one.person, one.condition, label, **overlaps, **agreement))
    return found


def _agreement(
    found: NDArray[np.bool_], missing: NDArray[np.bool_], box_mm: Triple | None
) -> dict[str, float]:
    if box_mm is None:
        return dict.fromkeys(("assd_mm", "hd95_mm", "chamfer_mm", "f_score"), float("nan"))
    if not found.any():
        far = float(np.linalg.norm(box_mm))
        return {"assd_mm": far, "hd95_mm": far, "chamfer_mm": 2 * far, "f_score": 0.0}
    step = np.array(box_mm) / found.shape
    here, there = (_surface(mask) * step for mask in (found, missing))
    forth, back = cKDTree(there).query(here)[0], cKDTree(here).query(there)[0]
    precision, recall = (float((way <= F_SCORE_MM).mean()) for way in (forth, back))
    both = precision + recall
    return {
        "assd_mm": float(np.concatenate([forth, back]).mean()),
        "hd95_mm": max(float(np.percentile(way, 95)) for way in (forth, back)),
        "chamfer_mm": float(forth.mean() + back.mean()),
        "f_score": 2 * precision * recall / both if both else 0.0,
    }


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(N, 3) indices of the voxels that have a neighbour outside."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def summarised(judgements: Sequence[Judgement], names: Sequence[str]) -> list[Summary]:
    """A row for each label that was judged, then one for all and one for each condition."""
    rows = [(name, [j for j in judgements if j.label == name]) for name in names]
    rows.append(("all", list(judgements)))
    for condition in dict.fromkeys(j.condition for j in judgements):
        rows.append((f"all, {condition}", [j for j in judgements if j.condition == condition]))
    return [_summary(name, chosen) for name, chosen in rows if chosen]


def _summary(label: str, chosen: Sequence[Judgement]) -> Summary:
    names = ("network", "atlas", "copied", "assd_mm", "hd95_mm", "chamfer_mm", "f_score")
    means = {name: by_person(chosen, name) for name in names}
    gain = interval([own - means["atlas"][who] for who, own in means["network"].items()])
    return Summary(
        label=label,
        count=len(chosen),
        low=gain.low,
        high=gain.high,
        **{name: fmean(own.values()) for name, own in means.items()},
    )


def as_markdown(summaries: Sequence[Summary]) -> str:
    """The table, and in how many labels the network is better than the atlas."""
    lines = [
        "| missing | pieces | Dice | atlas | input copied | gain over the atlas (95 %) |"
        " ASSD mm | HD95 mm | Chamfer mm | F-score 10 mm |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in summaries:
        lines.append(
            f"| {one.label} | {one.count} | {one.network:.3f} | {one.atlas:.3f} |"
            f" {one.copied:.3f} | {one.network - one.atlas:+.3f}"
            f" ({one.low:+.3f} to {one.high:+.3f}) | {one.assd_mm:.1f} | {one.hd95_mm:.1f} |"
            f" {one.chamfer_mm:.1f} | {one.f_score:.2f} |"
        )
    labels = [one for one in summaries if not one.label.startswith("all")]
    better = sum(one.network > max(one.atlas, one.copied) for one in labels)
    lines.append(f"\nBetter than the atlas and than the input in {better} of {len(labels)} labels.")
    return "\n".join(lines) + "\n"
