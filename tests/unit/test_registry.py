"""Every engine says what it gives; a result comes from all the weights that it was made with."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.__main__ import app
from node.models import usable
from pipeline import weights
from pipeline.familiar import Views
from pipeline.registry import ENGINES, algorithm, default_engine, offer, offers
from pipeline.weights import NotTrained
from tests.lifting_nets import octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.volumetric_nets import FAMILIAR, TOLD, shipped

ROOT = Path(__file__).parents[2]
FEMUR_AT = ((30.0, 0.0, 0.0), 40.0)
BOTH = ("frontal", "lateral")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of a hip that two engines know."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    lifting_shipped(octahedra(FEMUR_AT), tmp_path)
    shipped(tmp_path)
    return tmp_path


def test_the_engines_of_the_issue_are_there_and_each_has_its_module_and_its_recipe() -> None:
    published = {"3D-LSTM-1", "3D-LSTM-3", "3D-GRU-1", "3D-GRU-3", "Res3D-GRU-3"}

    assert {"lifting", "visual-hull", "pix2vox++/F", "pix2vox++/A", *published} <= set(ENGINES)
    for name, engine in ENGINES.items():
        assert name == engine.name
        assert callable(import_module(engine.module).reconstruct)
        assert not engine.recipe or (ROOT / engine.recipe).is_file()
        assert engine.memory_mib > 100


def test_what_is_offered_is_what_the_headers_say() -> None:
    found = {(one.engine.name, one.region): one for one in offers()}

    assert set(found) == {("lifting", "hip"), ("visual-hull", ""), ("pix2vox++/F", "hip")}
    volumes = found["pix2vox++/F", "hip"]
    assert (volumes.bones, volumes.views, volumes.grid) == (("Femur",), FAMILIAR.views, 8)
    assert volumes.stated == TOLD.stated
    assert found["lifting", "hip"].bones == ("Femur",)
    assert found["visual-hull", ""].digest == ""


def test_a_network_whose_cube_another_one_finds_is_named_with_both(folder: Path) -> None:
    before = algorithm("pix2vox++/F", "hip")
    assert before.name == "Osteon Pix2Vox++/F"
    told = dict(before.parameters)
    assert told["engine"] == "pix2vox++/F"
    assert told["grid"] == "8 x 8 x 8"
    assert told["cube_found_by_sha256"] == weights.trained_for("hip").digest

    lifting_shipped(octahedra(((0.0, 0.0, 0.0), 40.0)), folder)

    after = algorithm("pix2vox++/F", "hip")
    assert after.weights_digest != before.weights_digest
    assert dict(after.parameters)["network_sha256"] == told["network_sha256"]


def test_a_network_that_places_its_cube_itself_is_named_alone(folder: Path) -> None:
    alone = shipped(folder, region="knee", within=None)

    assert algorithm("pix2vox++/F", "knee").weights_digest == alone.digest


def test_lifting_is_the_default_where_it_is_trained() -> None:
    assert (default_engine("hip"), default_engine("knee")) == ("lifting", "visual-hull")


REFUSED = {
    "no such engine": ("magic", "hip", BOTH, "no such engine; there is auto, lifting, visual-hull"),
    "region unknown": ("pix2vox++/F", "knee", BOTH, "no trained network .*'knee'; there is hip"),
    "no weights": (
        "Res3D-GRU-3",
        "hip",
        BOTH,
        r"no weights of Res3D-GRU-3 here: train it \(config/train-recurrent.toml\)",
    ),
    "too many views": ("pix2vox++/F", "hip", ("AP", "PA", "LL", "RL"), "at most 3 views"),
    "too few views": ("visual-hull", "hip", ("AP",), "at least 2 views, there are 1"),
    "one direction": ("visual-hull", "hip", ("AP", "PA"), "needs a frontal and a lateral view"),
}


@pytest.mark.parametrize(
    ("engine", "region", "views", "words"), REFUSED.values(), ids=list(REFUSED)
)
def test_an_engine_that_cannot_serve_a_rule_says_why(
    engine: str, region: str, views: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        usable(engine, region, views)


def test_a_rule_may_name_any_engine_that_serves_it() -> None:
    assert usable("pix2vox++/F", "hip", BOTH) == "pix2vox++/F"
    assert usable("pix2vox++/F", "hip", ("AP",)) == "pix2vox++/F"


def test_a_cube_that_no_network_can_find_is_not_offered(folder: Path) -> None:
    (folder / "hip.safetensors").unlink()

    with pytest.raises(NotTrained, match="needs the lifting network of the hip"):
        offer("pix2vox++/F", "hip")


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (Views(), "1 or more, frontal or lateral"),
        (Views(2, needs_both=True), "2 or more, frontal and lateral"),
        (Views(1, 4), "1 to 4, frontal or lateral"),
        (Views(1, 1, ("frontal",)), "1, frontal"),
    ],
)
def test_the_views_of_an_engine_are_told_in_words(views: Views, words: str) -> None:
    assert views.words == words


def test_naming_an_engine_loads_no_network() -> None:
    program = (
        "import sys; from pipeline.registry import algorithm, offers; offers();"
        "algorithm('lifting', 'hip'); print(sorted({'torch', 'scipy', 'skimage', 'SimpleITK',"
        " 'highdicom', 'safetensors'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.decode().strip() == "[]"


def test_the_command_lists_what_there_is_and_how_good_it_is() -> None:
    told = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"})

    assert told.exit_code == 0
    assert "pix2vox++/F" in told.output
    assert "1 to 3, frontal or lateral" in told.output
    assert "IoU 0.75" in told.output
    assert "No weights here: pix2vox++/A (osteon train config/train-pix2vox-a.toml" in told.output
    assert "Res3D-GRU-3 (osteon train config/train-recurrent.toml" in told.output


def test_the_list_for_a_script_says_the_same() -> None:
    told = CliRunner().invoke(app, ["models", "--json"])

    by_name = {one["engine"]: one for one in json.loads(told.output)["engines"]}
    assert set(by_name) == set(ENGINES)
    (hip,) = by_name["pix2vox++/F"]["offers"]
    assert (hip["region"], hip["bones"], hip["grid"]) == ("hip", ["Femur"], 8)
    assert hip["views"]["most"] == 3
    assert hip["judged"][0]["people"] == 3
    assert hip["licence"] == "none: made by hand"
    assert by_name["3D-GRU-1"]["offers"] == []


def test_damaged_weights_end_the_list_with_a_sentence(folder: Path) -> None:
    file = folder / "proximal_femur.pix2vox-f.safetensors"
    file.write_bytes(file.read_bytes()[:-7])

    told = CliRunner().invoke(app, ["models"])

    assert told.exit_code == 1
    assert "cut off" in " ".join(told.output.split())


SETTINGS = """
[node]
folder = "data"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 1
connect_timeout_s = 1
[[rules]]
name = "hip"
region = "hip"
views = ["frontal", "lateral"]
engine = "pix2vox++/F"
destinations = ["pacs"]
match = { modality = "DX" }
"""


def test_doctor_says_whether_the_weights_of_a_rule_are_as_they_were(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = tmp_path_factory.mktemp("node") / "node.toml"
    config.write_text(SETTINGS, encoding="utf-8")

    def found() -> dict[str, object]:
        told = CliRunner().invoke(app, ["doctor", "--json", "--config", str(config)])
        findings = {one["what"]: one for one in json.loads(told.output)}
        return dict(findings["engine pix2vox++/F, hip"])

    fine = found()
    file = folder / "proximal_femur.pix2vox-f.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    broken = found()

    assert fine["is_fine"]
    assert fine["says"] == f"Femur; {file.name}, hip.safetensors: whole"
    assert not broken["is_fine"]
    assert "another SHA-256" in str(broken["says"])
