"""How a bone is named, coded, coloured and tracked: the same in every object of every result."""

from __future__ import annotations

from highdicom.color import CIELabColor
from pydicom import Dataset

from pipeline.colours import colours
from pipeline.encode.codes import ANATOMICAL_STRUCTURE, LATERALITY, code_item, region_item
from pipeline.encode.common import Result, printable
from pipeline.encode.uids import derived_uid
from pipeline.types import Bone


def segment_label(bone: Bone) -> str:
    """The name of the bone and its side, as viewers list it."""
    return printable(f"{bone.name} {bone.side}" if bone.side in LATERALITY else bone.name, 64)


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
    return (bone.code.scheme, bone.code.value, str(bone.side), bone.name)
