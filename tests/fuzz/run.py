"""`python -m tests.fuzz.run header --seconds 600`: one target under a coverage-guided fuzzer.

Ends with 0 where nothing was found. What was found is written to `--findings`, and the trace back
to the terminal; `--corpus` keeps what reached new code from one run to the next.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["node", "pipeline", "pydicom"], enable_loader_override=False
):
    from tests.fuzz import corpus, targets


def main() -> None:
    """Runs until the time is over or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(targets.TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="at most so many; default: any")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder; default: a new one of our own seeds")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    seeds = given.corpus or Path(tempfile.mkdtemp(prefix="osteon-corpus-"))
    for folder in (seeds, given.findings):
        folder.mkdir(parents=True, exist_ok=True)
    made = corpus.texts() if given.target == "rules" else corpus.files()
    for number, seed in enumerate(made):
        (seeds / f"seed-{number:02}").write_bytes(seed)
    targets.read_as_the_node_does()
    options = [
        f"-max_total_time={given.seconds}",
        f"-runs={given.runs}",
        f"-seed={given.seed}",
        f"-artifact_prefix={given.findings}/",
        "-max_len=65536",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(seeds)], targets.TARGETS[given.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
