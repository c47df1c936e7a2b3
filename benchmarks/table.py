"""Figures of interleaved runs as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table


def show(title: str, unit: str, figures: Mapping[str, Sequence[float]]) -> None:
    """Median, least and most of each row, in the order given."""
    table = Table(title=title, title_justify="left")
    for column in ("", f"median, {unit}", "least", "most", "runs"):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in figures.items():
        row = (median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.2f}" for value in row), str(len(values)))
    Console().print(table)
