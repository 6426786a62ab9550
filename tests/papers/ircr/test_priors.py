"""Priors of the shape of nuclei: by hand, against scikit-image, SciPy and scikit-learn."""

from __future__ import annotations

from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import gaussian_kde
from skimage import measure
from skimage.color import rgb2hed
from skimage.morphology import convex_hull_image, disk
from sklearn.neighbors import KernelDensity

from nucbook.data.tissue import simulate
from nucbook.papers.ircr.losses import piac_loss, weight_map
from nucbook.papers.ircr.priors import Priors
from nucbook.papers.ircr.properties import PROPERTIES, properties
from nucbook.training.stages import StageRunner, stage

maps = hnp.arrays(np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 3))


def painted(labels, colour=(120, 70, 150)):
    """An image of one colour in the nuclei, white elsewhere."""
    return np.where(labels[..., None] > 0, np.array(colour, np.uint8), np.uint8(255))


def one(mask, mpp=1.0):
    """Its properties by name."""
    labels = np.asarray(mask).astype(np.int32)
    [row] = properties(labels, painted(labels), mpp)
    return dict(zip(PROPERTIES, row))


def tiles(organs, seeds):
    return [simulate(organ, seed=seed) for organ in organs for seed in seeds]


@pytest.fixture(scope="module")
def fitted():
    return Priors.fit(tiles(("breast", "kidney", "liver", "prostate"), range(6)), "monuseg")


@pytest.fixture(scope="module")
def others():
    return tiles(("bladder", "colon", "stomach"), range(50, 53))


# -- properties ---------------------------------------------------------------------------------


def test_a_square():
    mask = np.zeros((20, 30))
    mask[3:13, 5:15] = 1
    found = one(mask, mpp=0.5)
    assert found["area"] == 25
    assert found["solidity"] == found["extent"] == 1
    # 20 crossings along rows, 20 along columns, 38 along each diagonal: those lie 1/√2 apart.
    assert found["circularity"] == pytest.approx(400 * np.pi / (np.pi / 8 * (40 + 76 / 2**0.5)) ** 2)


def test_a_disc():
    found = one(np.pad(disk(40), 2))
    assert found["area"] == disk(40).sum()
    assert found["solidity"] > 0.99
    assert found["circularity"] == pytest.approx(1, abs=0.02)
    assert found["extent"] == pytest.approx(np.pi * 40**2 / 81**2, rel=0.002)


def test_a_ring_is_neither_solid_nor_round():
    mask = disk(40)
    mask[20:61, 20:61] -= disk(20)
    found = one(mask)
    assert found["area"] == disk(40).sum() - disk(20).sum()
    assert found["solidity"] == pytest.approx(0.75, abs=0.01)
    assert found["circularity"] == pytest.approx((1 - 0.5**2) / (1 + 0.5) ** 2, abs=0.02)  # both outlines
    assert found["extent"] == found["area"] / 81**2


def test_one_pixel():
    found = one([[1]], mpp=0.25)
    assert found["area"] == 0.0625
    assert found["solidity"] == found["extent"] == 1
    assert found["circularity"] == pytest.approx(1.75, abs=0.01)


def test_a_line():
    found = one(np.eye(9))
    assert found["solidity"] == 1
    assert found["extent"] == pytest.approx(1 / 9)
    assert found["circularity"] < 0.5


def test_of_a_nucleus_cut_by_the_rim_what_is_seen_counts():
    half = disk(20)[20:]
    assert one(half) == one(np.pad(half, 3))


def test_mean_haematoxylin():
    [sample] = tiles(["colon"], [1])
    density = rgb2hed(sample.image)[..., 0] * -np.log10(1e-6)  # scikit-image counts in units of 1e-6
    ids = np.unique(sample.instances)[1:]
    found = properties(sample.instances, sample.image)[:, 3]
    assert found == pytest.approx([density[sample.instances == i].mean() for i in ids], rel=1e-4)
    black = np.ones((4, 4), np.int32)
    assert properties(black, np.zeros((4, 4, 3), np.uint8))[0, 3] == pytest.approx(
        rgb2hed(np.full((1, 1, 3), 1, np.uint8))[0, 0, 0] * -np.log10(1e-6), rel=1e-4
    )


@settings(deadline=None)
@given(maps)
def test_as_scikit_image_has_them(labels):
    regions = measure.regionprops(labels)
    found = properties(labels, painted(labels), 1)
    thick = [np.linalg.matrix_rank(region.coords - region.coords[0]) == 2 for region in regions]
    hulls = [
        convex_hull_image(region.image, offset_coordinates=False).sum()
        for region, fit in zip(regions, thick)
        if fit
    ]  # it refuses lines
    assert found[:, 0].tolist() == [region.area for region in regions]
    assert found[:, 4] == pytest.approx([region.extent for region in regions])
    perimeters = [measure.perimeter_crofton(np.pad(region.image, 1), 4) for region in regions]
    assert np.sqrt(4 * np.pi * found[:, 0] / found[:, 2]) == pytest.approx(perimeters)
    assert (found[thick, 0] / found[thick, 1]).round(6).tolist() == hulls


@given(maps, st.integers(2, 10**8))
@settings(deadline=None)
def test_other_ids_change_nothing(labels, factor):
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3)).astype(np.uint8)
    expected = properties(labels, image)
    assert np.array_equal(properties(labels * factor, image), expected)
    assert np.array_equal(properties(labels[:, ::-1].copy()[:, ::-1], image), expected)  # another layout


# -- densities ----------------------------------------------------------------------------------


def spread(count=400, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.array([20, 0.05, 0.1, 0.2, 0.1])
    rows = rng.normal(size=(count, 5)) * scale + [60, 0.9, 0.8, 0.5, 0.7]
    rows[: count // 4] += 5 * scale  # two humps
    rows[0, 0] = 900  # one giant
    return rows


def test_densities_are_those_of_scipy_and_of_scikit_learn():
    rows = spread()
    fitted = Priors.fit_properties(rows)
    rng = np.random.default_rng(1)
    for k, column in enumerate(rows.T):
        at = rng.uniform(column.min() - 1e-3, column.max(), 2_000)
        table = np.interp(at, fitted.values[k], fitted.density[k])
        trees = KernelDensity(bandwidth=fitted.bandwidth[k]).fit(column[:, None])
        for direct in (gaussian_kde(column)(at), np.exp(trees.score_samples(at[:, None]))):
            assert np.abs(table - direct).max() < 0.01 * direct.max()
            common = direct > 0.1 * direct.max()
            assert table[common] == pytest.approx(direct[common], rel=0.01)


def test_densities_integrate_to_one(fitted):
    for each in (fitted, Priors.fit_properties(spread(20)), Priors.fit_properties(spread(5_000))):
        assert np.trapezoid(each.density, each.values, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
        assert (each.density >= 0).all()


def test_scott_by_hand():
    rows = np.arange(32.0)[:, None] * np.array([1, 2, 3, 4, 5])
    spread = np.sqrt((32**2 - 1) / 12 * 32 / 31)
    assert Priors.fit_properties(rows).bandwidth == pytest.approx(spread / 2 * np.arange(1, 6))


def test_a_unit_of_the_area_changes_no_score():
    rows, other = spread(), spread(seed=1)
    in_pixels = [16, 1, 1, 1, 1]
    scores = Priors.fit_properties(rows * in_pixels).likelihoods(other * in_pixels)
    assert scores == pytest.approx(Priors.fit_properties(rows).likelihoods(other))


def test_likelihoods_by_hand(fitted):
    modes = fitted.values[range(5), fitted.density.argmax(1)]
    assert fitted.likelihoods([modes]).tolist() == [[1] * 5]
    assert fitted.likelihoods([fitted.values[:, 0] - 1, fitted.values[:, -1] + 1]).tolist() == [[0] * 5] * 2


def test_a_gaussian_property_passes_alone_up_to_1_45_deviations():
    grid = np.sort(np.random.default_rng(0).normal(size=(20_000, 5)), axis=0)
    found = Priors.fit_properties(grid).likelihoods([[1.35] * 5, [1.55] * 5]).mean(1)
    assert found[0] > 0.35 > found[1]


# -- scores -------------------------------------------------------------------------------------


def test_a_typical_nucleus_passes(fitted, others):
    scores = np.concatenate([fitted.score(s.instances, s.image) for s in others])
    assert len(scores) > 100
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert (scores >= 0.35).mean() > 0.9
    assert np.median(scores) > 0.6


def test_three_merged_nuclei_do_not_pass(fitted, others):
    rows = []
    for sample in others:
        ids, centres = np.unique(sample.instances)[1:], sample.truth.centroids
        for centre in centres:
            near = np.argsort(np.hypot(*(centres - centre).T))[:3]
            mask = np.isin(sample.instances, ids[near]).astype(np.uint8)
            mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disk(6))
            if cv2.connectedComponents(mask)[0] == 2:
                rows.append(fitted.score(mask.astype(np.int32), sample.image))
    scores = np.concatenate(rows)
    assert len(scores) > 30
    assert (scores < 0.35).mean() > 0.85


def drawn(others, draw):
    """Scores of one thin thing in each of many places."""
    rng, masks = np.random.default_rng(0), []
    for sample in others * 6:
        mask = np.zeros(sample.shape, np.uint8)
        draw(mask, rng.integers(60, 190, 2), rng.uniform(0, 360))
        masks.append((mask.astype(np.int32), sample.image))
    return masks


def test_a_thin_thread_does_not_pass(fitted, others):
    thread = lambda mask, at, angle: cv2.ellipse(mask, at.tolist(), (18, 18), angle, 0, 180, 1, 2)
    scores = np.concatenate([fitted.score(*pair) for pair in drawn(others, thread)])
    assert (scores < 0.35).mean() > 0.8


def test_a_straight_line_is_out_in_shape_and_in_by_the_mean(fitted, others):
    def line(mask, at, angle):
        half = 25 * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(mask, (at - half).astype(int).tolist(), (at + half).astype(int).tolist(), 1, 2)

    found = np.concatenate([fitted.likelihoods(properties(*pair)) for pair in drawn(others, line)])
    area, solidity, circularity, _, extent = found.mean(0)
    assert max(circularity, extent) < 0.1
    assert min(area, solidity) > 0.8
    assert (found.mean(1) >= 0.35).all()  # so it passes
    assert np.median(found.mean(1)) < 0.5  # a nucleus: above 0.6


def test_without_nuclei_there_is_no_score(fitted):
    labels, image = np.zeros((40, 30), np.int32), np.full((40, 30, 3), 200, np.uint8)
    assert fitted.score(labels, image).shape == (0,)
    assert properties(labels, image).shape == (0, 5)
    assert properties(labels[:0], image[:0]).shape == (0, 5)
    assert not weight_map(labels, []).any()


def test_one_giant_instance_is_out_in_area_and_extent_and_in_by_the_mean(fitted, others):
    labels = np.ones(others[0].shape, np.int32)
    area, solidity, circularity, haematoxylin, extent = fitted.likelihoods(
        properties(labels, others[0].image)
    )[0]
    [score] = fitted.score(labels, others[0].image)
    assert area == 0
    assert extent < 0.01
    assert min(solidity, circularity) > 0.7
    assert score == pytest.approx((solidity + circularity + haematoxylin + extent) / 5)
    assert score >= 0.35
    assert (weight_map(labels, [score]) == 2 * (score >= 0.35)).all()


def test_a_stage_keeps_it(fitted, tmp_path):
    @stage()
    def kept(runner, config):
        return asdict(fitted)

    runner, rows = StageRunner(folder=tmp_path, progress=False), spread()
    for _ in range(2):  # made, and read from the cache
        again = Priors(**runner.do(kept, None))
        assert np.array_equal(again.likelihoods(rows), fitted.likelihoods(rows))
        assert (again.count, list(again.sources)) == (fitted.count, ["tissue"])


# -- Eqs. 6 and 7 -------------------------------------------------------------------------------


def test_weights_by_hand():
    labels = np.array([[0, 70_000, 3], [3, 0, 12]], np.int32)
    found = weight_map(labels, [0.35, 0.1, 0.9])  # of 3, 12, 70000
    assert found.tolist() == [[2, 2, 2], [2, 2, 0]]
    assert found.dtype == np.float32
    assert weight_map(labels, [0.35, 0.1, 0.9], threshold=0.5, weight=7).tolist() == [[7, 7, 0], [0, 7, 0]]


def test_the_loss_by_hand():
    student, teacher = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    weights = torch.zeros(2, 4, 4)
    assert piac_loss(student, teacher, weights) == 0
    weights[0] = 2
    assert piac_loss(student, teacher, weights) == pytest.approx(2**2 * 3 * 0.25 / 2)  # one image of two


def test_the_gradient_reaches_the_student_where_it_is_trusted():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.rand(1, 3, 5, 5, generator=generator).requires_grad_() for _ in range(2))
    weights = torch.full((1, 5, 5), 2.0)
    weights[0, :2] = 0
    weights.requires_grad_()
    piac_loss(student, teacher, weights).backward()
    assert teacher.grad is weights.grad is None
    assert (student.grad[:, :, :2] == 0).all()
    assert (student.grad[:, :, 2:] != 0).all()


# -- refusals -----------------------------------------------------------------------------------


def named(dataset, patient=None, **changes):
    [sample] = tiles(["stomach"], [52])
    return replace(sample, name="tile", meta={"dataset": dataset, "patient": patient}, **changes)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("monuseg", "monuseg"),
        ("kumar", "monuseg"),
        ("pannuke", "kumar"),
        ("pannuke", "monuseg"),
        ("consep", "lizard"),
        ("lizard", "pannuke"),
        ("lizard", "digestpath"),
    ],
)
def test_shared_images_are_refused(source, target):
    for one, other in ((source, target), (target, source)):
        with pytest.raises(ValueError, match=f"tile: a prior from '{one}' is not external to '{other}'. .+"):
            Priors.fit([named(one)], other)


def test_external_sets_are_taken():
    samples = [named("monusac"), named("consep"), *tiles(["stomach", "colon"], range(3))]
    assert Priors.fit(samples, "monuseg").sources == ("monusac", "consep", "tissue")
    assert Priors.fit(samples[1:], None).count >= 20


def test_simulated_images_are_told_apart_by_patient():
    samples = tiles(["stomach", "colon"], range(3))
    assert Priors.fit(samples, "tissue", patients=["colon-7"]).sources == ("tissue",)
    with pytest.raises(ValueError, match=r"Patient colon-2 is the target's"):
        Priors.fit(samples, "tissue", patients=["colon-2"])
    with pytest.raises(ValueError, match="say which `patients` are"):
        Priors.fit(samples, "tissue")


def test_unknown_sources_and_targets_are_refused():
    for dataset in (None, "my folder"):
        with pytest.raises(ValueError, match=r'Nothing is known of that set; put .* in meta\["dataset"\]'):
            Priors.fit([named(dataset)], "monuseg")
    with pytest.raises(ValueError, match="no data set 'MoNuSeg' in the catalogue; say None"):
        Priors.fit([named("consep")], "MoNuSeg")


def test_samples_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match="tile: its areas in µm² are unknown; give it an mpp"):
        Priors.fit([named("consep", mpp=None)], "monuseg")
    with pytest.raises(ValueError, match="'tile': has no masks; this needs a labelled sample"):
        Priors.fit([named("consep").weaken("nothing")], "monuseg")


def test_nuclei_in_ambiguous_regions_are_left_out():
    sample = simulate("stomach", size=400, seed=50)
    valid = np.ones(sample.shape, bool)
    valid[:, :99] = False
    whole, part = (Priors.fit([s], None).count for s in (sample, replace(sample, valid=valid)))
    assert part == len(np.setdiff1d(sample.instances, sample.instances[:, :99]))
    assert whole == len(np.unique(sample.instances)) - 1 > part >= 20


def test_too_few_nuclei_are_refused():
    for rows in (spread(20)[:19], np.zeros((0, 5))):
        with pytest.raises(ValueError, match=f"{len(rows)} nuclei make no density; add .* there are 20"):
            Priors.fit_properties(rows)
    with pytest.raises(ValueError, match="0 nuclei make no density"):
        Priors.fit([], "monuseg")


def test_values_without_a_density_are_refused(fitted):
    rows = spread(30)
    rows[7, 2] = np.nan
    for call in (Priors.fit_properties, fitted.likelihoods):
        with pytest.raises(ValueError, match="circularity of row 7 is nan; leave that nucleus out"):
            call(rows)
        with pytest.raises(ValueError, match=r"rows are \(30, 4\), expected \(N, 5\): area, solidity"):
            call(rows[:, 1:])
    rows[:, 2] = 0.5
    with pytest.raises(ValueError, match=r"circularity is 0.5 in all nuclei: no density; add other images"):
        Priors.fit_properties(rows)


def test_other_refusals(fitted):
    labels, image = np.ones((4, 5), np.int32), np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels are float64 \(4, 5\), expected .*to_instances"):
        fitted.score(labels * 1.0, image)
    with pytest.raises(ValueError, match=r"labels are int32 \(4, 5\), expected .* from 0 on"):
        fitted.score(-labels, image)
    with pytest.raises(
        ValueError, match=r"image is float64 \(4, 5, 3\), expected uint8 \(4, 5, 3\) .*to_rgb"
    ):
        fitted.score(labels, image / 255)
    with pytest.raises(ValueError, match=r"image is uint8 \(5, 4, 3\)"):
        fitted.score(labels, image.transpose(1, 0, 2))
    for mpp in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"mpp is {mpp}; give micrometres per pixel"):
            fitted.score(labels, image, mpp)
    for scores in ([], [0.1, 0.2], [np.nan]):
        with pytest.raises(ValueError, match=r"of 1 nuclei; give each one that is not NaN"):
            weight_map(labels, scores)
