"""Files for tests of completion: a network that always answers alike, an image, a segmentation."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import SimpleITK
import torch
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from pipeline.completion_weights import TrainedCompletion, export
from pipeline.models.completion import Completion, CompletionShape, Kind
from pipeline.stated import Judged, Stated
from pipeline.structures import Structure
from tests.factories import uid

NAMES = ("sacrum", "femur_R", "femur_L")
SIZE = 16


def place(number: int) -> tuple[slice, slice, slice]:
    """Where a structure lies in the box of 16 voxels of 10 mm, z y x."""
    return (slice(6, 10), slice(6, 10), slice(1 + 5 * (number - 1), 5 + 5 * (number - 1)))


def lopsided() -> NDArray[np.uint8]:
    """Label 1 (right) at low x, label 2 (left) at high x, label 3 (midline) below."""
    made = np.zeros((32, 32, 32), np.uint8)
    made[20:26, 10:20, 4:9], made[20:26, 10:20, 20:28], made[2:6, 10:20, 14:18] = 1, 2, 3
    return made


def weights_file(folder: Path, name: str = "pelvis.safetensors", *, region: str = "") -> Path:
    """A network without weights but one: the left femur fills the whole box, whatever it sees.

    It completes the region, if one is given, from either femur.
    """
    net = Completion(CompletionShape(kind=Kind.PLAIN, classes=4, divided_by=8))
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net.net.head[-1].bias[3] = 9.0  # type: ignore[index]  # torch does not know its children
    structures = tuple(
        Structure(name, (x, 0.0, 0.0), 64_000.0)
        for name, x in zip(NAMES, (-50.0, 0.0, 50.0), strict=True)
    )
    described = TrainedCompletion(
        "pelvis",
        structures,
        (160.0,) * 3,
        SIZE,
        "on nobody",
        regions=(region,) if region else (),
        placed_by=("femur",) if region else (),
        stated=Stated("none", (Judged("half of it", "sacrum", 3, "Dice", 0.5),)),
    )
    export(net, folder / name, described)
    return folder / name


def image(folder: Path) -> Path:
    """Label 7 where the sacrum of the box lies, label 40 somewhere else."""
    array = np.zeros((SIZE,) * 3, np.uint8)
    array[place(1)], array[0, 0, :2] = 7, 40
    made = SimpleITK.GetImageFromArray(array)
    made.SetSpacing((10.0, 10.0, 10.0))
    made.SetOrigin((100.0, 200.0, 300.0))
    SimpleITK.WriteImage(made, str(folder / "in.nii.gz"))
    return folder / "in.nii.gz"


def slices() -> list[Dataset]:
    made = []
    for k in range(SIZE):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid("slice", k)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study"), uid("series")
        ds.FrameOfReferenceUID = uid("frame")
        ds.PatientName, ds.PatientID = "Test^Pelvis", "T1"
        ds.PatientBirthDate, ds.PatientSex = "", "O"
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", "A1"
        ds.ReferringPhysicianName, ds.Modality = "", "CT"
        ds.Rows = ds.Columns = SIZE
        ds.ImagePositionPatient = [100.0, 200.0, 300.0 + 10 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [10.0, 10.0], 10.0
        made.append(ds)
    return made


def segmentation(folder: Path) -> Path:
    """A segment of the sacrum and one of a tooth, by hand."""
    array = np.zeros((SIZE,) * 3, np.uint8)
    array[place(1)], array[0, 0, :2] = 1, 2
    kinds = (("Sacrum of Test", codes.SCT.Sacrum), ("A tooth", codes.SCT.Tooth))
    made = hd.seg.Segmentation(
        source_images=slices(),
        pixel_array=array,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=label,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=kind,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            )
            for number, (label, kind) in enumerate(kinds, start=1)
        ],
        series_instance_uid=uid("seg series"),
        series_number=1,
        sop_instance_uid=uid("seg"),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(folder / "in.dcm")
    return folder / "in.dcm"
