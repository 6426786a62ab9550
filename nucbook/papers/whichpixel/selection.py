"""Which windows are annotated: consistency-based patch selection, CPS, and its controls.

Lou et al. 2022, Sec. III-A: Algorithm 1 and Eq. 1. Every window of a cluster is scored, with the terms as
printed, not scaled against each other; `candidates` has what the released code does.

    picks = pick(runner, config, samples)    # needs no label
    picks.picked                             # a row per window: image, row, column, the terms of Eq. 1
    labelled = annotated(samples, picks)     # of nucbook.papers.whichpixel.picks
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from nucbook.papers.whichpixel.config import Selection
from nucbook.papers.whichpixel.features import Features, available, described, windows
from nucbook.papers.whichpixel.picks import Picks
from nucbook.sample import Sample
from nucbook.training.stages import StageRunner, stage

TERMS = ("coarse", "fine", "consistency")  # of Eq. 1, in its order


# -- Algorithm 1 ---------------------------------------------------------------------------------


def kmeans(vectors: np.ndarray, clusters: int, starts: int, seed: int) -> np.ndarray:
    """int (N,): the cluster of each vector (N, D), float32; the best of `starts` random starts.

    Fewer different vectors than clusters leave some clusters empty. `vectors` is used as scratch: its values
    come back rounded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different vectors than clusters
        found = KMeans(clusters, init="random", n_init=starts, random_state=seed, copy_x=False).fit(vectors)
    return found.labels_


def terms(whole: np.ndarray, parts: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """float (N, 3): the three terms of Eq. 1, distances between vectors; smaller is better.

    whole  : (N, D), of the windows of a coarse cluster.
    parts  : (N, 4, D), of their sub-windows.
    coarse : (D,), C(x), the centre of that cluster.
    fine   : (D,), c(x), the centre of the largest fine cluster c* of its sub-windows.

    They are the distance to the coarse centre, the mean distance of the sub-windows to the fine one, and the
    largest distance between two sub-windows.
    """
    distance = lambda a, b: np.linalg.norm(a - b, axis=-1)
    own = [parts[:, p] for p in range(4)]
    return np.stack(
        [
            distance(whole, coarse),
            np.mean([distance(part, fine) for part in own], axis=0),
            np.max([distance(a, b) for a, b in combinations(own, 2)], axis=0),
        ],
        axis=1,
    )


def criterion(features: Features, config: Any, seed: int) -> dict[str, np.ndarray]:
    """Algorithm 1, without its argmin: clusters, terms and scores of all windows.

    Returns `cluster` int (N,); `terms` float (N, 3), all but the first NaN for "kmeans"; `score` float (N,),
    infinite for windows that may not be picked (`candidates`).

    A cluster with fewer sub-windows than K₂ makes as many fine clusters as it has. Of fine clusters of equal
    size the first counts as the largest. Raises ValueError for more clusters than different windows.
    """
    count = len(features)
    cluster = kmeans(features.whole(), config.clusters, config.starts, seed)
    filled = len(np.unique(cluster))
    if filled < config.clusters:
        raise ValueError(
            f"{count} windows make only {filled} of {config.clusters} clusters: too many are identical; take "
            "fewer `clusters`, or leave out blank and repeated images."
        )
    found, score = np.full((count, 3), np.nan), np.full(count, np.inf)
    counted = [term != config.without for term in TERMS]
    for k in range(config.clusters):
        own = cluster == k
        whole, may = features.whole(own), np.ones(int(own.sum()), bool)
        coarse = _centre(whole)
        if config.method == "kmeans":
            found[own, 0] = score[own] = np.linalg.norm(whole - coarse, axis=-1)
            continue
        parts = features.parts(own)
        flat = parts.reshape(-1, parts.shape[-1])
        labels = kmeans(flat, min(config.fine_clusters, len(flat)), config.starts, seed)
        largest = labels == np.bincount(labels).argmax()
        if config.candidates == "largest":
            may = largest.reshape(-1, 4).any(1)
        found[own] = terms(whole, parts, coarse, _centre(flat, largest))
        score[own] = np.where(may, found[own][:, counted].sum(1), np.inf)
    return {"cluster": cluster, "terms": found, "score": score}


def _centre(vectors: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
    """(D,): the mean of some of the vectors (N, D), which are not copied for it."""
    where = np.True_ if which is None else which[:, None]
    return vectors.mean(0, dtype=np.float64, where=where).astype(np.float32)


# -- all methods under one name ------------------------------------------------------------------


def choices(samples: Sequence[Sample], config: Any) -> np.ndarray:
    """int32 (N, 3): image, row and column of the windows that a method chooses from.

    Those of the grid; for "rndcencrop" the middle one of each image. Raises ValueError where there are fewer
    than `clusters`, and what `windows` raises.
    """
    found, what = windows(samples, config.size, config.stride), "windows"
    if config.method == "rndcencrop":
        middles = [[(length - config.size) // 2 for length in sample.shape] for sample in samples]
        found, what = np.insert(np.array(middles, np.int32), 0, np.arange(len(samples)), axis=1), "images"
    if config.clusters > len(found):
        raise ValueError(
            f"clusters = {config.clusters}, but there are {len(found)} {what} to choose from; "
            "take fewer `clusters`, more images or a smaller `stride`."
        )
    return found


@stage("method", "size", "stride", "clusters", "fine_clusters", "without", "candidates", "starts")
def selected(
    runner: StageRunner, config: Any, samples: Sequence[Sample], kept: Mapping[str, str] | None
) -> dict[str, np.ndarray]:
    """The windows of `choices`, the ranks of those that are picked, and what `criterion` finds.

    kept : of `described`; None for random methods, which draw without replacement.
    """
    corners = choices(samples, config)
    if kept is None:
        draw = np.random.default_rng(runner.seed)
        chosen = draw.choice(len(corners), config.clusters, replace=False)
        return {"corners": corners, "chosen": np.sort(chosen)}
    found = criterion(Features.open(runner, kept, len(samples)), config, runner.seed)
    score = [np.where(found["cluster"] == k, found["score"], np.inf) for k in range(config.clusters)]
    return {"corners": corners, "chosen": np.argmin(score, axis=1), **found}


def vectors(runner: StageRunner, config: Selection, samples: Sequence[Sample]) -> dict[str, str]:
    """What the stage `described` keeps for a config, with the network that comes about; for `Features.open`.

    Only the vectors of a random network depend on the seed.
    """
    network, weights = available(config.network)
    seed = runner.seed if network == "random" else 0
    unseen = [sample.weaken("nothing") for sample in samples]
    return replace(runner, seed=seed).do(described, config, unseen, network, weights)


def pick(runner: StageRunner, config: Selection, samples: Sequence[Sample]) -> Picks:
    """The windows to annotate, of samples whose labels it does not look at.

    Vectors and selection are stages: rows that differ in K₁, K₂ or the terms share the vectors, and rows that
    differ in what comes after share the selection.

    Raises ValueError for names that stand twice, an image smaller than a window, and more clusters than there
    are different windows (or images, for "rndcencrop"); OutOfTime.
    """
    unseen = [sample.weaken("nothing") for sample in samples]
    names = [sample.name for sample in unseen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"sample {twice[0]!r} stands twice among the samples; names must differ.")
    choices(unseen, config)  # refuses before a network is looked for
    kept = vectors(runner, config, unseen) if config.method in ("cps", "kmeans") else None
    made = runner.do(selected, config, unseen, kept)
    image, row, column = made["corners"].T
    count = len(image)
    frame = pd.DataFrame({"image": np.array(names)[image], "row": row, "column": column})
    frame["cluster"] = made.get("cluster", np.full(count, -1))
    frame[list(TERMS)] = made.get("terms", np.full((count, 3), np.nan))
    frame["score"] = made.get("score", np.full(count, np.nan))
    frame["picked"] = np.isin(np.arange(count), made["chosen"])
    return Picks(config.size, frame, kept["network"] if kept else "")
