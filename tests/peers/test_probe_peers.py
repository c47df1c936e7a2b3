"""A test set is sent to real PACS programs, and what they keep is asked back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.types import ObjectKind
from tests.node_process import Node, destination
from tests.orthanc import running_orthanc
from tests.peer_programs import Address, running_storescp

pytestmark = pytest.mark.peer

NOT_SENT = {"notice"}


def test_orthanc_takes_keeps_and_gives_back_the_whole_set_but_for_the_label_map(
    tmp_path: Path,
) -> None:
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        to = Address(orthanc.ae_title, orthanc.dicom_port)
        node = Node(tmp_path / "node", destinations=[destination("pacs", to)], rules=())
        orthanc.know("osteon", node.address.ae_title, node.address.port)

        ran = node.osteon("doctor", "--destination", "pacs", "--send-test-set", "--json")
        found = json.loads(ran.output[ran.output.index("{") :])
        made = found["rehearsal"]
        held = orthanc.sop_instance_uids(made["study_instance_uid"])
        study = orthanc.get(f"/studies/{orthanc.id_of(made['study_instance_uid'])}")

    answered = {each["kind"]: each for each in made["answered"]}
    assert ran.is_success, ran.output
    assert set(answered) == set(ObjectKind) - NOT_SENT
    assert {k for k, each in answered.items() if each["accepted"] < each["objects"]} <= {"labelmap"}
    assert made["lost"] == []
    assert made["kept"]["instances"] == made["accepted"] == len(held)
    assert made["returned"] == {"same": made["accepted"], "changed": [], "missing": 0}
    assert (made["committed"]["committed"], made["committed"]["failed"]) == (made["accepted"], 0)
    assert made["moved"] == {"came": made["accepted"], "status": 0x0000}
    assert made["is_found"] is True
    lies = " ".join(found["advice"])
    for words in ("OSTEON-TEST", made["study_instance_uid"], "stays in 'pacs'", "deleted"):
        assert words in lies
    assert study["PatientMainDicomTags"]["PatientName"] == "Phantom^Osteon"
    assert {"segmentation", "surface-segmentation", "stl", "report"} <= set(found["kinds"])


def test_storescp_says_what_it_takes_without_being_sent_anything(tmp_path: Path) -> None:
    with running_storescp(tmp_path / "storescp") as to:
        node = Node(tmp_path / "node", destinations=[destination("pacs", to)], rules=())

        ran = node.osteon("doctor", "--destination", "pacs", "--json")

    found = json.loads(ran.output[ran.output.index("{") :])
    assert ran.is_success
    assert found["services"] == []
    assert {"model-volume", "segmentation", "surface-segmentation"} <= set(found["kinds"])
    assert "labelmap" not in found["kinds"]
    assert list((tmp_path / "storescp" / "received").iterdir()) == []
