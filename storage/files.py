"""The instance store: what a peer sent, kept under its own digest.

The bytes go to a temporary file in the store's own folder `incoming`, are hashed while they are
written, synced, and renamed to `ab/<sha256>.dcm`; the folder is synced too, because a rename is
only durable when its folder is. The folders `00` to `ff` are made, and synced in theirs, before
anything is received: so a rename waits for one folder. Identical content is one file. Nothing that
a peer sent is ever part of a path. Rows of older versions say `ab/cd/<sha256>.dcm`, and stay true.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from storage.crashpoints import Point, reached
from storage.errors import StorageFull, StoreUnavailable

CHUNK_BYTES = 1 << 20
ABANDONED_AFTER = timedelta(hours=1)
"""Longer than any association may take to send one instance."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_KEPT = re.compile(r"([0-9a-f]{2})/(?:([0-9a-f]{2})/(?=\1\2))?(\1[0-9a-f]{62})\.dcm")
_FOLDERS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class Digest:
    """Of the bytes of a file, taken while they were written."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the store, on disk for good."""

    path: str
    """Relative to the store: `ab/<sha256>.dcm`."""
    sha256: str
    size_bytes: int


def prepare(root: Path) -> None:
    """The folders of the store are there, and would be after a power cut.

    To be called before anything is received, by every process that receives: who finds a folder
    cannot know whether another that has just made it has synced it too.

    Raises:
        StorageFull: no room, or over the quota.
        StoreUnavailable: the store cannot be written.
    """
    with _on_disk():
        holders = _made(root)
        for name in (*_FOLDERS, "incoming"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        for folder in (*holders, root):
            _sync(folder)


def incoming(root: Path) -> Path:
    """The folder for temporary files, on the same file system as the store, which is prepared."""
    prepare(root)
    return root / "incoming"


def write(root: Path, chunks: Iterable[bytes]) -> Written:
    """The bytes of `chunks` survive a power cut; nothing is left if anything goes wrong.

    Raises:
        StorageFull: no room, or over the quota.
        StoreUnavailable: the store cannot be written.
    """
    folder = incoming(root)
    with _on_disk():
        handle, name = tempfile.mkstemp(suffix=".part", dir=folder)
    temporary = Path(name)
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                size_bytes += len(chunk)
                put(file.fileno(), [chunk])
            with _on_disk():
                os.fsync(file.fileno())
        return _keep(root, temporary, digest.hexdigest(), size_bytes)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put(handle: int, chunks: Sequence[bytes | memoryview]) -> None:
    """All of `chunks`, which are some dozens, is at the end of the open file, not yet synced.

    Raises:
        StorageFull: no room, or over the quota.
        StoreUnavailable: the store cannot be written.
    """
    rest = [memoryview(chunk) for chunk in chunks]
    with _on_disk():
        while rest:
            written = os.writev(handle, rest)
            while rest and len(rest[0]) <= written:
                written -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][written:]


def empty(handle: int) -> None:
    """The open file has no bytes, and its room is free.

    Raises:
        StoreUnavailable: the store cannot be written.
    """
    with _on_disk():
        os.ftruncate(handle, 0)


def release(handle: int, begin: int, nr_bytes: int) -> None:
    """The disk is at work on these bytes of a file; the memory of those that are on it is free.

    Called while a file grows, it leaves less for the sync to wait for. Called after the sync, it
    leaves the memory to the next file: what was received is read once more at most, and soon, and
    kept in memory a day's radiographs push out all else. In a virtual machine each page of the
    next is then a new one that the host must give, which was two thirds of the time in the system.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS, where people try the demo
        os.posix_fadvise(handle, begin, nr_bytes, os.POSIX_FADV_DONTNEED)


def adopt(
    root: Path, temporary: Path, digest: Digest | None = None, handle: int | None = None
) -> Written:
    """The file `temporary`, on the same file system, now belongs to the prepared store, for good.

    It is gone from its place, also if anything goes wrong.

    Args:
        root: Of the store.
        temporary: Nobody writes to it any more.
        digest: Where it was taken while the file was written; else the file is read for it.
        handle: Where the file is open for writing already; its owner closes it.

    Raises:
        StorageFull: no room, or over the quota.
        StoreUnavailable: the store cannot be written, or there is no such file, or not all of it.
    """
    try:
        with _on_disk(), _opened(temporary, handle) as file:
            size_bytes = os.fstat(file).st_size
            if digest is None:
                digest = Digest(_sha256(temporary), size_bytes)
            reached(Point.BEFORE_FSYNC)
            os.fsync(file)
            reached(Point.AFTER_FSYNC)
            release(file, 0, size_bytes)
        _require_whole(size_bytes, digest)
        return _keep(root, temporary, digest.sha256, size_bytes)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_intact(root: Path, path: str, sha256: str) -> bool:
    """True if the file is there and holds the bytes of its digest."""
    kept = _KEPT.fullmatch(path)
    if kept is None or kept[3] != sha256:
        return False
    try:
        return _sha256(root / path) == sha256
    except OSError:
        return False


def sweep(root: Path, now: datetime) -> int:
    """Temporary files that nobody has written to for an hour are gone; returns how many."""
    swept = 0
    limit = (now - ABANDONED_AFTER).timestamp()
    with _on_disk():
        for temporary in (root / "incoming").glob("*"):
            try:
                if temporary.is_file() and temporary.stat().st_mtime < limit:
                    temporary.unlink()
                    swept += 1
            except FileNotFoundError:
                continue  # it was finished, or another node swept it
    return swept


@contextmanager
def _opened(path: Path, handle: int | None) -> Iterator[int]:
    if handle is not None:
        yield handle
        return
    with path.open("rb+", buffering=0) as file:
        yield file.fileno()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_whole(size_bytes: int, digest: Digest) -> None:
    if size_bytes != digest.size_bytes:
        raise StoreUnavailable(f"{size_bytes} of {digest.size_bytes} bytes were written")


def _keep(root: Path, temporary: Path, sha256: str, size_bytes: int) -> Written:
    """Renames over a file of the same digest: what is there may have been damaged since."""
    folder = f"{root}/{sha256[:2]}"
    path = f"{sha256[:2]}/{sha256}.dcm"
    with _on_disk():
        temporary.replace(f"{folder}/{sha256}.dcm")
        reached(Point.AFTER_RENAME)
        _sync(folder)
    return Written(path=path, sha256=sha256, size_bytes=size_bytes)


def _made(folder: Path) -> tuple[Path, ...]:
    """Makes the folder and those above it; those that hold a new name, and are to be synced."""
    if folder.is_dir():
        return ()
    above = _made(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    return (*above, folder.parent)


def _sync(folder: Path | str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _on_disk() -> Iterator[None]:
    """Only faults of the disk become ours; one that `chunks` raises belongs to the sender."""
    try:
        yield
    except OSError as reason:
        if reason.errno in _FULL:
            raise StorageFull(f"the instance store is full: {reason.strerror}") from reason
        raise StoreUnavailable(f"the instance store: {reason.strerror or reason}") from reason
