"""`osteon predict`: bones from DICOM files into a folder, without a node.

The folder holds what other programs read: a volume and a surface for each bone, a picture, and
`quality.json` with every figure, every assumption, and the reasons for which a node would withhold
the result. A folder that holds something else is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import SimpleITK
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipeline.contributions import NOTE as CONTRIBUTIONS
from pipeline.encode.bones import segment_label
from pipeline.encode.stl import document
from pipeline.errors import PipelineError
from pipeline.keyimage import Page, key_image
from pipeline.predict import Found, reconstruct
from pipeline.types import Assume, Bone, Reconstruction, Share, Side, Volume

NOTE = "Model from radiographs, for research use: not a CT, and not a diagnosis."


class PredictionError(Exception):
    """There are no bones; the message is for whoever called."""


def predict(
    files: Sequence[Path],
    folder: Path,
    *,
    region: str,
    side: Side | None,
    model: str | None,
    assume: Assume,
    complete: bool = False,
) -> Found:
    """The bones that `files` show, and all that is known of them, in `folder`.

    Raises:
        PredictionError: the files cannot be used, or the folder holds something else.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PredictionError(f"{folder} is not empty: name a new folder")
    for path in files:
        if not path.is_file():
            raise PredictionError(f"There is no file {path}")
    try:
        found = reconstruct(
            files, region=region, side=side, model=model, assume=assume, complete=complete
        )
    except PipelineError as fault:
        raise PredictionError(str(fault)) from None
    folder.mkdir(parents=True, exist_ok=True)
    for bone in found.bones:
        name = file_name(bone)
        (folder / f"{name}.stl").write_bytes(document(bone))
        SimpleITK.WriteImage(_image(bone.probability), str(folder / f"{name}.nii.gz"))
    for share in found.shares:
        SimpleITK.WriteImage(_image(share.volume), str(folder / share_file(share)))
    made = Reconstruction(
        found.bones, found.algorithm, found.assumptions, found.figures, shares=found.shares
    )
    page = Page(region, found.bones[0].side, found.algorithm.name)
    Image.fromarray(key_image(made, found.radiographs, page)).save(folder / "picture.png")
    (folder / "quality.json").write_text(json.dumps(_quality(found), indent=1), encoding="utf-8")
    return found


def show(out: Console, found: Found, folder: Path) -> None:
    """What was made, how good it is, and where it lies."""
    table = Table("figure", "value", "unit", "limits", box=None)
    for figure in found.figures:
        limits = " to ".join(
            "" if limit is None else f"{limit:g}" for limit in (figure.low, figure.high)
        )
        style = None if figure.is_within else "red"
        row = (figure.name, f"{figure.value:.3g}", figure.unit, "" if limits == " to " else limits)
        table.add_row(*row, style=style)
    bones = ", ".join(segment_label(bone) for bone in found.bones)
    out.print(f"{found.algorithm.name}: {bones}", markup=False)
    out.print(table)
    for assumption in found.assumptions:
        said = f"Assumed: {assumption.name} {assumption.value} {assumption.unit}".rstrip()
        out.print(f"{said} ({assumption.reason})", markup=False)
    for reason in found.reasons:
        out.print(f"A node would withhold this: {reason}", style="red", markup=False)
    out.print(f"{NOTE}\nWritten to {folder}", markup=False)


def file_name(bone: Bone) -> str:
    """What the files of a bone are called; those of a predicted one say what it is."""
    name = segment_label(bone) if bone.is_predicted else bone.name
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def share_file(share: Share) -> str:
    """What the file of a view's share is called."""
    return f"taken-from-{share.label.lower().replace(' ', '-')}.nii.gz"


def _image(volume: Volume) -> SimpleITK.Image:
    """The values on their grid; both sides speak LPS, but ITK counts x first."""
    image = SimpleITK.GetImageFromArray(volume.array)
    affine = volume.patient_from_index
    axes = affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _quality(found: Found) -> dict[str, object]:
    return {
        "note": NOTE,
        "algorithm": asdict(found.algorithm),
        "bones": [
            {
                "name": bone.name,
                "side": bone.side.value,
                "code": asdict(bone.code),
                "is_predicted": bone.is_predicted,
            }
            for bone in found.bones
        ],
        "figures": [{**asdict(f), "is_within": f.is_within} for f in found.figures],
        "assumptions": [asdict(a) for a in found.assumptions],
        "reasons_to_withhold": list(found.reasons),
        "taken_from": {
            "note": CONTRIBUTIONS,
            "files": {one.label: share_file(one) for one in found.shares},
        },
    }
