"""Labels from points: by hand, and against one-cell-at-a-time references on whole images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import measure, morphology
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from nucbook import data
from nucbook.papers.weaknucleiseg import labels
from nucbook.papers.weaknucleiseg.labels import BACKGROUND, IGNORED, INSTANCE_BACKGROUND, NUCLEUS

ROOT = Path(os.environ.get("NUCBOOK_DATA", "/nonexistent"))

masks = hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))
NONE = np.zeros((0, 2))


def blobs(shape=(96, 130), count=14, seed=0):
    """Dark discs on a bright and a pink half: image, true mask, centres."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.where((columns < shape[1] // 3)[..., None], (245, 240, 245), (230, 160, 200)).astype(float)
    points = rng.uniform((4, 4), np.array(shape) - 5, (count, 2)).round()
    truth = np.zeros(shape, bool)
    for row, column in points:
        truth |= (rows - row) ** 2 + (columns - column) ** 2 <= rng.uniform(5, 9) ** 2
    image[truth] = (90, 50, 130)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), truth, points


# -- the annotator ------------------------------------------------------------------------------


@given(st.integers(0, 40), st.floats(0, 1), st.integers(0, 99))
def test_as_many_points_are_missing_as_said(count, missing, seed):
    points = np.column_stack([np.arange(count), np.arange(count)]).astype(float)
    left = labels.disturbed(points, (50, 60), np.random.default_rng(seed), missing=missing)
    assert len(left) == count - round(missing * count)
    assert (np.diff(left[:, 0]) > 0).all()  # the order, and none twice


def test_an_annotator_who_errs_not_changes_nothing():
    points = np.array([[3, 4], [0, 9.5]])
    assert np.array_equal(labels.disturbed(points, (10, 20), np.random.default_rng(0)), points)


def test_jitter_has_its_standard_deviation_and_stays_inside():
    points = np.full((20_000, 2), 100.0)
    moved = labels.disturbed(points, (200, 200), np.random.default_rng(0), jitter=5)
    assert (moved - points).std(0) == pytest.approx([5, 5], rel=0.03)
    assert (moved - points).mean(0) == pytest.approx([0, 0], abs=0.15)
    far = labels.disturbed(points, (200, 120), np.random.default_rng(0), jitter=500)
    assert (far.min(0), far.max(0)) == (pytest.approx([0, 0]), pytest.approx([199, 119]))


def test_one_seed_is_one_annotator():
    points = np.random.default_rng(1).uniform(40, 60, (30, 2))
    drawn = lambda **errors: labels.disturbed(points, (100, 100), np.random.default_rng(7), **errors)
    np.testing.assert_allclose(drawn(jitter=4) - points, 2 * (drawn(jitter=2) - points))
    few, fewer = (set(map(tuple, drawn(missing=share))) for share in (0.2, 0.6))
    assert fewer < few


def test_annotators_that_cannot_be():
    rng = np.random.default_rng(0)
    for errors in ({"jitter": -1}, {"jitter": np.inf}, {"missing": 1.5}, {"missing": np.nan}):
        with pytest.raises(ValueError, match=r"Give px >= 0 and a fraction in \[0, 1\]"):
            labels.disturbed([[1, 1]], (5, 5), rng, **errors)


# -- Voronoi labels -----------------------------------------------------------------------------


def test_voronoi_labels_by_hand():
    found = labels.voronoi_labels([[2, 1], [2, 8]], (5, 10), radius=1)
    assert ["".join(map(str, row)) for row in found] == [
        "2222002222",
        "2122002212",
        "1112002111",
        "2122002212",
        "2222002222",
    ]
    assert found.dtype == np.uint8


def test_a_disc_covers_a_border():
    found = labels.voronoi_labels([[5, 4], [5, 6]], (11, 11))
    assert (found[5, 2:9] == NUCLEUS).all()
    assert (found[0] == BACKGROUND).sum() == 2


@pytest.mark.parametrize("points", [[[4, 4]], [[4, 4], [4, 4]], [[4.2, 3.8], [3.9, 4.4]]])
def test_points_on_one_pixel_have_one_disc_and_no_border(points):
    found = labels.voronoi_labels(points, (9, 12))
    assert np.array_equal(np.argwhere(found == NUCLEUS), np.argwhere(morphology.disk(2)) + 2)
    assert (found[found != NUCLEUS] == IGNORED).all()


def test_without_points_no_pixel_has_a_label():
    image = blobs()[0]
    assert (labels.voronoi_labels(NONE, image.shape[:2]) == IGNORED).all()
    assert (labels.voronoi_labels([], (3, 4)) == IGNORED).all()
    for features in (labels.cluster_features(image, NONE), labels.qu_features(image, NONE)):
        assert np.isfinite(features).all()
        assert (labels.cluster_labels(features, NONE) == IGNORED).all()


# -- the spread of colours ----------------------------------------------------------------------


def spread_pixel_by_pixel(image, points, patch):
    """σ_k as its definition reads."""
    inside = np.zeros(image.shape[:2], bool)
    for row, column in np.asarray(points, int) - patch // 2:
        inside[max(row, 0) : row + patch, max(column, 0) : column + patch] = True
    colours, distances = image / 255, []
    for row, column in np.argwhere(inside):
        window = colours[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5].reshape(-1, 3)
        apart = np.linalg.norm(window - colours[row, column], axis=1).tolist()
        apart.remove(0.0)  # itself
        distances += apart
    return np.std(distances)


@pytest.mark.parametrize("shape", [(20, 31), (3, 9), (1, 6)])
def test_spread_is_what_its_definition_says(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    points = [[0, 1], [shape[0] - 1, shape[1] // 2]]
    for patch in (6, 7, 60):
        expected = spread_pixel_by_pixel(image, points, patch)
        assert labels.colour_spread(image, points, patch) == pytest.approx(expected, rel=1e-5)


def test_spread_can_always_divide():
    for shape in ((40, 50, 3), (1, 1, 3)):
        assert labels.colour_spread(np.full(shape, 200, np.uint8), [[0, 0]]) == pytest.approx(1 / 255)
    assert labels.colour_spread(blobs()[0], NONE) > 0.01


# -- features and clusters ----------------------------------------------------------------------


def test_features_by_hand():
    image = np.zeros((30, 60, 3), np.uint8)
    image[:, 30:] = (255, 51, 0)
    points = [[10, 20], [10, 21]]
    own, qu = labels.cluster_features(image, points), labels.qu_features(image, points)
    assert own.dtype == qu.dtype == np.float32
    scale = 0.2 / labels.colour_spread(image, points)
    np.testing.assert_allclose(own[10, 45], [scale, scale / 5, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(own[13, 16], [0, 0, 0, 5 / 20], rtol=1e-6)
    np.testing.assert_allclose(qu[10, 45], [25.5, 5.1, 0, 20], rtol=1e-6)
    np.testing.assert_allclose(qu[13, 16], [0, 0, 0, 5], rtol=1e-6)


def cleaned_the_long_way(mask, cells):
    """Each cell's share closed, filled and shrunk on the whole image, by scikit-image."""
    refined = np.zeros(mask.shape, bool)
    for i in np.unique(cells):
        grown = morphology.dilation(mask & (cells == i), morphology.disk(5))
        refined |= morphology.erosion(ndimage.binary_fill_holes(grown), morphology.disk(7))
    return refined


def labels_the_long_way(features, points, shape):
    """The same rules on whole images: scikit-learn on all pixels, scikit-image cell by cell."""
    means = KMeans(3, n_init=4, tol=1e-6, random_state=0)
    clusters = means.fit_predict(features.reshape(-1, 4)).reshape(shape)
    marked = np.zeros(shape, int)
    marked[tuple(np.asarray(points, int).T)] = np.arange(1, len(points) + 1)
    cells = labels._cells(points.astype(int), shape)  # pixels between two points may go either way
    to_own = np.stack(np.mgrid[: shape[0], : shape[1]], -1) - points[cells - 1]
    to_nearest = ndimage.distance_transform_edt(marked == 0)
    np.testing.assert_allclose(np.linalg.norm(to_own, axis=-1), to_nearest, rtol=1e-12)
    nuclei = np.bincount(clusters[marked > 0], minlength=3).argmax()
    around = morphology.dilation(marked > 0, morphology.disk(5))
    share = lambda k: ((around & (clusters == k)).sum(), -to_nearest[clusters == k].mean())
    background = min({0, 1, 2} - {nuclei}, key=share)
    components = measure.label(clusters == nuclei, connectivity=1)
    small = np.bincount(components.ravel()) < 30
    refined = cleaned_the_long_way((components > 0) & ~small[components], cells)
    found = np.full(shape, IGNORED)
    found[(clusters == background) & ~morphology.dilation(marked > 0, morphology.disk(10))] = BACKGROUND
    found[refined] = NUCLEUS
    return found


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_those_of_the_long_way(seed):
    image, _, points = blobs(seed=seed)
    features = labels.cluster_features(image, points)
    found = labels.cluster_labels(features, points)
    assert (found == labels_the_long_way(features, points, image.shape[:2])).mean() > 0.998
    assert len(np.unique(found)) == 3


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 999), st.integers(8, 70), st.integers(8, 70), st.integers(1, 12))
def test_cleaning_in_windows_is_cleaning_on_the_whole_image(seed, height, width, count):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(height, width)), 2) > -0.02
    cells = labels._cells(rng.integers(0, (height, width), (count, 2)), mask.shape)
    assert np.array_equal(labels._cleaned(mask, cells), cleaned_the_long_way(mask, cells))


@pytest.mark.parametrize("features_of", [labels.cluster_features, labels.qu_features])
def test_clusters_find_nuclei(features_of):
    image, truth, points = blobs((150, 200), 30)
    found = labels.cluster_labels(features_of(image, points), points)
    assert truth[found == NUCLEUS].mean() > 0.9
    assert (found == NUCLEUS)[truth].mean() > 0.45
    assert not truth[found == BACKGROUND].any()
    assert (found == BACKGROUND).mean() > 0.1


def test_another_seed_gives_nearly_the_same_clusters():
    image, _, points = blobs((300, 400), 90)
    features = labels.cluster_features(image, points)
    first, second = (labels.cluster_labels(features, points, seed) for seed in (0, 1))
    assert (first == second).mean() > 0.99


def test_clusters_are_the_same_each_time():
    image, _, points = blobs((200, 200), 40)
    features = labels.cluster_features(image, points)
    first = labels.cluster_labels(features, points, seed=3)
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            assert np.array_equal(first, labels.cluster_labels(features, points, seed=3))


def test_one_colour_leaves_the_distance():
    image = np.full((80, 90, 3), 128, np.uint8)
    found = labels.cluster_labels(labels.cluster_features(image, [[40, 45]]), [[40, 45]])
    assert found[40, 45] == NUCLEUS
    assert found[0, 0] == BACKGROUND
    distance = np.hypot(*(np.mgrid[:80, :90] - np.array([40, 45])[:, None, None]))
    assert distance[found == NUCLEUS].max() < distance[found == BACKGROUND].min()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (7, 5)])
def test_images_smaller_than_everything(shape):
    image = np.full((*shape, 3), 200, np.uint8)
    for points in ([[0, 0]], [[0, 0], [0, 0]], [[0, 0], [shape[0] - 1, shape[1] - 1]]):
        for features in (labels.cluster_features(image, points), labels.qu_features(image, points)):
            assert np.isfinite(features).all()
            assert labels.cluster_labels(features, points).shape == shape
        assert labels.voronoi_labels(points, shape)[0, 0] == NUCLEUS
        assert labels.instance_labels(np.zeros(shape), points).tolist() == np.ones(shape, int).tolist()


def test_a_cell_without_foreground_has_no_nucleus():
    image, _, points = blobs()
    image[40:, 60:] = (230, 160, 200)
    found = labels.cluster_labels(labels.cluster_features(image, points), points)
    empty = points[(points[:, 0] > 52) & (points[:, 1] > 72)].astype(int)
    assert len(empty) > 1
    assert (found[tuple(empty.T)] == IGNORED).all()


def test_two_points_on_one_pixel_share_a_cell():
    image, _, points = blobs()
    twice = np.concatenate([points, points[:3]])
    found = [labels.cluster_labels(labels.cluster_features(image, p), p) for p in (points, twice)]
    assert np.array_equal(*found)


@settings(deadline=None)
@given(masks, st.integers(1, 9))
def test_holes_and_specks(mask, area):
    filled = labels.filled(mask.astype(np.uint8))
    assert np.array_equal(filled > 0, ndimage.binary_fill_holes(mask))
    components = measure.label(mask, connectivity=1)
    large = np.bincount(components.ravel()) >= area
    assert np.array_equal(labels.without_small(mask, area), mask & large[components])


# -- pseudo instances ---------------------------------------------------------------------------


def test_instances_by_hand():
    probability = np.full((30, 40), 0.1)
    probability[5:15, 2:36] = 0.9  # two nuclei that touch
    probability[9, 7] = 0.1  # a hole in the first
    probability[22:28, 2:10] = 0.5  # far from its point, at (20, 20)
    probability[22:24, 30:34] = 0.8  # too small
    probability[0, :] = 0.4  # neither
    points = [[10, 10], [10, 27], [20, 20]]
    found = labels.instance_labels(probability, points)
    assert found.dtype == np.int32
    assert set(np.unique(found)) == {0, INSTANCE_BACKGROUND, 2, 3}
    assert found[9, 7] == 2
    assert (found[5, 2:17] == 2).all()
    assert (found[5, 20:36] == 3).all()
    assert (found[5, 18:20] == 0).all()  # the border of their cells
    assert (found[22:28, 2:10] == 0).all()
    assert (found[22:24, 30:34] == 0).all()
    assert (found[0] == 0).all()
    assert (found[16:19] == INSTANCE_BACKGROUND).all()
    assert (labels.instance_labels(probability, points, background=0.05) != INSTANCE_BACKGROUND).all()


def test_every_instance_lies_in_the_cell_of_its_point():
    _, truth, points = blobs((120, 120), 40, seed=5)
    found = labels.instance_labels(ndimage.gaussian_filter(truth.astype(float), 1), points)
    cells = labels._cells(points.astype(int), truth.shape)
    nuclei = found > INSTANCE_BACKGROUND
    assert nuclei.any()
    assert np.array_equal(found[nuclei] - 2, cells[nuclei] - 1)
    discs = labels.voronoi_labels(points, truth.shape) == NUCLEUS
    for i in np.unique(found[nuclei]):
        components, count = ndimage.label(found == i)
        assert all((discs & (components == k)).any() for k in range(1, count + 1))


def test_instances_where_there_are_none():
    flat = np.zeros((9, 12), np.float32)
    assert (labels.instance_labels(flat, [[4, 4]]) == INSTANCE_BACKGROUND).all()
    assert (labels.instance_labels(flat + 1, NONE) == 0).all()
    assert (labels.instance_labels(flat, NONE) == INSTANCE_BACKGROUND).all()
    assert (labels.instance_labels(flat + 1, [[4, 4]]) == 2).all()
    assert (labels.instance_labels(flat + 1, [[4, 4], [4, 4]]) == 2).all()


def test_masks_in_the_same_coding():
    found = labels.mask_labels(np.array([[0, 70_000, 3], [3, 0, 12]], np.int32))
    assert found.tolist() == [[1, 4, 2], [2, 1, 3]]
    assert found.dtype == np.int32
    assert (labels.mask_labels(np.zeros((2, 3), np.int32)) == INSTANCE_BACKGROUND).all()
    assert labels.mask_labels(np.full((1, 2), 9)).tolist() == [[2, 2]]


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "shown"),
    [((12, 3), "12, 3"), ((3, 19.5), "3, 19.5"), ((-1, 3), "-1, 3"), ((np.nan, 3), "nan, 3")],
)
def test_a_point_outside_is_refused(point, shown):
    points, image = [[1, 1], point], np.zeros((10, 20, 3), np.uint8)
    calls = [
        lambda: labels.disturbed(points, (10, 20), np.random.default_rng(0)),
        lambda: labels.voronoi_labels(points, (10, 20)),
        lambda: labels.colour_spread(image, points),
        lambda: labels.cluster_features(image, points),
        lambda: labels.qu_features(image, points),
        lambda: labels.cluster_labels(np.zeros((10, 20, 4), np.float32), points),
        lambda: labels.instance_labels(np.zeros((10, 20)), points),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"point \({shown}\) lies outside the 10×20 image; .*swap them"):
            call()


def test_other_refusals():
    with pytest.raises(ValueError, match=r"points are \(2, 3\), expected \(N, 2\)"):
        labels.voronoi_labels(np.zeros((2, 3)), (5, 5))
    with pytest.raises(ValueError, match="features are not finite everywhere"):
        labels.cluster_labels(np.full((5, 5, 4), np.nan), [[1, 1]])
    with pytest.raises(ValueError, match=r"probability, \(2, 5, 5\), must be \(H, W\) and finite"):
        labels.instance_labels(np.zeros((2, 5, 5)), NONE)
    with pytest.raises(ValueError, match=r"must be \(H, W\) and finite"):
        labels.instance_labels(np.full((5, 5), np.inf), NONE)
    with pytest.raises(ValueError, match=r"background below 0\.7 and nuclei from 0\.5 overlap"):
        labels.instance_labels(np.zeros((5, 5)), NONE, background=0.7)


# -- real slides --------------------------------------------------------------------------------


RELEASED = {  # the range of each over the released labels of the same images
    "precision of nuclei": (0.75, 0.97),
    "recall of nuclei": (0.41, 0.80),
    "precision of background": (0.93, 1.0),
    "ignored": (0.27, 0.56),
    "borders of cells": (0.06, 0.14),
    "discs round points": (0.004, 0.02),
}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "MoNuSeg").is_dir(), reason="NUCBOOK_DATA has no MoNuSeg")
def test_labels_of_kumar_are_as_good_as_the_released_ones():
    """All twelve training images: their means lie in the released ranges, no image is far outside."""
    rows = []
    for item in data.items("kumar", "train"):
        sample = item.read()
        points, truth = sample.weaken("points").points, sample.instances > 0
        found = labels.cluster_labels(labels.cluster_features(sample.image, points), points)
        voronoi = labels.voronoi_labels(points, sample.shape)
        shares = (
            truth[found == NUCLEUS].mean(),
            (found == NUCLEUS)[truth].mean(),
            (~truth)[found == BACKGROUND].mean(),
            (found == IGNORED).mean(),
            (voronoi == BACKGROUND).mean(),
            (voronoi == NUCLEUS).mean(),
        )
        rows.append(shares)
    low, high = np.array(list(RELEASED.values())).T
    rows = np.array(rows)
    assert len(rows) == 12
    assert ((low <= rows.mean(0)) & (rows.mean(0) <= high)).all()
    assert (rows >= 0.9 * low).all()
    assert (rows <= 1.1 * high).all()
    assert ((low <= rows) & (rows <= high)).all(1).sum() >= 9
