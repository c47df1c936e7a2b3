"""The coded concepts of the result objects (PS3.16), and how a code becomes an item."""

from __future__ import annotations

from pydicom import Dataset

from pipeline.types import Code, Side, ViewName

ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
MORPHOLOGICAL_OPERATIONS = Code("123104", "DCM", "Morphological Operations")
SOURCE_OF_DOCUMENT = Code("121324", "DCM", "Source image")
MILLIMETRE = Code("mm", "UCUM", "mm")
MODEL_TITLE = Code("RADIOGRAPH3D", "99OSTEON", "3D CAM model from radiographs")
"""CID 7061 has titles for models from CT, MR and others; none of them would be true."""

LATERALITY = {
    Side.RIGHT: Code("24028007", "SCT", "Right"),
    Side.LEFT: Code("7771000", "SCT", "Left"),
}
"""CID 244; a structure of the midline, or a pair, has no laterality."""

VIEWS = {
    ViewName.AP: Code("399348003", "SCT", "antero-posterior"),
    ViewName.PA: Code("272479007", "SCT", "postero-anterior"),
    ViewName.LL: Code("399173006", "SCT", "left lateral"),
    ViewName.RL: Code("399198007", "SCT", "right lateral"),
}
"""CID 4010, as far as the pipeline tells views apart."""

REGIONS = {
    "ankle": Code("70258002", "SCT", "Ankle joint"),
    "chest": Code("816094009", "SCT", "Chest"),
    "elbow": Code("16953009", "SCT", "Elbow joint"),
    "femur": Code("71341001", "SCT", "Femur"),
    "foot": Code("56459004", "SCT", "Foot"),
    "forearm": Code("14975008", "SCT", "Forearm"),
    "hand": Code("85562004", "SCT", "Hand"),
    "hip": Code("29836001", "SCT", "Hip"),
    "humerus": Code("85050009", "SCT", "Humerus"),
    "knee": Code("72696002", "SCT", "Knee"),
    "leg": Code("30021000", "SCT", "Lower leg"),
    "pelvis": Code("816092008", "SCT", "Pelvis"),
    "shoulder": Code("16982005", "SCT", "Shoulder"),
    "skull": Code("89546000", "SCT", "Skull"),
    "spine": Code("421060004", "SCT", "Spine"),
    "thigh": Code("68367000", "SCT", "Thigh"),
    "wrist": Code("74670003", "SCT", "Wrist joint"),
}
"""CID 4031 by the words that rules use for a region; an unknown word falls back on the bone."""


MIDLINE = frozenset({"chest", "pelvis", "skull", "spine"})


def is_paired(region: str) -> bool:
    """True for the known regions that the body has twice."""
    word = region.strip().lower()
    return word in REGIONS and word not in MIDLINE


def code_item(code: Code) -> Dataset:
    """The item of a code sequence for `code`."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def region_item(region: str, bone: Code, side: Side) -> Dataset:
    """The item of AnatomicRegionSequence for a bone, with its laterality."""
    item = code_item(REGIONS.get(region.strip().lower(), bone))
    if side in LATERALITY:
        item.AnatomicRegionModifierSequence = [code_item(LATERALITY[side])]
    return item
