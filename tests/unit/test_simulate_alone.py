"""What training uses must run on a machine that has torch and numpy, and no word of DICOM."""

from __future__ import annotations

import subprocess
import sys

FOREIGN = ("pydicom", "scipy", "skimage", "SimpleITK", "trimesh", "highdicom", "PIL", "node")
OURS = (
    "camera",
    "projection",
    "beam",
    "simulate",
    "thickness",
    "tissue",
    "implants",
    "acquisition",
    "presentation",
)
ASK = "import sys; {}; print(*(name for name in {} if name in sys.modules))"


def test_the_simulation_imports_nothing_but_torch_and_numpy() -> None:
    imports = "; ".join(f"import pipeline.{name}" for name in OURS)
    asked = [sys.executable, "-c", ASK.format(imports, FOREIGN)]

    answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120)

    assert answer.stdout.split() == []
