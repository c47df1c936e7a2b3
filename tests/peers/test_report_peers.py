"""Other people's programs read the report, and find nothing wrong with it or with its set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.encode.write import write
from pipeline.types import Assumption, Bone, Figure, ObjectKind, ResultObject, Side
from tests.factories import Kind, two_views
from tests.peer_programs import dciodvfy, run
from tests.processes import program
from tests.results import TIBIA, box, radiographs, reconstruction, request

pytestmark = pytest.mark.peer

EVERY_KIND = tuple(kind for kind in ObjectKind if kind != "notice")
"""Every kind that stands beside bones."""
KINDS = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.REPORT,
)
SID = Assumption("DistanceSourceToDetector", 1150.0, "mm", "DistanceSourceToDetector is absent")
FIGURES = (
    Figure("silhouette agreement AP", 0.934567, "", 0.8, None),
    Figure("volume", 123.456, "cm3", 5.0, 3000.0),
    Figure("pieces", 14.0, "", 1.0, 12.0),
)
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Test^Knee=試験^膝=しけん^ひざ",
}
UTF_8 = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Tést^Knée=試験^膝"}
LATIN_1 = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Tést^Kniegelänk"}
POOR = dict.fromkeys(
    ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "ReferringPhysicianName")
)
ASCII = {"SpecificCharacterSet": None}


def knee(side: Side) -> tuple[Bone, ...]:
    return (
        box("Femur", side=side, centre=(0, 0, 4)),
        box("Tibia", side=side, code=TIBIA, centre=(0, 0, -6), extents=(6, 6, 6)),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """What a report is made of."""

    bones: tuple[Bone, ...]
    keywords: dict[str, Any]
    changes: dict[str, Any]
    modality: Kind = Kind.DX
    frame: int | None = None


CASES = {
    "one right bone, every kind": Case((box(),), ASCII, {"kinds": EVERY_KIND}),
    "many left bones, Japanese": Case(knee(Side.LEFT), JAPANESE, {"side": Side.LEFT}),
    "right bones, UTF-8": Case(knee(Side.RIGHT), UTF_8, {"region": "knee"}),
    "Latin-1": Case((box(),), LATIN_1, {"side": Side.UNPAIRED, "region": "pelvis"}),
    "poor headers, no accession number": Case((box(),), ASCII | POOR, {"region": "nowhere"}),
    "computed radiography": Case((box(),), ASCII, {}, Kind.CR),
    "a run of fluoroscopy": Case((box(),), ASCII, {}, Kind.RF),
    "angiography": Case((box(),), ASCII, {}, Kind.XA, frame=1),
    "report alone": Case(knee(Side.LEFT), ASCII, {"kinds": (ObjectKind.REPORT,)}),
    "surfaces alone": Case(
        knee(Side.LEFT), ASCII, {"kinds": (ObjectKind.SURFACE_SEGMENTATION, ObjectKind.REPORT)}
    ),
}


@dataclass(frozen=True, slots=True)
class Written:
    """The files of one case."""

    sources: tuple[Path, ...]
    objects: tuple[ResultObject, ...]

    @property
    def report(self) -> Path:
        """The root of the set."""
        return self.objects[-1].path


@pytest.fixture(scope="module", params=CASES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The set of each case."""
    return _encoded(request.param, tmp_path_factory.mktemp("set"))


def _encoded(name: str, folder: Path) -> Written:
    case = CASES[name]
    images = two_views(case.modality, **case.keywords)
    wanted = request(folder, images, **({"kinds": KINDS} | case.changes))
    made = reconstruction(*case.bones, figures=FIGURES)
    objects = write(
        made,
        radiographs(images, assumptions=(SID,), side=Side.LEFT, frame_number=case.frame),
        wanted,
    )
    return Written(tuple(source.path for source in wanted.sources), objects)


def test_dciodvfy_finds_no_error_in_the_report(written: Written) -> None:
    assert dciodvfy(written.report) == []


def test_dcentvfy_finds_no_error_in_the_set_with_its_sources(written: Written) -> None:
    ran = run([program("dcentvfy"), *written.sources, *(one.path for one in written.objects)])

    assert [line for line in ran.output.splitlines() if line.startswith("Error")] == []


def test_dsrdump_reads_the_report_without_complaint(written: Written) -> None:
    ran = run([program("dsrdump"), written.report])

    complaints = [line for line in ran.output.splitlines() if re.match("[WEF]: ", line)]
    # the patient's character set, as the source has it; Debian's dcmtk 3.6.7 knows only a few
    unknown = ("W: The VR checker does not support", "W: Reading unknown/unsupported Specific")
    assert ran.is_success
    assert [line for line in complaints if not line.startswith(unknown)] == []


def test_dsr2html_shows_the_caution_and_the_scale_beside_the_numbers(written: Written) -> None:
    ran = run([program("dsr2html"), written.report])

    assert ran.is_success
    assert "MODEL FROM RADIOGRAPHS - NOT A CT. For research use; not a diagnosis." in ran.output
    text, _, annex = ran.output.partition("<h1>Annex</h1>")
    assert "ASSUMED, NOT MEASURED" in text
    assert "ASSUMED, NOT MEASURED" not in annex


def test_dsrdump_prints_every_number_with_its_unit(tmp_path: Path) -> None:
    made = _encoded("many left bones, Japanese", tmp_path)

    ran = run([program("dsrdump"), "+Pl", made.report])

    found = re.findall(r'contains NUM:\(,,"([^"]+)"\)="([^"]+)" \(([^,]+),UCUM', ran.output)
    assert found == [
        ("Volume", "0.672", "cm3"),
        ("Extent left-right", "8", "mm"),
        ("Extent antero-posterior", "6", "mm"),
        ("Extent head-foot", "14", "mm"),
        ("Volume", "0.216", "cm3"),
        ("Extent left-right", "6", "mm"),
        ("Extent antero-posterior", "6", "mm"),
        ("Extent head-foot", "6", "mm"),
        ("silhouette agreement AP", "0.935", "1"),
        ("volume", "123.5", "cm3"),
        ("pieces", "14", "1"),
    ]
    assert ran.output.count('"Scale")="ASSUMED, NOT MEASURED"') == 9


@pytest.mark.parametrize("name", ["many left bones, Japanese", "right bones, UTF-8", "Latin-1"])
def test_dcmdump_reads_the_name_of_the_patient_as_the_source_has_it(
    tmp_path: Path, name: str
) -> None:
    made = _encoded(name, tmp_path)

    names = [
        run([program("dcmdump"), "-q", "+P", "PatientName", path]).output
        for path in (made.sources[0], made.report)
    ]

    assert names[0] == names[1]
    assert "PatientName" in names[0]
