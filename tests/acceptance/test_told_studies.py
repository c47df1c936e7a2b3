"""Whoever waits for bones that do not come finds one page with the reason in the PACS."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from storage.lifecycle import State
from storage.records import StudyState
from tests.factories import file_bytes, radiograph, uid
from tests.node_process import HIP_RULE, Node, destination
from tests.orthanc import Orthanc
from tests.peer_programs import Address, storescu
from tests.processes import wait_until

pytestmark = pytest.mark.peer

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def classes(orthanc: Orthanc, study: str) -> list[str]:
    """The SOP classes of what the PACS holds of a study."""
    files = (orthanc.file(each) for each in orthanc.sop_instance_uids(study))
    read = (pydicom.dcmread(BytesIO(file), stop_before_pixels=True) for file in files)
    return [str(ds.SOPClassUID) for ds in read]


def test_a_lone_view_is_told_and_the_late_one_is_reconstructed_as_usual(
    a_node: Callable[..., Node], orthanc: Orthanc, phantom_files: tuple[Path, Path], study: str
) -> None:
    to = destination("pacs", Address(orthanc.ae_title, orthanc.dicom_port))
    node = a_node(destinations=[to], rules=[{**HIP_RULE, "notify_declined": True}])
    ap, ll = phantom_files

    assert storescu(node.address, ap).is_success
    notice = node.reached(study, {State.DELIVERED, State.FAILED})
    told = classes(orthanc, study)
    declined = node.study(study)
    assert storescu(node.address, ll).is_success
    orthanc.wait_for(lambda: len(orthanc.sop_instance_uids(study)) > 1, "the bones come")
    wait_until(lambda: node.jobs(study)[0].state is State.DELIVERED, 60, "the result is delivered")

    assert notice.state is State.DELIVERED, notice.reason
    assert declined is not None
    assert declined.state is StudyState.DECLINED
    assert told == [SECONDARY_CAPTURE]
    result, first = node.jobs(study)
    assert (first.made_of.model, result.made_of.model) == ("notice", "visual-hull")
    assert "notice that nothing was reconstructed" in node.osteon("show", first.id).output


def test_a_study_that_no_rule_takes_is_told_where_the_settings_name_somebody(
    a_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    to = destination("pacs", Address(orthanc.ae_title, orthanc.dicom_port))
    node = a_node(destinations=[to], notices={"destinations": ["pacs"]})
    chest = tmp_path / "chest.dcm"
    chest.write_bytes(file_bytes(radiograph(study="a chest", BodyPartExamined="CHEST")))
    study = uid("study", "a chest")

    assert storescu(node.address, chest).is_success
    notice = node.finished(study)

    assert notice.state is State.DELIVERED, notice.reason
    assert classes(orthanc, study) == [SECONDARY_CAPTURE]
    assert "No rule takes this study" in node.osteon("show", notice.id).output
