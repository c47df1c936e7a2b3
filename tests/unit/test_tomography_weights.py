"""Weights of tomographies: what is written is read, and what is damaged is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from node.models import usable
from pipeline import weights
from pipeline.familiar import Familiar, Range, Views
from pipeline.models.tomography import Tomography, TomographyShape
from pipeline.safetensors_header import BrokenWeights, digest_of, parsed, written
from pipeline.stated import Judged, Stated
from pipeline.tomography_weights import (
    TrainedTomography,
    export,
    file_name,
    load,
    read_header,
    trained_tomographies,
)

TOLD = TrainedTomography(
    region="hip",
    is_paired=True,
    familiar=Familiar(Views(1, 1, ("frontal",)), Range(900, 1800), Range(1.1, 1.5), 16.5, 15.5),
    image_size=32,
    cube_mm=240.0,
    threshold=0.12,
    least_shown=0.41,
    least_agreement=0.3,
    trained="2 legs of 1 person",
    shape={},
    stated=Stated("CC0", (Judged("1 view", "all bones", 3, "IoU", 0.4),)),
)


def a_net() -> Tomography:
    torch.manual_seed(0)
    net = Tomography(TomographyShape(planes=6, width=4, blocks=(1, 2)))
    net(torch.rand(2, 1, 1, 32, 32))  # running statistics that are not those of the beginning
    return net.eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    export(a_net(), tmp_path / file_name("hip"), TOLD)
    return tmp_path / file_name("hip")


def test_a_file_says_all_that_was_told(file: Path) -> None:
    found = read_header(file)

    assert file.name == "hip.tomography.safetensors"
    assert dict(found.shape) == {"planes": 6, "width": 4, "blocks": [1, 2]}
    assert len(found.digest) == 64
    assert replace(found, shape={}, digest="", path=Path()) == TOLD


def test_the_network_that_is_read_answers_as_the_one_that_was_written(file: Path) -> None:
    image = torch.rand(1, 1, 1, 32, 32)

    found, expected = load(file)(image).volume, a_net()(image).volume

    # half precision keeps eleven bits
    assert torch.allclose(found, expected, atol=5e-3 * float(expected.detach().abs().max()))
    assert not any(weight.requires_grad for weight in load(file).parameters())


def test_the_lifting_networks_and_the_tomographies_do_not_stumble_over_each_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FOLDER", file.parent)

    assert weights.regions() == {}
    assert list(trained_tomographies()) == ["hip"]
    file.with_name("other.tomography.safetensors").write_bytes(file.read_bytes())
    with pytest.raises(BrokenWeights, match="second tomography"):
        trained_tomographies()


@pytest.mark.parametrize("place", [0.3, 0.9])
def test_a_file_that_was_changed_is_refused(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0x10
    file.write_bytes(bytes(content))

    with pytest.raises(BrokenWeights):
        load(file)


def test_a_file_that_was_cut_off_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])

    with pytest.raises(BrokenWeights, match="cut off"):
        read_header(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", "0"),
        ("cube_mm", "NaN"),
        ("image_size", '"wide"'),
        ("familiar", "{}"),
        ("shape", "7"),
        ("shape", json.dumps({"planes": 6, "width": 8, "blocks": [1, 2]})),
        ("image_size", "36"),
        ("format", "osteon-tomography-2"),
    ],
)
def test_a_header_that_lies_is_refused_though_its_digest_is_right(
    file: Path, key: str, value: str
) -> None:
    content = file.read_bytes()
    header, start = parsed(content)
    header["__metadata__"][key] = value
    header["__metadata__"]["sha256"] = digest_of(header, content[start:])
    file.write_bytes(written(header) + content[start:])

    with pytest.raises(BrokenWeights, match=r"hip\.tomography"):
        load(file)


def test_what_is_shipped_loads_and_has_a_model_card_that_names_it() -> None:
    """And beats the mean density of those learned from, on people left out."""
    shipped = trained_tomographies()

    assert "hip" in shipped
    for trained in shipped.values():
        card = trained.path.with_suffix(".md").read_text(encoding="utf-8")
        assert trained.digest in card
        assert trained.stated.licence
        assert load(trained.path).shape.planes > 0
        found = {(one.measure, one.condition[:4]): one.value for one in trained.stated.judged}
        assert found["IoU of bone", "1 vi"] > found["IoU of bone", "mean"]
        error = "relative error of the density"
        assert found[error, "1 vi"] < found[error, "mean"]


def test_a_rule_that_expects_two_views_is_a_fault_of_the_settings() -> None:
    assert usable("tomography", "hip", ("frontal",)) == "tomography"
    with pytest.raises(ValueError, match="takes at most one view, there are 2"):
        usable("tomography", "hip", ("frontal", "lateral"))
    with pytest.raises(ValueError, match="no lateral one"):
        usable("tomography", "hip", ("lateral",))
