"""How a bone is named, coded, coloured and tracked: the same in every object of every result."""

from __future__ import annotations

from highdicom.color import CIELabColor
from pydicom import Dataset

from pipeline.colours import colours
from pipeline.encode.codes import ANATOMICAL_STRUCTURE, LATERALITY, code_item, region_item
from pipeline.encode.common import Result, printable, provenance
from pipeline.encode.uids import derived_uid
from pipeline.structures import PREDICTED
from pipeline.types import Algorithm, Bone

PREDICTED_OPACITY = 0.5
"""Of the surface of a bone that is predicted; 1 is that of the others."""


def segment_label(bone: Bone) -> str:
    """The name of the bone and its side, as viewers list it, and that it is predicted if it is."""
    end = f": {PREDICTED}" if bone.is_predicted else ""
    return printable(named(bone), 64 - len(end)) + end


def named(bone: Bone) -> str:
    """The name of the bone and its side."""
    return f"{bone.name} {bone.side}" if bone.side in LATERALITY else bone.name


def algorithm_of(bone: Bone, result: Result) -> Algorithm:
    """What made the bone: the engine, or what completed its result."""
    made = result.reconstruction
    return made.completed_by if bone.is_predicted and made.completed_by else made.algorithm


def description_of(bone: Bone, result: Result, limit: int) -> str:
    """What the bone is, and what made it of what."""
    said = provenance(result, limit)
    if not bone.is_predicted:
        return said
    by = algorithm_of(bone, result)
    words = f"{PREDICTED.upper()}: from no radiograph, added by {by.name} {by.version} to this:"
    return printable(f"{words} {said}", limit)


def opacity_of(bone: Bone) -> float:
    """RecommendedPresentationOpacity of its surface."""
    return PREDICTED_OPACITY if bone.is_predicted else 1.0


def tracking_uid(bone: Bone, result: Result) -> str:
    """The UID of the bone as a finding of its study, whatever engine or setting made it.

    A late view, another model or another set of objects gives new results of the same bone: a
    reader that follows the UID finds them all. Bones that nothing else tells apart are counted.

    Source: PS3.3 C.8.20.2, Tracking UID.
    """
    alike = [one for one in result.reconstruction.bones if _identity(one) == _identity(bone)]
    number = next(n for n, one in enumerate(alike) if one is bone)
    study, region = result.heading.study_instance_uid, result.request.region
    return derived_uid("tracked bone", study, region, *_identity(bone), str(number))


def tracking_id(bone: Bone, result: Result) -> str:
    """A name for the bone as a finding, unique with high probability, readable for certain."""
    end = f" {tracking_uid(bone, result)[-8:]}"
    return printable(segment_label(bone), 64 - len(end)) + end


def property_items(bone: Bone, region: str) -> Dataset:
    """What a segment says of its bone: region, category, and type with the side (C.8.20.2)."""
    item = Dataset()
    item.AnatomicRegionSequence = [region_item(region, bone.code, bone.side)]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(ANATOMICAL_STRUCTURE)]
    kind = code_item(bone.code)
    if bone.side in LATERALITY:
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(LATERALITY[bone.side])]
    item.SegmentedPropertyTypeCodeSequence = [kind]
    return item


def structure_item(bone: Bone) -> Dataset:
    """The item of PrimaryAnatomicStructureSequence: the bone, with its side (PS3.3 10.5)."""
    item = code_item(bone.code)
    if bone.side in LATERALITY:
        item.PrimaryAnatomicStructureModifierSequence = [code_item(LATERALITY[bone.side])]
    return item


def display_colours(bones: tuple[Bone, ...]) -> list[list[int]]:
    """RecommendedDisplayCIELabValue of each bone: L*, a*, b* as three unsigned shorts."""
    return [[int(value) for value in CIELabColor.from_rgb(*rgb).value] for rgb in colours(bones)]


def _identity(bone: Bone) -> tuple[str, ...]:
    """The predicted part of a bone is another finding than the part that was seen."""
    origin = (PREDICTED,) if bone.is_predicted else ()
    return (bone.code.scheme, bone.code.value, str(bone.side), bone.name, *origin)
