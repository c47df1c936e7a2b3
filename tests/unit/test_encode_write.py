"""The files: the same bytes for the same request, whole, durable, and described as they are."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.encode.write import write
from pipeline.types import DEFAULT_KINDS, ObjectKind
from tests.results import box, one_of_each, radiographs, reconstruction, request

ENCODE = """
import sys
from pathlib import Path
from pipeline.encode.write import write
from tests.results import box, radiographs, reconstruction, request
bones = (box("Femur"), box("Tibia", centre=(0, 0, -5)))
for one in write(reconstruction(*bones), radiographs(), request(Path(sys.argv[1]))):
    print(one.path.name, one.sha256)
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", ENCODE, str(folder)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(run.stdout.splitlines())

    assert len(outputs[0]) >= 20 + 2
    assert outputs[0] == outputs[1]


def test_the_order_of_arrival_changes_no_byte(tmp_path: Path) -> None:
    wanted = request(tmp_path)
    first = write(reconstruction(), radiographs(), wanted)
    turned = dataclasses.replace(wanted, sources=wanted.sources[::-1], views=wanted.views[::-1])

    second = write(reconstruction(), radiographs()[::-1], turned)

    assert first == second


def test_the_description_of_each_object_is_that_of_its_file(tmp_path: Path) -> None:
    for one in write(reconstruction(), radiographs(), request(tmp_path)):
        content = one.path.read_bytes()
        ds = dcmread(one.path)
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        assert one.size_bytes == len(content)
        assert (ds.SOPClassUID, ds.SOPInstanceUID) == (one.sop_class_uid, one.sop_instance_uid)
        assert ds.file_meta.MediaStorageSOPInstanceUID == one.sop_instance_uid
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


KINDS = tuple(kind for kind in ObjectKind if kind is not ObjectKind.NOTICE)
"""A notice stands in place of bones, never beside them."""


@pytest.mark.parametrize("kinds", [KINDS, *((kind,) for kind in KINDS), KINDS[::-1]])
def test_the_kinds_that_were_asked_for_are_written_volume_first(
    tmp_path: Path, kinds: tuple[ObjectKind, ...]
) -> None:
    written = write(reconstruction(), radiographs(), request(tmp_path, kinds=kinds))

    found = list(dict.fromkeys(one.kind for one in written))
    assert found == [kind for kind in ObjectKind if kind in kinds]
    assert {one.path for one in written} == set((tmp_path / "out").iterdir())


def test_every_file_is_synced_before_its_name_appears_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen, fsync = tmp_path / "out", [], os.fsync

    def recorded(descriptor: int) -> None:
        names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
        seen.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), names))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)

    written = write(reconstruction(), radiographs(), request(tmp_path))

    *files, folder = seen
    assert all(not names for _, names in files)
    assert {Path(name).name for name, _ in files} == {f".{one.path.name}.part" for one in written}
    assert folder == (str(out), {one.path.name for one in written})


def test_a_full_disk_leaves_no_file_under_its_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write(reconstruction(), radiographs(), request(tmp_path))

    assert all(path.name.startswith(".") for path in (tmp_path / "out").iterdir())


def test_series_of_another_kind_or_side_have_other_numbers_and_descriptions(tmp_path: Path) -> None:
    numbers, names = [], []
    for side in ("R", "L", "U"):
        wanted = request(tmp_path / side, side=type(box().side)(side))
        written = write(reconstruction(), radiographs(), wanted)
        for one in one_of_each(written):
            ds = dcmread(one.path)
            numbers.append(ds.SeriesNumber)
            names.append(ds.SeriesDescription)

    assert len(set(numbers)) == len(set(names)) == 3 * len(DEFAULT_KINDS)
