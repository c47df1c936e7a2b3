"""What is said about a result in words: its bones, its quality, and what was assumed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.encode.topology import signed_volume
from pipeline.structures import PREDICTED
from pipeline.types import Assumption, Bone, Figure, Mesh, Reconstruction, Side

SIDE_WORDS = {Side.RIGHT: "RIGHT", Side.LEFT: "LEFT"}
SIDE_ASSUMED = "ImageLaterality"
ORIENTATION_ASSUMED = "PatientOrientation"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it; a caution asks to be read first."""

    heading: str
    entries: tuple[str, ...]
    is_caution: bool = False
    notes: tuple[str, ...] = ()
    """What may follow each entry where there is room."""


def plain(text: str) -> str:
    """`text` in printable ASCII, on one line."""
    return " ".join("".join(c if " " <= c <= "~" else "?" for c in text.strip()).split())


def is_scale_assumed(assumptions: Sequence[Assumption]) -> bool:
    """True if a distance or a pixel spacing was assumed: then no length was measured."""
    return any(one.unit == "mm" for one in assumptions)


def is_assumed(assumptions: Sequence[Assumption], name: str, uid: str = "") -> bool:
    """True if `name` was assumed, for the image `uid` or for all."""
    return any(one.name == name and one.sop_instance_uid in ("", uid) for one in assumptions)


def titled(region: str, side: Side) -> str:
    """The part of the body and its side: "Left hip"."""
    words = f"{SIDE_WORDS.get(side, '')} {plain(region)}".strip().lower()
    return words[:1].upper() + words[1:]


def bones_section(bones: Sequence[Bone], *, scale_assumed: bool) -> Section:
    """Each bone with its volume and its extent."""
    return Section(
        "BONES" + (" (scale assumed)" if scale_assumed else ""),
        tuple(_bone(bone) for bone in bones),
    )


def quality_section(figures: Sequence[Figure]) -> Section:
    """How many checks passed, and each figure; a figure without a limit is no check."""
    checks = [one for one in figures if one.low is not None or one.high is not None]
    failed = [figure for figure in checks if not figure.is_within]
    if not checks:
        return Section("QUALITY: NOT CHECKED", (), is_caution=True)
    if failed:
        heading = f"QUALITY: {len(failed)} OF {len(checks)} CHECKS NOT PASSED"
        first = sorted(figures, key=lambda figure: figure.is_within)
        return Section(heading, tuple(_figure(figure) for figure in first), is_caution=True)
    heading = f"QUALITY: ALL {len(checks)} CHECKS PASSED"
    return Section(heading, tuple(_figure(figure) for figure in figures))


def assumed_section(assumptions: Sequence[Assumption]) -> Section:
    """What was assumed, each once, and for how many of the images."""
    found: dict[tuple[str, str], list[Assumption]] = {}
    for one in assumptions:
        value = f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
        found.setdefault((one.name, f"{value} {one.unit}".strip()), []).append(one)
    if not found:
        return Section("NOTHING ASSUMED", ("Scale, side and directions are from the images.",))
    entries, notes = [], []
    for (name, value), same in found.items():
        times = f" ({len(same)} images)" if len(same) > 1 else ""
        entries.append(f"{_words(name)}: {plain(value)}{times}")
        notes.append(plain(same[0].reason))
    return Section("ASSUMED, NOT MEASURED", tuple(entries), is_caution=True, notes=tuple(notes))


def made_by(made: Reconstruction) -> str:
    """The engine and its version."""
    return plain(f"{made.algorithm.name} {made.algorithm.version}")


def _bone(bone: Bone) -> str:
    side = f" {bone.side}" if bone.side in SIDE_WORDS else ""
    low, high = bone.mesh.vertices.min(axis=0), bone.mesh.vertices.max(axis=0)
    extent = " x ".join(f"{length:.0f}" for length in sorted(high - low, reverse=True))
    origin = f", {PREDICTED}" if bone.is_predicted else ""
    return f"{plain(bone.name)}{side}{origin}: {_cm3(bone.mesh)} cm3, {extent} mm"


def _cm3(mesh: Mesh) -> str:
    volume = abs(signed_volume(mesh)) / 1000
    return f"{volume:.0f}" if volume >= 10 else f"{volume:.2g}"


def _figure(figure: Figure) -> str:
    limits = [f"at least {figure.low:g}"] if figure.low is not None else []
    limits += [f"at most {figure.high:g}"] if figure.high is not None else []
    value = f"{figure.value:.3g}" if abs(figure.value) < 1000 else f"{figure.value:.0f}"
    said = f"{plain(figure.name)}: {value} {figure.unit}".strip()
    said = f"{said[:1].upper()}{said[1:]}"
    return f"{said} ({', '.join(limits)})" if limits else said


def _words(keyword: str) -> str:
    """A DICOM keyword as words: "DistanceSourceToPatient" is "Distance source to patient"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain(keyword))
    return spaced[:1].upper() + spaced[1:].lower()
