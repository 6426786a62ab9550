"""LRD's weights and CRC by hand on small regions, and what the gradient of each term moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from nucbook.papers.bass.losses import Bands, bands, boundary_weights, cross_roi_contrast

LEFT = torch.tensor([[[True, True, False, False]] * 4])  # a region of 4²: its left half is nucleus


def cells(*columns):
    """Which cells of a 4² region stand in these columns."""
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[..., list(columns)] = True
    return mask


def test_bands_of_a_small_region():
    near = bands(LEFT, 1)
    assert torch.equal(near.foreground, cells(0))
    assert torch.equal(near.inner, cells(1))
    assert torch.equal(near.outer, cells(2))
    assert torch.equal(near.background, cells(3))
    far = bands(LEFT, 2)
    assert torch.equal(far.inner, cells(0, 1))
    assert not far.foreground.any()
    none = bands(LEFT, 0)
    assert torch.equal(none.foreground, LEFT)
    assert not none.inner.any()
    assert not none.outer.any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_bands_are_those_of_a_distance_transform(seed, distance):
    inside = np.random.default_rng(seed).random((9, 9)) < 0.7
    found = bands(torch.from_numpy(inside)[None], distance)
    away = distance_transform_edt(inside) if not inside.all() else np.full((9, 9), np.inf)
    assert np.array_equal(found.inner[0].numpy(), inside & (away <= distance))
    away = distance_transform_edt(~inside) if inside.any() else np.full((9, 9), np.inf)
    assert np.array_equal(found.outer[0].numpy(), ~inside & (away <= distance))
    assert (torch.stack(found).sum(0) == 1).all()


def test_boundary_cells_of_lrd_weigh_less():
    assert boundary_weights(LEFT, 1, 0.25)[0, 0].tolist() == [1, 0.25, 0.25, 1]
    assert (boundary_weights(LEFT, 1, 1.0) == 1).all()
    assert (boundary_weights(torch.ones(2, 4, 4, dtype=torch.bool), 1, 0.25) == 1).all()


# -- contrast -----------------------------------------------------------------------------------

ALONG = {  # the direction of each set's cells in the plane, degrees
    "foreground": 0.0,
    "inner": 30.0,
    "outer": 60.0,
    "background": 90.0,
}


def region(angles):
    """Embeddings (1, 2, 4, 4) of a 4² region whose columns are the four sets: foreground, …, background."""
    turned = torch.deg2rad(torch.tensor(angles))
    rows = torch.stack([turned.cos(), turned.sin()])  # (2, 4)
    return rows[None, :, None, :].expand(1, 2, 4, 4).clone()


def by_hand(angles, tau, terms):
    """Eqs. 5 to 7 for two equal regions: each set has 8 cells of one direction."""
    front, inner, outer, back = (np.exp(1j * np.deg2rad(a)) for a in angles)
    cosine = lambda q, k: (q / abs(q) * np.conj(k)).real
    q_back, q_front = (back + outer) / 2, (front + inner) / 2

    def term(q, positive, negative):
        top = np.exp(cosine(q, positive) / tau)
        return -np.log(top / (top + 8 * np.exp(cosine(q, negative) / tau)))

    hard = term(q_back, outer, inner) + term(q_front, inner, outer)
    return hard + (term(q_back, back, front) + term(q_front, front, back) if terms == "four" else 0)


@pytest.mark.parametrize("tau", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("terms", ["four", "hard"])
def test_the_terms_are_those_of_the_paper(tau, terms):
    angles = list(ALONG.values())
    pair, swap = region(angles).expand(2, -1, -1, -1), torch.tensor([1, 0])
    sets = bands(LEFT.expand(2, -1, -1), 1)
    found = cross_roi_contrast(pair, sets, swap, tau, terms)
    assert found.loss.item() == pytest.approx(by_hand(angles, tau, terms), rel=1e-5)
    assert found.defined == 1
    batch = cross_roi_contrast(pair, sets, swap, tau, terms, "batch")  # two equal regions are one pair
    assert batch.loss.item() == pytest.approx(found.loss.item(), rel=1e-5)


def test_the_query_is_that_of_two_regions_or_of_all():
    """A third region, in other directions, moves the queries of the batch, not of the other pair."""
    other = region([180.0, 180.0, 270.0, 270.0])
    three = torch.cat([region(list(ALONG.values())).expand(2, -1, -1, -1), other])
    partner = torch.tensor([1, 0, 2])
    sets = bands(LEFT.expand(3, -1, -1), 1)
    alone = cross_roi_contrast(other, Bands(*(mask[:1] for mask in sets)), torch.tensor([0])).loss
    two = cross_roi_contrast(three[:2], Bands(*(mask[:2] for mask in sets)), partner[:2]).loss
    pairs = cross_roi_contrast(three, sets, partner).loss
    assert pairs.item() == pytest.approx((2 * two + alone).item() / 3, rel=1e-5)
    assert abs(cross_roi_contrast(three, sets, partner, query="batch").loss - pairs) > 0.01


def gradient(sets, terms="four"):
    """By column of a 4² region, how strongly the contrast moves its cells."""
    torch.manual_seed(0)
    embeddings = torch.randn(2, 8, 4, 4, requires_grad=True)
    cross_roi_contrast(embeddings, sets, torch.tensor([1, 0]), terms=terms).loss.backward()
    return embeddings.grad.abs().sum((0, 1, 2))


def test_each_set_is_moved_by_its_terms_alone():
    sets = bands(LEFT.expand(2, -1, -1), 1)
    assert (gradient(sets) > 0).all()
    nothing = torch.zeros_like(sets.inner)
    easy = sets._replace(inner=nothing, outer=nothing)
    assert (gradient(easy)[[0, 3]] > 0).all()
    assert (gradient(easy)[[1, 2]] == 0).all()  # what was not sampled stays where it is
    hard = sets._replace(foreground=nothing, background=nothing)
    assert (gradient(hard)[[0, 3]] == 0).all()
    assert (gradient(hard)[[1, 2]] > 0).all()
    assert (gradient(sets, "hard")[[0, 3]] > 0).all()  # far cells are in the queries


def test_it_trains_sides_apart():
    """A few steps on free embeddings: cells of one side end alike, those of the other opposite."""
    torch.manual_seed(0)
    embeddings = torch.randn(2, 8, 4, 4, requires_grad=True)
    sets = bands(LEFT.expand(2, -1, -1), 1)
    optimiser = torch.optim.Adam([embeddings], 0.1)
    for _ in range(150):
        optimiser.zero_grad()
        cross_roi_contrast(embeddings, sets, torch.tensor([1, 0])).loss.backward()
        optimiser.step()
    unit = torch.nn.functional.normalize(embeddings.detach(), dim=1).permute(0, 2, 3, 1)
    front, back = unit[..., :2, :].reshape(-1, 8), unit[..., 2:, :].reshape(-1, 8)
    assert (front @ front.T).min() > 0.9
    assert (front @ back.T).max() < -0.5


@pytest.mark.parametrize(
    ("count", "inside"), [(0, LEFT), (1, LEFT), (1, torch.ones_like(LEFT)), (3, torch.zeros_like(LEFT))]
)
def test_regions_without_a_side_give_nothing_and_no_nan(count, inside):
    embeddings = torch.zeros(count, 8, 4, 4, requires_grad=True)  # of no direction either
    sets = bands(inside.expand(count, -1, -1), 1)
    found = cross_roi_contrast(embeddings, sets, torch.arange(count))
    found.loss.backward()
    assert torch.isfinite(found.loss)
    assert torch.isfinite(embeddings.grad).all()
    assert found.defined == (1 if count == 1 and not inside.all() else 0)


def test_the_share_of_defined_terms_is_told():
    """Without hard cells two of four terms are left; in one of two regions all: two of four pairs of it."""
    sets = bands(LEFT.expand(2, -1, -1), 0)
    swap, embeddings = torch.tensor([1, 0]), torch.randn(2, 8, 4, 4)
    assert cross_roi_contrast(embeddings, sets, swap).defined == 0.5
    whole = bands(torch.cat([LEFT, torch.ones_like(LEFT)]), 0)
    assert cross_roi_contrast(embeddings, whole, torch.arange(2)).defined == 0.25
