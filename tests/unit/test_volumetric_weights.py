"""A weights file of a volumetric network is what it says, or is refused with one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from pipeline import weights
from pipeline.camera import camera
from pipeline.familiar import Familiar, Range, Views, direction, unfamiliar
from pipeline.models.recurrent import VARIANTS, Recurrent
from pipeline.models.volumetric import asked, network
from pipeline.safetensors_header import BrokenWeights
from pipeline.types import View, ViewName
from pipeline.volumetric_weights import export, file_name, load, read_header, trained_networks
from tests.lifting_nets import octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.volumetric_nets import TOLD, of_balls, shipped

NAME = "proximal_femur.pix2vox-f.safetensors"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    shipped(tmp_path)
    return tmp_path


def test_all_that_was_told_is_read_again(folder: Path) -> None:
    read = read_header(folder / NAME)

    for field in ("engine", "region", "bone", "grid", "cube_mm", "image_size", "level", "trained"):
        assert getattr(read, field) == getattr(TOLD, field), field
    assert (read.familiar, read.limits) == (TOLD.familiar, TOLD.limits)
    assert (read.within, read.stated) == (TOLD.within, TOLD.stated)
    assert read.serves == "hip"
    assert trained_networks() == (read,)


def test_a_file_is_named_by_region_and_engine() -> None:
    assert file_name("hip", "pix2vox++/A") == "hip.pix2vox-a.safetensors"
    assert file_name("knee", "Res3D-GRU-3") == "knee.res3d-gru-3.safetensors"


@torch.inference_mode()
def test_what_the_network_says_does_not_suffer_from_float16(folder: Path) -> None:
    pictures = torch.rand(2, 3, 64, 64)

    there, back = asked(of_balls(), pictures), asked(load(folder / NAME), pictures)

    assert float(there.occupancy.std()) > 0.1
    assert float((there.occupancy - back.occupancy).abs().max()) < 0.01
    assert torch.allclose(back.shares.sum(dim=0), torch.ones(8, 8, 8), atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("engine", list(VARIANTS))
def test_every_recurrent_network_comes_back(folder: Path, engine: str) -> None:
    narrow = replace(
        VARIANTS[engine], planar=(4,) * 6, features=8, hidden=4, cells=2, spatial=(4, 4, 4)
    )
    torch.manual_seed(1)
    net = network(engine, asdict(narrow)).eval()
    assert isinstance(net, Recurrent)
    pictures = torch.rand(2, 3, 127, 127)

    written = export(net, folder / "a.safetensors", replace(TOLD, engine=engine))
    back = load(written.path)

    assert written.grid == 8
    found, again = asked(net, pictures), asked(back, pictures)
    assert float((found.occupancy - again.occupancy).abs().max()) < 0.01
    assert torch.allclose(again.shares.sum(dim=0), torch.ones(8, 8, 8), atol=1e-5)


def test_a_header_is_read_without_torch(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pipeline.volumetric_weights import read_header;"
        f"print(read_header(Path({str(folder / NAME)!r})).engine);"
        "print(sorted({'torch', 'safetensors', 'scipy', 'skimage'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.decode().split("\n")[:2] == ["pix2vox++/F", "[]"]


def test_weights_of_one_kind_do_not_stumble_over_those_of_another(folder: Path) -> None:
    hip = lifting_shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), folder)

    assert set(weights.regions()) == {"hip"}
    assert [one.path.name for one in trained_networks()] == [NAME]
    assert weights.regions()["hip"].digest == hip.digest


def test_two_files_of_one_engine_for_one_region_are_refused(folder: Path) -> None:
    shipped(folder, region="hip", within=None)

    with pytest.raises(BrokenWeights, match=f"{NAME} and hip.pix2vox-f.* are both of pix2vox"):
        trained_networks()


def edited(key: str, value: str | None) -> Callable[[bytes], bytes]:
    """A file of the same tensors whose metadata says another thing."""

    def change(content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + content[8 + length :]

    return change


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda content: content[:-1], "cut off"),
    "one bit of a weight": (
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "another SHA-256",
    ),
    "another version": (edited("format", "osteon-volumetric-9"), "of the format"),
    "a better figure": (edited("judged", "[]"), "another SHA-256"),
    "a figure of nobody": (
        edited(
            "judged",
            '[{"condition": "", "bone": "", "people": 0, "measure": "IoU", "value": 1.0}]',
        ),
        "judged",
    ),
    "a level that is no probability": (edited("level", "1.5"), "level"),
    "a cube without an end": (edited("cube_mm", "Infinity"), "not finite"),
    "no engine": (edited("engine", None), "engine"),
    "another engine": (edited("engine", '"magic"'), "another SHA-256"),
    "a range of one end": (
        edited("familiar", json.dumps({"views": {"directions": []}, "magnification": [1.0]})),
        "source_to_detector",
    ),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_file_is_refused_by_name(
    folder: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = folder / NAME
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(BrokenWeights, match=words) as caught:
        load(path)
    assert NAME in str(caught.value)


def test_a_network_that_its_header_does_not_describe_is_refused(folder: Path) -> None:
    wrong = export(of_balls(), folder / "b.safetensors", replace(TOLD, engine="magic"))

    with pytest.raises(BrokenWeights, match="does not fit its network: no network is called"):
        load(wrong.path)


def a_view(name: ViewName, **angles: float) -> View:
    return camera(
        name,
        source_to_detector=1200.0,
        source_to_patient=1000.0,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=4,
        columns=4,
        **angles,  # type: ignore[arg-type]  # all of them are angles
    )


@pytest.mark.parametrize("name", list(ViewName))
def test_a_direction_is_that_of_the_camera(name: ViewName) -> None:
    assert direction(a_view(name)) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert direction(a_view(name, primary_deg=12.0)) == pytest.approx((12.0, 0.0), abs=1e-9)
    assert direction(a_view(name, secondary_deg=-7.0)) == pytest.approx((0.0, -7.0), abs=1e-9)


def test_what_lies_next_to_the_outermost_that_was_learned_is_no_stranger() -> None:
    known = Familiar(Views(), Range(1200.0, 1200.0), Range(1.2, 1.2), 10.0, 1.0)

    assert unfamiliar(known, a_view(ViewName.AP, primary_deg=10.1)) == ""
    assert "turned by 11 degrees from AP" in unfamiliar(known, a_view(ViewName.AP, primary_deg=11))


def test_what_is_shipped_loads_is_small_and_has_a_model_card_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "FOLDER", Path(weights.__file__).with_name("weights"))
    for trained in trained_networks():
        load(trained.path)

        assert trained.path.name == file_name(trained.region, trained.engine)
        assert trained.path.stat().st_size < 16_000_000
        assert trained.digest in trained.path.with_suffix(".md").read_text(encoding="utf-8")
        assert trained.stated.licence
        assert trained.stated.judged
