"""The course of a volumetric family's training as a picture: a panel for each of its losses."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.training.curves import smoothed

TOLD = ("step", "seconds_a_step")
"""What a line says besides losses."""


def draw(folder: Path) -> Path:
    """`curve.png` of a run's `curve.jsonl`: its losses by steps.

    A loss that a stage has not is not drawn there.

    Raises:
        FileNotFoundError: nothing was trained in this folder.
    """
    text = (folder / "curve.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    names = list(dict.fromkeys(name for line in lines for name in line if name not in TOLD))
    figure = Figure(figsize=(5.5 * max(1, len(names)), 3.6), layout="constrained")
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), number)
        here = [line for line in lines if name in line]
        steps, values = [line["step"] for line in here], [line[name] for line in here]
        axes.plot(steps, values, color="#9db4c8", linewidth=0.8)
        axes.plot(steps, smoothed(values), color="#1f4e79", linewidth=1.8)
        axes.set_title(f"loss: {name}", fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.25)
    path = folder / "curve.png"
    figure.savefig(path, dpi=110)
    return path
