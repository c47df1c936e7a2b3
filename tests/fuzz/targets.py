"""What must hold for any bytes: of a header, of a radiograph, and of the rules that look at it.

Each target takes bytes and returns; whatever it raises is a bug. The first byte of those for files
chooses the transfer syntax, so that a fuzzer can turn it, too.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from pydicom import config
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info

from node.header import Header, UnreadableHeaderError, is_uid, read_header
from node.routing import Declined, Routed, route
from node.sop_classes import RECEIVED_TRANSFER_SYNTAXES
from pipeline.attributes import LONGEST_TEXT
from pipeline.errors import PipelineError
from pipeline.radiograph import read
from pipeline.types import Assume, Source, ViewName
from tests.factories import Kind, uid
from tests.fuzz.corpus import header_of
from tests.studies import rule, study_of

SOP_INSTANCE_UID: Final = uid("fuzz")
ASSUMED: Final = Assume(1150.0, 1000.0, 0.2, patient_orientation=True)
RULES: Final = (
    rule("pattern", match={"study_description": {"pattern": r"^(hip|knee)\s.*ap$"}}),
    rule("texts", match={"modality": {"one_of": ["CR", "DX"]}, "station_name": {"contains": "1"}}),
    rule("all", match={"called_ae_title": "OSTEON"}, assume={"side": "R"}),
)


def read_as_the_node_does() -> None:
    """pydicom neither warns of values nor logs them, as in the node."""
    config.settings.reading_validation_mode = config.IGNORE
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def header(data: bytes) -> None:
    """A header is read as the rows need it, or refused by name."""
    try:
        _check(read_header(_stored(data)))
    except UnreadableHeaderError:
        return


def radiograph(data: bytes) -> None:
    """A radiograph is read, or refused for a reason."""
    try:
        found = read(Source(_stored(data), SOP_INSTANCE_UID, ""), ViewName.AP, ASSUMED)
    except PipelineError:
        return
    assert found.attenuation.ndim == 2
    assert found.attenuation.shape == found.is_valid.shape


def rules(data: bytes) -> None:
    """A study of two images is routed or declined with reasons, whatever their headers say."""
    half = len(data) // 2
    images = [header_of(part) for part in (data[:half], data[half:])]
    study = study_of(*images)
    routed = route(study, RULES)
    match routed:
        case Declined(reasons, _):
            assert reasons
        case Routed(cases):
            assert cases
    assert route(replace(study, images=study.images), RULES) == routed


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "header": header,
    "radiograph": radiograph,
    "rules": rules,
}


def _check(found: Header) -> None:
    assert is_uid(found.study_instance_uid)
    assert is_uid(found.series_instance_uid)
    text = json.dumps(dict(found.attributes), allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert "\\u0000" not in text
    assert len(text) < 200 * LONGEST_TEXT


def _stored(data: bytes) -> Path:
    """A file as the receiver writes it: its own file meta information, then what the peer sent."""
    number, rest = (data[0], data[1:]) if data else (0, b"")
    syntax = RECEIVED_TRANSFER_SYNTAXES[number % len(RECEIVED_TRANSFER_SYNTAXES)]
    path = _folder() / "received.dcm"
    path.write_bytes(_meta(syntax) + rest)
    return path


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="osteon-fuzz-"))


@cache
def _meta(syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = Kind.DX
    meta.MediaStorageSOPInstanceUID = SOP_INSTANCE_UID
    buffer = io.BytesIO(b"\0" * 128 + b"DICM")
    buffer.seek(132)
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue()
