"""Real radiographs, for which nobody knows the true bones: what can be said of them all the same.

    python -m benchmarks.real --data ../shared/data --out docs

A calibrated pair of a left knee, at two instants of one hop: it is one knee, so the bones of both
must agree once each is laid on the other. And a single frontal hip with assumed geometry. Draws
the outlines of the reconstructed bones on the radiographs (`real-knee.png`, `real-hip.png`) and
prints, as Markdown, how far they are from the edges of the images and from each other.

The frame of the calibration knows no patient. Its upright axis runs along the shank; the patella
says where the front is. The knee is bent by some 30 degrees, which no training scene is: the frame
is turned by half of that, so that thigh and shank are equally far from what was learned.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pipeline.camera import camera, view_from_matrices
from pipeline.keyimage import Page, key_image
from pipeline.metrics import surface_distance
from pipeline.outlines import NEAR_MM, REACH_MM, falls, outline
from pipeline.predict import Found, reconstruct
from pipeline.projection import binned
from pipeline.types import Bone, Float, Mesh, Radiograph, Reconstruction, Side, View, ViewName

INSTANTS = ("0138", "0180")
BIN = 4
"""Pixels of 0.04 mm at the knee are finer than anything that is looked at."""
BEND_DEG = 15.0
"""Half of the angle between thigh and shank."""
LPS_FROM_CALIBRATION = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
JOINT_PX = ((687.0, 825.0), (949.0, 1169.0))
"""Column and row of the middle of the joint in both cameras, set by hand."""
HIP = "pydicom__ljdata_ds_JPEGLSLossless_RG2_JLSL.dcm"
HIP_SIZE, HIP_SPACING = (2140, 1760), 0.2
HIP_CENTRE = (-12.0, 0.0, 82.0)
"""mm: 32 above the femoral head, where the network looks for a hip; set by hand."""
SID_MM = 1800.0
"""Where the detector is drawn: of the real one, only directions are known, and all that counts."""


def knee(data: Path, instant: str) -> Found:
    """The left knee at one instant of the hop, from both cameras."""
    folder = data / "radiographs" / "biplane"
    images, views = [], []
    for number, name in ((1, ViewName.PA), (2, ViewName.LL)):
        path = (
            folder
            / f"XMA_UND/xr_data_left_knee_cam0{number}"
            / f"L_Hop_Cam{number}_001_UND.{instant}.tif"
        )
        counts = np.asarray(Image.open(path), np.float64)
        images.append(_attenuation(counts))
        calibration = folder / f"Calibration/xr_calib_left_knee_cam0{number}.txt"
        views.append(binned(_camera(calibration, name, counts.shape), BIN))
    return reconstruct(
        images, views, region="knee", side=Side.LEFT, model="lifting", centre=_joint(views)
    )


def hip(data: Path) -> Found:
    """The left hip of the real pelvis, from the front alone; its distances are customary ones."""
    view = camera(
        ViewName.AP,
        source_to_detector=1150.0,
        source_to_patient=1000.0,
        row_spacing=HIP_SPACING,
        column_spacing=HIP_SPACING,
        rows=HIP_SIZE[0],
        columns=HIP_SIZE[1],
    )
    path = data / "radiographs" / "dicom" / HIP
    return reconstruct(
        [path], [view], region="hip", side=Side.LEFT, model="lifting", centre=HIP_CENTRE
    )


def _attenuation(counts: Float) -> NDArray[np.float32]:
    """Averaged over BIN x BIN pixels; nan outside the disc of the intensifier."""
    rows, columns = (n // BIN for n in counts.shape)
    blocks = counts[: rows * BIN, : columns * BIN].reshape(rows, BIN, columns, BIN)
    mean = blocks.mean(axis=(1, 3))
    row, column = np.mgrid[:rows, :columns]
    from_middle = np.hypot(row - rows / 2, column - columns / 2)
    is_seen = (from_middle < 0.485 * rows) & (mean > 2)
    return np.where(is_seen, -np.log((mean + 1) / 256), np.nan).astype(np.float32)


def _camera(path: Path, name: ViewName, size: tuple[int, ...]) -> View:
    lines = path.read_text().split("\n")

    def block(title: str) -> Float:
        at = next(n for n, line in enumerate(lines) if line.strip() == title) + 1
        return np.array([[float(x) for x in line.split(",")] for line in lines[at : at + 3]])

    turn = Rotation.from_euler("x", BEND_DEG, degrees=True).as_matrix() @ LPS_FROM_CALIBRATION
    return view_from_matrices(
        name,
        block("camera matrix"),
        block("rotation") @ turn.T,
        block("translation")[:, 0],
        rows=size[0],
        columns=size[1],
        source_to_detector=SID_MM,
    )


def _joint(views: Sequence[View]) -> Float:
    """(3,) mm: nearest to the rays through `JOINT_PX`."""
    total, moment = np.zeros((3, 3)), np.zeros(3)
    for view, (column, row) in zip(views, JOINT_PX, strict=True):
        index = np.array([row / BIN, column / BIN, 0.0, 1.0])
        ray = (view.patient_from_detector @ view.detector_from_index @ index)[:3] - view.source
        across = np.eye(3) - np.outer(ray, ray) / (ray @ ray)
        total, moment = total + across, moment + across @ view.source
    return np.linalg.solve(total, moment)


def offsets(bone: Bone, radiograph: Radiograph) -> Float:
    """(N,) mm from the outline of a bone to the steepest fall of the image across it."""
    view = radiograph.view
    across = falls(outline(bone.mesh, view), radiograph.attenuation, radiograph.is_valid, view)
    steps = np.linspace(-REACH_MM, REACH_MM, across.shape[1])
    return np.abs(steps[across.argmax(axis=1)])


def laid_on(mesh: Mesh, other: Mesh) -> Mesh:
    """`mesh`, moved rigidly onto `other` by the closest points of their vertices (Besl 1992)."""
    points, tree = mesh.vertices.copy(), cKDTree(other.vertices)
    for _ in range(60):
        _, nearest = tree.query(points[::7])
        source, target = points[::7], other.vertices[nearest]
        middle, aim = source.mean(axis=0), target.mean(axis=0)
        turn, _ = Rotation.align_vectors(target - aim, source - middle)
        points = turn.apply(points - middle) + aim
    return replace(mesh, vertices=points)


def drawn(found: Found, region: str, path: Path) -> None:
    """The key image that a node would send, as `path`."""
    made = Reconstruction(found.bones, found.algorithm, found.assumptions, found.figures)
    page = Page(region, Side.LEFT, "Made by benchmarks.real; no truth is known")
    Image.fromarray(key_image(made, found.radiographs, page)).save(path, optimize=True)


def _edges(name: str, found: Found) -> list[str]:
    lines = []
    for bone in found.bones:
        for radiograph in found.radiographs:
            apart = offsets(bone, radiograph)
            figures = "too little in the image | |"
            if len(apart):
                figures = f"{np.median(apart):.1f} | {(apart <= NEAR_MM).mean():.2f} |"
            lines.append(f"| {name} | {bone.name} | {radiograph.view.name} | {figures}")
    return lines


def main() -> None:
    """Reconstruct, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    knees = [knee(told.data, instant) for instant in INSTANTS]
    single = hip(told.data)
    drawn(knees[0], "knee", told.out / "real-knee.png")
    drawn(single, "hip", told.out / "real-hip.png")
    print("| study | bone | view | median offset of the outline, mm | within 2 mm |")
    print("|---|---|---|---|---|")
    for instant, found in zip(INSTANTS, knees, strict=True):
        print("\n".join(_edges(f"knee, instant {instant}", found)))
    print("\n".join(_edges("hip, one view", single)))
    print("\nBy chance: 4.0 mm and 0.25.\n")
    print("| bone of the knee | from instant to instant after alignment: ASSD, mm |\n|---|---|")
    later = {bone.name: bone.mesh for bone in knees[1].bones}
    for bone in knees[0].bones:
        if bone.name in later:
            apart = surface_distance(laid_on(later[bone.name], bone.mesh), bone.mesh).assd
            print(f"| {bone.name} | {apart:.2f} |")
    for name, found in (*zip(INSTANTS, knees, strict=True), ("hip", single)):
        print(f"\nA node would withhold {name}: {'; '.join(found.reasons) or 'no'}")


if __name__ == "__main__":
    main()
