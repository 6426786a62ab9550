"""Synthetic masks: placement by hand on small maps, no overlaps, what touches, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucbook.data.tissue import simulate
from nucbook.nuclei import Nuclei
from nucbook.papers.whichpixel.config import Masks
from nucbook.papers.whichpixel.masks import (
    Shape,
    cropped,
    density,
    nuclei_of,
    placed,
    polygon,
    polygons_of,
    synthetic_mask,
    synthetic_masks,
    touching,
)
from nucbook.profile import change

PATCH = simulate("liver", 128, seed=2).instances
SMALL = change(Masks(), {"count": 4})


def disc(radius: int) -> Shape:
    axis = np.arange(-radius, radius + 1)
    return Shape(np.hypot(*np.meshgrid(axis, axis)) <= radius, float(radius))


def square_map(*corners: tuple[int, int], side: int = 6, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for i, (row, column) in enumerate(corners, start=1):
        labels[row : row + side, column : column + side] = i
    return labels


def apart(labels: np.ndarray) -> list[float]:
    """Distance between the nearest pixels of each pair of nuclei, px."""
    pixels = [np.argwhere(labels == i) for i in np.unique(labels[labels > 0])]
    return [np.sqrt(((a[:, None] - b) ** 2).sum(-1).min()) for k, a in enumerate(pixels) for b in pixels[:k]]


# -- touching, density --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corners", "fraction"),
    [
        ([], 0),
        ([(3, 3)], 0),
        ([(3, 3), (3, 10)], 0),  # a column of background between them
        ([(3, 3), (3, 9)], 1),  # side by side
        ([(3, 3), (9, 9)], 1),  # by their corners
        ([(9, 3), (3, 9)], 1),
        ([(3, 3), (9, 3), (20, 20)], 2 / 3),
        ([(3, 3), (3, 9), (3, 15), (30, 40)], 3 / 4),
    ],
)
def test_the_fraction_that_touches(corners, fraction):
    assert touching(square_map(*corners)) == pytest.approx(fraction)
    assert touching(square_map(*corners) * 7) == pytest.approx(fraction)  # ids need not be contiguous


def test_the_density_counts_nuclei_that_the_edges_cut_in_part():
    assert density(square_map((5, 5), (20, 30))) == 2 / (46 * 56)
    rng = np.random.default_rng(0)  # of a large map with 1 nucleus in 400 px², windows tell the same
    large = placed([disc(4)], (800, 800), 1600, rng)
    truth = large.max() / large.size
    windows = [large[r : r + 64, c : c + 64] for r in range(100, 700, 64) for c in range(100, 700, 64)]
    assert np.mean([density(window) for window in windows]) == pytest.approx(truth, rel=0.05)


# -- the set E ----------------------------------------------------------------------------------


def test_nuclei_are_turned_and_keep_their_area_and_their_centre():
    labels = np.zeros((60, 60), np.int32)
    labels[20:30, 15:40] = 3  # 10 × 25
    shapes = nuclei_of(labels, 40, np.random.default_rng(0))
    assert len(shapes) == 40
    for shape in shapes:
        assert shape.mask.sum() == pytest.approx(250, rel=0.06)
        half = len(shape.mask) // 2
        rows, columns = np.nonzero(shape.mask)
        assert abs(rows.mean() - half) <= 0.5
        assert abs(columns.mean() - half) <= 0.5
        assert np.hypot(rows - half, columns - half).max() == pytest.approx(shape.radius)
        assert shape.radius == pytest.approx(np.hypot(4.5, 12), abs=1.2)
    heights = [np.ptp(np.nonzero(shape.mask)[0]) + 1 for shape in shapes]
    assert min(heights) < 13
    assert max(heights) > 22


def test_half_of_the_nuclei_are_flipped():
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 20:25], labels[35:40, 20:32] = 1, 1  # an L
    mirrored = labels[:, ::-1]

    def turns_to(labels):  # sign of the third moment about the axes: unchanged by a turn, not by a flip
        found = []
        for shape in nuclei_of(labels, 60, np.random.default_rng(1)):
            y, x = np.nonzero(shape.mask)
            y, x = y - y.mean(), x - x.mean()
            angle = np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean()) / 2
            u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
            found.append(np.sign((u**3).mean() * (v**3).mean()))
        return np.array(found)

    flipped = turns_to(labels) > 0
    assert 0.25 < flipped.mean() < 0.75
    assert np.array_equal(turns_to(mirrored) > 0, ~flipped)


def test_nuclei_cut_by_the_edge_are_left_out_unless_all_are():
    labels = square_map((0, 5), (20, 20))
    labels[20:26, 20:30] = 2
    assert all(shape.mask.sum() > 50 for shape in nuclei_of(labels, 5, np.random.default_rng(0)))
    assert len(nuclei_of(square_map((0, 5), (34, 5)), 5, np.random.default_rng(0))) == 10


def test_polygons_have_the_radii_of_the_patch():
    labels = square_map((5, 5), (20, 30), side=12)
    found = polygons_of(labels, 50, np.random.default_rng(0))
    assert len(found) == 100
    assert np.mean([shape.mask.sum() for shape in found]) == pytest.approx(144, rel=0.15)


def test_a_polygon_without_spikes_lies_on_a_circle():
    corners = polygon(10.0, np.random.default_rng(0), irregularity=0.0, spikes=0.0, vertices=8)
    assert np.hypot(*corners.T) == pytest.approx(np.full(8, 10))
    assert np.hypot(*(corners - np.roll(corners, 1, 0)).T) == pytest.approx(
        np.full(8, 20 * np.sin(np.pi / 8))
    )


# -- placement ----------------------------------------------------------------------------------


def test_each_nucleus_lies_outside_the_dilation_of_those_before():
    """Radius 3 and a gap of 2: between centres more than 3 + 3 + 2 px, between pixels more than 2."""
    made = placed([disc(3)], (80, 80), 200, np.random.default_rng(0), gap=2.0)
    assert 20 < made.max() < 200
    assert min(apart(made)) > 2
    centres = Nuclei.from_labels(made[4:-4, 4:-4]).centroids
    assert len(centres) > 10


def test_a_map_is_full_where_nothing_fits():
    """A disc of radius 3 in a map of 7 px: another centre would need a pixel 4 px away from the first."""
    for seed in range(5):
        made = placed([disc(3)], (4, 4), 9, np.random.default_rng(seed))
        assert made.max() == 1


def test_smaller_nuclei_go_where_larger_do_not_fit():
    made = placed([disc(12), disc(1)], (40, 40), 60, np.random.default_rng(3))
    areas = np.bincount(made.ravel())[1:]
    assert made.max() == 60 or areas[-1] <= 5
    assert (areas > 100).any()
    assert min(apart(made)) > 0


def test_as_many_as_asked_for_where_there_is_room():
    assert placed([disc(2)], (100, 100), 7, np.random.default_rng(0)).max() == 7


def test_the_crop_cuts_nuclei_and_drops_what_is_left_of_some():
    labels = square_map((2, 20), (8, 8), (12, 30), (25, 3))  # 6 × 6: two are cut at a margin of 5
    assert np.bincount(cropped(labels, 5, 1).ravel())[1:].tolist() == [18, 36, 36, 24]
    made = cropped(labels, 5, 20)
    assert np.bincount(made.ravel())[1:].tolist() == [36, 36, 24]
    assert made.shape == (30, 40)
    assert made.dtype == np.int32
    assert cropped(labels, 5, 1000).max() == 0


# -- masks of a patch ---------------------------------------------------------------------------


def test_fifty_masks_never_overlap_nor_touch():
    """Each nucleus is as large as when it was set down: no other has painted over it."""
    config = change(Masks(), {"margin": 0, "smallest": 0})
    shapes = {}
    for number, made in enumerate(synthetic_masks(PATCH, config)):
        random = np.random.default_rng([0, number])
        areas = {int(shape.mask.sum()) for shape in nuclei_of(PATCH, config.copies, random)}
        edge = np.concatenate([made[0], made[-1], made[:, 0], made[:, -1]])
        for i in np.setdiff1d(np.unique(made[made > 0]), edge):
            assert (made == i).sum() in areas
        assert touching(made) == 0
        shapes[number] = made.shape
    assert len(shapes) == 50
    assert set(shapes.values()) == {PATCH.shape}


def test_the_gap_of_the_paper_lets_some_touch():
    made = synthetic_masks(PATCH, change(Masks(), {"gap": 0.0}))
    assert 0 < np.mean([touching(own) for own in made]) < 0.15


def test_nuclei_touch_where_they_may_and_still_do_not_overlap():
    config = change(Masks(), {"count": 10, "touching": 0.5, "margin": 0, "smallest": 0})
    made = synthetic_masks(PATCH, config)
    assert np.mean([touching(own) for own in made]) == pytest.approx(0.5, abs=0.1)
    for number, own in enumerate(made):
        random = np.random.default_rng([0, number])
        areas = {int(shape.mask.sum()) for shape in nuclei_of(PATCH, config.copies, random)}
        edge = np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]])
        assert all((own == i).sum() in areas for i in np.setdiff1d(np.unique(own[own > 0]), edge))


def test_masks_have_the_density_of_the_patch():
    made = synthetic_masks(PATCH, change(Masks(), {"smallest": 0}))
    found = np.array([density(own) for own in made])
    assert found.mean() == pytest.approx(density(PATCH), rel=0.1)
    assert found.std() > 0.05 * found.mean()
    still = synthetic_masks(PATCH, change(Masks(), {"smallest": 0, "spread": 0.0, "margin": 0}))
    assert len({own.max() for own in still}) == 1


def test_a_mask_depends_on_the_seed_and_its_number_alone():
    one, again = synthetic_masks(PATCH, SMALL, 3), synthetic_masks(PATCH, change(SMALL, {"count": 2}), 3)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one[0], synthetic_masks(PATCH, SMALL, 4)[0])


@pytest.mark.parametrize("shapes", ["nuclei", "polygons"])
def test_either_kind_of_shapes_makes_masks_of_the_patchs_size(shapes):
    labels = simulate("liver", (64, 96), seed=2).instances
    for made in synthetic_masks(labels, change(SMALL, {"shapes": shapes})):
        assert made.shape == labels.shape
        assert made.max() > 0


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.4]))
def test_ids_are_whole_and_no_nucleus_is_lost(seed, touch):
    config = change(SMALL, {"touching": touch})
    made = synthetic_mask(PATCH, config, np.random.default_rng(seed))
    areas = np.bincount(made.ravel())[1:]
    assert (areas >= config.smallest).all()


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", ["nuclei", "polygons"])
def test_a_patch_without_nuclei_is_refused(shapes):
    with pytest.raises(ValueError, match="a patch without nuclei: nothing to make masks from"):
        synthetic_masks(np.zeros((64, 64), np.int32), change(SMALL, {"shapes": shapes}))
    with pytest.raises(ValueError, match="a patch without nuclei"):
        density(np.zeros((64, 64), np.int32))


def test_a_nucleus_larger_than_the_canvas_is_left_out_or_refused():
    labels = np.zeros((30, 30), np.int32)
    labels[1:29, 1:29] = 1
    with pytest.raises(
        ValueError, match="no nucleus of the patch fits into a canvas of 30×30 px; widen `margin`"
    ):
        synthetic_masks(labels, change(SMALL, {"margin": 0}))
    labels = np.zeros((60, 60), np.int32)
    labels[3:50, 3:50], labels[53:57, 53:57] = 1, 2
    for made in synthetic_masks(labels, change(SMALL, {"margin": 0, "smallest": 0})):
        assert np.bincount(made.ravel())[1:].max() < 40
