"""What a destination takes, keeps and gives back is found out, and said so that one can act on it.

SOP classes and transfer syntaxes are restated by hand from PS3.6 A.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from node import ladder, probe
from node.__main__ import app
from node.delivery import Unreachable
from node.kinds import WRITTEN
from node.probe import Probed
from node.settings import Destination, load
from pipeline.encode.notice import write_notice
from pipeline.encode.write import write
from pipeline.types import ObjectKind, ResultObject
from tests import results
from tests.factories import file_bytes, radiograph
from tests.processes import free_port
from tests.scripted_pacs import FIND, GET, Pacs, running

SOP_CLASSES = {
    "model-volume": "1.2.840.10008.5.1.4.1.1.2",
    "segmentation": "1.2.840.10008.5.1.4.1.1.66.4",
    "labelmap": "1.2.840.10008.5.1.4.1.1.66.7",
    "fractional": "1.2.840.10008.5.1.4.1.1.66.4",
    "surface-segmentation": "1.2.840.10008.5.1.4.1.1.66.5",
    "stl": "1.2.840.10008.5.1.4.1.1.104.3",
    "key-image": "1.2.840.10008.5.1.4.1.1.7",
    "turntable": "1.2.840.10008.5.1.4.1.1.7.4",
    "notice": "1.2.840.10008.5.1.4.1.1.7",
    "report": "1.2.840.10008.5.1.4.1.1.88.34",
}
CAPTURE = SOP_CLASSES["key-image"]
CT, SEG, SURFACE = (
    SOP_CLASSES[k] for k in ("model-volume", "segmentation", "surface-segmentation")
)
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
MADE = ("model-volume", "segmentation", "surface-segmentation", "report")


def destination(port: int, **keys: Any) -> Destination:
    return Destination(
        name="pacs",
        ae_title="PACS",
        host="127.0.0.1",
        port=port,
        connect_timeout_s=2,
        response_timeout_s=5,
        **keys,
    )


def probed(pacs: Pacs) -> Probed:
    found = probe.negotiate(destination(pacs.port), "OSTEON")
    assert not isinstance(found, Unreachable)
    return found


def a_set(folder: Path, kinds: Sequence[str] = MADE) -> list[ResultObject]:
    """One object of each kind: a radiograph under the class that the kind has."""
    made = []
    for kind in kinds:
        ds = radiograph(image=kind)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SOP_CLASSES[kind]
        content = file_bytes(ds)
        path = folder / f"{kind}.dcm"
        path.write_bytes(content)
        uid, digest = str(ds.SOPInstanceUID), hashlib.sha256(content).hexdigest()
        made.append(
            ResultObject(ObjectKind(kind), SOP_CLASSES[kind], uid, path, digest, len(content))
        )
    return made


def rehearsed(pacs: Pacs, folder: Path, waits: list[float] | None = None) -> Probed:
    found = probed(pacs)
    wait = (waits if waits is not None else []).append
    became = probe.rehearse(found, a_set(folder), destination(pacs.port), "OSTEON", wait)
    assert not isinstance(became, Unreachable)
    return Probed(found.destination, found.offers, found.services, became)


def said(found: Probed, **keys: Any) -> str:
    return "\n".join(ladder.advice(found, destination(104, **keys), "OSTEON"))


@pytest.mark.parametrize(("kind", "sop_class_uid"), SOP_CLASSES.items())
def test_a_kind_has_the_class_of_the_standard(kind: str, sop_class_uid: str) -> None:
    assert WRITTEN[kind].sop_class_uid == sop_class_uid


def test_the_class_that_is_proposed_is_the_class_that_is_written(tmp_path: Path) -> None:
    kinds = tuple(kind for kind in ObjectKind if kind is not ObjectKind.NOTICE)
    asked = results.request(tmp_path, kinds=kinds)

    objects = write(results.reconstruction(), results.radiographs(), asked)
    page = write_notice(replace(asked, folder=tmp_path, reasons=("Only one view is here.",)))

    found = {str(each.kind): each.sop_class_uid for each in (*objects, *page.objects)}
    assert found == {kind: written.sop_class_uid for kind, written in WRITTEN.items()}


def test_every_kind_that_can_be_written_is_proposed() -> None:
    with running(Pacs(), [CT]) as pacs:
        found = probed(pacs)

    assert sorted(offer.kind for offer in found.offers) == sorted(ObjectKind)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (EXPLICIT, "Explicit VR Little Endian"),
        (IMPLICIT, "Implicit VR Little Endian"),
        (DEFLATED, "Deflated Explicit VR Little Endian"),
    ],
)
def test_each_transfer_syntax_is_asked_for_by_itself(syntax: str, name: str) -> None:
    with running(Pacs(), [SEG], syntaxes=[syntax]) as pacs:
        found = probed(pacs)

    taken = {offer.kind: offer.transfer_syntaxes for offer in found.offers if offer.is_accepted}
    assert taken["segmentation"] == (name,)
    assert set(taken) == {"segmentation", "fractional"}


def test_all_syntaxes_that_are_taken_are_told_the_one_that_is_sent_first() -> None:
    with running(Pacs(), [SEG], syntaxes=[DEFLATED, IMPLICIT, EXPLICIT]) as pacs:
        found = probed(pacs)

    (offer,) = [offer for offer in found.offers if offer.kind == "segmentation"]
    assert [name.split()[0] for name in offer.transfer_syntaxes] == [
        "Explicit",
        "Implicit",
        "Deflated",
    ]


def test_the_services_that_a_pacs_offers_are_told() -> None:
    with running(Pacs(), [SEG, FIND]) as pacs:
        found = probed(pacs)

    assert found.services == ("C-FIND",)


def test_negotiation_sends_nothing(tmp_path: Path) -> None:
    with running(Pacs(), list(SOP_CLASSES.values())) as pacs:
        probed(pacs)

    assert pacs.held == {}


def test_a_pacs_that_shows_nothing_of_a_result_is_not_fine_and_is_told_what_to_accept() -> None:
    with running(Pacs(), [SURFACE, FIND]) as pacs:
        found = probed(pacs)

    assert (found.is_useful, found.is_fine) == (False, False)
    assert "'OSTEON'" in said(found)
    assert SEG in said(found)


def test_a_pacs_that_takes_nothing_is_told_from_one_that_does_not_answer() -> None:
    with running(Pacs(), ["1.2.840.10008.5.1.4.1.1.1"]) as pacs:
        found = probed(pacs)

    gone = probe.negotiate(destination(free_port()), "OSTEON")

    assert found.kinds == ()
    assert not found.is_fine
    assert isinstance(gone, Unreachable)


def test_what_is_sent_is_counted_and_given_back(tmp_path: Path) -> None:
    with running(Pacs(), [*SOP_CLASSES.values(), FIND, GET]) as pacs:
        found = rehearsed(pacs, tmp_path)

    made = found.rehearsal
    assert made is not None
    assert made.kept is not None
    assert made.returned is not None
    assert [(each.kind, each.accepted) for each in made.answered] == [(kind, 1) for kind in MADE]
    assert (made.kept.series, len(made.kept.sop_instance_uids)) == (4, 4)
    assert (made.returned.same, made.returned.missing, made.returned.changed) == (4, 0, ())
    assert found.is_fine


def test_what_was_acknowledged_and_is_not_kept_is_told_and_is_not_fine(tmp_path: Path) -> None:
    waits: list[float] = []
    with running(Pacs(loses=[SEG]), [*SOP_CLASSES.values(), FIND, GET]) as pacs:
        found = rehearsed(pacs, tmp_path, waits)

    made = found.rehearsal
    assert made is not None
    assert len(made.lost) == 1
    assert not found.is_fine
    assert "lists 1 of them not" in said(found)
    assert "gave back 1 of 4 objects not" in said(found)
    assert len(waits) == 9


def test_a_pacs_that_files_a_little_later_is_waited_for(tmp_path: Path) -> None:
    waits: list[float] = []
    with running(Pacs(files_after=2), [*SOP_CLASSES.values(), FIND]) as pacs:
        found = rehearsed(pacs, tmp_path, waits)

    assert found.is_fine
    assert waits == [1.0, 1.0]


def test_what_a_pacs_changes_is_named(tmp_path: Path) -> None:
    coerces = {"PatientName": "Someone^Else"}
    with running(Pacs(coerces=coerces), [*SOP_CLASSES.values(), FIND, GET]) as pacs:
        found = rehearsed(pacs, tmp_path)

    assert "It changes what it is sent: PatientName." in said(found)
    assert "Someone" not in said(found)


def test_a_kind_that_is_refused_by_status_is_not_proposed_for_the_settings(tmp_path: Path) -> None:
    with running(Pacs(refuses={SURFACE: 0xA900}), [*SOP_CLASSES.values(), FIND]) as pacs:
        found = rehearsed(pacs, tmp_path)

    assert "surface-segmentation" not in found.kinds
    assert "segmentation" in found.kinds
    assert "0xA900" in said(found)


def test_what_cannot_be_asked_back_is_said_and_is_no_fault(tmp_path: Path) -> None:
    with running(Pacs(), list(SOP_CLASSES.values())) as pacs:
        found = rehearsed(pacs, tmp_path)

    assert found.is_fine
    assert "does not answer C-FIND" in said(found)
    assert "does not offer C-GET" in said(found)


def test_the_settings_line_names_what_is_taken_and_fits_into_the_settings() -> None:
    with running(Pacs(), [CT, SEG]) as pacs:
        found = probed(pacs)
    given = destination(11112, calling_ae_title="OSTEON_OUT")

    (table,) = tomllib.loads(ladder.toml(found, given))["destinations"]

    assert table["kinds"] == ["model-volume", "segmentation", "fractional"]
    assert Destination(**{**table, "kinds": tuple(table["kinds"])}) == given.model_copy(
        update={"kinds": tuple(ObjectKind(kind) for kind in table["kinds"])}
    )


def test_settings_that_fit_are_left_as_they_are() -> None:
    with running(Pacs(), [CT]) as pacs:
        found = probed(pacs)

    assert "just the kinds" in said(found, kinds=(ObjectKind.MODEL_VOLUME,))
    assert 'kinds = ["model-volume"]' in said(found)


def test_one_syntax_only_is_no_fault_and_is_said() -> None:
    with running(Pacs(), [SEG], syntaxes=[IMPLICIT]) as pacs:
        found = probed(pacs)

    assert found.is_fine
    assert "as Implicit VR Little Endian only" in said(found)


def test_a_pacs_without_captures_is_told_that_somebody_may_see_nothing() -> None:
    with running(Pacs(), [CT, SEG]) as pacs:
        found = probed(pacs)

    assert f"accept {CAPTURE}" in said(found)


SETTINGS = """
[node]
folder = "data"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
connect_timeout_s = 2
"""


def doctor(folder: Path, port: int, *words: str) -> Result:
    path = folder / "node.toml"
    path.write_text(SETTINGS.format(port=port))
    return CliRunner().invoke(app, ["doctor", *words, "--config", str(path)])


def test_the_command_prints_a_table_and_the_line_to_set(tmp_path: Path) -> None:
    with running(Pacs(), [SEG, FIND]) as pacs:
        result = doctor(tmp_path, pacs.port, "--destination", "pacs")

    assert result.exit_code == 0
    assert 'kinds = ["segmentation", "fractional"]' in result.output
    assert "surface segmentation" in result.output


def test_the_command_prints_json_and_toml_that_are_nothing_else(tmp_path: Path) -> None:
    with running(Pacs(), [SEG, FIND]) as pacs:
        as_json = doctor(tmp_path, pacs.port, "--destination", "pacs", "--json")
        as_toml = doctor(tmp_path, pacs.port, "--destination", "pacs", "--toml")

    found = json.loads(as_json.stdout)
    assert found["kinds"] == ["segmentation", "fractional"]
    assert found["services"] == ["C-FIND"]
    (table,) = tomllib.loads(as_toml.stdout)["destinations"]
    assert table["kinds"] == found["kinds"]
    pasted = tmp_path / "pasted.toml"
    pasted.write_text(as_toml.stdout)
    assert load(pasted, {}).destinations[0].port == pacs.port


def test_the_command_ends_with_1_where_nothing_useful_is_taken_or_nobody_answers(
    tmp_path: Path,
) -> None:
    with running(Pacs(), [SURFACE]) as pacs:
        useless = doctor(tmp_path, pacs.port, "--destination", "pacs")
    gone = doctor(tmp_path, free_port(), "--destination", "pacs", "--toml")

    assert (useless.exit_code, gone.exit_code) == (1, 1)
    assert gone.stdout == ""
    assert "127.0.0.1" in gone.stderr


def test_a_test_set_for_nobody_is_a_wrong_use(tmp_path: Path) -> None:
    assert doctor(tmp_path, 104, "--send-test-set").exit_code == 2
    assert doctor(tmp_path, 104, "--toml").exit_code == 2


def test_text_from_a_peer_is_shown_as_it_is(tmp_path: Path) -> None:
    with running(Pacs(), [SEG]) as pacs:
        found = probed(pacs)

    with (tmp_path / "shown").open("w") as file:
        ladder.show(Console(file=file, width=200), found, ("[bold red]loud[/]",))

    assert "[bold red]loud[/]" in (tmp_path / "shown").read_text()


def test_the_node_that_probes_never_imports_torch() -> None:
    code = "import sys, node.ladder, node.probe; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
