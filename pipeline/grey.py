"""Stored values to attenuation: which law holds for which class of image, and why.

- **Images made to be looked at** (CR, DX FOR PRESENTATION, Secondary Capture): a radiograph is
  shown with bone white. Modality LUT, VOI LUT or window, then MONOCHROME1 or INVERSE turned
  round (PS3.4 N.2): the grey that a radiologist sees is the attenuation, 0 black, 1 white. A
  window is not clamped, because its ends are a matter of display; a LUT ends where it ends.
  PixelIntensityRelationshipSign is not used, because real headers contradict their own
  display; where they do, that is recorded as an assumption.
- **XA, RF, and DX FOR PROCESSING with LIN**: values follow the intensity at the detector, so the
  attenuation is -log(intensity / full scale), by Lambert and Beer. XA and RF are shown with bone
  dark; how they are shown says nothing about attenuation, and no VOI is applied. In XA and RF a
  Modality LUT of a LOG image leads back to the linear intensity (PS3.3 C.8.7.1.1.2).
- **LOG**: the value already is a logarithm: minus the value, in parts of the full scale.
- **XA and RF that do not say (DISP or absent)**: as LOG, because the order of grey is known,
  dark for bone, though not its law. This is recorded as an assumption.

With sign -1 (PS3.3 C.8.11.3.1.2) a lower value means more intensity, and LIN and LOG turn round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.errors import UnreadablePixels
from pipeline.pixels import Stored, stored_range
from pipeline.types import Assumption, Image

_FLUOROSCOPIC = ("XA", "RF", "XRF")


class Meaning(Enum):
    """What the stored values of an image follow."""

    DISPLAY = auto()
    INTENSITY = auto()
    LOG_INTENSITY = auto()


@dataclass(frozen=True, slots=True)
class Grey:
    """Attenuation of every pixel, and what had to be assumed of the values."""

    attenuation: Image
    assumptions: tuple[Assumption, ...]


def grey(ds: Dataset, stored: Stored) -> Grey:
    """The attenuation of stored values, float32, arbitrary scale, higher behind bone.

    Raises:
        UnreadablePixels: a table or window of the image is broken.
    """
    meaning, assumptions = meaning_of(ds)
    if meaning is Meaning.DISPLAY:
        return Grey(displayed(ds, stored), assumptions + _contradicted_sign(ds))
    low, high = (float(v) for v in stored_range(ds))
    values: Image = stored.astype(np.float32)
    if _word(ds, "Modality") in _FLUOROSCOPIC and "ModalityLUTSequence" in ds:
        values, (low, high) = modality_values(ds, stored)
    towards_intensity = high - values if _sign(ds) < 0 else values - low
    full = max(high - low, 1.0)
    if meaning is Meaning.LOG_INTENSITY:
        return Grey((1 - towards_intensity / full).astype(np.float32), assumptions)
    # below one count there is no signal, and its logarithm would be noise without bound
    counts = np.maximum(towards_intensity, 1.0)
    return Grey((math.log(full) - np.log(counts)).astype(np.float32), assumptions)


def meaning_of(ds: Dataset) -> tuple[Meaning, tuple[Assumption, ...]]:
    """What the values follow, with the assumption where the header does not say."""
    is_fluoroscopic = _word(ds, "Modality") in _FLUOROSCOPIC
    is_for_processing = _word(ds, "PresentationIntentType") == "FOR PROCESSING"
    if not is_fluoroscopic and not is_for_processing:
        return Meaning.DISPLAY, ()
    match _word(ds, "PixelIntensityRelationship"):
        case "LIN":
            return Meaning.INTENSITY, ()
        case "LOG" if is_fluoroscopic and "ModalityLUTSequence" in ds:
            return Meaning.INTENSITY, ()
        case "LOG":
            return Meaning.LOG_INTENSITY, ()
        case _ if is_fluoroscopic:
            return Meaning.LOG_INTENSITY, (
                _assumed(
                    "PixelIntensityRelationship",
                    "LOG",
                    "not stated by the image; bone taken as dark",
                    ds,
                ),
            )
        case _:
            return Meaning.DISPLAY, (
                _assumed(
                    "PixelIntensityRelationship",
                    "DISP",
                    "not stated by the image; bone taken as white",
                    ds,
                ),
            )


def displayed(ds: Dataset, stored: Stored) -> Image:
    """The grey scale of PS3.4 N.2: 0 is shown black and 1 white; windows are not clamped."""
    values, limits = modality_values(ds, stored)
    seen = _voi(ds, values, limits)
    shape = _word(ds, "PresentationLUTShape")
    is_inverse = (
        shape == "INVERSE"
        if shape in ("IDENTITY", "INVERSE")
        else _word(ds, "PhotometricInterpretation") == "MONOCHROME1"
    )
    return (1 - seen if is_inverse else seen).astype(np.float32)


def _contradicted_sign(ds: Dataset) -> tuple[Assumption, ...]:
    """The assumption of an image whose sign says that it shows bone dark."""
    sign = ds.get("PixelIntensityRelationshipSign")
    if sign not in (-1, 1):
        return ()
    darkest, brightest = displayed(ds, np.array(stored_range(ds), np.int32))
    if (brightest > darkest) == (sign < 0):
        return ()
    why = f"the header says {sign}, but by its display the image is white for bone; taken as shown"
    return (_assumed("PixelIntensityRelationshipSign", -sign, why, ds),)


def modality_values(ds: Dataset, stored: Stored) -> tuple[Image, tuple[float, float]]:
    """Values after the Modality LUT, and the range that they can have. Source: PS3.3 C.11.1."""
    limits = stored_range(ds)
    if ds.get("ModalityLUTSequence"):
        table = _Table.of(ds.ModalityLUTSequence[0], is_signed=limits[0] < 0)
        return table.look_up(stored), (0.0, table.top)
    slope, intercept = (
        _number(ds, k, d) for k, d in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    ends = sorted(float(v) * slope + intercept for v in limits)
    values: Image = (stored * slope + intercept).astype(np.float32)
    return values, (ends[0], ends[1])


def window(values: Image, centre: float, width: float, function: str) -> Image:
    """Values to 0..1 by a VOI window, linear ones not clamped.

    Source: PS3.3 C.11.2.1.2.1 LINEAR, C.11.2.1.3.1 SIGMOID, C.11.2.1.3.2 LINEAR_EXACT.
    """
    if function == "SIGMOID":
        # beyond 30 widths the curve is 0 or 1, and its exponential would overflow
        slope = np.clip(-4 * (values - centre) / width, -80, 80)
        curve: Image = (1 / (1 + np.exp(slope))).astype(np.float32)
        return curve
    if function == "LINEAR_EXACT":
        return ((values - centre) / width + 0.5).astype(np.float32)
    if width == 1:  # a threshold, where the formula would divide by zero
        return (values > centre - 0.5).astype(np.float32)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5).astype(np.float32)


def _voi(ds: Dataset, values: Image, limits: tuple[float, float]) -> Image:
    """The first VOI LUT, else the first window, else the whole range (PS3.3 C.11.2)."""
    if ds.get("VOILUTSequence"):
        table = _Table.of(ds.VOILUTSequence[0], is_signed=limits[0] < 0)
        return (table.look_up(np.rint(values)) / np.float32(table.top)).astype(np.float32)
    centre, width = _number(ds, "WindowCenter", None), _number(ds, "WindowWidth", None)
    function = _word(ds, "VOILUTFunction") or "LINEAR"
    narrowest = 1.0 if function == "LINEAR" else 1e-6
    if math.isfinite(centre) and narrowest <= width < math.inf:
        return window(values, centre, width, function)
    low, high = limits
    return ((values - low) / max(high - low, 1e-9)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Table:
    """A LUT of PS3.3 C.11.1.1 or C.11.2.1.1."""

    first: int
    outputs: NDArray[np.float32]
    top: float

    @classmethod
    def of(cls, item: Dataset, *, is_signed: bool) -> _Table:
        try:
            count, first, bits = (int(v) for v in item.LUTDescriptor)
            raw = item.LUTData
        except (AttributeError, TypeError, ValueError) as fault:
            raise UnreadablePixels("A look-up table of the image is broken") from fault
        count = count or 65536
        if is_signed and first > 32767:
            first -= 65536
        if isinstance(raw, bytes):
            # 8-bit tables stand one or two entries to a word
            raw = np.frombuffer(raw, "<u2" if len(raw) >= 2 * count else "u1")
        outputs = np.atleast_1d(np.asarray(raw, np.float32))[:count]
        if len(outputs) < count or not 1 <= bits <= 16:
            raise UnreadablePixels("A look-up table of the image is broken")
        return cls(first, outputs, float((1 << bits) - 1))

    def look_up(self, values: NDArray[np.generic]) -> Image:
        """Values before the first entry get the first, behind the last the last."""
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.outputs) - 1)
        return self.outputs[index]


def _sign(ds: Dataset) -> int:
    value = ds.get("PixelIntensityRelationshipSign")
    return -1 if value == -1 else 1


def _number(ds: Dataset, keyword: str, absent: float | None) -> float:
    """The first value; nan where there is none and `absent` is None."""
    value = ds.get(keyword)
    if isinstance(value, list) or (hasattr(value, "__iter__") and not isinstance(value, str)):
        value = next(iter(value), None)
    if value in (None, ""):
        return math.nan if absent is None else float(absent)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if absent is not None and (not math.isfinite(number) or (number == 0 and absent)):
        raise UnreadablePixels(f"{keyword} of the image is not a usable number")
    return number


def _word(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword) or "").strip().upper()


def _assumed(keyword: str, value: float | str, why: str, ds: Dataset) -> Assumption:
    return Assumption(keyword, value, "", why, str(ds.get("SOPInstanceUID", "")))
