"""What training uses must run on a machine that has torch and numpy, and no word of DICOM."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOREIGN = ("pydicom", "scipy", "skimage", "SimpleITK", "trimesh", "highdicom", "PIL", "node")
ASK = "import sys; import {}; print(*(name for name in {} if name in sys.modules))"


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.camera",
        "pipeline.projection",
        "pipeline.simulate",
        "pipeline.thickness",
        "pipeline.tissue",
        "pipeline.implants",
        "pipeline.acquisition",
        "pipeline.presentation",
    ],
)
def test_the_simulation_imports_nothing_but_torch_and_numpy(module: str) -> None:
    asked = [sys.executable, "-c", ASK.format(module, FOREIGN)]

    answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120)

    assert answer.stdout.split() == []
