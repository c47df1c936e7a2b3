"""From the files of a request to radiographs with cameras."""

from __future__ import annotations

from pydicom import dcmread

from pipeline.attributes import attributes
from pipeline.errors import MissingView
from pipeline.radiograph import read
from pipeline.types import Assume, Radiograph, Request, Source, ViewName
from pipeline.views import Known, satisfies, view_name


def radiographs(request: Request) -> tuple[Radiograph, ...]:
    """One radiograph a source, and every view that is expected is among them.

    Raises:
        StudyError: a view or its geometry is missing, or pixels cannot be read.
    """
    views = tuple(source.view or _told(source, request.assume) for source in request.sources)
    for expected in request.views:
        if not any(satisfies(expected, view) for view in views):
            raise MissingView(f"The {expected} view is missing")
    return tuple(
        read(source, view, request.assume, request.frame_number, request.side)
        for source, view in zip(request.sources, views, strict=True)
    )


def _told(source: Source, assume: Assume) -> ViewName:
    header = dcmread(source.path, stop_before_pixels=True)
    match view_name(attributes(header), assume.view_of_series):
        case Known(view):
            return view
        case unknown:
            raise MissingView(f"The view of an image cannot be told: {unknown.reason}")
