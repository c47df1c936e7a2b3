"""A weights file is what it says, or it is refused with one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.models.lifting import Lifting, Seen, Shape
from pipeline.safetensors_header import BrokenWeights
from pipeline.types import Code
from pipeline.weights import (
    FORMAT,
    Closer,
    Limits,
    NotTrained,
    TrainedBone,
    closer_looks,
    described,
    digest_for,
    export,
    load,
    read_header,
    regions,
    trained_for,
)
from tests.lifting_nets import FEMUR, TIBIA, octahedra, shipped

BONES = (
    TrainedBone("Hip bone", Code("22356005", "SCT", "Ilium"), error_factor=1.25),
    TrainedBone("Sacrum", Code("54735007", "SCT", "Sacrum"), is_paired=False, is_required=False),
)
LIMITS = Limits(outline_agreement=0.4, own_error_mm=3.5, unseen=0.6)


def two_bones() -> Lifting:
    return octahedra(((0.0, 0.0, 0.0), 30.0), ((20.0, 0.0, 0.0), 30.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    told = described("pelvis", BONES, LIMITS, "11 people, 9 steps, seed 3")
    export(two_bones(), tmp_path / "pelvis.safetensors", told)
    return tmp_path / "pelvis.safetensors"


def test_all_that_was_told_is_read_again(path: Path) -> None:
    read = read_header(path)

    assert (read.region, read.bones, read.limits) == ("pelvis", BONES, LIMITS)
    assert read.trained == "11 people, 9 steps, seed 3"
    assert Shape(**{k: tuple(v) if isinstance(v, list) else v for k, v in read.shape.items()}) == (
        two_bones().shape
    )
    assert regions(path.parent) == {"pelvis": read}


def test_the_network_comes_back_as_it_was_to_the_precision_of_float16(path: Path) -> None:
    there, back = two_bones().state_dict(), load(path).state_dict()

    assert set(there) == set(back)
    for name, tensor in there.items():
        assert back[name].dtype == torch.float32
        assert torch.allclose(tensor, back[name], rtol=2**-11, atol=2**-24)


@torch.inference_mode()
def test_what_the_network_says_does_not_suffer_from_float16(tmp_path: Path) -> None:
    torch.manual_seed(4)
    shape = Shape(("femur",), 160.0, 64, 8, planar=(8, 16), spatial=(8, 16), hidden=16)
    net = Lifting(shape).eval()
    images, points = torch.rand(1, 1, 2, 64, 64), torch.rand(1, 500, 3) * 100 - 50
    matrix = torch.tensor([[10.0, 0.0, 0.0, 0.0], [0.0, 0.0, -10.0, 0.0], [0.0, 1.0, 0.0, 900.0]])
    source = torch.tensor([0.0, -900.0, 0.0])
    seen = Seen(images, matrix[None, None], source[None, None], torch.ones(1, 1) > 0)

    back = load(shipped(net, tmp_path).path)

    there, here = net(seen, points).distance, back(seen, points).distance
    assert float(there.std()) > 0.01
    assert float((there - here).abs().max()) < 0.01  # mm


def test_a_header_is_read_without_torch(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pipeline.weights import regions;"
        f"print(list(regions(Path({str(path.parent)!r}))));"
        "print(sorted({'torch', 'safetensors', 'scipy', 'skimage'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.decode().split("\n")[:2] == ["['pelvis']", "[]"]


def test_the_same_network_gives_the_same_bytes_and_any_change_another_digest(
    path: Path, tmp_path: Path
) -> None:
    told = read_header(path)
    again = export(two_bones(), tmp_path / "again.safetensors", told)
    assert again.path.read_bytes() == path.read_bytes()

    other_limits = replace(told, limits=replace(LIMITS, unseen=0.5))
    changed = two_bones()
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 0.5
    digests = {
        told.digest,
        export(two_bones(), tmp_path / "limits.safetensors", other_limits).digest,
        export(changed, tmp_path / "weights.safetensors", told).digest,
    }
    assert len(digests) == 3


def cut_off(content: bytes) -> bytes:
    return content[:-1]


def longer(content: bytes) -> bytes:
    return content + b"\0"


def one_bit_of_a_weight(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def header_alone(content: bytes) -> bytes:
    return content[:200]


def no_header(content: bytes) -> bytes:
    return b""


def endless_header(content: bytes) -> bytes:
    return b"\xff" * 8 + content[8:]


def not_json(content: bytes) -> bytes:
    return content.replace(b'{"', b"{'", 1)


def edited(key: str, value: str | None) -> object:
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


DAMAGE = {
    "cut off": (cut_off, "cut off"),
    "longer": (longer, "cut off"),
    "one bit of a weight": (one_bit_of_a_weight, "SHA-256"),
    "header alone": (header_alone, "cut off"),
    "nothing": (no_header, "cut off"),
    "endless header": (endless_header, "cut off"),
    "no JSON": (not_json, "no JSON"),
    "another version": (edited("format", "osteon-lifting-0"), f"not '{FORMAT}'"),
    "another limit": (edited("limits", json.dumps({"unseen": 0.9})), "SHA-256"),
    "a limit that is no number": (edited("limits", '{"unseen": NaN}'), "limits"),
    "an unknown limit": (edited("limits", '{"magic": 1}'), "magic"),
    "no bones": (edited("bones", None), "bones"),
    "fewer bones": (edited("bones", "[]"), "bones"),
    "another shape": (edited("shape", json.dumps({"bones": ["a", "b"]})), "SHA-256"),
    "no shape": (edited("shape", "{}"), "bones"),
    "no region": (edited("region", None), "region"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused_by_name(path: Path, name: str) -> None:
    damage, words = DAMAGE[name]
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(BrokenWeights, match="pelvis") as caught:
        load(path)
    assert words in str(caught.value)


def test_weights_that_are_not_finite_or_too_large_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = octahedra(((0.0, 0.0, 0.0), 30.0))
    with torch.no_grad():
        net.head[0].weight[0, 0] = 1e6  # beyond float16
    with pytest.raises(BrokenWeights, match="finite"):
        shipped(net, tmp_path)

    monkeypatch.setattr("pipeline.weights.LARGEST_FILE", 10_000)
    with pytest.raises(BrokenWeights, match="bytes"):
        shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path)
    with pytest.raises(BrokenWeights, match="number of bones"):
        shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path, FEMUR, TIBIA)
    assert list(tmp_path.iterdir()) == []


def test_a_region_without_weights_is_told_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.weights.FOLDER", tmp_path)
    shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path, region="knee")

    assert trained_for("knee").region == "knee"
    with pytest.raises(NotTrained, match="'elbow'; there is knee"):
        trained_for("elbow")


CLOSER = Closer("hip", "Femur", 110.0, True, (1.0, -2.0, -8.5))


def test_a_network_that_looks_closer_is_no_region_but_changes_what_a_result_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.weights.FOLDER", tmp_path)
    net = octahedra(((0.0, 0.0, 0.0), 30.0))
    first = shipped(net, tmp_path)
    assert digest_for("hip") == first.digest
    other = shipped(net, tmp_path, region="ankle")

    closer = shipped(net, tmp_path, region="proximal_femur", closer=CLOSER)

    assert set(regions()) == {"hip", "ankle"}
    assert closer_looks("hip") == (closer,)
    assert closer_looks("ankle") == ()
    assert read_header(closer.path).closer == CLOSER
    assert digest_for("hip") not in (first.digest, closer.digest)
    assert digest_for("ankle") == other.digest


def test_a_closer_look_knows_one_bone(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeights, match="more than one bone"):
        shipped(two_bones(), tmp_path, FEMUR, TIBIA, closer=CLOSER)


def test_two_files_of_one_region_are_refused(tmp_path: Path) -> None:
    first = shipped(octahedra(((0.0, 0.0, 0.0), 30.0)), tmp_path)
    (tmp_path / "other.safetensors").write_bytes(first.path.read_bytes())

    with pytest.raises(BrokenWeights, match="second file for the region hip"):
        regions(tmp_path)


def test_what_is_shipped_loads_is_small_and_has_a_model_card_that_names_it() -> None:
    shipped_ones = [
        one for name, first in regions().items() for one in (first, *closer_looks(name))
    ]
    for trained in shipped_ones:
        load(trained.path)

        assert trained.path.stem == trained.region
        assert trained.path.stat().st_size < 16_000_000
        assert trained.digest in trained.path.with_suffix(".md").read_text(encoding="utf-8")
        assert trained.limits.outline_agreement > 0.25  # which chance alone reaches
