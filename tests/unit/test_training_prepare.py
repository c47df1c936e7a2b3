"""From bones to an archive: made-up people through the whole of `prepare`, and one real person."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.training import archive, prepare
from pipeline.training.archive import Archive
from pipeline.training.bones import read_vsd
from pipeline.training.folds import FOLDS, NEVER, fold_of, read_folds
from pipeline.training.hips import completed, hip_leg
from pipeline.training.regions import REGIONS, Region, region_named

SMALL: Region = replace(region_named("hip"), voxels=32)
HEAD = (-80.0, 4.0, 12.0)
"""Centre of the right femoral head of the made-up people, LPS mm; the left one at +80."""
RADIUS = 24.0
LANDMARKS = {
    "Right ASIS": (-120.0, -40.0, 90.0),
    "Left ASIS": (120.0, -40.0, 90.0),
    "Right Pubic Tubercle (PT)": (-25.0, -40.0, 0.0),
    "Left Pubic Tubercle (PT)": (25.0, -40.0, 0.0),
}


def right_femur() -> trimesh.Trimesh:
    x, y, z = HEAD
    shaft = trimesh.creation.box(bounds=[(x - 50, y - 8, z - 300), (x - 30, y + 8, z - 30)])
    head = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS).apply_translation(HEAD)
    return trimesh.util.concatenate([head, shaft.subdivide_to_size(6)])


def right_hip_bone() -> trimesh.Trimesh:
    """A wedge that is like itself in no other pose."""
    x, y, z = HEAD
    corners = [(x - 20, y, z + 30), (x + 40, y, z + 30), (x + 5, y + 60, z + 35)]
    wing = [(x - 30, y - 30, z + 130), (x + 10, y + 40, z + 140)]
    return trimesh.convex.convex_hull(np.array([*corners, *wing])).subdivide_to_size(6)


def mirrored(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices * [-1, 1, 1], mesh.faces[:, ::-1])


def write_person(folder: Path, name: str, *, with_left_femur: bool = True) -> None:
    femur, hip = right_femur(), right_hip_bone()
    bones = {"Femur_R": femur, "Hip_R": hip, "Hip_L": mirrored(hip)}
    bones["Sacrum"] = trimesh.creation.box(bounds=[(-30, 40, 20), (30, 70, 120)])
    if with_left_femur:
        bones["Femur_L"] = mirrored(femur)
    arrays = {f"{n}/v": m.vertices.astype(np.float32) for n, m in bones.items()}
    arrays |= {f"{n}/f": m.faces.astype(np.int32) for n, m in bones.items()}
    np.savez(folder / f"{name}.npz", **arrays)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two made-up people: z001 is whole, z009 lacks the left femur."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "bones" / "vsd"
    folder.mkdir(parents=True)
    write_person(folder, "z001")
    write_person(folder, "z009", with_left_femur=False)
    rows = [
        f"{person},Pelvis,,1,1,{name},{x},{y},{z}"
        for person in ("z001", "z009")
        for name, (x, y, z) in LANDMARKS.items()
    ]
    header = "subject,bone,side,rater,repeat,landmark,x_mm,y_mm,z_mm"
    (folder / "landmarks.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    out = data / "hip.npz"
    prepare.prepare(SMALL, data, out, processes=1)
    return archive.load(out)


def test_each_leg_of_each_person_is_a_case_in_the_fold_of_the_person(prepared: Archive) -> None:
    folds = read_folds()
    assert [(c.person, c.side, c.fold) for c in prepared.cases] == [
        (person, side, folds[person]) for person in ("z001", "z009") for side in ("R", "L")
    ]
    for fold in range(FOLDS):
        judged = {case.person for case in prepared.judged_in(fold)}
        assert judged.isdisjoint(case.person for case in prepared.trained_in(fold))


def test_the_head_stands_at_the_pivot_and_its_distance_is_that_of_a_ball(
    prepared: Archive,
) -> None:
    near = prepared.near(prepared.cases[0])[0].numpy()
    step = SMALL.cube_mm / SMALL.voxels
    at = (np.arange(SMALL.voxels) + 0.5) * step - SMALL.cube_mm / 2
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    away = np.linalg.norm(np.stack([x, y, z], axis=-1) - SMALL.pivot, axis=-1)
    top = (away < RADIUS + 4) & (away > RADIUS - 4) & (z > SMALL.pivot[2])
    assert np.abs(near - (away - RADIUS))[top].max() < 0.2


def test_the_left_leg_of_a_symmetric_person_is_prepared_as_the_right_one(
    prepared: Archive,
) -> None:
    right, left = prepared.cases[:2]
    assert left.is_mirrored
    assert not right.is_mirrored
    assert (prepared.near(right) - prepared.near(left)).abs().max() <= 2 * archive.NEAR_STEP
    assert (prepared.far(right) - prepared.far(left)).abs().max() <= 2 * archive.FAR_STEP
    assert left.patient_from_region[0][0] == pytest.approx(-1)
    point = np.array(left.patient_from_region) @ [*SMALL.pivot, 1.0]
    assert point[:3] == pytest.approx([-HEAD[0], *HEAD[1:]], abs=0.2)


def test_the_neighbours_are_the_last_channel_and_everything_is_in_the_wide_cube(
    prepared: Archive,
) -> None:
    case = prepared.cases[0]
    near, far = prepared.near(case), prepared.far(case)
    assert near.shape == (len(SMALL.targets) + 1, 32, 32, 32)
    assert near.abs().max() <= archive.NEAR_LIMIT
    step = SMALL.cube_mm / SMALL.voxels
    sacrum = np.array([0.0, 55.0, 70.0]) - HEAD + SMALL.pivot
    i, j, k = ((sacrum + SMALL.cube_mm / 2) // step).astype(int)
    assert near[-1, k, j, i] < -8
    assert near[:-1, k, j, i].min() > 8
    far_step = SMALL.far_mm / SMALL.voxels
    other_shaft = np.array([120.0, 4.0, -120.0]) - HEAD + SMALL.pivot
    i, j, k = ((other_shaft + SMALL.far_mm / 2) // far_step).astype(int)
    assert far[k, j, i] < 0


def test_a_missing_femur_is_mirrored_into_its_socket_and_never_judged(prepared: Archive) -> None:
    whole, lacking = prepared.cases[1], prepared.cases[3]
    assert lacking.has == (False, True)
    assert lacking.borrowed == (True, False)
    assert lacking.scenery == ("femur: mirror image of femur_R",)
    assert prepared.mesh(lacking, "femur") is None
    assert prepared.mesh(lacking, "hip_bone") is not None
    assert (prepared.near(whole) - prepared.near(lacking))[0].abs().max() < 1.0


def test_the_true_surface_is_whole_closed_and_in_the_region_frame(prepared: Archive) -> None:
    mesh = prepared.mesh(prepared.cases[0], "femur")
    assert mesh is not None
    truth = right_femur()
    expected = truth.vertices - np.array(HEAD) + SMALL.pivot
    assert np.abs(np.sort(mesh.vertices.numpy(), 0) - np.sort(expected, 0)).max() < 0.25
    again = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert again.is_watertight
    assert again.volume == pytest.approx(truth.volume, rel=0.001)


def test_landmarks_that_nobody_clicked_are_nan(prepared: Archive) -> None:
    names = prepared.landmark_names
    right, lacking = (prepared.landmarks(prepared.cases[i]) for i in (0, 3))
    assert right[names.index("Femoral Head Centre")].tolist() == pytest.approx(SMALL.pivot)
    assert lacking[names.index("Femoral Head Centre")].isnan().all()
    spine = np.array(LANDMARKS["Right ASIS"]) - HEAD + SMALL.pivot
    assert right[names.index("ASIS")].tolist() == pytest.approx(spine, abs=0.3)


def test_quantised_distances_are_within_half_a_step_and_clipped() -> None:
    values = np.array([-40.0, -1.03, 0.0, 0.06, 15.8, 40.0], np.float32)
    assert archive.quantised(values, archive.NEAR_STEP).tolist() == [-127, -8, 0, 0, 126, 127]


def test_folds_name_each_person_once_and_nobody_synthetic() -> None:
    folds = read_folds()
    assert set(folds.values()) == set(range(FOLDS))
    assert {"z013", "z050", "TLEM2", "ICL", "VAKHUM", "MC22"} <= set(folds)
    assert len(folds) == 15 + 4 + 3
    assert fold_of("knee_ssm/S001", folds) == NEVER


def test_a_person_in_two_folds_is_refused(tmp_path: Path) -> None:
    twice = tmp_path / "folds.toml"
    twice.write_text('people = [["a"], ["b"], ["c"], ["d"], ["e", "a"]]', encoding="utf-8")
    with pytest.raises(ValueError, match="once"):
        read_folds(twice)


def test_reading_an_archive_takes_numpy_and_torch_alone() -> None:
    heavy = "{'scipy', 'skimage', 'trimesh', 'SimpleITK', 'pydicom'} & set(sys.modules)"
    reading = f"import sys, pipeline.training.archive, pipeline.training.folds; print({heavy})"
    package = "import sys, pipeline.training; print({'numpy', 'torch'} & set(sys.modules))"
    for code in (reading, package):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


def test_regions_have_a_code_for_each_target() -> None:
    for region in REGIONS:
        assert len(region.codes) == len(region.targets)
        assert not set(region.targets) & set(region.neighbours)


@pytest.mark.data
def test_a_real_person_stands_upright_right_sided_and_true(shared_data: Path) -> None:
    """z013, left: the landmarks of the raters lie on the bone, the volumes are the published."""
    people = read_vsd(shared_data / "bones" / "vsd")
    person = next(person for person in people if person.name == "z013")
    region = replace(region_named("hip"), voxels=48)
    leg = hip_leg(region, completed(person), "L")
    names = sorted(leg.landmarks)
    done = prepare.prepared(region, leg, names)
    near = done.arrays["near"].astype(float) * archive.NEAR_STEP
    step = region.cube_mm / region.voxels
    hip_bone = (near[1] < 0).sum() * step**3 / 1000
    assert hip_bone == pytest.approx(252.06, rel=0.02), "bones.csv, cm^3; its crest is in the cube"
    points = dict(zip(names, done.arrays["landmarks"], strict=True))
    assert points["Superior Greater Trochanter"][0] < points["Femoral Head Centre"][0] - 20
    assert points["Lesser Trochanter"][2] < points["Femoral Head Centre"][2] - 20
    assert points["ASIS"][1] < points["PSIS"][1] - 100
    for name in ("Superior Femoral Head", "Lesser Trochanter", "Superior Greater Trochanter"):
        i, j, k = ((points[name] + region.cube_mm / 2) // step).astype(int)
        assert abs(near[0, k, j, i]) < step * 3**0.5 / 2 + 2.5
