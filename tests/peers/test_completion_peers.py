"""What `osteon complete` writes is sound by programs that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.complete import complete_file
from tests.completion_files import segmentation, weights_file
from tests.peer_programs import dciodvfy

pytestmark = pytest.mark.peer


def test_dciodvfy_finds_no_error_in_a_completed_segmentation(tmp_path: Path) -> None:
    source, weights = segmentation(tmp_path), weights_file(tmp_path)

    complete_file(source, tmp_path / "out.dcm", weights, labels=(), only=())

    assert dciodvfy(tmp_path / "out.dcm") == []
