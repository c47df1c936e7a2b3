"""`osteon demo` as somebody who has just cloned the project sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import CTImageStorage, SegmentationStorage, SurfaceSegmentationStorage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo") / "demo-output"
    command = [sys.executable, "-m", "node", "demo", "--folder", str(made)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (made / "said.txt").write_text(ran.stdout)
    return made


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_the_summary_has_what_a_script_needs(summary: dict[str, Any]) -> None:
    assert set(summary) == {"state", "seconds", "objects", "bones", "audit_entries"}
    assert summary["state"] == "DELIVERED"
    assert summary["audit_entries"] > 10


def test_every_kind_of_object_reached_the_archive(summary: dict[str, Any]) -> None:
    counted = Counter(each["sop_class_uid"] for each in summary["objects"])

    assert counted[SegmentationStorage] == 1
    assert counted[SurfaceSegmentationStorage] == 1
    assert counted[CTImageStorage] > 50


def test_the_objects_belong_to_the_study_that_was_sent(
    folder: Path, summary: dict[str, Any]
) -> None:
    sent = dcmread(folder / "radiographs" / "ap.dcm")
    received = [dcmread(each["path"], stop_before_pixels=True) for each in summary["objects"]]

    assert {ds.StudyInstanceUID for ds in received} == {sent.StudyInstanceUID}
    assert {ds.PatientID for ds in received} == {sent.PatientID}


def test_each_bone_is_near_the_truth(summary: dict[str, Any]) -> None:
    femur, hip_bone = summary["bones"]
    assert femur["dice"] > 0.85
    assert femur["assd_mm"] < 2.5
    assert hip_bone["dice"] > 0.7
    assert hip_bone["assd_mm"] < 3.0


def test_the_picture_can_be_opened(folder: Path) -> None:
    with Image.open(folder / "osteon-demo.png") as picture:
        assert picture.width > 1000
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 20


def test_it_says_each_step_and_that_the_audit_is_whole(folder: Path) -> None:
    said = (folder / "said.txt").read_text()

    for word in ("C-STORE", "RECONSTRUCTING", "DELIVERED", "The audit is whole", "Dice"):
        assert word in said
