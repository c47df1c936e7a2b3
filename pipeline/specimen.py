"""Radiographs of a test object as a modality would send them: the input of the demo.

The pixels come from the same cone-beam projection that everything else uses, and the header says
what a good modality says. Everything is the same in every run: UIDs are derived, the noise has a
seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import torch
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from pipeline.camera import camera
from pipeline.encode.uids import derived_uid
from pipeline.simulate import project, radiograph_pixels
from pipeline.types import Side, View, ViewName, Volume

SOURCE_TO_DETECTOR: Final = 1150.0
SOURCE_TO_PATIENT: Final = 950.0
SPACING: Final = 0.4
ROWS: Final = 768
COLUMNS: Final = 768
ORIENTATIONS: Final = {ViewName.AP: ("L", "F"), ViewName.LL: ("P", "F")}
VIEW_CODES: Final = {
    ViewName.AP: ("399348003", "antero-posterior"),
    ViewName.LL: ("399173006", "left lateral"),
}


@dataclass(frozen=True, slots=True)
class Exposure:
    """One simulated radiograph: the object that a modality would send, and its true camera."""

    ds: Dataset
    view: View


def expose(
    density: Volume, name: ViewName, side: Side, at: datetime, *, binning: int = 1
) -> Exposure:
    """The radiograph in view `name`, AP or LL, as a DX object for presentation.

    Args:
        density: Linear attenuation about the isocentre, 1/mm.
        name: The view.
        side: Of the body.
        at: When; the same time gives the same study.
        binning: One pixel stands for so many along each edge: a coarser image of the same field.
    """
    spacing = SPACING * binning
    view = camera(
        name,
        source_to_detector=SOURCE_TO_DETECTOR,
        source_to_patient=SOURCE_TO_PATIENT,
        row_spacing=spacing,
        column_spacing=spacing,
        rows=ROWS // binning,
        columns=COLUMNS // binning,
        patient_orientation=ORIENTATIONS[name],
    )
    integrals = project(
        torch.from_numpy(density.array),
        torch.from_numpy(density.patient_from_index),
        view,
    )
    pixels = radiograph_pixels(integrals, seed=list(ORIENTATIONS).index(name))
    return Exposure(_dx(pixels, name, side, at, spacing), view)


def _dx(pixels: np.ndarray, name: ViewName, side: Side, at: datetime, spacing: float) -> Dataset:
    ds = Dataset()
    _patient_and_study(ds, side, at)
    _series(ds, name, side, at)
    _geometry(ds, name, spacing)
    _image(ds, pixels)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _patient_and_study(ds: Dataset, side: Side, at: datetime) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Phantom^Hip"
    ds.PatientID = "PHANTOM-1"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyInstanceUID = derived_uid("specimen", "study", side, at.isoformat())
    ds.StudyDate, ds.StudyTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    ds.AccessionNumber = "PHANTOM-1"
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.StudyDescription = "Phantom hip, two views"


def _series(ds: Dataset, name: ViewName, side: Side, at: datetime) -> None:
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = derived_uid("specimen", "instance", name, side, at.isoformat())
    ds.SeriesInstanceUID = derived_uid("specimen", "series", name, side, at.isoformat())
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.SeriesNumber = ds.InstanceNumber = list(ORIENTATIONS).index(name) + 1
    ds.SeriesDescription = f"Phantom hip {name}"
    ds.Manufacturer = "Osteon"
    ds.ManufacturerModelName = "Simulated radiograph"
    ds.StationName = "DEMO"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    for kind in ("Acquisition", "Content"):
        setattr(ds, f"{kind}Date", ds.StudyDate)
        setattr(ds, f"{kind}Time", ds.StudyTime)
    ds.BodyPartExamined = "HIP"
    ds.ImageLaterality = side
    ds.AnatomicRegionSequence = [_code("24136001", "Hip joint")]
    ds.ViewPosition = name
    ds.ViewCodeSequence = [_code(*VIEW_CODES[name])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []


def _geometry(ds: Dataset, name: ViewName, spacing: float) -> None:
    ds.PatientOrientation = list(ORIENTATIONS[name])
    ds.DistanceSourceToDetector = SOURCE_TO_DETECTOR
    ds.DistanceSourceToPatient = SOURCE_TO_PATIENT
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.DetectorType, ds.PositionerType = "DIRECT", "NONE"
    ds.KVP = 75
    ds.AcquisitionContextSequence = []


def _image(ds: Dataset, pixels: np.ndarray) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.BurnedInAnnotation = "NO"
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = pixels.astype("<u2").tobytes()


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code
