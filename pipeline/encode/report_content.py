"""What the report says of each bone, of the quality and of the assumptions, as SR content.

Numbers keep three significant digits, from 100 on four: two radiographs do not know more. Every
measure of a bone is marked as estimated; where the scale was assumed, each number with a length in
it says so itself, because viewers show numbers one by one, without what stands around them.

Concepts that PS3.16 does not have are coded in the private scheme 99OSTEON: "width" and "height"
of a bone mean its own axes to one reader and the patient's to the next.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, cast

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept, RelationshipTypeValues
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from pipeline.encode.bones import algorithm_of, tracking_id, tracking_uid
from pipeline.encode.codes import ANATOMICAL_STRUCTURE, LATERALITY, REGIONS
from pipeline.encode.common import (
    MANUFACTURER,
    Result,
    algorithm_parameters,
    family,
    ordered,
    printable,
)
from pipeline.encode.image_library import concept
from pipeline.encode.topology import is_closed, signed_volume, sound_mesh
from pipeline.structures import PREDICTED
from pipeline.types import Algorithm, Assumption, Bone, Code, Figure

PRIVATE_SCHEME = "99OSTEON"
EXTENTS = (
    Code("EXTENT-LR", PRIVATE_SCHEME, "Extent left-right"),
    Code("EXTENT-AP", PRIVATE_SCHEME, "Extent antero-posterior"),
    Code("EXTENT-HF", PRIVATE_SCHEME, "Extent head-foot"),
)
"""In the order of LPS."""
SCALE = Code("SCALE", PRIVATE_SCHEME, "Scale")
SCALE_ASSUMED = "ASSUMED, NOT MEASURED"
"""Short, so that viewers show it beside the number and not in an annex (dsr2html: 40 letters)."""
ORIGIN = Code("ORIGIN", PRIVATE_SCHEME, "Origin of the shape")
QUALITY = Code("QUALITY", PRIVATE_SCHEME, "Quality of the reconstruction")
LOWEST = Code("LOWEST", PRIVATE_SCHEME, "Lowest acceptable value")
HIGHEST = Code("HIGHEST", PRIVATE_SCHEME, "Highest acceptable value")
WITHIN = Code("WITHIN-LIMITS", PRIVATE_SCHEME, "Within limits")
ASSUMPTION = Code("ASSUMPTION", PRIVATE_SCHEME, "Assumed, not measured")
UNMEASURED = Code("UNMEASURED", PRIVATE_SCHEME, "Quality figure without a value")
NO_ASSUMPTION = Code("NO-ASSUMPTION", PRIVATE_SCHEME, "Assumptions")

UNITS: dict[str, PydicomCode] = {
    "": codes.UCUM.NoUnits,
    "mm": codes.UCUM.Millimeter,
    "cm3": codes.UCUM.CubicCentimeter,
    "%": codes.UCUM.Percent,
}
LONGEST_DS = 16
"""PS3.5 6.2."""
SCALED = frozenset({"mm", "mm2", "mm3", "cm", "cm2", "cm3", "ml"})
"""Units that are wrong as soon as the scale is."""
HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
CONTAINS = RelationshipTypeValues.CONTAINS

Group = (
    hd.sr.MeasurementsAndQualitativeEvaluations
    | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
)


def bone_group(
    bone: Bone, number: int, result: Result, segment: hd.sr.ReferencedSegment | None
) -> Group:
    """What was measured on bone `number`, counted from 1.

    Args:
        bone: The bone.
        number: Its segment number in every object of the result.
        result: What it is a part of.
        segment: The bone in a Segmentation; where there is none the radiographs are named.

    Source: PS3.16 TID 1411, or TID 1501 where there is no segment.
    """
    known: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=tracking_uid(bone, result), identifier=tracking_id(bone, result)
        ),
        "finding_category": concept(ANATOMICAL_STRUCTURE),
        "finding_type": concept(bone.code),
        "finding_sites": [_site(bone, result)],
        "algorithm_id": _algorithm(algorithm_of(bone, result)),
        "measurements": _measurements(bone, result),
    }
    if segment is not None:
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=segment, **known
        )
    return hd.sr.MeasurementsAndQualitativeEvaluations(source_images=_sources(result), **known)


def quality_group(result: Result) -> Group | None:
    """Every quality figure, with its limits and whether it keeps them; None where there is none.

    Source: PS3.16 TID 1501, TID 300.
    """
    measured = [one for one in result.reconstruction.figures if math.isfinite(one.value)]
    if not measured:
        return None
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=result.uid("quality"), identifier=QUALITY.meaning
        ),
        finding_type=concept(QUALITY),
        algorithm_id=_algorithm(result.reconstruction.algorithm),
        measurements=[_figure(figure, result) for figure in measured],
        source_images=_sources(result),
    )


def unmeasured_items(result: Result) -> list[hd.sr.TextContentItem]:
    """One text for each quality figure that is no finite number.

    A NUM without a value would be the standard's way (PS3.3 C.18.1), but highdicom cannot read one.
    """
    return [
        text_item(UNMEASURED, f"{figure.name}: {figure.value}", CONTAINS)
        for figure in result.reconstruction.figures
        if not math.isfinite(figure.value)
    ]


def assumption_items(result: Result) -> list[hd.sr.TextContentItem]:
    """One text for each value that was assumed, or one that says that none was."""
    said: dict[str, list[str]] = {}
    for assumption in result.reconstruction.assumptions:
        said.setdefault(_sentence(assumption), [])
    for radiograph in ordered(result.radiographs):
        for assumption in radiograph.assumptions:
            views = said.setdefault(_sentence(assumption), [])
            views.append(str(radiograph.view.name))
    if not said:
        return [text_item(NO_ASSUMPTION, "None: geometry as in the image headers", CONTAINS)]
    return [
        text_item(ASSUMPTION, sentence + _of_views(views), CONTAINS)
        for sentence, views in said.items()
    ]


def text_item(
    name: Code, value: str, relationship: RelationshipTypeValues
) -> hd.sr.TextContentItem:
    """A text in printable ASCII, so that it is legal in the patient's character set."""
    return hd.sr.TextContentItem(concept(name), printable(value, 1024), relationship)


def number_item(name: Code, value: float, unit: str) -> hd.sr.NumContentItem:
    """A number that belongs to another one, as its limit does."""
    item = hd.sr.NumContentItem(
        concept(name), rounded(value), _unit(unit), relationship_type=HAS_PROPERTIES
    )
    _put_readable(item)
    return item


def rounded(value: float) -> float:
    """`value` to three significant digits, from 100 on to four."""
    return float(f"{value:.{4 if abs(value) >= 100 else 3}g}")


def _put_readable(item: Dataset) -> None:
    """14 pieces are written as 14; highdicom would write 14.0."""
    measured = item.MeasuredValueSequence[0]
    number = float(measured.NumericValue)
    plain = np.format_float_positional(number, trim="-")
    measured.NumericValue = plain if len(plain) <= LONGEST_DS else f"{number:.3e}"


def _value(assumption: Assumption) -> str:
    value = assumption.value
    # several values of one attribute, as PatientOrientation: a backslash is not printable
    number = f"{value:g}" if isinstance(value, float) else value.replace("\\", "/")
    return f"{assumption.name} {number} {assumption.unit}".rstrip()


def _sentence(assumption: Assumption) -> str:
    value = _value(assumption)
    return f"{value} ({assumption.reason})" if assumption.reason else value


def _of_views(views: list[str]) -> str:
    named = sorted(set(views))
    if not named:
        return ""
    return f"; view{'s' if len(named) > 1 else ''} {', '.join(named)}"


def _is_scale_assumed(result: Result) -> bool:
    of_images = [a for radiograph in result.radiographs for a in radiograph.assumptions]
    assumed = (*result.reconstruction.assumptions, *of_images)
    return any(assumption.unit in SCALED for assumption in assumed)


def _site(bone: Bone, result: Result) -> hd.sr.FindingSite:
    region = REGIONS.get(result.request.region.strip().lower(), bone.code)
    side = LATERALITY.get(bone.side)
    return hd.sr.FindingSite(concept(region), concept(side) if side else None)


def _algorithm(algorithm: Algorithm) -> hd.sr.AlgorithmIdentification:
    """Source: PS3.16 TID 4019."""
    return hd.sr.AlgorithmIdentification(
        name=printable(algorithm.name, 64),
        version=printable(algorithm.version, 64),
        manufacturer=MANUFACTURER,
        parameters=[printable(one, 1024) for one in algorithm_parameters(algorithm)] or None,
        family=concept(family(algorithm)),
    )


def _sources(result: Result) -> list[hd.sr.SourceImageForMeasurementGroup]:
    return [
        hd.sr.SourceImageForMeasurementGroup(
            radiograph.sop_class_uid,
            radiograph.sop_instance_uid,
            None if radiograph.frame_number is None else [radiograph.frame_number],
        )
        for radiograph in ordered(result.radiographs)
    ]


def _measurements(bone: Bone, result: Result) -> list[hd.sr.Measurement]:
    """The volume inside the surface, if it has an inside, and the extent of the surface."""
    mesh = sound_mesh(bone)
    size = np.ptp(mesh.vertices, axis=0)
    made = []
    if is_closed(mesh.faces):
        volume = signed_volume(mesh) / 1000
        made.append(_measurement(CodedConcept.from_code(codes.SCT.Volume), volume, "cm3", result))
    made += [
        _measurement(concept(name), float(value), "mm", result)
        for name, value in zip(EXTENTS, size, strict=True)
    ]
    for one in made if bone.is_predicted else ():
        _children(one).append(text_item(ORIGIN, PREDICTED.upper(), HAS_PROPERTIES))
    return made


def _measurement(name: CodedConcept, value: float, unit: str, result: Result) -> hd.sr.Measurement:
    measurement = hd.sr.Measurement(
        name, rounded(value), _unit(unit), derivation=codes.SCT.Estimated
    )
    _put_readable(measurement[0])
    _qualify(measurement, unit, result)
    return measurement


def _qualify(measurement: hd.sr.Measurement, unit: str, result: Result) -> None:
    """A number with a length in it says so itself if the scale was assumed."""
    if unit in SCALED and _is_scale_assumed(result):
        _children(measurement).append(text_item(SCALE, SCALE_ASSUMED, HAS_PROPERTIES))


def _figure(figure: Figure, result: Result) -> hd.sr.Measurement:
    """Source: PS3.16 TID 300."""
    code = f"Q-{hashlib.sha256(figure.name.encode()).hexdigest()[:8].upper()}"
    name = CodedConcept(code, PRIVATE_SCHEME, printable(figure.name, 64))
    measurement = hd.sr.Measurement(name, rounded(figure.value), _unit(figure.unit))
    _put_readable(measurement[0])
    _qualify(measurement, figure.unit, result)
    for limit, name_of_limit in ((figure.low, LOWEST), (figure.high, HIGHEST)):
        if limit is not None:
            _children(measurement).append(number_item(name_of_limit, limit, figure.unit))
    if figure.low is not None or figure.high is not None:
        verdict = codes.SCT.Yes if figure.is_within else codes.SCT.No
        _children(measurement).append(
            hd.sr.CodeContentItem(concept(WITHIN), verdict, HAS_PROPERTIES)
        )
    return measurement


def _children(measurement: hd.sr.Measurement) -> hd.sr.ContentSequence:
    if "ContentSequence" not in measurement[0]:
        measurement[0].ContentSequence = hd.sr.ContentSequence()
    return cast("hd.sr.ContentSequence", measurement[0].ContentSequence)


def _unit(unit: str) -> PydicomCode:
    return UNITS.get(unit, PydicomCode(printable(unit, 16), "UCUM", printable(unit, 64)))
