"""The chapters of the conformance statement on what objects are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Final

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from node.conformance_network import table
from pipeline.attributes import KEYWORDS
from pipeline.encode import codes, image_library, report, report_content
from pipeline.encode.common import SERIES_NAME, SERIES_NUMBER, SERIES_NUMBER_STEP
from pipeline.encode.sources import OPTIONAL, REQUIRED, REQUIRED_OF_ANIMALS
from pipeline.encode.write import write
from pipeline.types import (
    DEFAULT_KINDS,
    Algorithm,
    Bone,
    Code,
    Mesh,
    ObjectKind,
    Radiograph,
    Reconstruction,
    Request,
    Side,
    Source,
    View,
    ViewName,
    Volume,
)

AT: Final = datetime(2026, 1, 2, tzinfo=UTC)
DESCRIBED: Final = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.LABELMAP,
    ObjectKind.FRACTIONAL,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
    ObjectKind.REPORT,
)
"""The kinds of which a small one is made and read; captures take too long to draw."""
OCTAHEDRON: Final = Mesh(
    np.concatenate([np.eye(3), -np.eye(3)]) * 2.0,
    np.array(
        [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    ),
)


def used() -> str:
    """The attributes that decide what is made of an image."""
    rows = [_attribute(keyword) for keyword in KEYWORDS]
    copied = ", ".join((*REQUIRED, *OPTIONAL))
    animals = ", ".join(REQUIRED_OF_ANIMALS)
    return f"""
These attributes of a received instance are kept in the database and decide about rules,
completeness, views and geometry. None of them must be present to be stored; what is missing is
assumed where a rule allows it, and recorded, or the study is declined with the reason.

{table(("Attribute", "Tag", "VR"), rows)}

Copied from the source into every object, where present, byte for byte: {copied}. The attributes of
animals ({animals}) are present, empty if need be, where the patient is one.
"""


def objects() -> str:
    """The kinds of object, their series, and which of them are written by default."""
    rows = [
        (kind, SERIES_NAME[kind], SERIES_NUMBER[kind], "yes" if kind in DEFAULT_KINDS else "no")
        for kind in ObjectKind
        if kind in SERIES_NUMBER
    ]
    left, none = SERIES_NUMBER_STEP[Side.LEFT], SERIES_NUMBER_STEP[Side.UNPAIRED]
    return f"""
All objects of a result are in the study of the radiographs, each kind in a series of its own, in
one frame of reference, whose origin is the isocentre of the views and whose axes are the patient's
(LPS, mm). A label map gives each voxel to one bone; FRACTIONAL keeps the probability in 255 steps.
An Encapsulated STL object holds one bone as binary STL in mm and LPS. A surface is one triangle
mesh a bone, with normals. The voxels of a segment are those of probability 0.5 or more, which is
where the surface lies.

The model volume holds 1000 times the probability of bone. Where an engine estimates a density from
one radiograph (`tomography`), it holds 1000 times the relative share of cortical bone instead, its
series is called Density, and the one segment is what exceeds the threshold of the weights.

Where a rule says `complete`, bones that were not reconstructed may follow those that were. They
lie in no slice of the model volume, and overlap no other segment. Segment Label, Document Title
and Tracking ID say "predicted, not imaged", Segment Description and the heading of an STL begin
with it, the algorithm is the completion's, the surface has a presentation opacity of 0.5, and each
measurement has the property (ORIGIN, 99OSTEON) "PREDICTED, NOT IMAGED". In FRACTIONAL their
probability is 0 or 1.

{table(("Kind", "Series", "Series Number", "By default"), rows)}

The Series Number is that of a right side; {left} is added for a left one, {none} where the region
has no side.
"""


def written() -> str:
    """Which object has which attribute, from one object of each kind."""
    made = _specimens()
    patient = {*REQUIRED, *OPTIONAL}
    tags = sorted({element.tag for ds in made.values() for element in ds})
    shown = [tag for tag in tags if keyword_for_tag(tag) not in patient]
    rows = [
        (*_attribute(keyword_for_tag(tag)), *("x" if tag in ds else "" for ds in made.values()))
        for tag in shown
    ]
    return f"""
The attributes at the top level, without those that are copied from the source. Secondary Captures
have the attributes of PS3.3 A.8.1 and A.8.5, and Derivation Description and Source Image Sequence.

{table(("Attribute", "Tag", "VR", *made), rows)}

Every object names the devices that made the radiographs and the algorithm in Contributing
Equipment Sequence, refers to the radiographs, says MODEL FROM RADIOGRAPHS - NOT A CT in its series
description, and names the algorithm with its version, the SHA-256 of its weights and its
parameters.
"""


def code_tables() -> str:
    """Every code that the encoders can write, besides those of bones, which engines bring."""
    own: dict[Code, None] = {}
    for module in (codes, report, report_content, image_library):
        own |= dict.fromkeys(_codes_of(module))
    rows = [(c.value, c.scheme, c.meaning) for c in sorted(own, key=lambda c: (c.scheme, c.value))]
    regions = [(word, c.value, c.scheme, c.meaning) for word, c in codes.REGIONS.items()]
    sides = [(side, c.value, c.scheme, c.meaning) for side, c in codes.LATERALITY.items()]
    return f"""
Regions, by the word that a rule uses; another word gives the code of the bone:

{table(("Word", "Value", "Scheme", "Meaning"), regions)}

Sides, as modifiers of the bone and of the region:

{table(("Side", "Value", "Scheme", "Meaning"), sides)}

Others; 99OSTEON is the coding scheme of this product:

{table(("Value", "Scheme", "Meaning"), rows)}
"""


def character_sets() -> str:
    """How text comes in and goes out."""
    return """
Text of the patient and the study is copied as bytes, with the Specific Character Set of the source
whose SOP Instance UID sorts first, and never decoded on the way. Every character set of PS3.3
C.12.1.1.2 passes, and so does text that contradicts its character set. Words of this product are
printable ASCII. What devices of other sources say carries their own character set within its item.
"""


def times() -> str:
    """Which dates and times are written."""
    return """
Dates and times of a result are those at which its job was opened, as wall time: of the time zone
that the sources state in Timezone Offset From UTC, else of `node.time_zone`. Making a result again
writes the same times. The database and the audit hold UTC. Study Date and Study Time are those of
the source.
"""


def identifiers() -> str:
    """How UIDs are made."""
    return """
UIDs are under 2.25 (PS3.5 B.2): the first 128 bits of a SHA-256, marked as a UUID of version 8.
They are derived from the study, the SHA-256 of the inputs and their views, the rule, the region,
the side, the model, the algorithm with its version, weights and parameters, what may be assumed,
the kinds of object, and what completed the bones; not from the time, the node or chance. The same
work has the same UIDs and the same bytes; a result of other inputs or another algorithm has other
ones, so that an archive that keeps the first bytes of a UID shows the new result.

The Tracking UID of a bone is derived from the study, the region, the code, side and name of the
bone, and whether it is predicted, alone. It is the same in the segmentations, the surfaces, the STL
and the report, and stays the same when the bone is made again by another model, with other
settings, or from one more view.
"""


def deviations() -> str:
    """What validators say of conformant objects, and why."""
    return """
- Surface Processing (0066,0009) is empty for a surface that was smoothed or simplified, and what
  was done stands in Surface Processing Description and Surface Comments: the ratio and the
  algorithm that YES requires are errors to dciodvfy (2022), whatever the value is.
- dciodvfy (2022) knows neither Label Map Segmentation Storage nor a segment of number 0.
- Rescale Type of the model volume is US, unspecified: its values are probabilities or relative
  densities, and no HU.
- Encapsulated STL is a Standard Extended SOP Class: region, bone, Tracking ID and Tracking UID have
  no place in its IOD.
- Contributing Equipment Sequence has the Device UID of the algorithm, as IHE AI Results asks.
"""


def _attribute(keyword: str) -> tuple[str, str, str]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        return (keyword, "", "")
    group, element = Tag(tag).group, Tag(tag).element
    name = dictionary_description(tag).replace(" (Trial)", "")
    return (name, f"({group:04X},{element:04X})", dictionary_VR(tag))


def _codes_of(module: ModuleType) -> list[Code]:
    """The codes that a module has under a name, alone or in a row, but for the tables above."""
    found: list[Code] = []
    for value in vars(module).values():
        if value is codes.REGIONS or value is codes.LATERALITY:
            continue
        several = value.values() if isinstance(value, dict) else value
        row = several if isinstance(value, dict | tuple) else [value]
        found += [one for one in row if isinstance(one, Code)]
    return found


def _specimens() -> dict[str, Dataset]:
    """The first object of each of `DESCRIBED`, made of two headers and a bone of a few voxels."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        images = [_radiograph(view, folder) for view in (ViewName.AP, ViewName.LL)]
        made = write(_bone(), tuple(image for image, _ in images), _request(images, folder))
        first = {one.kind: one.path for one in reversed(made)}
        return {kind.value: dcmread(first[kind]) for kind in DESCRIBED}


def _bone() -> Reconstruction:
    values = np.zeros((4, 8, 8), np.float32)
    values[1:3, 2:6, 2:6] = 1
    bone = Bone(
        "Femur", Code("71341001", "SCT", "Femur"), Side.LEFT, Volume(values, np.eye(4)), OCTAHEDRON
    )
    return Reconstruction((bone,), Algorithm("Specimen", "1", "0" * 64, (("grid", "8"),)))


def _radiograph(name: ViewName, folder: Path) -> tuple[Radiograph, Source]:
    """A header on disk, and what the pipeline would have read of it."""
    uid = f"2.25.{list(ViewName).index(name) + 1}"
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = "2.25.10", f"{uid}1", "SPECIMEN"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    path = folder / f"{name}.dcm"
    path.write_bytes(buffer.getvalue())
    view = View(name, np.array([0.0, -950.0, 0.0]), np.eye(4), np.eye(4), 4, 4)
    read = Radiograph(
        np.zeros((4, 4), np.float32),
        np.ones((4, 4), np.bool_),
        view,
        ds.SOPClassUID,
        uid,
        ds.SeriesInstanceUID,
    )
    return read, Source(path, uid, hashlib.sha256(buffer.getvalue()).hexdigest(), name)


def _request(images: Sequence[tuple[Radiograph, Source]], folder: Path) -> Request:
    out = folder / "out"
    out.mkdir()
    return Request(
        sources=tuple(source for _, source in images),
        region="hip",
        views=("AP", "LL"),
        side=Side.LEFT,
        model="visual-hull",
        rule="specimen",
        configuration_digest="0" * 64,
        node="node",
        at=AT,
        folder=out,
        kinds=DESCRIBED,
    )
