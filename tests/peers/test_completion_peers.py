"""What is completed, by the command and as a stage of a job, is sound by programs not of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.complete import complete_file
from pipeline.encode.write import write
from pipeline.types import Algorithm, Bone, ObjectKind
from tests.completion_files import segmentation, weights_file
from tests.peer_programs import dciodvfy
from tests.results import box, radiographs, reconstruction, request

pytestmark = pytest.mark.peer
KINDS = (
    ObjectKind.SEGMENTATION,
    ObjectKind.FRACTIONAL,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
    ObjectKind.KEY_IMAGE,
    ObjectKind.TURNTABLE,
    ObjectKind.REPORT,
)


def test_dciodvfy_finds_no_error_in_a_completed_segmentation(tmp_path: Path) -> None:
    source, weights = segmentation(tmp_path), weights_file(tmp_path)

    complete_file(source, tmp_path / "out.dcm", weights, labels=(), only=())

    assert dciodvfy(tmp_path / "out.dcm") == []


def test_dciodvfy_finds_no_error_in_a_result_with_additions_that_is_not_in_one_without(
    tmp_path: Path,
) -> None:
    seen = box("Femur", extents=(6, 6, 6))
    below = box("Femur", centre=(0, 0, -12), extents=(6, 6, 6))
    completed_by = Algorithm("Anatomy completion", "1.0.0", "c" * 64)

    without = _errors(tmp_path / "without", seen)
    errors = _errors(tmp_path / "with", seen, replace(below, is_predicted=True), by=completed_by)

    assert set(errors) == set(without) == set(KINDS)
    for kind, lines in errors.items():
        assert lines <= without[kind], kind


def _errors(folder: Path, *bones: Bone, by: Algorithm | None = None) -> dict[ObjectKind, set[str]]:
    made = reconstruction(*bones, completed_by=by)
    found: dict[ObjectKind, set[str]] = {}
    for one in write(made, radiographs(), request(folder, kinds=KINDS)):
        found.setdefault(one.kind, set()).update(dciodvfy(one.path))
    return found
