"""Laws of the instance store: what is written is whole, durable, and where its digest says."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import files
from storage.errors import StorageFull, StoreUnavailable
from tests.storage_cases import together

# SHA-256 of "abc": FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced from now on, in order."""
    names: list[str] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        names.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    return names


def test_a_file_lies_where_its_digest_says(tmp_path: Path) -> None:
    written = files.write(tmp_path, [b"a", b"", b"bc"])

    assert written == files.Written(f"ba/{ABC}.dcm", ABC, 3)
    assert (tmp_path / written.path).read_bytes() == b"abc"
    assert _left_over(tmp_path) == []


def test_the_same_content_twice_is_the_same_file(tmp_path: Path) -> None:
    assert files.write(tmp_path, [b"abc"]) == files.write(tmp_path, [b"ab", b"c"])
    assert len(_kept(tmp_path)) == 1


def test_a_damaged_file_is_healed_by_the_same_content(tmp_path: Path) -> None:
    written = files.write(tmp_path, [b"abc"])
    (tmp_path / written.path).write_bytes(b"abX")
    assert not files.is_intact(tmp_path, written.path, ABC)

    files.write(tmp_path, [b"abc"])

    assert files.is_intact(tmp_path, written.path, ABC)


def test_an_adopted_file_is_the_same_as_a_written_one_and_gone_from_its_place(
    tmp_path: Path,
) -> None:
    temporary = files.incoming(tmp_path) / "x.part"
    temporary.write_bytes(b"abc")

    assert files.adopt(tmp_path, temporary) == files.write(tmp_path / "other", [b"abc"])
    assert not temporary.exists()


def test_a_digest_that_was_taken_on_the_way_is_not_taken_again(tmp_path: Path) -> None:
    temporary = files.incoming(tmp_path) / "x.part"
    temporary.write_bytes(b"abc")

    adopted = files.adopt(tmp_path, temporary, files.Digest(ABC, 3))

    assert adopted == files.write(tmp_path / "other", [b"abc"])
    assert not temporary.exists()


def test_a_file_that_is_not_all_that_was_written_is_not_adopted(tmp_path: Path) -> None:
    temporary = files.incoming(tmp_path) / "x.part"
    temporary.write_bytes(b"ab")

    with pytest.raises(StoreUnavailable, match="2 of 3 bytes"):
        files.adopt(tmp_path, temporary, files.Digest(ABC, 3))

    assert _left_over(tmp_path) == []
    assert _kept(tmp_path) == []


def test_many_that_write_the_same_content_at_once_all_succeed(tmp_path: Path) -> None:
    together([lambda: files.write(tmp_path, [b"abc"])] * 8)

    assert len(_kept(tmp_path)) == 1
    assert _left_over(tmp_path) == []


@given(st.lists(st.binary(max_size=64), max_size=6))
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the store only grows
)
def test_any_chunks_come_back_as_they_were(tmp_path: Path, chunks: list[bytes]) -> None:
    written = files.write(tmp_path, chunks)

    assert (tmp_path / written.path).read_bytes() == b"".join(chunks)
    assert written.sha256 == hashlib.sha256(b"".join(chunks)).hexdigest()
    assert files.is_intact(tmp_path, written.path, written.sha256)


def test_bytes_and_then_their_name_are_synced(tmp_path: Path, synced: list[str]) -> None:
    files.write(tmp_path, [b"abc"])

    file, folder = synced[-2:]
    assert file.endswith(".part")
    assert folder == f"{tmp_path}/ba"


@pytest.mark.parametrize("folder", ["incoming", "ba"])
def test_the_folders_of_a_store_are_synced_also_where_another_made_them(
    tmp_path: Path, synced: list[str], folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)

    files.prepare(tmp_path)

    assert synced[-1] == str(tmp_path)


def test_what_an_older_version_kept_is_intact_where_its_row_says(tmp_path: Path) -> None:
    (tmp_path / "ba" / "78").mkdir(parents=True)
    (tmp_path / "ba" / "78" / f"{ABC}.dcm").write_bytes(b"abc")

    assert files.is_intact(tmp_path, f"ba/78/{ABC}.dcm", ABC)


@pytest.mark.parametrize("call", ["writev", "fsync", "replace", "mkdir"])
def test_a_full_disk_is_named_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    files.incoming(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if call in {"writev", "fsync"} else Path, call, full)

    with pytest.raises(StorageFull) as raised:
        files.write(tmp_path, [b"abc"])

    assert raised.value.retryable
    assert _left_over(tmp_path) == []
    assert _kept(tmp_path) == []


def test_a_real_full_device_is_named(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as device, pytest.raises(StorageFull):
        files.put(device.fileno(), [b"abc"])


def test_an_error_of_the_sender_stays_the_senders_and_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abc"
        raise TimeoutError("the peer went silent")

    with pytest.raises(TimeoutError, match="silent"):
        files.write(tmp_path, chunks())

    assert _left_over(tmp_path) == []
    assert _kept(tmp_path) == []


def test_a_store_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailable):
        files.write(tmp_path / "file" / "store", [b"abc"])


def test_adopting_what_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        files.adopt(tmp_path, tmp_path / "nothing")


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "ba/78/../x", f"ba/78/{ABC}", f"aa/78/{ABC}.dcm", "ba/78/\0", ""],
)
def test_a_path_that_the_store_never_made_is_not_intact(tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "secret").write_bytes(b"abc")

    assert not files.is_intact(tmp_path, path, ABC)


def test_a_missing_file_is_not_intact(tmp_path: Path) -> None:
    assert not files.is_intact(tmp_path, f"ba/78/{ABC}.dcm", ABC)


def test_only_temporaries_older_than_an_hour_are_swept(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    written = files.write(tmp_path, [b"abc"])
    for name, age in (("old", timedelta(minutes=61)), ("new", timedelta(minutes=59))):
        temporary = files.incoming(tmp_path) / name
        temporary.write_bytes(b"")
        os.utime(temporary, times=((now - age).timestamp(),) * 2)
    os.utime(tmp_path / written.path, times=(0, 0))

    assert files.sweep(tmp_path, now) == 1

    assert _left_over(tmp_path) == ["new"]
    assert files.is_intact(tmp_path, written.path, ABC)


def test_a_store_that_was_never_used_is_swept_of_nothing(tmp_path: Path) -> None:
    assert files.sweep(tmp_path / "none", datetime(2026, 1, 1, tzinfo=UTC)) == 0


def _left_over(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "incoming").iterdir())


def _kept(root: Path) -> list[Path]:
    return list(root.rglob("*.dcm"))
