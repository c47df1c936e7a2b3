"""The same time for everyone: training that ends when its minutes are over.

How many steps a budget holds is known only on the way, and learning rates are drawn over all
steps; so a training is given its minutes in parts, and before each part the number of steps is
estimated anew from the pace so far. What was spent is kept in a file: a comparison that was
interrupted goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

PARTS = 20
SHORTEST_S = 10.0
"""Of a part: each begins with the loading of a batch, and ends with the writing of a checkpoint."""
AT_FIRST = 10_000
"""Steps that are assumed before any pace is known: of a training that only begins."""


def spend(
    seconds: float,
    folder: Path,
    step: Callable[[], int],
    go: Callable[[int, float], None],
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Train until the budget is spent; the seconds that were spent.

    Args:
        seconds: The budget.
        folder: Of the file that keeps what was spent.
        step: How many steps were taken.
        go: Trains on, and writes its checkpoint: up to so many steps altogether, or until the
            clock shows so much.
        clock: In seconds.
    """
    path = folder / "spent.json"
    spent = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
    while (left := seconds - spent) > (pace := spent / max(1, step())):
        steps = step() + math.ceil(left / pace) if pace else AT_FIRST
        began = clock()
        go(steps, began + min(left, max(seconds / PARTS, SHORTEST_S)))
        spent += clock() - began
        path.write_text(json.dumps({"seconds": spent, "steps": step()}))
    return float(spent)
