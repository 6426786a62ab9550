"""Mean shift beside scikit-learn's, and on input that has no clusters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score

from nucbook.instances.meanshift import mean_shift


def clusters(seed, count=5, size=40, dimensions=3, spread=0.25, apart=3.0):
    """(embeddings, cluster of each): normal clouds whose centres, four a dimension at most, are `apart`."""
    generator = np.random.default_rng(seed)
    places = generator.choice(4**dimensions, count, replace=False)
    centres = np.stack(np.unravel_index(places, (4,) * dimensions), 1) * (apart + 0.4)
    centres = centres + generator.uniform(-0.2, 0.2, centres.shape) - 5
    which = generator.integers(0, count, size * count)
    noise = generator.normal(0, spread, (size * count, dimensions))
    return torch.from_numpy((centres[which] + noise).astype(np.float32)), which


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from([1, 2, 8]))
def test_same_clusters_as_scikit_learn(seed, count, dimensions):
    count = min(count, 4) if dimensions == 1 else count  # more do not fit on a line
    embeddings, which = clusters(seed, count, dimensions=dimensions, spread=0.15)
    labels, modes = mean_shift(embeddings, 1.0)
    theirs = MeanShift(bandwidth=1.0).fit(embeddings.numpy())
    assert adjusted_rand_score(which, labels) == 1
    assert adjusted_rand_score(theirs.labels_, labels) == 1
    gaps = torch.cdist(modes.double(), torch.from_numpy(theirs.cluster_centers_).double()).min(1).values
    assert gaps.max() < 1e-2


finite = st.floats(-100, 100, width=32)
clouds = hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=finite)


@settings(deadline=None)
@given(clouds, st.floats(0.1, 50))
def test_properties_of_any_cloud(cloud, bandwidth):
    points = torch.from_numpy(cloud)
    labels, modes = mean_shift(points, bandwidth)
    distance = torch.cdist(points.double(), modes.double())
    # Each point has the nearest mode,
    own = distance.gather(1, labels[:, None])[:, 0]
    assert (own <= distance.min(1).values + 1e-3 * (1 + bandwidth)).all()
    # modes lie apart,
    assert (torch.pdist(modes.double()) > 0.99 * bandwidth).all()
    # and each is the mean of its own ball, but for points on its boundary.
    for mode in modes.double():
        gap = (points.double() - mode).norm(dim=1)
        if ((gap - bandwidth).abs() > 0.01 * bandwidth).all():
            assert (points[gap <= bandwidth].double().mean(0) - mode).norm() <= 0.01 * bandwidth
    again = mean_shift(points, bandwidth)
    assert torch.equal(again[0], labels)
    assert torch.equal(again[1], modes)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_order_of_the_points_does_not_matter(seed, shuffle):
    embeddings, _ = clusters(seed)
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(shuffle))
    first, second = mean_shift(embeddings, 1.5)[0], mean_shift(embeddings[order], 1.5)[0]
    assert adjusted_rand_score(first[order], second) == 1


def test_by_hand_on_a_line():
    points = torch.tensor([[0.0], [0.2], [0.4], [5.0], [5.1], [20.0]])
    labels, modes = mean_shift(points, 1.0)
    assert labels.tolist() == [0, 0, 0, 1, 1, 2]
    torch.testing.assert_close(modes, torch.tensor([[0.2], [5.05], [20.0]]))


def test_walks_uphill_over_many_balls():
    # A ramp ten bandwidths long, denser and denser to the right, with one lone point at its left end.
    points = 10 * torch.linspace(0, 1, 800).pow(0.25)[:, None]
    labels, modes = mean_shift(points, 1.0)
    theirs = MeanShift(bandwidth=1.0, bin_seeding=True).fit(points.numpy())
    torch.testing.assert_close(modes, torch.from_numpy(theirs.cluster_centers_).float())
    assert modes[0, 0] > 9
    assert len(modes) == 2
    assert np.array_equal(labels, theirs.labels_)


def test_more_clusters_than_walk_at_once():
    points = 10 * torch.cartesian_prod(torch.arange(30.0), torch.arange(30.0)).repeat(2, 1)
    labels, modes = mean_shift(points, 1.0)
    assert len(modes) == 900
    assert (labels[:900] == labels[900:]).all()
    torch.testing.assert_close(modes[labels], points)


def test_far_from_the_origin_is_the_same():
    embeddings, which = clusters(3)
    labels, modes = mean_shift(embeddings.double() + 1e6, 1.5)
    assert modes.dtype == torch.float64
    assert adjusted_rand_score(which, labels) == 1
    spread = torch.cat([embeddings, torch.full((1, 3), 1e5)])  # one point far out
    assert adjusted_rand_score(which, mean_shift(spread, 1.5)[0][:-1]) == 1


def test_all_equal_one_point_and_none():
    labels, modes = mean_shift(torch.full((500, 4), 7.0), 0.5)
    assert not labels.any()
    assert modes.tolist() == [[7.0] * 4]
    labels, modes = mean_shift(torch.tensor([[1.0, 2.0]]), 0.5)
    assert labels.tolist() == [0]
    assert modes.tolist() == [[1.0, 2.0]]
    labels, modes = mean_shift(torch.zeros(0, 4), 0.5)
    assert labels.shape == (0,)
    assert modes.shape == (0, 4)


def test_refusals():
    with pytest.raises(ValueError, match="an embedding is not finite"):
        mean_shift(torch.tensor([[0.0], [torch.nan]]), 1.0)
    with pytest.raises(ValueError, match=r"torch.int64 \(3, 2\), expected floats \(N, D\)"):
        mean_shift(torch.zeros(3, 2, dtype=torch.long), 1.0)
    with pytest.raises(ValueError, match=r"\(3,\), expected floats"):
        mean_shift(torch.zeros(3), 1.0)
    for bandwidth in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="radius in embedding units, above 0"):
            mean_shift(torch.zeros(3, 2), bandwidth)
