"""`osteon audit verify`: is every entry as it was written?"""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from sqlalchemy.engine import Engine

from storage import audit, database


def verify(engine: Engine) -> audit.Verified | audit.Broken:
    """The chains of all nodes, recomputed from their first entries."""
    with database.reading(engine) as conn:
        return audit.verify(conn)


def is_whole(found: audit.Verified | audit.Broken) -> bool:
    """True if nothing was changed, removed or inserted."""
    return isinstance(found, audit.Verified)


def show(out: Console, found: audit.Verified | audit.Broken, json: bool) -> None:
    """The finding, for a person or as JSON."""
    if json:
        out.print_json(data={"is_whole": is_whole(found), **asdict(found)}, default=str)
        return
    match found:
        case audit.Verified():
            out.print(f"The audit is whole: {found.entries} entries.", markup=False)
            for head in found.heads:
                line = f"  {head.node}: {head.sequence} entries, head {head.sha256}"
                out.print(line, markup=False)
            out.print("Keep the heads elsewhere: they prove tomorrow what stands here today.")
        case audit.Broken():
            out.print(
                f"The audit is broken at entry {found.sequence} of node {found.node}: {found.why}",
                style="bold red",
                markup=False,
            )
