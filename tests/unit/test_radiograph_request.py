"""The radiographs of a whole request, and what is refused of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pipeline.errors import ContradictoryGeometry, MissingGeometry, MissingView
from pipeline.radiograph import read_all
from pipeline.types import Request, Side, Source, ViewName
from tests.factories import file_bytes, limb, radiograph, two_views


def stored_as(folder: Path, ds: Dataset) -> Source:
    content = file_bytes(ds)
    path = folder / f"{len(list(folder.iterdir()))}.dcm"
    path.write_bytes(content)
    return Source(path, str(ds.SOPInstanceUID), hashlib.sha256(content).hexdigest())


def a_request(folder: Path, datasets: list[Dataset], **changes: object) -> Request:
    request = Request(
        sources=tuple(stored_as(folder, ds) for ds in datasets),
        region="hip",
        views=("frontal", "lateral"),
        side=Side.RIGHT,
        model="hull",
        rule="test",
        configuration_digest="0" * 64,
        node="TEST",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        folder=folder,
    )
    return replace(request, **changes)


def test_the_views_of_a_request_are_told_by_their_headers(tmp_path: Path) -> None:
    made = read_all(a_request(tmp_path, two_views()))

    assert [r.view.name for r in made] == [ViewName.AP, ViewName.LL]
    assert {r.side for r in made} == {Side.RIGHT}


def test_a_view_that_the_node_has_told_is_not_told_again(tmp_path: Path) -> None:
    request = a_request(tmp_path, two_views(ViewPosition=None, ViewCodeSequence=None))
    named = tuple(
        replace(s, view=v) for s, v in zip(request.sources, (ViewName.AP, ViewName.LL), strict=True)
    )

    made = read_all(replace(request, sources=named))

    assert [r.view.name for r in made] == [ViewName.AP, ViewName.LL]


def test_a_view_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingView, match="missing: lateral"):
        read_all(a_request(tmp_path, [radiograph()]))


def test_every_image_that_cannot_be_used_is_named_at_once(tmp_path: Path) -> None:
    front, lateral = two_views()
    front.DistanceSourceToDetector = None
    lateral.ViewPosition = "OBLIQUE"

    with pytest.raises(MissingGeometry) as refusal:
        read_all(a_request(tmp_path, [front, lateral]))

    assert "Image 1" in str(refusal.value)
    assert "DistanceSourceToDetector" in str(refusal.value)
    assert "Image 2" in str(refusal.value)
    assert "OBLIQUE" in str(refusal.value)


def test_an_image_of_the_other_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContradictoryGeometry, match="side"):
        read_all(a_request(tmp_path, two_views(), side=Side.LEFT))


def test_a_frame_number_holds_for_multi_frame_images_only(tmp_path: Path) -> None:
    made = read_all(a_request(tmp_path, two_views(), frame_number=7))

    assert [r.frame_number for r in made] == [None, None]


def test_one_exposure_under_two_names_is_refused(tmp_path: Path) -> None:
    same = limb()
    views = [radiograph(view=view, pixels=same) for view in ("AP", "LL")]

    with pytest.raises(ContradictoryGeometry, match="the LL view are one and the same exposure"):
        read_all(a_request(tmp_path, views))
