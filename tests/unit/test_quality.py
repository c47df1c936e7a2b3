"""Views that contradict each other are withheld with a sentence, and views that agree are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.phantom import Phantom, phantom
from pipeline.quality import AGREEMENT, CUT, EXTENT, PIECES, PROFILE, SCALE, VOLUME, figures, judge
from pipeline.reconstruct import reconstruct
from pipeline.segment import Silhouette
from pipeline.simulate import project, radiograph_pixels
from pipeline.types import Figure, Mesh, Radiograph, Reconstruction, Side, View, ViewName, Volume


def a_view(name: ViewName, *, sid: float = 1150.0, spacing: float = 1.2) -> View:
    return camera(
        name,
        source_to_detector=sid,
        source_to_patient=950.0,
        row_spacing=spacing,
        column_spacing=spacing,
        rows=266,
        columns=212,
    )


@pytest.fixture(scope="module")
def hip() -> Phantom:
    return phantom(Side.LEFT, spacing=2.5)


def exposed(hip: Phantom, name: ViewName, moved: np.ndarray | None = None) -> Radiograph:
    """A radiograph of the phantom after it was `moved`, a (4, 4) in LPS."""
    view = a_view(name)
    affine = (np.eye(4) if moved is None else moved) @ hip.density.patient_from_index
    integrals = project(torch.from_numpy(hip.density.array), torch.from_numpy(affine), view)
    pixels = radiograph_pixels(integrals, seed=0)
    valid = np.ones(pixels.shape, np.bool_)
    return Radiograph(pixels.astype(np.float32), valid, view, "1.2", "1.2.3", "1.2.4")


@pytest.fixture(scope="module")
def ap(hip: Phantom) -> Radiograph:
    return exposed(hip, ViewName.AP)


@pytest.fixture(scope="module")
def ll(hip: Phantom) -> Radiograph:
    return exposed(hip, ViewName.LL)


def made_of(*radiographs: Radiograph) -> Reconstruction:
    return reconstruct(radiographs, region="hip", side=Side.LEFT, model="visual-hull")


def shifted(z: float) -> np.ndarray:
    moved = np.eye(4)
    moved[2, 3] = z
    return moved


def test_two_views_of_one_hip_are_fine(ap: Radiograph, ll: Radiograph) -> None:
    made = made_of(ap, ll)

    assert judge(made.figures) == ()
    assert all(figure.is_within for figure in made.figures)
    assert {f.name.removesuffix(" AP").removesuffix(" LL") for f in made.figures} == {
        AGREEMENT,
        EXTENT,
        PROFILE,
        SCALE,
        VOLUME,
        CUT,
        PIECES,
    }


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(np.diag([1.0, 1.0, -1.0, 1.0]), id="upside down"),
        pytest.param(shifted(30.0), id="moved by 30 mm between the views"),
        pytest.param(np.diag([1.25, 1.25, 1.25, 1.0]), id="a larger patient"),
    ],
)
def test_views_of_different_poses_or_patients_are_withheld(
    hip: Phantom, ap: Radiograph, moved: np.ndarray
) -> None:
    other = exposed(hip, ViewName.LL, moved)

    reasons = judge(made_of(ap, other).figures)

    assert any("along their shared axis" in reason for reason in reasons)


def test_a_wrong_source_distance_in_one_view_is_withheld(ap: Radiograph, ll: Radiograph) -> None:
    wrong = replace(ll, view=a_view(ViewName.LL, sid=1800.0))

    reasons = judge(made_of(ap, wrong).figures)

    assert any("times as long" in reason for reason in reasons)


def test_a_wrong_pixel_spacing_in_one_view_is_withheld(ap: Radiograph, ll: Radiograph) -> None:
    wrong = replace(ll, view=a_view(ViewName.LL, spacing=0.6))

    reasons = judge(made_of(ap, wrong).figures)

    assert any("pixel spacing" in reason for reason in reasons)


def a_box(half: float) -> tuple[Volume, Mesh]:
    """A cube of edge 2 x half, as a grid of 1 mm and as 12 triangles."""
    count = int(4 * half)
    array = np.zeros((count, count, count), np.float32)
    low, high = count // 4, 3 * count // 4
    array[low:high, low:high, low:high] = 1
    affine = np.zeros((4, 4))
    affine[[0, 1, 2], [2, 1, 0]] = 1.0
    affine[:3, 3] = -(count - 1) / 2
    affine[3, 3] = 1
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in sides for f in ((a, b, c), (a, c, d))]
    return Volume(array, affine), Mesh(half * signs, np.array(faces, np.int64))


def seen(name: ViewName, mask: np.ndarray) -> Silhouette:
    return Silhouette(mask, mask.astype(np.float32), np.ones_like(mask), a_view(name))


def figure(found: tuple[Figure, ...], name: str) -> Figure:
    return next(each for each in found if each.name == name)


def test_the_figures_of_a_box_are_those_worked_out_by_hand() -> None:
    volume, mesh = a_box(30.0)
    # the near face, 920 mm from the source, fills 30 x 1150 / 920 / 1.2 = 31.25 pixels a side
    mask = np.zeros((266, 212), np.bool_)
    mask[102:164, 75:137] = True

    found = figures([seen(ViewName.AP, mask), seen(ViewName.LL, mask)], volume, mesh)

    assert figure(found, f"{AGREEMENT} AP").value == pytest.approx(1.0, abs=0.03)
    assert figure(found, EXTENT).value == pytest.approx(1.0)
    assert figure(found, VOLUME).value == pytest.approx(60**3 / 1000)
    assert figure(found, f"{CUT} LL").value == 0.0
    assert figure(found, PIECES).value == 1


def test_a_bone_cut_by_the_image_is_measured_on_its_rim() -> None:
    volume, mesh = a_box(30.0)
    mask = np.zeros((266, 212), np.bool_)
    mask[:, 90:120] = True  # a shaft from border to border: 60 of its 588 rim pixels are cut

    found = figures([seen(ViewName.AP, mask), seen(ViewName.LL, mask)], volume, mesh)

    # two rows at each end count as the border
    assert 0.10 <= figure(found, f"{CUT} AP").value <= 0.12


def test_a_surface_that_leaves_a_silhouette_empty_is_named_with_its_view() -> None:
    volume, mesh = a_box(30.0)
    full, half = np.zeros((2, 266, 212), np.bool_)
    full[102:164, 75:137], half[102:164, 75:106] = True, True

    reasons = judge(figures([seen(ViewName.AP, full), seen(ViewName.LL, half)], volume, mesh))

    assert len([reason for reason in reasons if "view LL" in reason]) == 1
    assert not any("view AP" in reason for reason in reasons)


def test_every_figure_out_of_limits_has_a_sentence_and_no_other() -> None:
    bad = (
        Figure(f"{AGREEMENT} AP", 0.3, "", 0.8),
        Figure(EXTENT, 0.2, "", 0.9),
        Figure(VOLUME, 9000.0, "cm3", 5.0, 3000.0),
        Figure(f"{CUT} LL", 0.9, "", None, 0.4),
        Figure(PIECES, 40.0, "", 1.0, 12.0),
        Figure("something new", 3.0, "mm", None, 2.0),
    )
    good = (Figure(PROFILE, 0.99, "", 0.75),)

    reasons = judge((*bad, *good))

    assert len(reasons) == len(bad)
    assert all(len(reason) > 20 and "{" not in reason for reason in reasons)
