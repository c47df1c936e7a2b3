"""What all objects of one result share: names, numbers, equipment, provenance, references."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipeline.encode.codes import (
    ARTIFICIAL_INTELLIGENCE,
    MORPHOLOGICAL_OPERATIONS,
    PROCESSING_EQUIPMENT,
    SOURCE_IMAGE,
    code_item,
)
from pipeline.encode.lettering import WARNING
from pipeline.encode.sources import Heading
from pipeline.encode.uids import derived_uid
from pipeline.types import (
    Algorithm,
    Assumption,
    Code,
    ObjectKind,
    Radiograph,
    Reconstruction,
    Request,
    Side,
)

MANUFACTURER = "Osteon"
MODEL_NAME = "Bones from radiographs"
CONTENT_LABEL = "RADIOGRAPH_MODEL"
"""CS, so at most 16 characters."""

SERIES_NUMBER = {
    ObjectKind.KEY_IMAGE: 9001,
    ObjectKind.TURNTABLE: 9002,
    ObjectKind.MODEL_VOLUME: 9003,
    ObjectKind.SEGMENTATION: 9004,
    ObjectKind.SURFACE_SEGMENTATION: 9005,
    ObjectKind.STL: 9006,
    ObjectKind.NOTICE: 9007,
    ObjectKind.REPORT: 9008,
    ObjectKind.LABELMAP: 9009,
    ObjectKind.FRACTIONAL: 9010,
}
SERIES_NAME = {
    ObjectKind.REPORT: "Report",
    ObjectKind.MODEL_VOLUME: "Volume",
    ObjectKind.SEGMENTATION: "Bones",
    ObjectKind.SURFACE_SEGMENTATION: "Surfaces",
    ObjectKind.STL: "STL",
    ObjectKind.KEY_IMAGE: "Key image",
    ObjectKind.TURNTABLE: "Turntable",
    ObjectKind.NOTICE: "Why no bones",
    ObjectKind.LABELMAP: "Label map",
    ObjectKind.FRACTIONAL: "Probability",
}
SERIES_NUMBER_STEP = {Side.RIGHT: 0, Side.LEFT: 10, Side.UNPAIRED: 20}
"""Both knees of one study must not have the same series numbers."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result while it is written: what was made, from what, and for whom."""

    reconstruction: Reconstruction
    radiographs: tuple[Radiograph, ...]
    request: Request
    heading: Heading

    def uid(self, name: str, index: int = 0) -> str:
        """The UID of the thing `name`, number `index`, of this result.

        It follows from the study, the inputs, the rule, the side, the model and every setting
        that changes the output; not from the time, the node or the folder.
        """
        request, algorithm = self.request, self.reconstruction.algorithm
        made_of = {
            "study": self.heading.study_instance_uid,
            "inputs": sorted((source.sha256, source.view or "") for source in request.sources),
            "rule": request.rule,
            "region": request.region,
            "side": request.side,
            "model": request.model,
            "algorithm": [algorithm.name, algorithm.version, algorithm.weights_digest],
            "parameters": sorted(algorithm.parameters),
            "views": sorted(request.views),
            "assume": asdict(request.assume),
            "frame_number": request.frame_number,
            "kinds": sorted(request.kinds),
        }
        if by := self.reconstruction.completed_by:
            made_of["completed_by"] = [by.name, by.version, by.weights_digest]
        return derived_uid(json.dumps(made_of, sort_keys=True), name, str(index))

    @property
    def at(self) -> datetime:
        """The time of the result, as wall time of the study where the study says its zone."""
        offset = self.heading.timezone_offset
        if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
            return self.request.at
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        shift = timedelta(minutes=-minutes if offset[0] == "-" else minutes)
        if abs(shift) >= timedelta(hours=24):
            return self.request.at
        return self.request.at.astimezone(timezone(shift))


@cache
def software_version() -> str:
    """The version of the installed distribution; "unreleased" when run from a bare checkout."""
    try:
        return version("osteon")
    except PackageNotFoundError:
        return "unreleased"


def printable(text: str, limit: int) -> str:
    """`text` in printable ASCII, at most `limit` characters, fit for a single-valued element.

    Our own words must be legal in whatever character set the patient's name came in, and a
    backslash would make two values of one.
    """
    legal = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
    return legal if len(legal) <= limit else f"{legal[: limit - 3]}..."


def file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    """The file meta information of an object in Explicit VR Little Endian (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("Osteon", "implementation class"))
    meta.ImplementationVersionName = f"OSTEON_{software_version()}"[:16]
    return meta


def put_general_modules(ds: Dataset, result: Result, kind: ObjectKind) -> None:
    """`ds` has its Patient, General Study, General Series, Equipment and SOP Common modules.

    Source: PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1, C.7.5.2, C.12.1.
    """
    result.heading.put_on(ds)
    day, time = f"{result.at:%Y%m%d}", f"{result.at:%H%M%S}"
    ds.SeriesInstanceUID = result.uid(f"{kind} series")
    ds.SeriesNumber = SERIES_NUMBER[kind] + SERIES_NUMBER_STEP[result.request.side]
    ds.SeriesDescription = series_description(result, kind)
    for name in ("InstanceCreation", "Content", "Series"):
        setattr(ds, f"{name}Date", day)
        setattr(ds, f"{name}Time", time)
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MODEL_NAME
    ds.DeviceSerialNumber = printable(result.request.node, 64)
    ds.SoftwareVersions = software_version()
    ds.FrameOfReferenceUID = result.uid("frame of reference")
    ds.PositionReferenceIndicator = ""


def series_description(result: Result, kind: ObjectKind) -> str:
    """What the series holds, of which part and side of the body, and the warning.

    A viewer's list shows a dozen letters: what tells the series apart stands first.
    """
    side = "" if result.request.side is Side.UNPAIRED else f" {result.request.side}"
    is_density = kind is ObjectKind.MODEL_VOLUME and result.reconstruction.density is not None
    name = "Density" if is_density else SERIES_NAME[kind]
    return printable(f"{name}, {result.request.region}{side}: {WARNING}", 64)


def provenance(result: Result, limit: int) -> str:
    """What the object is, what made it, what had to be assumed, and with which parameters."""
    algorithm = result.reconstruction.algorithm
    views = ", ".join(sorted(str(radiograph.view.name) for radiograph in result.radiographs))
    text = f"{WARNING}. Shape estimated by {algorithm.name} {algorithm.version} from "
    text += f"{len(result.radiographs)} radiograph(s) ({views})."
    assumed = "; ".join(_assumed(assumption) for assumption in assumptions(result))
    if assumed:
        text += f" ASSUMED, NOT MEASURED: {assumed}."
    if parameters := algorithm_parameters(algorithm):
        text += f" Parameters: {', '.join(parameters)}."
    return printable(text, limit)


def assumptions(result: Result) -> tuple[Assumption, ...]:
    """What was assumed for the reconstruction or for a radiograph, each once, in order."""
    of_images = [
        one for radiograph in ordered(result.radiographs) for one in radiograph.assumptions
    ]
    return tuple(dict.fromkeys([*result.reconstruction.assumptions, *of_images]))


def content_description(result: Result) -> str:
    """The warning, and whether a part of the geometry was assumed; an LO of 64 characters."""
    assumed = ", SCALE OR VIEW ASSUMED" if assumptions(result) else ""
    return printable(f"{WARNING}{assumed}", 64)


def _assumed(assumption: Assumption) -> str:
    return f"{assumption.name} {assumption.value} {assumption.unit}".rstrip()


def family(algorithm: Algorithm) -> Code:
    """The algorithm family (CID 7162): a network has weights, a visual hull has none."""
    return ARTIFICIAL_INTELLIGENCE if algorithm.weights_digest else MORPHOLOGICAL_OPERATIONS


def algorithm_item(algorithm: Algorithm) -> Dataset:
    """The item of an algorithm identification sequence (PS3.3 10.16)."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [code_item(family(algorithm))]
    item.AlgorithmName = printable(algorithm.name, 64)
    item.AlgorithmVersion = printable(algorithm.version, 64)
    item.AlgorithmSource = MANUFACTURER
    if parameters := algorithm_parameters(algorithm):
        item.AlgorithmParameters = printable(",".join(parameters), 10240)
    return item


def algorithm_parameters(algorithm: Algorithm) -> list[str]:
    """name=value of each parameter, with the digest of the weights where there are any."""
    parameters = dict(algorithm.parameters)
    if algorithm.weights_digest:
        parameters["weights_sha256"] = algorithm.weights_digest
    return [f"{name}={value}" for name, value in sorted(parameters.items())]


def processing_equipment(algorithm: Algorithm) -> Dataset:
    """The item of ContributingEquipmentSequence for the algorithm.

    Source: IHE RAD, AI Results (AIR) Rev. 1.3, Volume 3, 6.5.3.1.
    """
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = printable(algorithm.name, 64)
    item.SoftwareVersions = printable(algorithm.version, 64)
    item.DeviceUID = device_uid(algorithm)
    item.ContributionDescription = "Reconstruction of bones from radiographs"
    return item


def device_uid(algorithm: Algorithm) -> str:
    """The UID of the algorithm as a device: another version or other weights are another one."""
    made_of = (algorithm.name, algorithm.version, algorithm.weights_digest)
    return derived_uid("Osteon", "device", *made_of)


def source_images(result: Result) -> list[Dataset]:
    """The items of SourceImageSequence: every radiograph that took part (PS3.3 C.12.4.1)."""
    items = []
    for radiograph in ordered(result.radiographs):
        item = instance_item(radiograph)
        item.SpatialLocationsPreserved = "NO"
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
        items.append(item)
    return items


def instance_item(radiograph: Radiograph) -> Dataset:
    """A reference to a radiograph, and to its frame where it has several (PS3.3 10.3)."""
    item = Dataset()
    item.ReferencedSOPClassUID = radiograph.sop_class_uid
    item.ReferencedSOPInstanceUID = radiograph.sop_instance_uid
    if radiograph.frame_number is not None:
        item.ReferencedFrameNumber = radiograph.frame_number
    return item


def radiograph_series(result: Result) -> list[Dataset]:
    """The items of ReferencedSeriesSequence for the radiographs (PS3.3 C.12.2)."""
    series: dict[str, dict[str, Dataset]] = {}
    for radiograph in ordered(result.radiographs):
        reference = Dataset()
        reference.ReferencedSOPClassUID = radiograph.sop_class_uid
        reference.ReferencedSOPInstanceUID = radiograph.sop_instance_uid
        instances = series.setdefault(radiograph.series_instance_uid, {})
        instances[radiograph.sop_instance_uid] = reference
    items = []
    for uid, instances in sorted(series.items()):
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = list(instances.values())
        items.append(item)
    return items


def ordered(radiographs: tuple[Radiograph, ...]) -> list[Radiograph]:
    """The radiographs in an order that does not depend on their arrival."""
    return sorted(radiographs, key=lambda r: (r.sop_instance_uid, r.frame_number or 0))
