"""A notice as a Secondary Capture: one page that says why a study has no bones.

It is made of the headers of the sources alone: their pixels may be what is wrong. A source whose
header cannot be read either is counted, and said to be unreadable; the page goes to the study of
the others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from pipeline.encode.capture import footer, put_pixels, put_secondary_capture
from pipeline.encode.codes import SOURCE_IMAGE, code_item
from pipeline.encode.common import Result, printable, software_version
from pipeline.encode.sources import UNPARSABLE, read_heading
from pipeline.encode.write import written
from pipeline.errors import StudyError
from pipeline.notice import Notice, notice_page
from pipeline.types import (
    Algorithm,
    NoticeOf,
    ObjectKind,
    Reconstructed,
    Reconstruction,
    Request,
    Source,
)
from pipeline.wording import titled

MODEL = "notice"
"""The model of a request that asks for a notice and not for bones."""
TITLES = {
    NoticeOf.DECLINED: "Declined: no 3D bones were made of this study",
    NoticeOf.REFUSED: "Not possible: no 3D bones from these radiographs",
    NoticeOf.WITHHELD: "Withheld: the 3D bones did not pass the quality checks",
}
ADVICE = (
    "Read the radiographs as always: this page says nothing about them.",
    "Mend what is named above and send the study again, or ask whoever runs the node.",
)
READ = ("SOPClassUID", "Modality", "ViewPosition", "BodyPartExamined", "ImageLaterality")
WORD = re.compile(r"[A-Z0-9 _]{1,16}")
"""A code string (PS3.5 6.2); what is none may be anything, a name among it, and is not shown."""


@dataclass(frozen=True, slots=True)
class _Received:
    """A source whose header could be read."""

    source: Source
    header: Dataset


def write_notice(request: Request) -> Reconstructed:
    """The notice lies in `request.folder`, durably; no pixel was read.

    The same request gives the same bytes; other reasons give another object.

    Raises:
        StudyError: no source can be read, or they are of several patients or studies.
    """
    received = _readable(request.sources)
    algorithm = Algorithm("Osteon notice", software_version())
    heading = read_heading([one.source for one in received])
    result = Result(Reconstruction((), algorithm), (), request, heading)
    objects = written([(ObjectKind.NOTICE, _object(result, received))], request.folder)
    return Reconstructed(objects, algorithm, request.assumptions, ())


def _readable(sources: Sequence[Source]) -> list[_Received]:
    found: list[_Received] = []
    fault: Exception | None = None
    for source in sorted(sources, key=lambda one: one.sop_instance_uid):
        try:
            header = dcmread(source.path, stop_before_pixels=True, specific_tags=list(READ))
            read_heading([source])
        except (*UNPARSABLE, StudyError) as error:
            fault = error
            continue
        found.append(_Received(source, header))
    if not found:
        raise StudyError("No image of the study can be read") from fault
    return found


def _object(result: Result, received: Sequence[_Received]) -> Dataset:
    request = result.request
    title = TITLES[request.notice_of]
    page = Notice(title, request.reasons, _lines(received, request), ADVICE, footer(result))
    said = hashlib.sha256(json.dumps([title, *request.reasons]).encode()).hexdigest()
    ds = Dataset()
    put_secondary_capture(
        ds, result, ObjectKind.NOTICE, SecondaryCaptureImageStorage, f"notice {said}"
    )
    told = f"{request.notice_of.upper()}: why no 3D bones, {_part(request)}"
    ds.SeriesDescription = printable(told, 64)
    put_pixels(ds, notice_page(page))
    reasons = " ".join(request.reasons)
    ds.DerivationDescription = printable(f"{title}. {reasons}", 1024)
    ds.ImageComments = printable(f"{title}. {reasons}", 10240)
    ds.SourceImageSequence = [_reference(one) for one in received]
    # the page shows no pixel of a radiograph, and its words never name the patient
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.ImageLaterality = str(request.side)
    return ds


def _lines(received: Sequence[_Received], request: Request) -> tuple[str, ...]:
    """What came in, alike images counted: "2 x DX, HIP, AP"."""
    counted = Counter(_described(one.header) for one in received)
    unread = len(request.sources) - len(received)
    lines = [f"{count} x {what}" for what, count in sorted(counted.items())]
    lines += [f"{unread} x an image that cannot be read"] if unread else []
    if request.views:
        lines.append(f"Expected for {_part(request)}: {', '.join(request.views)}")
    return tuple(lines)


def _part(request: Request) -> str:
    return titled(request.region, request.side) or "the study"


def _described(header: Dataset) -> str:
    said = [_word(header, keyword) for keyword in READ[1:]]
    modality, view, part, side = said
    return ", ".join(
        word for word in (modality or "image", part, side, view or "view not told") if word
    )


def _word(header: Dataset, keyword: str) -> str:
    """The code string as its bytes say it: pydicom would put an illegal one into a warning."""
    value = _raw(header, keyword)
    return value if WORD.fullmatch(value) else ""


def _raw(header: Dataset, keyword: str) -> str:
    if keyword not in header:
        return ""
    value = header.get_item(keyword).value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def _reference(one: _Received) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = _raw(one.header, "SOPClassUID")
    item.ReferencedSOPInstanceUID = one.source.sop_instance_uid
    item.SpatialLocationsPreserved = "NO"
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    return item
