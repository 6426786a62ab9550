"""What BASS's student minimises beside Mask R-CNN's losses: LRD (Sec. 2.3) and CRC (Sec. 2.4, Eqs. 3 to 7).

Cells are those of the grid on which a head predicts the mask of a region (RoI), 14² or 28² whatever the size
of its box. "Inside" is the mask that the region should get, from a ground truth or a pseudo label.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Bands(NamedTuple):
    """Four sets of cells, bool (R, M, M), disjoint; together they are all cells (Eqs. 3 and 4).

    foreground, background : R_f and R_b, far from the boundary; inner, outer : R_i and R_o, near it.
    """

    foreground: Tensor
    background: Tensor
    inner: Tensor
    outer: Tensor


def bands(inside: Tensor, distance: int) -> Bands:
    """The cells within `distance` of the other side, and the others (Zhang et al. 2024, Eqs. 3 and 4).

    inside   : bool (R, M, M).
    distance : d, cells, from a cell's centre to the nearest on the other side; 0 = no cell is near. The paper
               prints a squared norm; d = 4 only makes sense as a distance. What lies beyond the region is on
               neither side.
    """
    if distance == 0 or not len(inside):
        nothing = torch.zeros_like(inside)
        return Bands(inside, ~inside, nothing, nothing)
    step = torch.arange(-distance, distance + 1, device=inside.device)
    disc = (step[:, None] ** 2 + step**2 <= distance**2).float()[None, None]
    near = lambda side: F.conv2d(side[:, None].float(), disc, padding=distance)[:, 0] > 0.5
    inner, outer = inside & near(~inside), ~inside & near(inside)
    return Bands(inside & ~inner, ~inside & ~outer, inner, outer)


def boundary_weights(inside: Tensor, width: int, weight: float) -> Tensor:
    """Weights of LRD's cells: `weight` within `width` cells of the other side, else 1 (Sec. 2.3).

    inside : bool (R, M, M). Neither value is in the paper; the released code has no such weight.
    Returns float (R, M, M).
    """
    _, _, inner, outer = bands(inside, width)
    return torch.where(inner | outer, weight, 1.0)


class Contrast(NamedTuple):
    """A contrastive loss, and the fraction of its terms that are defined: those with cells on both sides."""

    loss: Tensor
    defined: Tensor


def cross_roi_contrast(
    embeddings: Tensor,
    sets: Bands,
    partner: Tensor,
    temperature: float = 0.7,
    terms: str = "four",
    query: str = "pair",
) -> Contrast:
    """Draw the cells of each side together, across two regions, and the sides apart (Zhang et al., Eq. 6).

    embeddings  : float (R, D, M, M), of the cells of R regions.
    sets        : the cells that were sampled of each set.
    partner     : int64 (R,), a permutation: region i is paired with region partner[i].
    temperature : τ, Eq. 7.
    terms       : "four" as in Eq. 6, or "hard": those of the boundary cells, as in the released code.
    query       : mean of a side's cells over the "pair" (Eq. 5), or the "batch", as in the released code.

    Each term is the mean of Eq. 7 over its positive cells, then over the pairs where it is defined: where
    there is a positive and a negative cell. The gradient goes through queries and cells.
    Returns the sum of the terms, a scalar >= 0; 0 (with gradient) where none is defined.
    """
    cells = embeddings.float().flatten(2)  # (R, D, M²)
    unit = F.normalize(cells, dim=1)
    flat = Bands(*(mask.flatten(1) for mask in sets))
    back = query_of(cells, flat.background | flat.outer, partner, query)
    front = query_of(cells, flat.foreground | flat.inner, partner, query)
    losses, defined = [], []
    for asked, positive, negative in (
        (back, flat.outer, flat.inner),
        (front, flat.inner, flat.outer),
        (back, flat.background, flat.foreground),
        (front, flat.foreground, flat.background),
    )[: 4 if terms == "four" else 2]:
        loss, there = info_nce(cosines(asked, unit, partner) / temperature, positive, negative, partner)
        losses.append(loss)
        defined.append(there)
    total = torch.stack(losses).sum() + 0 * embeddings.sum()
    return Contrast(total, torch.stack(defined).float().mean() if len(cells) else total.detach() * 0)


def query_of(cells: Tensor, side: Tensor, partner: Tensor, query: str) -> Tensor:
    """The mean of a side's cells, over each pair or over all regions, (R, D) (Eq. 5)."""
    total, count = torch.einsum("rdc,rc->rd", cells, side.to(cells)), side.sum(1, keepdim=True)
    if query == "batch":
        total, count = total.sum(0, keepdim=True).expand_as(total), count.sum(0, keepdim=True)
    else:
        total, count = total + total[partner], count + count[partner]
    return total / count.clamp(min=1)


def cosines(query: Tensor, unit: Tensor, partner: Tensor) -> Tensor:
    """Cosine of a query (R, D) with the cells of its region and of the partner, (R, 2 M²)."""
    query = F.normalize(query, dim=1)
    of = lambda cells: torch.einsum("rd,rdc->rc", query, cells)
    return torch.cat([of(unit), of(unit[partner])], 1)


def info_nce(scores: Tensor, positive: Tensor, negative: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 7, and for which pairs it is defined, bool (R,).

    scores : (R, 2 M²), cosines over τ; positive, negative : bool (R, M²), cells of each region.
    """
    positive, negative = (torch.cat([own, own[partner]], 1) for own in (positive, negative))
    defined = positive.any(1) & negative.any(1)
    if not defined.any():
        return scores.sum() * 0, defined
    scores, positive, negative = scores[defined], positive[defined], negative[defined]
    against = scores.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    error = F.softplus(against - scores) * positive  # −log(e^s / (e^s + Σ))
    return (error.sum(1) / positive.sum(1)).mean(), defined
