"""Real radiographs of many makers: each is read, or refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from pipeline.errors import UnreadablePixels
from pipeline.pixels import read_dataset_of
from pipeline.radiograph import exposure

SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).parents[2] / "../shared"))
REAL = SHARED / "data/radiographs/dicom"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the shared data folder is not here"),
]
BROKEN = {
    "fo-dicom__Tests_FO-DICOM.Tests_Test_Data_CR-MONO1-10-chest.dcm": "not a DICOM file",
    "orthanc-mirr__Database_HierarchicalAnonymization_2019-03-28_CR000000.dcm": "no pixel data",
    "orthanc-mirr__Database_Issue56-NoPixelData.dcm": "no pixel data",
    "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY.dcm": "stream of the image is broken",
    "robyoung__data_WG04_JPLY_XA1_JPLY.dcm": "stream of the image is broken",
}
HIP = "robyoung__data_WG04_RLE_RG2_RLE.dcm"
LOSSLESS_HIPS = [
    "pydicom__ljdata_ds_JPEGLSLossless_RG2_JLSL.dcm",
    "pydicom__ljdata_ds_JPEGLosslessSV1_RG2_JPLL.dcm",
    "robyoung__data_WG04_J2KR_RG2_J2KR.dcm",
]
LOSSY_HIPS = [
    "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY_fixed.dcm",
    "pydicom__ljdata_ds_JPEGLS_RG2_JLSN.dcm",
    "robyoung__data_WG04_J2KI_RG2_J2KI.dcm",
]


@pytest.mark.parametrize("name", sorted(p.name for p in REAL.glob("*.dcm")))
def test_a_real_image_is_read_or_refused_in_a_sentence(name: str) -> None:
    if name in BROKEN:
        with pytest.raises(UnreadablePixels, match=BROKEN[name]):
            exposure(read_dataset_of(REAL / name))
        return

    seen = exposure(read_dataset_of(REAL / name))

    assert np.isfinite(seen.attenuation).all()
    assert seen.attenuation.dtype == np.float32
    assert seen.is_valid.mean() > 0.25


@pytest.fixture(scope="module")
def the_hip() -> NDArray[np.float32]:
    return exposure(read_dataset_of(REAL / HIP)).attenuation


@pytest.mark.parametrize("name", LOSSLESS_HIPS)
def test_the_hip_is_the_same_in_every_lossless_syntax(
    name: str, the_hip: NDArray[np.float32]
) -> None:
    seen = exposure(read_dataset_of(REAL / name))

    np.testing.assert_array_equal(seen.attenuation, the_hip)


@pytest.mark.parametrize("name", LOSSY_HIPS)
def test_the_hip_is_nearly_the_same_in_every_lossy_syntax(
    name: str, the_hip: NDArray[np.float32]
) -> None:
    difference = np.abs(exposure(read_dataset_of(REAL / name)).attenuation - the_hip)

    assert np.percentile(difference, 99.9) < 0.05
    assert difference.mean() < 0.01


@pytest.mark.parametrize(
    ("name", "bone", "soft"),
    [
        # (row, column) as parts of the image, found by eye: bone, and what is darker than it
        pytest.param(HIP, (0.52, 0.63), (0.80, 0.55)),  # femoral neck; open beam
        pytest.param(
            "pydicom__ljdata_ds_JPEGLS_RG1_JLSN.dcm", (0.5, 0.5), (0.35, 0.3)
        ),  # spine; lung, MONOCHROME1
        pytest.param(
            "orthanc-mirr__Database_Issue44_Monochrome1-Jpeg.dcm",
            (0.5, 0.48),
            (0.3, 0.2),
        ),  # spine; lung, MONOCHROME1
        pytest.param(
            "orthanc-mirr__Database_KarstenHilbertRF.dcm", (0.45, 0.3), (0.08, 0.5)
        ),  # humeral head; air, RF with dark bone
    ],
)
def test_bone_attenuates_more_in_real_images(
    name: str, bone: tuple[float, float], soft: tuple[float, float]
) -> None:
    seen = exposure(read_dataset_of(REAL / name)).attenuation

    def around(place: tuple[float, float]) -> float:
        row, column = (int(part * size) for part, size in zip(place, seen.shape, strict=True))
        return float(np.median(seen[row - 5 : row + 5, column - 5 : column + 5]))

    assert around(bone) > around(soft) + 0.05


def test_the_border_of_the_real_hip_is_not_the_patient() -> None:
    seen = exposure(read_dataset_of(REAL / HIP))

    # the unexposed strip at the left ends near column 195 of 1760
    assert not seen.is_valid[:, :180].any()
    assert seen.is_valid[:, 215:1400].all()


@pytest.mark.parametrize(
    "name",
    [
        "pydicom__ljdata_ds_JPEGLosslessSV1_RG2_JPLL.dcm",
        "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY_fixed.dcm",
        "mlmed__tests_Fake_MONOHR1.dcm",
    ],
)
def test_a_real_jpeg_that_is_cut_off_is_not_filled_with_grey(name: str) -> None:
    ds = read_dataset_of(REAL / name)
    (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 4 * 2]])

    with pytest.raises(UnreadablePixels, match="cut off"):
        exposure(ds)
