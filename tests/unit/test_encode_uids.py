"""The names of results: derived, valid, and different for whatever is different."""

from __future__ import annotations

import dataclasses
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RE_VALID_UID

from pipeline.encode.uids import derived_uid
from pipeline.encode.write import write
from pipeline.types import Algorithm, Assume, ObjectKind, Request, Side, ViewName
from tests.results import AT, radiographs, reconstruction, request


@given(st.lists(st.text(max_size=30), max_size=5))
def test_a_derived_uid_is_a_valid_uid_of_a_uuid(parts: list[str]) -> None:
    uid = derived_uid(*parts)

    assert re.fullmatch(RE_VALID_UID, uid)
    assert len(uid) <= 64
    number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    assert number.version == 8
    assert number.variant == uuid.RFC_4122


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_uids_are_the_same_only_where_all_parts_are(one: list[str], other: list[str]) -> None:
    assert (derived_uid(*one) == derived_uid(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc")
    assert derived_uid("a", "") != derived_uid("a")


def _uids(wanted: Request, **changes: Any) -> set[str]:
    return {o.sop_instance_uid for o in write(reconstruction(**changes), radiographs(), wanted)}


def test_every_object_has_a_uid_of_its_own(tmp_path: Path) -> None:
    written = write(reconstruction(), radiographs(), request(tmp_path))

    assert len({one.sop_instance_uid for one in written}) == len(written) > 20


@pytest.mark.parametrize(
    "change",
    [
        {"at": AT + timedelta(days=1)},
        {"node": "node-2"},
        {"configuration_digest": "1" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_neither_the_clock_nor_the_node_changes_a_uid(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    first = _uids(request(tmp_path / "first"))

    assert _uids(request(tmp_path / "second", **change)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "other"},
        {"region": "knee"},
        {"side": Side.LEFT},
        {"model": "other"},
        {"views": ("AP", "RL")},
        {"assume": Assume(source_to_detector=1000.0)},
        {"frame_number": 2},
        {"kinds": (ObjectKind.MODEL_VOLUME, ObjectKind.SURFACE_SEGMENTATION)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_that_changes_the_output_changes_every_uid(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    first = _uids(request(tmp_path / "first"))

    assert not first & _uids(request(tmp_path / "second", **change))


@pytest.mark.parametrize(
    "engine",
    [
        Algorithm("Other", "1.0", parameters=(("threshold", "0.5"),)),
        Algorithm("Visual hull", "1.1", parameters=(("threshold", "0.5"),)),
        Algorithm("Visual hull", "1.0", "a" * 64, (("threshold", "0.5"),)),
        Algorithm("Visual hull", "1.0", parameters=(("threshold", "0.6"),)),
    ],
    ids=["name", "version", "weights", "parameters"],
)
def test_another_engine_changes_every_uid(tmp_path: Path, engine: Algorithm) -> None:
    first = _uids(request(tmp_path / "first"))

    assert not first & _uids(request(tmp_path / "second"), algorithm=engine)


def test_another_view_of_an_input_changes_every_uid(tmp_path: Path) -> None:
    wanted = request(tmp_path)
    changed = dataclasses.replace(wanted.sources[0], view=ViewName.PA)
    other = dataclasses.replace(wanted, sources=(changed, wanted.sources[1]))

    assert not _uids(wanted) & _uids(other)


def test_other_bytes_of_an_input_change_every_uid(tmp_path: Path) -> None:
    wanted = request(tmp_path)
    changed = dataclasses.replace(wanted.sources[0], sha256="f" * 64)
    other = dataclasses.replace(wanted, sources=(changed, wanted.sources[1]))

    assert not _uids(wanted) & _uids(other)
