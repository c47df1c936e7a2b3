"""dcmtk, dicom3tools and dcmqi as the tests use them: independent senders, receivers and judges."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from tests.processes import LOOPBACK, Process, absent, free_port, is_listening, program

SECONDS = 120

SEND_OPTIONS = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
}
"""The option of storescu that proposes a transfer syntax, for those of them that the node takes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a DICOM peer answers, and to which title."""

    ae_title: str
    port: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended."""

    exit_code: int
    output: str
    """Standard output and standard error, in the order of printing."""

    @property
    def is_success(self) -> bool:
        """True if the program says that all went well."""
        return self.exit_code == 0


def run(command: Sequence[str | Path], cwd: Path | None = None) -> Ran:
    """Runs a peer program to its end, for at most two minutes."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
        cwd=cwd,
    )
    return Ran(done.returncode, done.stdout.decode(errors="replace"))


def echoscu(to: Address, *, calling: str = "MODALITY") -> Ran:
    """C-ECHO by dcmtk."""
    return run([program("echoscu"), "-v", *_association(to, calling)])


def storescu(
    to: Address, *files: Path, calling: str = "MODALITY", options: Sequence[str] = ()
) -> Ran:
    """C-STORE by dcmtk's storescu.

    `-R` proposes just what the files need, without which it does not know most SOP classes;
    compressed files need the option of their syntax as well (`SEND_OPTIONS`).
    """
    return run([program("storescu"), "-v", "-R", *options, *_association(to, calling), *files])


def dcmsend(
    to: Address, *files: Path, calling: str = "MODALITY", options: Sequence[str] = ()
) -> Ran:
    """C-STORE by dcmtk's dcmsend.

    It decompresses what is lossless unless told `-dn`, and counts each status in its summary.
    """
    return run([program("dcmsend"), "-v", *options, *_association(to, calling), *files])


def findscu(at: Address, folder: Path, level: str, **keys: str) -> list[Dataset]:
    """The answers to a study root C-FIND at "STUDY", "SERIES" or "IMAGE"."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [f"QueryRetrieveLevel={level}", *(f"{key}={value}" for key, value in keys.items())]
    words = [word for key in asked for word in ("-k", key)]
    ran = run([program("findscu"), "-S", "-X", "-od", folder, *_association(at, "TESTS"), *words])
    if not ran.is_success:
        raise RuntimeError(ran.output)
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def _association(to: Address, calling: str) -> list[str]:
    return ["-aet", calling, "-aec", to.ae_title, LOOPBACK, str(to.port)]


@contextmanager
def running_storescp(
    folder: Path, *, ae_title: str = "STORESCP", port: int | None = None
) -> Iterator[Address]:
    """dcmtk's storescp, which keeps the bytes that it is sent in `folder`/received."""
    received = folder / "received"
    received.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [program("storescp"), "-v", "+B", "+xa", "-aet", ae_title, "-od", received]
    with Process(
        [*command, str(port)], log=folder / "storescp.log", environment={"TCP_NODELAY": "1"}
    ) as process:
        process.wait_until(lambda: is_listening(port), 20, "storescp listens")
        yield Address(ae_title, port)


def dciodvfy(path: Path) -> list[str]:
    """The errors that dicom3tools finds in a DICOM file; warnings are not among them.

    Raises:
        RuntimeError: it could not tell what the file is.
    """
    ran = run([program("dciodvfy"), path])
    lines = ran.output.splitlines()
    if not any(re.fullmatch(r"\w+", line.strip()) for line in lines):
        raise RuntimeError(f"dciodvfy judged nothing: {ran.output}")
    return [line for line in lines if line.startswith("Error")]


ENCODERS: Mapping[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2": ("dcmconv", "+ti"),
    "1.2.840.10008.1.2.1": ("dcmconv", "+te"),
    "1.2.840.10008.1.2.2": ("dcmconv", "+tb"),
    "1.2.840.10008.1.2.1.99": ("dcmconv", "+td"),
    "1.2.840.10008.1.2.5": ("dcmcrle",),
    "1.2.840.10008.1.2.4.50": ("dcmcjpeg", "+eb", "--uid-never"),
    "1.2.840.10008.1.2.4.51": ("dcmcjpeg", "+ee", "--uid-never"),
    "1.2.840.10008.1.2.4.57": ("dcmcjpeg", "+el"),
    "1.2.840.10008.1.2.4.70": ("dcmcjpeg", "+e1"),
    "1.2.840.10008.1.2.4.80": ("dcmcjpls", "+el"),
    "1.2.840.10008.1.2.4.81": ("dcmcjpls", "+en", "--uid-never"),
}
"""dcmtk's encoder of each transfer syntax that it can write."""


def encode(source: Path, target: Path, transfer_syntax_uid: str) -> Path:
    """`target`, which is `source` in another transfer syntax, under the same UIDs.

    dcmtk has no encoder for JPEG 2000; there pydicom's is used.
    """
    if encoder := ENCODERS.get(transfer_syntax_uid):
        ran = run([program(encoder[0]), *encoder[1:], source, target])
        if not ran.is_success:
            raise RuntimeError(ran.output)
        return target
    ds = pydicom.dcmread(source)
    quality = {} if transfer_syntax_uid == JPEG2000Lossless else {"j2k_cr": [8]}
    ds.compress(transfer_syntax_uid, generate_instance_uid=False, **quality)
    ds.save_as(target)
    return target


@dataclass(frozen=True, slots=True)
class ReadSegment:
    """One segment of a SEG as dcmqi reads it."""

    label: str
    array: NDArray[np.uint8]
    """(Z, Y, X), 0 and 1."""
    patient_from_index: NDArray[np.float64]
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm."""


def dcmqi_segments(path: Path, folder: Path) -> Mapping[int, ReadSegment]:
    """The segments of a SEG by their numbers, read by dcmqi and ITK and by nothing of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    command = Path(sys.executable).with_name("segimage2itkimage")
    if not command.exists():
        absent("dcmqi is not installed")
    words = ["--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    ran = run([command, *words, "--prefix", "seg"])
    if not ran.is_success:
        raise RuntimeError(ran.output)
    meta = json.loads((folder / "seg-meta.json").read_text())
    described = [one for group in meta["segmentAttributes"] for one in group]
    return {one["labelID"]: _read(folder, one["labelID"], one) for one in described}


def _read(folder: Path, number: int, described: Mapping[str, object]) -> ReadSegment:
    image = SimpleITK.ReadImage(str(folder / f"seg-{number}.nrrd"))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    array = (SimpleITK.GetArrayFromImage(image) != 0).astype(np.uint8)
    return ReadSegment(str(described.get("SegmentLabel", "")), array, affine)


@contextmanager
def running_dcmqrscp(folder: Path, *, ae_title: str = "ARCHIVE") -> Iterator[Address]:
    """dcmtk's archive with C-FIND, C-MOVE and C-GET, which keeps what it is sent in `folder`."""
    command = program("dcmqrscp")
    held = folder / "held"
    held.mkdir(parents=True)
    port = free_port()
    plan = folder / "dcmqrscp.cfg"
    plan.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
        f"{ae_title} {held} RW (500, 1024mb) ANY\nAETable END\n"
    )
    with Process([command, "-c", plan], log=folder / "dcmqrscp.log", cwd=folder) as process:
        process.wait_until(lambda: is_listening(port), SECONDS, "dcmqrscp answers")
        yield Address(ae_title, port)
