"""From two DICOM files to bones, without a node.

    python -m benchmarks.predict
    python -m benchmarks.predict --engine Res3D-GRU-3

The radiographs are those of the demo; an engine that takes one is given the frontal one. Prints the
seconds of the first call, which loads the network, of the later ones, and the largest memory of the
process. Of an engine without weights the network has learned nothing; its answer, and so what its
surface costs, is not that of one that has.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.table import show
from pipeline import volumetric_weights, weights
from pipeline.demonstration import REGION, specimen
from pipeline.errors import NoBone
from pipeline.models.pix2vox import ACCURATE, FAST, Pix2Vox
from pipeline.models.recurrent import VARIANTS, Recurrent
from pipeline.predict import reconstruct
from pipeline.registry import ENGINES, LIFTING, TOMOGRAPHY, UnknownEngine, offer

TRAINED = "proximal_femur.pix2vox-f.safetensors"
"""Whose header says of another network what its cube is."""


@contextmanager
def with_weights(engine: str) -> Iterator[str]:
    """There are weights of `engine`, if need be of a network that knows nothing: which."""
    if _is_trained(engine):
        yield "as shipped"
        return
    shipped = weights.FOLDER
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file in shipped.glob(f"*{weights.SUFFIX}"):
            shutil.copy(file, folder)
        told = volumetric_weights.read_header(folder / TRAINED)
        torch.manual_seed(0)
        net = untrained(engine)
        file = folder / volumetric_weights.file_name(told.region, engine)
        volumetric_weights.export(net, file, replace(told, engine=engine))
        setattr(weights, "FOLDER", folder)  # noqa: B010 - final for all others
        try:
            yield "a network that has learned nothing"
        finally:
            setattr(weights, "FOLDER", shipped)  # noqa: B010 - the same


def untrained(engine: str) -> Pix2Vox | Recurrent:
    """The network at its published shape, 32 voxels along each edge."""
    if engine in VARIANTS:
        return Recurrent(VARIANTS[engine])
    return Pix2Vox({"pix2vox++/F": FAST, "pix2vox++/A": ACCURATE}[engine][32])


def _is_trained(engine: str) -> bool:
    try:
        offer(engine, REGION)
    except (weights.NotTrained, UnknownEngine):
        return False
    return True


def main(engine: str, threads: int | None, calls: int) -> None:
    """Reconstruct the same study again and again."""
    if threads:
        torch.set_num_threads(threads)
    with TemporaryDirectory() as folder, with_weights(engine) as which:
        # in a process of its own: what it holds is no part of the memory that is told
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one:
            now = datetime.now(UTC).replace(microsecond=0)
            made = one.submit(specimen, Path(folder), now).result()
        paths = made.paths[:1] if engine == TOMOGRAPHY else made.paths
        seconds, found = [], ""
        for _ in range(calls):
            began = time.perf_counter()
            try:
                bones = reconstruct(paths, region=REGION, model=engine).bones
                found = ", ".join(bone.name for bone in bones)
            except NoBone:
                found = "no bone"
            seconds.append(time.perf_counter() - began)
    print(f"{engine}, {which}: {found}")
    shown = "radiograph" if len(paths) == 1 else "radiographs"
    figures = {"first": seconds[:1], "later": seconds[1:]}
    show(f"{len(paths)} {shown} to bones", "s", {k: v for k, v in figures.items() if v})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Largest memory: {peak:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=list(ENGINES), default=LIFTING)
    parser.add_argument("--threads", type=int, help="by default as many as torch takes")
    parser.add_argument("--calls", type=int, default=7, help="1 for the memory of one result")
    given = parser.parse_args()
    main(given.engine, given.threads, given.calls)
