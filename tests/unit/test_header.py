"""What is read of a received file, and how hostile bytes end."""

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pydicom import config
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.header import (
    MismatchedHeaderError,
    UnreadableHeaderError,
    data_set_digest,
    is_uid,
    read_header,
    require_match,
)
from node.ration import MOST_BYTES, MOST_READS
from tests.factories import file_bytes, radiograph


@pytest.fixture(autouse=True)
def _reading_as_the_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "received.dcm"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_a_header_is_the_same_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    ds = radiograph(view="LL")

    header = read_header(stored(tmp_path, file_bytes(ds, syntax)))

    assert header.sop_instance_uid == ds.SOPInstanceUID
    assert header.study_instance_uid == ds.StudyInstanceUID
    assert header.transfer_syntax_uid == syntax
    assert header.attributes["ViewPosition"] == "LL"


def test_an_instance_without_pixels_has_a_header(tmp_path: Path) -> None:
    ds = radiograph()
    del ds.PixelData

    assert read_header(stored(tmp_path, file_bytes(ds))).sop_class_uid == ds.SOPClassUID


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize(
    "value", [None, "", "../../etc/passwd", "1.2." + "3" * 62, "1..2", "1.2 3"]
)
def test_what_is_no_uid_is_refused_by_its_name(
    tmp_path: Path, keyword: str, value: str | None
) -> None:
    whole = file_bytes(radiograph())
    ds = radiograph(**{keyword: None})
    content = file_bytes(ds) if value is None else _with_uid(whole, keyword, value)

    with pytest.raises(UnreadableHeaderError, match=keyword) as caught:
        read_header(stored(tmp_path, content))

    assert caught.value.status == 0xC000


def _with_uid(whole: bytes, keyword: str, value: str) -> bytes:
    before = str(getattr(radiograph(), keyword)).encode()
    padded = before + b"\0" * (len(before) % 2)
    after = value.encode() + b"\0" * (len(value) % 2)
    old = b"UI" + len(padded).to_bytes(2, "little") + padded
    assert old in whole
    return whole.replace(old, b"UI" + len(after).to_bytes(2, "little") + after)


@pytest.mark.parametrize("cut", [0, 10, 131, 140, 200, 400])
def test_a_file_that_is_cut_off_in_its_header_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(UnreadableHeaderError):
        read_header(stored(tmp_path, file_bytes(radiograph())[:cut]))


def test_a_deflated_bomb_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    whole = file_bytes(radiograph(), DeflatedExplicitVRLittleEndian)
    meta_end = 132 + 12 + int.from_bytes(whole[140:144], "little")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    squeezed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush()
    path = stored(tmp_path, whole[:meta_end] + squeezed)

    tracemalloc.start()
    with pytest.raises(UnreadableHeaderError):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * MOST_BYTES


def test_the_request_and_the_header_must_name_the_same_object(tmp_path: Path) -> None:
    ds = radiograph()
    header = read_header(stored(tmp_path, file_bytes(ds)))

    require_match(header, ds.SOPClassUID, ds.SOPInstanceUID)
    for sop_class, instance in (("1.2.3", ds.SOPInstanceUID), (ds.SOPClassUID, "1.2.3")):
        with pytest.raises(MismatchedHeaderError) as caught:
            require_match(header, sop_class, instance)
        assert caught.value.status == 0xA900


def test_the_digest_of_the_data_set_knows_nothing_of_the_file_meta(tmp_path: Path) -> None:
    ds = radiograph()
    first = data_set_digest(stored(tmp_path, file_bytes(ds)))
    ds.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"

    assert data_set_digest(stored(tmp_path, file_bytes(ds))) == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.2.840", True), ("1", True), ("1.02", True), ("", False), ("1.", False), ("1.a", False)],
)
def test_a_uid_has_digits_and_dots(text: str, expected: bool) -> None:
    assert is_uid(text) is expected


def explicit(tag: tuple[int, int], vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element with a long length, which may be a lie (PS3.5 7.1.2)."""
    return struct.pack("<HH2sxxI", *tag, vr, len(value) if length is None else length) + value


def before(tag: tuple[int, int], inserted: bytes) -> bytes:
    """A radiograph with `inserted` right before the element `tag`."""
    whole = file_bytes(radiograph())
    at = whole.index(struct.pack("<HH", *tag))
    return whole[:at] + inserted + whole[at:]


ROWS = (0x0028, 0x0010)
PRIVATE = (0x0021, 0x1010)
UNDEFINED = 0xFFFFFFFF
EMPTY_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@pytest.mark.parametrize(
    "hostile",
    [
        before(
            ROWS, explicit(PRIVATE, b"SQ", EMPTY_ITEM * MOST_READS + END_OF_SEQUENCE, UNDEFINED)
        ),
        before((0x0020, 0x0010), explicit((0x0008, 0x2218), b"SQ", EMPTY_ITEM * MOST_READS)),
        before(ROWS, (explicit(PRIVATE, b"SQ", b"", UNDEFINED) + OPEN_ITEM) * 3000),
        before((0x0020, 0x000D), explicit((0x0018, 0x1164), b"UT", b"1\\" * 1_000_000)),
        before(ROWS, explicit(PRIVATE, b"OB", bytes(MOST_BYTES + 2), UNDEFINED)),
    ],
    ids=["items", "items of a length", "nesting", "values", "undefined length"],
)
def test_a_header_that_would_cost_more_than_any_needs_is_refused_at_once(
    tmp_path: Path, hostile: bytes
) -> None:
    path = stored(tmp_path, hostile)
    began = time.process_time()

    with pytest.raises(UnreadableHeaderError):
        read_header(path)

    # issue 5: no hang over 2 s for an instance
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("value", "length"), [(bytes(64 << 20), 64 << 20), (b"", 0xFFFFFFF0)], ids=["true", "a lie"]
)
def test_an_element_that_the_node_does_not_need_costs_no_memory(
    tmp_path: Path, value: bytes, length: int
) -> None:
    path = stored(tmp_path, before(ROWS, explicit(PRIVATE, b"OB", value, length)))

    tracemalloc.start()
    header = read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert header.sop_instance_uid == radiograph().SOPInstanceUID
    assert peak < 16 << 20
