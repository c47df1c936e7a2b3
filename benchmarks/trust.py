"""How often a learned result is withheld, where it should be and where it should not.

    python -m benchmarks.trust --archive hip.npz --weights hip.safetensors near.safetensors

People of the fold are simulated as in training, and reconstructed from radiographs that are right,
told wrongly as headers are, or wrong in ways that happen: another person's lateral, views swapped,
a wrong side, a C-arm angle that is 30 degrees off, a chest, nothing but soft tissue. Prints a table
in Markdown: the share that the limits of the weights withhold, and where the two figures lie that
decide. The first weights are those of the region, others look closer at its bones. Limits are set
from such a table, with weights that have not seen the people of the fold.
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline import weights
from pipeline.errors import StudyError
from pipeline.quality import OUTLINE, OWN_ERROR, judge
from pipeline.reconstruct import reconstruct
from pipeline.training.archive import Archive
from pipeline.training.archive import load as load_archive
from pipeline.training.batches import Conditions, told
from pipeline.training.exposure import Exposure, exposed, in_finer_pixels
from pipeline.training.given import FINER
from pipeline.training.pool import simulate
from pipeline.training.posing import RIGID
from pipeline.training.shots import Shot, draw_shots
from pipeline.types import Radiograph, Side
from pipeline.weights import read_header

SIZE = 256 * FINER
"""Of the images; a network of the region sees half of it, a closer look has more to cut out."""
EXPOSURE = in_finer_pixels(Exposure(), FINER)


@dataclass(frozen=True, slots=True)
class Shown:
    """One image, and where its header says that it was taken from."""

    image: Tensor
    is_valid: Tensor
    shot: Shot

    def radiograph(self, number: int) -> Radiograph:
        """As the engine gets it."""
        image = self.image.numpy().astype(np.float32)
        return Radiograph(image, self.is_valid.numpy(), self.shot.camera(SIZE), "", f"{number}", "")

    def flipped(self, axis: int) -> Shown:
        """The same header over an image that is turned over."""
        return replace(self, image=self.image.flip(axis), is_valid=self.is_valid.flip(axis))

    def turned(self, deg: float) -> Shown:
        """The same image under a wrong angle."""
        return replace(self, shot=replace(self.shot, primary_deg=self.shot.primary_deg + deg))

    def under(self, other: Shown) -> Shown:
        """The same image under the header of another."""
        return replace(self, shot=other.shot)


Pair = tuple[Shown, Shown]


def pairs(archive: Archive, fold: int, count: int) -> Iterator[Pair]:
    """A frontal and a lateral view of each of the people of the fold, in turn."""
    cases = archive.judged_in(fold)
    for number in range(count):
        generator = torch.Generator().manual_seed(900 + number)
        shots = draw_shots(archive.region.cube_mm, SIZE, generator)
        scene, _, _ = simulate(
            cases[number % len(cases)],
            archive,
            image_size=SIZE,
            pose=RIGID,
            shots=shots[:2],
            generator=generator,
        )
        cameras = [shot.camera(SIZE) for shot in shots[:2]]
        images, is_valid = exposed(scene.thickness, EXPOSURE, generator, cameras)
        first, second = (Shown(images[n], is_valid[n], shots[n]) for n in (0, 1))
        yield first, second


def variants(pair: Pair, stranger: Pair, chest: Tensor | None, seed: int) -> Iterator[Variant]:
    """The pair as it is, and all that could be wrong with it."""
    frontal, lateral = pair
    generator = torch.Generator().manual_seed(seed)
    as_told = tuple(
        replace(one, shot=told(one.shot, Conditions(), generator)) for one in (frontal, lateral)
    )
    yield Variant("right", pair)
    yield Variant("right, angles and SID told wrongly (5 deg, 5 %)", as_told)
    yield Variant("right, frontal view alone", (frontal,))
    yield Variant("lateral of another person", (frontal, stranger[1]))
    yield Variant("views swapped", (frontal.under(lateral), lateral.under(frontal)))
    yield Variant("both mirrored: the wrong side", (frontal.flipped(-1), lateral.flipped(-1)))
    yield Variant("frontal mirrored", (frontal.flipped(-1), lateral))
    yield Variant("both upside down", (frontal.flipped(-2), lateral.flipped(-2)))
    yield Variant("lateral told 30 degrees off", (frontal, lateral.turned(30.0)))
    yield Variant("frontal told 30 degrees off", (frontal.turned(30.0), lateral))
    cameras = [one.shot.camera(SIZE) for one in pair]
    empty, is_valid = exposed(torch.zeros(2, SIZE, SIZE), EXPOSURE, generator, cameras)
    nothing = [replace(one, image=empty[n], is_valid=is_valid[n]) for n, one in enumerate(pair)]
    yield Variant("soft tissue without bones", tuple(nothing))
    if chest is not None:
        full = torch.ones(SIZE, SIZE, dtype=torch.bool)
        yield Variant("a chest for both", tuple(Shown(chest, full, one.shot) for one in pair))
        yield Variant("a chest for the frontal", (Shown(chest, full, frontal.shot), lateral))


@dataclass(frozen=True, slots=True)
class Variant:
    """What a hospital might send, and what it is called in the table."""

    name: str
    images: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one variant."""

    is_withheld: bool
    outline: float
    """The worst view."""
    own_error: float
    """The worst bone, mm."""


def judged(variant: Variant, region: str) -> Judged:
    """What the node would do with it; a refusal counts as withheld."""
    images = [one.radiograph(number) for number, one in enumerate(variant.images)]
    try:
        made = reconstruct(images, region=region, side=Side.RIGHT, model="lifting")
    except StudyError:
        return Judged(True, np.nan, np.nan)
    outlines = [f.value for f in made.figures if f.name.startswith(OUTLINE)]
    errors = [f.value for f in made.figures if f.name.startswith(OWN_ERROR)]
    return Judged(bool(judge(made.figures)), min(outlines), max(errors))


def chests(folder: Path | None) -> list[Tensor | None]:
    """Real frontal chests, as large as the images."""
    if folder is None:
        return [None]
    names = sorted(path for path in folder.iterdir() if "front" in path.name)
    opened = (Image.open(path).convert("L").resize((SIZE, SIZE)) for path in names)
    return [torch.from_numpy(np.asarray(one, np.float32).copy()) for one in opened]


def table(found: dict[str, list[Judged]]) -> str:
    """Markdown."""
    rows = [
        "| condition | n | withheld | outline on edges, worst view | own error, worst bone, mm |"
    ]
    rows.append("|---|---|---|---|---|")
    for name, cases in found.items():
        share = np.mean([one.is_withheld for one in cases])
        parts = (
            np.array([one.outline for one in cases]),
            np.array([one.own_error for one in cases]),
        )
        said = [
            " / ".join(f"{q:.2f}" for q in np.nanquantile(part, (0.05, 0.5, 0.95)))
            if np.isfinite(part).any()
            else "-"
            for part in parts
        ]
        rows.append(f"| {name} | {len(cases)} | {share:.0%} | {said[0]} | {said[1]} |")
    return "\n".join([*rows, "", "5th percentile / median / 95th percentile."])


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--archive", type=Path, required=True)
    asked.add_argument("--weights", type=Path, required=True, nargs="+")
    asked.add_argument("--fold", type=int, default=0)
    asked.add_argument("--count", type=int, default=12)
    asked.add_argument("--chests", type=Path, help="data/radiographs/chest_pairs")
    given = asked.parse_args()
    archive, backs = load_archive(given.archive), chests(given.chests)
    found: dict[str, list[Judged]] = defaultdict(list)
    with TemporaryDirectory() as folder, torch.inference_mode():
        for one in given.weights:
            shutil.copy(one, folder)
        weights.FOLDER = Path(folder)  # the engine is to find these alone
        region = read_header(given.weights[0]).region
        made = list(pairs(archive, given.fold, given.count))
        for number, pair in enumerate(made):
            # two further on is another person: both legs of a person stand side by side
            stranger = made[(number + 2) % len(made)]
            for variant in variants(pair, stranger, backs[number % len(backs)], number):
                found[variant.name].append(judged(variant, region))
    print(table(found))


if __name__ == "__main__":
    main()
