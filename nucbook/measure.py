"""What the runs of a table learn from, and what they score on a data set's test images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nucbook import data
from nucbook.data import SIMULATED
from nucbook.data.catalog import CATALOG
from nucbook.data.patches import overlapping
from nucbook.data.prepare import cut_for, prepare
from nucbook.method import Method
from nucbook.metrics import KEYS, evaluate_detections, evaluate_many, evaluate_pannuke
from nucbook.metrics.numbers import mean_of_defined
from nucbook.nuclei import Nuclei
from nucbook.rows import Column, Measured, Part, Row
from nucbook.sample import Sample
from nucbook.split import Parts, Split

OF_A_SET = ("ap", "ap50", "ap75", "rotated_ap", "rotated_ap50", "rotated_ap75", "mpq", "bpq")
FACTS = ("organ",)  # of an image, kept beside its scores: a column may count some images alone


def source(dataset: str, profile: str) -> str:
    """The data set that is read: simulated tissue or spreads in the place of any at profile "quick"."""
    if profile != "quick" or dataset in SIMULATED:
        return dataset
    return "metaphase" if dataset == "chromseg" else "tissue"


def require(row: Row, method: Method, config: Any, profile: str, test: Callable[[str], Part]) -> None:
    """Raise MissingDataset where a data set that a row learns from, reads or is measured on is not here."""
    divided = row.split.get("part", "all")
    wanted = [(source(name, profile), divided if row.split else test(name)) for name in row.measured_on]
    if method.learns_from(config) != "nothing":
        wanted.append((source(row.dataset, profile), divided if row.split else "train"))
    wanted += [(name, "all") for name in method.reads(config)]
    for name, part in wanted:
        if name not in SIMULATED:
            data.items(name, part)


def parts_of(row: Row, method: Method, config: Any, profile: str, seed: int = 0, fold: int = 0) -> Parts:
    """What one run of a row learns from, and, where the row has a split of its own, is tested on.

    Labels that are a fraction ("1/8", "100%") are dealt out by `seed`: by patch where the row or the
    method works on patches, else by image. With one seed a smaller fraction lies within a larger one.
    A tenth of the images is held out for validation then (Lin et al. 2025, Sec. 4.1.1), but where the data
    set brings a validation part of its own. A method that `selects` gets all labels.
    Raises MissingDataset, ValueError for labels that are no fraction, what `Split.make` and `prepare` raise.
    """
    if method.learns_from(config) == "nothing":
        return Parts([])
    name = source(row.dataset, profile)
    fraction = None if method.selects(config) else fraction_of(row.labels)
    if row.split:
        how = {"labelled": 1.0 if fraction is None else fraction, **row.split}
        samples = cut_for(method, config, data.load(name, how.pop("part", "all")))
        if name != row.dataset and not isinstance(how.get("folds"), int | None):
            how["folds"] = len(how["folds"])  # simulated images have other names than the published folds
        dealt = Split.make(samples, **how, fold=fold).apply(samples)
    else:
        samples = data.load(name, "train")
        by = "image" if method.patch is None and row.patches is None else "patch"
        if row.patches:
            samples = [cut for sample in samples for cut in overlapping(sample, *row.patches)]
        samples = cut_for(method, config, samples)
        own = name in SIMULATED or "validation" in CATALOG[name].parts
        validation = data.load(name, "validation") if own else ()
        if fraction is None or (fraction == 1 and by == "image"):
            return prepare(method, config, samples, validation)
        split = Split.make(samples, by=by, labelled=fraction, validation=0 if own else 0.1, test=0, seed=seed)
        dealt = split.apply(samples)
        dealt = dealt._replace(validation=dealt.validation or validation)
    ready = prepare(method, config, [*dealt.labelled, *dealt.unlabelled], dealt.validation)
    return ready._replace(test=dealt.test)


def fraction_of(labels: str) -> float | None:
    """The fraction that labels name, as "1/8" or "12%"; None for a kind of label ("points", "none", …).

    Raises ValueError for a fraction outside (0, 1].
    """
    number, per_cent = labels.removesuffix("%"), labels.endswith("%")
    if not number.replace("/", "").replace(".", "").isdigit():
        return None
    try:
        fraction = float(Fraction(number) / (100 if per_cent else 1))
    except (ValueError, ZeroDivisionError):
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise ValueError(f"labels {labels!r} are no fraction of the samples; write 1/8 or 100%.")
    return fraction


def tested_on(dataset: str, profile: str, part: Part) -> Sequence[Sample]:
    """The test images of a data set; simulated ones at profile "quick"."""
    name = source(dataset, profile)
    return data.load(name, "test" if name in SIMULATED else part)


# -- scores -------------------------------------------------------------------------------------


def score(
    segment: Callable[[np.ndarray], Nuclei],
    samples: Sequence[Sample],
    also: Collection[str] = (),
    patches: Collection[int] = (),
) -> Measured:
    """All metrics of `segment(image)` on samples with masks.

    segment : image uint8 (H, W, 3) -> `Nuclei`.
    also    : of `OF_A_SET`, numbers of the whole set that are asked for as well.
    patches : sides, px, of patches in which the images are segmented and scored as well
              (`Column.patch`); their metrics are called "aji/256", of an image the mean over its patches.

    Returns the mean over images and one row per image, four digits; images empty on both sides are left out
    of the mean. Regions that a sample does not count as `valid` count on neither side.
    """
    found = [segment(sample.image) for sample in samples]
    truth = [sample.label_map if sample.nuclei is None else sample.nuclei for sample in samples]
    pairs = [(t, f, s.counted) for t, f, s in zip(truth, found, samples)]
    report = evaluate_many(pairs)
    rows = [
        {"name": s.name, **{fact: s.meta[fact] for fact in FACTS if s.meta.get(fact)}, **_short(scores)}
        for s, scores in zip(samples, report.per_image)
    ]
    means = _short(report.mean) | _short(_of_the_set(samples, found, also))
    for side in patches:
        cut = [  # what is no larger than a patch was segmented already
            whole if max(sample.shape) <= side else _in_patches(segment, sample, side)
            for sample, whole in zip(samples, report.per_image)
        ]
        for row, scores in zip(rows, cut):
            row |= _short({f"{key}/{side}": scores[key] for key in KEYS})
        means |= _short({f"{key}/{side}": mean_of_defined(scores[key] for scores in cut) for key in KEYS})
    simulated = any(s.meta.get("dataset") in SIMULATED for s in samples)
    return Measured(means, rows, "simulated" if simulated else "real")


def _in_patches(segment: Callable[[np.ndarray], Nuclei], sample: Sample, side: int) -> dict[str, float]:
    """The metrics of an image's patches, each segmented alone, their means."""
    cuts = overlapping(sample, side, side // 2)
    return evaluate_many((cut.label_map, segment(cut.image), cut.counted) for cut in cuts).mean


def _of_the_set(
    samples: Sequence[Sample], found: Sequence[Nuclei], also: Collection[str]
) -> dict[str, float]:
    unknown = set(also) - set(OF_A_SET)
    if unknown:
        raise ValueError(f"no metric {sorted(unknown)[0]!r}; of a set there are {', '.join(OF_A_SET)}.")
    scores: dict[str, float] = {}
    pairs = [(sample.truth, nuclei) for sample, nuclei in zip(samples, found)] if also else []
    for by, prefix in (("masks", ""), ("rotated", "rotated_")):
        if any(key.startswith(f"{prefix}ap") for key in also):
            counted = [(*pair, s.counted) for pair, s in zip(pairs, samples)] if by == "masks" else pairs
            report = evaluate_detections(counted, by)
            scores |= {prefix + key: value for key, value in report.mean.items()}
    if {"mpq", "bpq"} & set(also):
        classes = sorted({int(c) for truth, _ in pairs for c in truth.classes if c})
        tissues = [str(sample.meta.get("organ", "")) for sample in samples]
        scores |= evaluate_pannuke(pairs, tissues, classes or (0,)).mean
    return {key: scores[key] for key in also}


def _short(scores: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else round(value, 4) for key, value in scores.items()}


def costs(method: Method, config: Any, columns: Collection[Column]) -> dict[str, float]:
    """Parameters of a method's networks and FLOPs (twice the multiply–adds) of a forward pass of each.

    Returns {`Column.stored`: number} for the columns that ask for them.
    """
    asked: dict[str, float] = {}
    for column in columns:
        if column.key not in ("parameters", "flops"):
            continue
        networks = method.networks(config).values()
        if column.key == "parameters":
            asked["parameters"] = sum(p.numel() for network in networks for p in network.parameters())
            continue
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            for network in networks:
                network.to("meta").eval()(torch.empty(1, 3, column.side, column.side, device="meta"))
        asked[column.stored] = counter.get_total_flops()
    return asked


def wanted_of_a_set(columns: Collection[Column]) -> tuple[str, ...]:
    """The keys of columns that are numbers of a whole set. Raises ValueError for a key that is nothing."""
    keys = {column.key for column in columns} - set(KEYS) - {"parameters", "flops"}
    unknown = keys - set(OF_A_SET)
    if unknown:
        known = ", ".join([*KEYS, *OF_A_SET, "parameters", "flops"])
        raise ValueError(f"no metric {sorted(unknown)[0]!r}; there are {known}.")
    return tuple(sorted(keys))
