"""What the tests send is what a good modality sends, by dicom3tools' judgement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.factories import Kind, file_bytes, radiograph
from tests.peer_programs import dciodvfy

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("view", ["AP", "PA", "LL", "RL"])
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_and_view_passes_dciodvfy(tmp_path: Path, kind: Kind, view: str) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(file_bytes(radiograph(kind, view=view)))

    assert dciodvfy(path) == []


@pytest.mark.parametrize("kind", [Kind.XA, Kind.RF])
def test_a_run_of_frames_passes_dciodvfy(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "run.dcm"
    path.write_bytes(file_bytes(radiograph(kind, pixels=np.zeros((3, 8, 8), np.uint8))))

    assert dciodvfy(path) == []


def test_dciodvfy_is_heard_when_it_objects(tmp_path: Path) -> None:
    path = tmp_path / "bad.dcm"
    path.write_bytes(file_bytes(radiograph(ImagerPixelSpacing=None)))

    assert any("ImagerPixelSpacing" in line for line in dciodvfy(path))
