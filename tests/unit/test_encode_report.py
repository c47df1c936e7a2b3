"""The report as highdicom reads it back: every number, every reference, every word of caution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from pipeline.encode.report import NAMES
from pipeline.encode.write import write
from pipeline.types import (
    Algorithm,
    Assumption,
    Figure,
    Mesh,
    ObjectKind,
    Reconstruction,
    ResultObject,
    Side,
    ViewName,
)
from tests.factories import radiograph, two_views
from tests.results import TIBIA, box, radiographs, reconstruction, request

REPORT = ObjectKind.REPORT
OTHERS = (ObjectKind.MODEL_VOLUME, ObjectKind.SEGMENTATION, ObjectKind.SURFACE_SEGMENTATION)
KINDS = (*OTHERS, REPORT)
CAUTION = "MODEL FROM RADIOGRAPHS - NOT A CT. For research use; not a diagnosis."
SID = Assumption("DistanceSourceToDetector", 1150.0, "mm", "DistanceSourceToDetector is absent")
FIGURES = (
    Figure("silhouette agreement AP", 0.934567, "", 0.8, None),
    Figure("volume", 123.456, "cm3", 5.0, 3000.0),
    Figure("pieces", 14.0, "", 1.0, 12.0),
    Figure("note without limits", 2.5, "mm"),
)
EXTENTS = {"EXTENT-LR": 8.0, "EXTENT-AP": 6.0, "EXTENT-HF": 14.0}
"""The box of tests.results along x, y and z."""


def two_bones(side: Side = Side.LEFT) -> tuple[Any, ...]:
    return (
        box("Femur", side=side),
        box("Tibia", code=TIBIA, side=side, centre=(0, 0, -5), extents=(6, 6, 6)),
    )


def encode(
    folder: Path,
    made: Reconstruction | None = None,
    images: list[Dataset] | None = None,
    seen: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[ResultObject, ...]:
    """What is written of `made`; `seen` changes the radiographs, `changes` the request."""
    images = two_views() if images is None else images
    wanted = request(folder, images, **({"kinds": KINDS} | changes))
    named = [
        replace(one, view=replace(one.view, name=ViewName(ds.ViewPosition)))
        for one, ds in zip(radiographs(images, **(seen or {})), images, strict=True)
    ]
    return write(made or reconstruction(), tuple(named), wanted)


def tree(written: tuple[ResultObject, ...]) -> hd.sr.Comprehensive3DSR:
    (one,) = (one for one in written if one.kind is REPORT)
    return hd.sr.srread(one.path)


def items(node: Dataset) -> Iterator[Dataset]:
    """Every content item below `node`, in the order of reading."""
    for child in node.get("ContentSequence", []):
        yield child
        yield from items(child)


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def number(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def unit(item: Dataset) -> str:
    return str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue)


def texts(node: Dataset, code: str) -> list[str]:
    return [i.TextValue for i in items(node) if i.ValueType == "TEXT" and name(i) == code]


def uids(node: Dataset, code: str) -> list[str]:
    return [str(i.UID) for i in items(node) if i.ValueType == "UIDREF" and name(i) == code]


def groups(report: Dataset) -> list[Dataset]:
    return [item for item in items(report) if name(item) == "125007"]


def measures(group: Dataset) -> dict[str, Dataset]:
    return {name(item): item for item in group.ContentSequence if item.ValueType == "NUM"}


def test_each_bone_has_the_volume_and_the_extents_of_its_surface(tmp_path: Path) -> None:
    report = tree(encode(tmp_path, reconstruction(*two_bones())))

    femur, tibia = groups(report)
    expected = {"118565006": 8 * 6 * 14 / 1000} | EXTENTS
    assert {code: number(item) for code, item in measures(femur).items()} == expected
    assert {unit(item) for item in measures(femur).values()} == {"cm3", "mm"}
    assert unit(measures(femur)["118565006"]) == "cm3"
    expected = {"118565006": 0.216} | dict.fromkeys(EXTENTS, 6.0)
    assert {code: number(item) for code, item in measures(tibia).items()} == expected


def test_every_measure_of_a_bone_is_said_to_be_an_estimate(tmp_path: Path) -> None:
    report = tree(encode(tmp_path))

    (group,) = groups(report)
    for item in measures(group).values():
        derivations = [i for i in items(item) if name(i) == "121401"]
        assert [i.ConceptCodeSequence[0].CodeValue for i in derivations] == ["414135002"]


def test_numbers_have_three_or_from_100_on_four_digits_and_no_idle_zeros(tmp_path: Path) -> None:
    bone = box(extents=(8.123456, 126.789, 14.0))
    figures = (Figure("pieces", 3.0, ""), Figure("huge", 1.23456e20, ""))

    report = tree(encode(tmp_path, reconstruction(bone, figures=figures)))

    bones, quality = groups(report)
    written = [
        str(item.MeasuredValueSequence[0].NumericValue)
        for group in (bones, quality)
        for item in measures(group).values()
    ]
    assert written == ["14.4", "8.12", "126.8", "14", "3", "1.235e+20"]


def test_a_surface_that_is_not_closed_has_no_volume(tmp_path: Path) -> None:
    bone = box()
    torn = replace(bone, mesh=Mesh(bone.mesh.vertices, bone.mesh.faces[1:]))

    report = tree(encode(tmp_path, reconstruction(torn)))

    (group,) = groups(report)
    assert {code: number(item) for code, item in measures(group).items()} == EXTENTS


def test_each_bone_is_tracked_as_in_the_segmentation_and_in_the_surfaces(tmp_path: Path) -> None:
    written = encode(tmp_path, reconstruction(*two_bones()))
    tracked = [
        [(item.TrackingID, item.TrackingUID) for item in dcmread(one.path).SegmentSequence]
        for one in written
        if one.kind in {ObjectKind.SEGMENTATION, ObjectKind.SURFACE_SEGMENTATION}
    ]

    found = tree(written).content.get_volumetric_roi_measurement_groups()

    assert [(one.tracking_identifier, one.tracking_uid) for one in found] == tracked[0]
    assert tracked[0] == tracked[1]
    assert len(set(tracked[0])) == 2


def test_each_bone_is_found_by_its_tracking_uid_and_points_at_its_segment(tmp_path: Path) -> None:
    written = encode(tmp_path, reconstruction(*two_bones()))
    segmentation = dcmread(written[-3].path)
    report = tree(written)

    for segment in segmentation.SegmentSequence:
        (group,) = report.content.get_volumetric_roi_measurement_groups(
            tracking_uid=segment.TrackingUID
        )
        reference, source = group.referenced_segment
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_segment_numbers == [segment.SegmentNumber]
        assert source.value == dcmread(written[0].path).SeriesInstanceUID
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert group.finding_type.value == kind.CodeValue


@pytest.mark.parametrize(("side", "expected"), [("R", "24028007"), ("L", "7771000"), ("U", None)])
def test_the_finding_site_is_the_region_with_the_side(
    tmp_path: Path, side: str, expected: str | None
) -> None:
    bone = box(side=Side(side))

    report = tree(encode(tmp_path, reconstruction(bone), side=Side(side), region="hip"))

    (group,) = report.content.get_volumetric_roi_measurement_groups()
    (site,) = group.finding_sites
    assert group.finding_type == PydicomCode("71341001", "SCT", "Femur")
    assert site.value == PydicomCode("29836001", "SCT", "Hip")
    assert (site.laterality.value if site.laterality else None) == expected


def test_a_region_without_a_code_falls_back_on_the_bone(tmp_path: Path) -> None:
    report = tree(encode(tmp_path, region="somewhere\\else \x1b"))

    (group,) = report.content.get_volumetric_roi_measurement_groups()
    assert group.finding_sites[0].value == PydicomCode("71341001", "SCT", "Femur")


def test_every_quality_figure_has_its_value_unit_limits_and_verdict(tmp_path: Path) -> None:
    report = tree(encode(tmp_path, reconstruction(figures=FIGURES)))

    quality = groups(report)[-1]
    found = {}
    for item in measures(quality).values():
        below = {name(i): i for i in items(item)}
        limits = [number(below[c]) if c in below else None for c in ("LOWEST", "HIGHEST")]
        verdict = below.get("WITHIN-LIMITS")
        said = None if verdict is None else verdict.ConceptCodeSequence[0].CodeMeaning
        found[meaning(item)] = (number(item), unit(item), *limits, said)
    assert found == {
        "silhouette agreement AP": (0.935, "1", 0.8, None, "Yes"),
        "volume": (123.5, "cm3", 5.0, 3000.0, "Yes"),
        "pieces": (14.0, "1", 1.0, 12.0, "No"),
        "note without limits": (2.5, "mm", None, None, None),
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_that_is_no_number_is_said_in_words(tmp_path: Path, value: float) -> None:
    figures = (Figure("scale of the views", value, "", 0.88, 1.14),)

    report = tree(encode(tmp_path, reconstruction(figures=figures)))

    assert texts(report, "UNMEASURED") == [f"scale of the views: {value}"]
    assert len(groups(report)) == 1


def test_the_caution_stands_before_the_first_number(tmp_path: Path) -> None:
    report = tree(encode(tmp_path))

    kinds = [(item.ValueType, item.get("TextValue")) for item in items(report)]
    first = next(place for place, (kind, _) in enumerate(kinds) if kind == "NUM")
    assert ("TEXT", CAUTION) in kinds[:first]


def test_every_assumption_is_said_with_its_value_reason_and_views(tmp_path: Path) -> None:
    side = Assumption("ImageLaterality", "R", "", "the rule says so")

    report = tree(
        encode(tmp_path, reconstruction(assumptions=(side,)), seen={"assumptions": (SID,)})
    )

    assert texts(report, "ASSUMPTION") == [
        "ImageLaterality R (the rule says so)",
        "DistanceSourceToDetector 1150 mm (DistanceSourceToDetector is absent); views AP, LL",
    ]


def test_an_assumption_of_two_values_is_readable(tmp_path: Path) -> None:
    turned = Assumption("PatientOrientation", "L\\F", "", "absent")

    report = tree(encode(tmp_path, reconstruction(assumptions=(turned,))))

    assert texts(report, "ASSUMPTION") == ["PatientOrientation L/F (absent)"]


def test_a_report_without_assumptions_says_so(tmp_path: Path) -> None:
    report = tree(encode(tmp_path))

    assert texts(report, "ASSUMPTION") == []
    assert texts(report, "NO-ASSUMPTION") == ["None: geometry as in the image headers"]


def test_every_length_says_that_the_scale_was_assumed(tmp_path: Path) -> None:
    made = reconstruction(*two_bones(), figures=FIGURES)

    report = tree(encode(tmp_path, made, seen={"assumptions": (SID,)}))

    for group in groups(report):
        for item in measures(group).values():
            expected = ["ASSUMED, NOT MEASURED"]
            assert texts(item, "SCALE") == (expected if unit(item) in {"mm", "cm3"} else [])


def test_no_length_says_so_where_only_the_side_was_assumed(tmp_path: Path) -> None:
    side = Assumption("ImageLaterality", "R", "", "the rule says so")

    report = tree(encode(tmp_path, reconstruction(assumptions=(side,), figures=FIGURES)))

    assert texts(report, "SCALE") == []


def test_the_evidence_is_every_radiograph_and_every_other_object(tmp_path: Path) -> None:
    images = two_views()

    written = encode(tmp_path, images=images)

    expected = {
        (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, ds.SOPClassUID)
        for ds in [*images, *(dcmread(one.path) for one in written[:-1])]
    }
    found = tree(written).get_evidence(current_procedure_only=True)
    assert len(found) == len(expected)
    assert {tuple(str(uid) for uid in one) for one in found} == expected


@pytest.mark.parametrize("kinds", [KINDS, (REPORT,), (*OTHERS[1:], REPORT)])
def test_every_reference_of_the_tree_is_among_the_evidence(
    tmp_path: Path, kinds: tuple[ObjectKind, ...]
) -> None:
    report = tree(encode(tmp_path, kinds=kinds))

    series = {str(one[1]) for one in report.get_evidence()}
    instances = {str(one[2]) for one in report.get_evidence()}
    for item in items(report):
        if item.ValueType in {"IMAGE", "COMPOSITE"}:
            assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in instances
        if name(item) in {"VOLUME", "121232"}:
            assert item.UID in series


def test_the_root_refers_to_every_object_of_the_set(tmp_path: Path) -> None:
    kinds = tuple(kind for kind in ObjectKind if kind in {*NAMES, REPORT})

    written = encode(tmp_path, reconstruction(*two_bones()), kinds=kinds)

    (container,) = (item for item in items(tree(written)) if name(item) == "RESULT-SET")
    found = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in container.ContentSequence
        if item.ValueType in {"IMAGE", "COMPOSITE"}
    }
    others = {ObjectKind.MODEL_VOLUME, REPORT}
    assert found == {one.sop_instance_uid for one in written if one.kind not in others}
    (volume,) = (item.UID for item in container.ContentSequence if item.ValueType == "UIDREF")
    assert volume == dcmread(written[0].path).SeriesInstanceUID


def test_the_root_is_written_last(tmp_path: Path) -> None:
    for number_, kinds in enumerate((KINDS, KINDS[::-1])):
        written = encode(tmp_path / str(number_), kinds=kinds)

        assert [one.kind for one in written].count(REPORT) == 1
        assert written[-1].kind is REPORT


def test_every_kind_of_object_has_a_name_in_the_report() -> None:
    assert set(ObjectKind) - set(NAMES) <= {REPORT, "notice"}
    assert len({code.value for code in NAMES.values()}) == len(NAMES)


def test_without_a_segmentation_the_groups_name_the_radiographs(tmp_path: Path) -> None:
    images = two_views()

    report = tree(encode(tmp_path, images=images, kinds=(ObjectKind.SURFACE_SEGMENTATION, REPORT)))

    (group,) = report.content.get_image_measurement_groups()
    found = {one.referenced_sop_instance_uid for one in group.source_images}
    assert found == {ds.SOPInstanceUID for ds in images}


def test_without_a_volume_the_segment_names_the_radiographs_as_its_source(tmp_path: Path) -> None:
    images = two_views()

    report = tree(encode(tmp_path, images=images, kinds=(ObjectKind.SEGMENTATION, REPORT)))

    sources = [item for item in items(report) if name(item) == "121233"]
    found = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in sources}
    assert found == {ds.SOPInstanceUID for ds in images}


def test_the_report_is_complete_unverified_and_preliminary(tmp_path: Path) -> None:
    report = tree(encode(tmp_path))

    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.Modality == "SR"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert "FrameOfReferenceUID" not in report


def test_the_algorithm_is_the_same_in_the_equipment_the_observer_and_the_tree(
    tmp_path: Path,
) -> None:
    made_by = Algorithm("Lifting network", "2.1.0", "ab" * 32, (("grid", "128"),))

    written = encode(tmp_path, reconstruction(algorithm=made_by, figures=FIGURES))

    report = tree(written)
    for one in (written[0], *written[-3:]):
        devices = dcmread(one.path).ContributingEquipmentSequence
        (device,) = (
            item for item in devices if item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        )
        assert device.Manufacturer == "Osteon"
        assert (device.ManufacturerModelName, device.SoftwareVersions) == (made_by.name, "2.1.0")
        assert device.DeviceUID == uids(report, "121012")[0]
    (observer,) = report.content.get_observer_contexts(codes.DCM.Device)
    attributes = observer.observer_identifying_attributes
    assert (attributes.name, attributes.manufacturer_name) == ("node-1", "Osteon")
    assert attributes.model_name == made_by.name
    assert set(texts(report, "111001")) == {made_by.name}
    assert set(texts(report, "111003")) == {"2.1.0"}
    assert set(texts(report, "111002")) == {"grid=128", f"weights_sha256={'ab' * 32}"}


@pytest.mark.parametrize(
    ("coded", "said"),
    [
        ((("RPID1", "99RIS", "Hip, two views"),), [("RPID1", "99RIS", "Hip, two views")]),
        # a code without its scheme is none, and Japanese would be legal in one character set only
        ((("RPID1", "", "Hip"), ("T1", "99TEST", "\u819d")), None),
        ((), None),
    ],
)
def test_the_procedure_reported_is_the_imaging_procedure_of_the_study(
    tmp_path: Path, coded: tuple[tuple[str, ...], ...], said: list[tuple[str, ...]] | None
) -> None:
    sequence = [_code(*one) for one in coded]
    images = two_views(SpecificCharacterSet="ISO_IR 192", ProcedureCodeSequence=sequence)

    report = tree(encode(tmp_path, images=images))

    found = [
        item.ConceptCodeSequence[0]
        for item in items(report)
        if item.get("ValueType") == "CODE" and name(item) == "121058"
    ]
    # PS3.16 CID 100: where nothing is coded, an X-ray of an unspecified part
    expected = said or [("43468-8", "LN", "XR unspecified body region")]
    assert [(c.CodeValue, c.CodingSchemeDesignator, c.CodeMeaning) for c in found] == expected


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, meaning
    if scheme:
        item.CodingSchemeDesignator = scheme
    return item


def test_other_weights_are_another_device(tmp_path: Path) -> None:
    devices = set()
    for digest in ("", "ab" * 32, "cd" * 32):
        made = reconstruction(algorithm=Algorithm("Lifting", "1", digest))
        devices |= set(uids(tree(encode(tmp_path / digest, made)), "121012"))

    assert len(devices) == 3


def test_the_library_names_modality_view_side_and_orientation(tmp_path: Path) -> None:
    images = two_views()

    report = tree(encode(tmp_path, images=images, seen={"side": Side.LEFT}))

    (library,) = (item for item in items(report) if name(item) == "111028")
    images_in_it = [item for item in items(library) if item.ValueType == "IMAGE"]
    assert len(images_in_it) == 2
    for image in images_in_it:
        uid = image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        (ds,) = (one for one in images if one.SOPInstanceUID == uid)
        coded = {
            name(i): i.ConceptCodeSequence[0].CodeValue
            for i in items(image)
            if i.ValueType == "CODE"
        }
        assert coded["121139"] == "DX"
        assert coded["111027"] == "7771000"
        assert coded["111031"] == {"AP": "399348003", "LL": "399173006"}[ds.ViewPosition]
        assert [*texts(image, "111044"), *texts(image, "111043")] == list(ds.PatientOrientation)
        assert number(next(i for i in items(image) if name(i) == "110910")) == ds.Rows


def test_a_radiograph_with_a_poor_header_is_in_the_library_all_the_same(tmp_path: Path) -> None:
    poor = {"Modality": "OT", "PatientOrientation": None, "ImagerPixelSpacing": None}
    images = [radiograph(view="AP", **poor), radiograph(view="LL", **poor)]

    report = tree(encode(tmp_path, images=images))

    (library,) = (item for item in items(report) if name(item) == "111028")
    assert len([item for item in items(library) if item.ValueType == "IMAGE"]) == 2
    assert not [item for item in items(library) if name(item) in {"121139", "111044"}]


def test_a_frame_of_a_run_is_referred_to_as_that_frame(tmp_path: Path) -> None:
    report = tree(encode(tmp_path, reconstruction(figures=FIGURES), seen={"frame_number": 7}))

    frames = {
        int(item.ReferencedSOPSequence[0].get("ReferencedFrameNumber", 0))
        for item in items(report)
        if item.ValueType == "IMAGE" and name(item) in {"260753009", "121112"}
    }
    assert frames == {7}


def test_the_same_request_gives_the_same_bytes_at_any_hour(tmp_path: Path) -> None:
    made = reconstruction(*two_bones(), figures=FIGURES)

    first, second = (
        encode(tmp_path / run, made, seen={"assumptions": (SID,)})[-1].sha256 for run in "ab"
    )

    assert first == second


def test_the_date_and_the_time_are_those_of_the_request(tmp_path: Path) -> None:
    report = tree(encode(tmp_path))

    assert (report.ContentDate, report.ContentTime) == ("20260102", "123015")
    assert (report.InstanceCreationDate, report.InstanceCreationTime) == ("20260102", "123015")


def test_a_mesh_that_cannot_be_measured_makes_no_report(tmp_path: Path) -> None:
    bone = box()
    broken = replace(bone, mesh=Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])))

    with pytest.raises(Exception, match="not finite"):
        encode(tmp_path, reconstruction(broken), kinds=(REPORT,))


def test_every_word_is_printable_ascii_whatever_a_rule_or_an_engine_says(tmp_path: Path) -> None:
    odd = Assumption("Größe\\x", "ä\x1b", "", "weil\nso")
    figures = (Figure("Übereinstimmung\\AP " * 9, 0.5, "µm", 0.1, 0.9),)
    engine = Algorithm("Hülle\\", "1\\2", "", (("größe", "ß"),))
    made = reconstruction(assumptions=(odd,), figures=figures, algorithm=engine)

    report = tree(encode(tmp_path, made, node="Röntgen\\1"))

    for item in items(report):
        words = [str(item.get("TextValue", "")), meaning(item)]
        assert all(word.isascii() and word.isprintable() for word in words)
        assert len(meaning(item)) <= 64
        assert len(name(item)) <= 16
