"""The published folders: voxels of binvox files, who is learned from, how images are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.training import binvox, published_images
from pipeline.training.published_layout import Published, split
from pipeline.training.settings import RunFault
from pipeline.training.volumes_data import Size, objects
from tests.published_folders import as_binvox, box, write_model, write_models

CATEGORY, OTHER = "02691156", "03001627"
PLAIN = Published(Path(), crop=10, flip=0.0, background=(240, 240))


def _random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_voxels_stand_where_the_description_of_the_format_puts_them(tmp_path: Path) -> None:
    path = tmp_path / "model.binvox"
    # 2 x 2 x 2 voxels; index 3 = x 0, z 1, y 1, and index 4 = x 1, z 0, y 0
    path.write_bytes(b"#binvox 1\ndim 2 2 2\ndata\n" + bytes([0, 3, 1, 2, 0, 3]))

    occupied = binvox.read(path)

    # axes z, y, x
    assert np.argwhere(occupied).tolist() == [[0, 0, 1], [1, 1, 0]]


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(*[st.integers(1, 6)] * 3), share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int, int], share: float, seed: int
) -> None:
    occupied = np.random.default_rng(seed).random(size) < share
    path = tmp_path_factory.mktemp("binvox") / "model.binvox"
    path.write_bytes(as_binvox(occupied))
    assert (binvox.read(path) == occupied.transpose(2, 1, 0)).all()


def test_a_run_is_longer_than_a_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "model.binvox"
    path.write_bytes(as_binvox(np.ones((8, 8, 8), np.bool_)))
    assert binvox.read(path).sum() == 512


HEAD = b"#binvox 1\ndim 2 2 2\ndata\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no binvox"),
        (b"#binvox 2\ndim 2 2 2\ndata\n" + bytes([0, 8]), "no binvox"),
        (b"#binvox 1\ndim 2 2 2\n" + bytes([0, 8]), "no binvox"),
        (b"#binvox 1\ndim 2 2\ndata\n" + bytes([0, 4]), "dim"),
        (b"#binvox 1\ndim 2 2 -2\ndata\n" + bytes([0, 8]), "dim"),
        (b"#binvox 1\ndim 9000 9000 9000\ndata\n" + bytes([0, 8]), "claims"),
        (b"#binvox 1\ndim 0 2 2\ndata\n", "claims"),
        (HEAD + bytes([0, 7]), "does not hold"),
        (HEAD + bytes([0, 9]), "does not hold"),
        (HEAD + bytes([2, 8]), "does not hold"),
        (HEAD + bytes([0, 8, 1]), "within a run"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.binvox"
    path.write_bytes(content)
    with pytest.raises(RunFault, match=words):
        binvox.read(path)


def test_the_first_four_fifths_of_the_sorted_models_of_each_category_are_learned_from(
    tmp_path: Path,
) -> None:
    write_models(tmp_path, ["e", "c", "a", "d", "b"], CATEGORY)
    write_models(tmp_path, [f"{n:02d}" for n in range(9, -1, -1)], OTHER)

    found = split(Published(tmp_path))

    learned = ["a", "b", "c", "d", *(f"{n:02d}" for n in range(8))]
    assert [model.name for model in found.learned] == learned
    assert [(model.category, model.name) for model in found.judged] == [
        (CATEGORY, "e"),
        (OTHER, "08"),
        (OTHER, "09"),
    ]


def test_categories_that_were_not_asked_for_take_no_part(tmp_path: Path) -> None:
    write_models(tmp_path, list("abcde"), CATEGORY)
    write_models(tmp_path, list("abcde"), OTHER)
    found = split(Published(tmp_path, categories=(OTHER,)))
    assert {model.category for model in found.learned + found.judged} == {OTHER}


def _taxonomy(folder: Path, *rows: object) -> Path:
    path = folder / "ShapeNet.json"
    path.write_text(json.dumps(list(rows)))
    return path


def test_a_taxonomy_says_who_is_learned_from_and_what_is_missing_is_counted(
    tmp_path: Path,
) -> None:
    write_models(tmp_path, list("abcd"))
    row = {"taxonomy_id": CATEGORY, "train": ["d", "a", "gone"], "val": ["b"], "test": ["c"]}
    found = split(Published(tmp_path, taxonomy=_taxonomy(tmp_path, row)))
    parts = (found.learned, found.judged)
    assert [[model.name for model in part] for part in parts] == [["d", "a"], ["c"]]
    assert found.missing == 1


@pytest.mark.parametrize(
    "row",
    [
        "text",
        {"train": []},
        {"taxonomy_id": "../other", "train": []},
        {"taxonomy_id": CATEGORY, "train": ["../../secret"]},
        {"taxonomy_id": CATEGORY, "train": [".."]},
        {"taxonomy_id": CATEGORY, "train": [3]},
        {"taxonomy_id": CATEGORY, "test": 3},
    ],
)
def test_a_taxonomy_that_is_none_or_leads_out_of_the_data_is_refused(
    tmp_path: Path, row: object
) -> None:
    write_models(tmp_path, ["a"])
    with pytest.raises(RunFault, match="taxonomy"):
        split(Published(tmp_path, taxonomy=_taxonomy(tmp_path, row)))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match="ShapeNetRendering"):
        split(Published(tmp_path))
    write_models(tmp_path, ["a"])
    with pytest.raises(RunFault, match="or none to judge"):
        split(replace(Published(tmp_path), taxonomy=_taxonomy(tmp_path)))
    with pytest.raises(RunFault, match="is no taxonomy"):
        split(Published(tmp_path, taxonomy=tmp_path / "none.json"))


def _square() -> Tensor:
    """(4, 12, 12): an opaque blue square; one pixel of it is there by half."""
    rgba = torch.zeros(4, 12, 12)
    rgba[2:, 3:9, 3:6] = 1.0
    rgba[3, 3, 3] = 0.5
    return rgba


def test_the_background_shows_only_where_nothing_is() -> None:
    shown = published_images.on_background(_square(), torch.tensor([0.2, 0.4, 0.6]))
    assert torch.equal(shown[:, 0, 0], torch.tensor([0.2, 0.4, 0.6]))
    assert torch.equal(shown[:, 3, 3], torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(shown[:, 5, 5], torch.tensor([0.0, 0.0, 1.0]))


def test_what_is_judged_is_the_middle_of_the_image_on_the_same_grey() -> None:
    shown = published_images.judged(_square(), PLAIN, 10)
    whole = published_images.on_background(_square(), torch.full((3,), 240 / 255))
    assert torch.equal(shown, whole[:, 1:11, 1:11])


def test_cuts_are_whole_pieces_of_the_image_and_all_of_them_occur() -> None:
    whole = published_images.on_background(_square(), torch.full((3,), 240 / 255))
    pieces = [whole[:, row : row + 10, left : left + 10] for row in range(3) for left in range(3)]
    generator = _random()
    found = set()
    for _ in range(200):
        shown = published_images.learned(_square(), PLAIN, 10, generator)
        fits = [n for n, piece in enumerate(pieces) if torch.allclose(shown, piece)]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) == 9


def test_a_mirrored_image_is_the_image_mirrored() -> None:
    of = replace(PLAIN, crop=12)
    straight = published_images.learned(_square(), of, 12, _random())
    mirrored = published_images.learned(_square(), replace(of, flip=1.0), 12, _random())
    assert torch.equal(mirrored, straight.flip(-1))
    assert not torch.equal(mirrored, straight)


def test_brightness_contrast_and_saturation_leave_grey_grey_and_within_range() -> None:
    of = replace(PLAIN, crop=12, jitter=0.4)
    grey = torch.full((4, 12, 12), 0.5)
    grey[3] = 1.0
    for seed in range(20):
        shown = published_images.learned(grey, of, 12, _random(seed))
        # an even grey image has no contrast and no colour: it can be brighter or darker alone
        assert float(shown.std()) < 1e-6
        assert 0.3 - 1e-6 <= float(shown.mean()) <= 0.7 + 1e-6


def test_colours_are_exchanged_and_none_is_lost() -> None:
    colours = torch.zeros(4, 12, 12)
    colours[:, :, :] = torch.tensor([0.1, 0.2, 0.3, 1.0])[:, None, None]
    of = replace(PLAIN, crop=12, permuted=True)
    orders = {
        tuple(round(value, 1) for value in shown[:, 0, 0].tolist())
        for shown in (published_images.learned(colours, of, 12, _random(n)) for n in range(60))
    }
    assert len(orders) == 6
    assert all(sorted(order) == [0.1, 0.2, 0.3] for order in orders)


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "00.png").write_bytes(b"no image")
    with pytest.raises(RunFault, match=r"00\.png"):
        published_images.read(tmp_path / "00.png")


def test_an_object_is_drawn_with_its_images_and_its_voxels(tmp_path: Path) -> None:
    write_models(tmp_path, ["a", "b", "c", "d", "e"])
    models = split(Published(tmp_path)).learned
    source = objects(models, replace(PLAIN, root=tmp_path), Size(10, 8), is_learned=False)

    sample = source.sample(1, [2, 0], _random())

    assert source.views == 3
    assert [item.owner for item in source.items] == [f"{CATEGORY}/{name}" for name in "abcd"]
    assert sample.images.shape == (2, 3, 10, 10)
    # red tells the number of the view
    assert [round(float(red), 4) for red in sample.images[:, 0, 1, 4]] == [
        round(20 / 255, 4),
        0.0,
    ]
    width = 1 + ord("b") % 7
    assert torch.equal(sample.wanted, torch.from_numpy(box(8, width).transpose(2, 1, 0)).float())


def test_objects_of_another_grid_or_with_fewer_images_are_named(tmp_path: Path) -> None:
    write_models(tmp_path, ["a", "b", "c"])
    write_model(tmp_path, CATEGORY, "d", images=2)
    write_model(tmp_path, CATEGORY, "e")
    models = split(Published(tmp_path)).learned
    of = replace(PLAIN, root=tmp_path)
    with pytest.raises(RunFault, match="not 16"):
        objects(models, of, Size(10, 16), is_learned=True).sample(0, [0], _random())
    with pytest.raises(RunFault, match="holds 2 images, others 3"):
        objects(models, of, Size(10, 8), is_learned=True).sample(3, [0], _random())
