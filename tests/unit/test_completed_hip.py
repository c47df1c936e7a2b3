"""What is shipped for the hip closes the pelvis of a result, in a job as a rule asks for it.

Expected: issue 6, item 4: the other half of a pelvis, the shaft beyond the edge.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread

from pipeline import demonstration
from pipeline.run import run
from pipeline.types import ObjectKind, Reconstructed, Request, Source

AT = datetime(2026, 1, 1, tzinfo=UTC)


def request(folder: Path) -> Request:
    """The demo's left hip, seen from two sides."""
    seen = demonstration.specimen(folder / "radiographs", AT)
    uids = [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in seen.paths]
    made = folder / "made"
    made.mkdir()
    return Request(
        sources=tuple(Source(p, uid, "0" * 64) for p, uid in zip(seen.paths, uids, strict=True)),
        region="hip",
        views=("frontal", "lateral"),
        side=demonstration.SIDE,
        model="lifting",
        rule="hip",
        configuration_digest="0" * 64,
        node="test",
        at=AT,
        folder=made,
        kinds=(ObjectKind.SEGMENTATION,),
        complete=True,
    )


def test_a_rule_that_asks_for_it_gets_the_other_half_of_the_pelvis(tmp_path: Path) -> None:
    made = run(request(tmp_path))

    assert isinstance(made, Reconstructed)
    (segmentation,) = made.objects
    labels = [str(one.SegmentLabel) for one in dcmread(segmentation.path).SegmentSequence]
    assert labels[:2] == ["Femur L", "Hip bone L"]
    added = {f"{name}: predicted, not imaged" for name in ("Sacrum", "Hip bone R", "Femur L")}
    assert added <= set(labels[2:])
    assert all(label.endswith(": predicted, not imaged") for label in labels[2:])
