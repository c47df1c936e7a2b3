"""Asking the PACS how many instances a study has: evidence that nothing more is to come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)
from sqlalchemy.engine import Engine

from node.asking import listed
from node.checkpoint import keep_answers
from node.descriptors import on_opened
from node.settings import Destination, Settings
from storage import database, ledger, queries

log = structlog.get_logger()


def take(engine: Engine, settings: Settings, clock: Callable[[], datetime]) -> None:
    """Every waiting study that nobody is sending has been counted at the PACS that is asked."""
    destination = settings.destination(settings.completeness.ask or "")
    if destination is None:
        return
    with database.reading(engine) as conn:
        waiting = [
            study
            for study in queries.waiting_studies(conn)
            if queries.open_transfers(conn, study.study_instance_uid) == 0
        ]
    for study in waiting:
        counted = count(study.study_instance_uid, destination, settings.receiver.ae_title)
        if counted is not None:
            with database.begin(engine) as conn:
                ledger.count_study(conn, study.study_instance_uid, study.revision, counted)


def count(study_instance_uid: str, destination: Destination, calling_ae_title: str) -> int | None:
    """How many instances the destination has of the study; None where it does not say.

    A PACS need not know the number (dcmqrscp does not): then its instances are listed and counted.

    Source: PS3.4 C.6.2.1, Number of Study Related Instances (0020,1208), an optional key.
    """
    said = _said(study_instance_uid, destination, calling_ae_title)
    if said is None or said > 0:
        return said
    found = listed(study_instance_uid, destination, calling_ae_title)
    if found is None or not found.sop_instance_uids:
        return None
    return len(found.sop_instance_uids)


def _said(study_instance_uid: str, destination: Destination, calling_ae_title: str) -> int | None:
    """The number that it says; 0 if it has the study and says none, None if it has not answered."""
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = destination.connect_timeout_s
    ae.acse_timeout = destination.connect_timeout_s
    ae.dimse_timeout = destination.response_timeout_s
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    question = Dataset()
    question.QueryRetrieveLevel = "STUDY"
    question.StudyInstanceUID = study_instance_uid
    question.NumberOfStudyRelatedInstances = None
    assoc = ae.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        evt_handlers=[(evt.EVT_CONN_OPEN, on_opened)],
    )
    if not assoc.is_established:
        log.warning("census_failed", to=destination.name)
        return None
    keep_answers(assoc)
    try:
        answers = assoc.send_c_find(question, StudyRootQueryRetrieveInformationModelFind)
        for _status, found in answers:
            if found is not None:
                return int(found.get("NumberOfStudyRelatedInstances") or 0)
    finally:
        assoc.release()
    return None
