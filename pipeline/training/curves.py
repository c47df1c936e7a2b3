"""The course of a training as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

PANELS = (
    ("near_surface", "mean error of the distance near the surface, mm"),
    ("distance", "mean error of the distance anywhere in the cube, mm"),
    ("occupancy", "cross-entropy of inside and outside"),
    ("likelihood", "negative log-likelihood of the distance"),
)


def draw(folder: Path) -> Path:
    """`curve.png` of a run's `curve.jsonl`: what it learned from, by steps.

    Raises:
        FileNotFoundError: nothing was trained in this folder.
    """
    text = (folder / "curve.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    steps = [line["step"] for line in lines]
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        values = [line[name] for line in lines]
        axes.plot(steps, values, color="#9db4c8", linewidth=0.8)
        axes.plot(steps, smoothed(values), color="#1f4e79", linewidth=1.8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.grid(visible=True, alpha=0.25)
        if name != "likelihood":
            axes.set_ylim(bottom=0)
    path = folder / "curve.png"
    figure.savefig(path, dpi=110)
    return path


def smoothed(values: list[float], share: float = 0.9) -> list[float]:
    """The values, each with what came before it: `share` of the mean until then."""
    made: list[float] = []
    for value in values:
        made.append(share * made[-1] + (1 - share) * value if made else value)
    return made
