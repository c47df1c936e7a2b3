"""DRRs of one CT by `simulate.line_integrals` and by DiffDRR, on the same processor.

DiffDRR (PyPI `diffdrr`) brings a large accelerator build of torch along. It is therefore put
into an environment of its own, which borrows the packages of this one:

    python -m venv /tmp/drr
    .venv/bin/python -c "import site; print(site.getsitepackages()[0])" \\
        > /tmp/drr/lib/python3.11/site-packages/borrowed.pth
    /tmp/drr/bin/pip install --no-deps diffdrr torchio fastcore einops roma nibabel jaxtyping \\
        wadler-lindig tqdm pandas python-dateutil pytz six deprecated wrapt humanize
    /tmp/drr/bin/python -m benchmarks.drr
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from benchmarks.table import show
from pipeline.beam import Beam, beam, towards_pixels
from pipeline.camera import camera
from pipeline.simulate import line_integrals
from pipeline.types import View, ViewName

SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).parents[2] / "shared"))
CT = SHARED / "data/ct/totalseg_examples/example_ct.nii.gz"
OURS = "osteon"
POINTS = 500
"""DiffDRR's own number of samples along a ray."""


def main() -> None:
    """Prints milliseconds an image, ratios of medians, and differences of the images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, default=CT, help="NIfTI with Hounsfield units")
    parser.add_argument("--size", type=int, default=256, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    volume, patient_from_index = read_ct(given.ct)
    shape = " x ".join(map(str, volume.shape))
    print(f"CT of {shape} voxels, {given.size} x {given.size} pixels, {given.threads} threads")
    for name, turn in (("along an axis of the CT", 0.0), ("oblique", 30.0)):
        view = a_view(given.size, volume, patient_from_index, turn)
        compare(name, volume, patient_from_index, beam([view]), given.rounds)


def compare(
    name: str, volume: Tensor, patient_from_index: Tensor, beams: Beam, rounds: int
) -> None:
    """One interleaved run of all renderers, plain and with the gradient for the source."""
    renderers = {
        OURS: lambda source: line_integrals(
            volume[None], patient_from_index, replace(beams, source=source)
        )[0, 0],
        **diffdrr(volume, patient_from_index, beams),
    }
    images = {each: render(beams.source) for each, render in renderers.items()}
    seconds: dict[str, list[float]] = {each: [] for each in renderers}
    with_gradient: dict[str, list[float]] = {each: [] for each in renderers}
    for _ in range(rounds):
        for each, render in renderers.items():
            with torch.no_grad():
                seconds[each].append(timed(lambda render=render: render(beams.source)))
            source = beams.source.clone().requires_grad_()
            with_gradient[each].append(
                timed(lambda render=render, source=source: render(source).sum().backward())
            )
    for title, runs in ((name, seconds), (f"{name}, and the gradient", with_gradient)):
        show(title, "ms", {each: [1000 * t for t in times] for each, times in runs.items()})
        ours = median(runs[OURS])
        for each in list(runs)[1:]:
            print(f"  {each} takes {median(runs[each]) / ours:.1f} times as long")
    exact = images["DiffDRR siddon"]
    for each, image in images.items():
        off = (image - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        print(f"  {each}: differs from Siddon's voxels by {100 * float(off):.2f} % (RMS)")
    ours, theirs = images[OURS], images[f"DiffDRR trilinear, {POINTS} points"]
    off = (ours - theirs).square().mean().sqrt() / theirs.square().mean().sqrt()
    print(f"  the two trilinear ones differ by {100 * float(off):.2f} % (RMS)")


def diffdrr(
    volume: Tensor, patient_from_index: Tensor, beams: Beam
) -> dict[str, Callable[[Tensor], Tensor]]:
    """DiffDRR's renderers on the same volume and the same rays."""
    try:
        from diffdrr.drr import DRR  # noqa: PLC0415 - only the benchmark needs it
    except ImportError as fault:
        raise SystemExit(f"{fault}; how to install DiffDRR stands in the help") from fault
    swap = torch.eye(4, dtype=torch.float64)[[2, 1, 0, 3]]
    subject = SimpleNamespace(
        volume=SimpleNamespace(affine=(patient_from_index @ swap).numpy()),
        density=SimpleNamespace(data=volume.permute(2, 1, 0).contiguous()),
        mask=None,
        reorient=torch.eye(4),
    )
    target = (towards_pixels(beams) + beams.source[:, None, None]).reshape(1, -1, 3).float()
    reach = torch.linalg.vector_norm(target - beams.source.float(), dim=-1).max()
    edge = float(torch.linalg.vector_norm(patient_from_index[:3, 0]))
    corners = torch.cartesian_prod(*(torch.tensor([-0.5, n - 0.5]) for n in volume.shape)).double()
    placed = corners @ patient_from_index[:3, :3].T + patient_from_index[:3, 3]
    depth = torch.linalg.vector_norm(placed - beams.source, dim=-1)
    few = int(min(reach, depth.max() - depth.min()) / edge) + 1

    def rendered(kind: str, **more: int) -> Callable[[Tensor], Tensor]:
        module = DRR(subject, sdd=1.0, height=beams.rows, delx=1.0, renderer=kind)

        def render(source: Tensor) -> Tensor:
            image = module.render(module.density, source.float()[None], target, **more)
            return image.reshape(beams.rows, beams.columns)

        return render

    return {
        "DiffDRR siddon": rendered("siddon"),
        f"DiffDRR trilinear, {POINTS} points": rendered("trilinear", n_points=POINTS),
        f"DiffDRR trilinear, {few} points": rendered("trilinear", n_points=few),
    }


def timed(act: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def a_view(size: int, volume: Tensor, patient_from_index: Tensor, turn_deg: float) -> View:
    """A camera that holds the whole CT, whose middle becomes the isocentre."""
    middle = (np.array(volume.shape) - 1) / 2
    centre = patient_from_index[:3, :3].numpy() @ middle + patient_from_index[:3, 3].numpy()
    extent = float(torch.linalg.vector_norm(patient_from_index[:3, :3], dim=0).max())
    pitch = 1.6 * extent * max(volume.shape) / size
    view = camera(
        ViewName.AP,
        source_to_detector=1500.0,
        source_to_patient=1100.0,
        row_spacing=pitch,
        column_spacing=pitch,
        rows=size,
        columns=size,
        primary_deg=turn_deg,
        secondary_deg=turn_deg / 2,
    )
    shift = np.eye(4)
    shift[:3, 3] = centre
    return replace(
        view,
        source=view.source + centre,
        patient_from_detector=shift @ view.patient_from_detector,
    )


def read_ct(path: Path) -> tuple[Tensor, Tensor]:
    """Attenuation of a CT relative to water, (Z, Y, X), and (k, j, i, 1) to LPS mm."""
    raw = gzip.decompress(path.read_bytes())
    header = np.frombuffer(raw[:348], np.uint8)
    i, j, k = header[42:48].view("<i2")
    kind = {2: "<u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8"}[int(header[70:72].view("<i2")[0])]
    offset, slope, intercept = (float(v) for v in header[108:120].view("<f4"))
    stored = np.frombuffer(raw, kind, count=int(i) * int(j) * int(k), offset=int(offset))
    hounsfield = stored.reshape(k, j, i).astype(np.float32) * (slope or 1.0) + intercept
    ras_from_ijk = np.eye(4)
    ras_from_ijk[:3] = header[280:328].view("<f4").reshape(3, 4)
    lps_from_kji = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras_from_ijk[:, [2, 1, 0, 3]]
    relative = torch.from_numpy(np.clip(1 + hounsfield / 1000, 0, None))
    return relative, torch.from_numpy(lps_from_kji)


if __name__ == "__main__":
    main()
