"""Which samples are labelled, unlabelled, for validation and for test: made by seed, kept as JSON.

A split holds names, not samples. `apply` hands out the samples, with the truth that training may not
see taken away, so that no method can peek.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nucbook.sample import InvalidSample, Sample

PARTS = ("labelled", "unlabelled", "validation", "test")
FACTS = ("patient", "organ")  # of a sample's meta that may be the unit


class InvalidSplit(ValueError):
    """A split that cannot be made, read or applied; the message names the reason and the way out."""


class Parts(NamedTuple):
    """The samples of a split. `test` keeps its truth: it is for `evaluate`, never for training."""

    labelled: Sequence[Sample]
    unlabelled: Sequence[Sample] = ()
    validation: Sequence[Sample] = ()
    test: Sequence[Sample] = ()


@dataclass(frozen=True)
class Split:
    """Names of samples by part, each in one part only.

    how : the arguments of `make`, for the record; empty for a split written by hand.

    Raises InvalidSplit where a name stands twice.
    """

    labelled: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for part in PARTS:
            object.__setattr__(self, part, tuple(getattr(self, part)))
        for name, count in Counter(self.names).items():
            if count > 1:
                raise InvalidSplit(f"sample {name!r} stands twice in the split; keep it in one part.")

    @property
    def names(self) -> tuple[str, ...]:
        """All names, part after part."""
        return sum((getattr(self, part) for part in PARTS), ())

    @classmethod
    def make(
        cls,
        samples: Iterable[Sample],
        by: str = "image",
        labelled: float = 1 / 8,
        validation: float = 0.1,
        test: float = 0.2,
        folds: int | Sequence[Sequence[str]] | None = None,
        fold: int = 0,
        seed: int = 0,
    ) -> Split:
        """Deal samples out by whole units; the same for any order of `samples`.

        by         : the unit that is not divided: "patient" or "organ" (`meta["patient"]`, `meta["organ"]`),
                     "image" (`meta["image"]`, which patches keep, else the name), or "patch": labels are
                     dealt out patch by patch, but validation and test still take whole images, so that
                     overlapping patches of one image are never on both sides.
        labelled   : fraction of the training units that keep their labels, in [0, 1]; the others are
                     unlabelled. With one seed a smaller fraction lies within a larger one.
        validation : fraction of all units, in [0, 1).
        test       : fraction of all units, in [0, 1); not read where there are `folds`.
        folds      : cut the units into so many test parts that together hold each unit once, and
                     test on number `fold`, 0 … folds − 1. Or the parts themselves, such as published
                     ones: the names of the images that each holds out. None = no cross-validation.
        seed       : another seed is another split; the fractions do not change who goes before whom.

        Fractions become whole units: at least one above 0, all but one at most below 1. Raises InvalidSplit
        for too few units, a fraction out of range, a name that stands twice, a sample without its patient or
        organ, and named folds that do not hold each image once or divide a unit.
        """
        if not (folds is None or isinstance(folds, int)):
            folds = [list(part) for part in folds]
        how = {
            "by": by, "labelled": labelled, "validation": validation, "test": test,
            "folds": folds, "fold": fold, "seed": seed,
        }  # fmt: skip
        samples = list(samples)
        _check(**how)
        units = _units(samples, by)
        order = _shuffled(units, seed)
        noun = f"{by}s" if by in FACTS else "images"
        if folds is None:
            tested = order[: _whole(test, len(order), f"{noun} for test")]
        elif isinstance(folds, list):
            tested = _held_out(samples, units, folds, fold, by)
        elif len(order) < folds:
            raise InvalidSplit(f"{len(order)} {noun} cannot make {folds} folds; ask for fewer.")
        else:
            tested = order[fold::folds]
        held_out = set(tested)
        rest = [unit for unit in order if unit not in held_out]
        validated = rest[: _whole(validation, len(order), f"{noun} for validation")]
        training = {unit: units[unit] for unit in rest[len(validated) :]}
        if not training:
            raise InvalidSplit(
                f"{len(order)} {noun} are too few: {len(tested)} for test and {len(validated)} for "
                "validation leave none to train on; take smaller fractions."
            )
        if by == "patch":
            noun = "patches"
            training = {name: [name] for names in training.values() for name in names}
        dealt = _shuffled(training, seed)
        count = _whole(labelled, len(dealt), f"training {noun} to label")
        return cls(
            labelled=_members(dealt[:count], training),
            unlabelled=_members(dealt[count:], training),
            validation=_members(validated, units),
            test=_members(tested, units),
            how=how,
        )

    def apply(self, samples: Iterable[Sample], labels: str = "masks", validation: str | None = None) -> Parts:
        """The samples of each part, in the order of the split, knowing no more than they may.

        labels     : what labelled samples keep: "masks", or "points" (`Sample.weaken`, or the points
                     they came with where there are no masks). Unlabelled samples keep nothing.
        validation : the same for validation; None = as `labels`. Choosing a model by full masks while
                     training on points is said by "masks" here, and belongs into the record of the run.

        Raises InvalidSplit where samples and split do not hold the same names, InvalidSample where one
        lacks the labels its part needs.
        """
        validation = validation or labels
        for choice in (labels, validation):
            if choice not in ("masks", "points"):
                raise InvalidSplit(f"labels {choice!r}? One of 'masks', 'points'.")
        by_name = {sample.name: sample for sample in _distinct(samples)}
        absent, extra = set(self.names) - set(by_name), set(by_name) - set(self.names)
        if absent:
            raise InvalidSplit(
                f"sample {min(absent)!r} of the split ({len(absent)} in all) is not among the {len(by_name)} "
                "samples; load the parts of the data set that the split was made for."
            )
        if extra:
            raise InvalidSplit(
                f"sample {min(extra)!r} ({len(extra)} in all) is in no part of the split; "
                "leave it out, or make a new split."
            )
        knows = {"labelled": labels, "unlabelled": "nothing", "validation": validation, "test": "everything"}
        return Parts(
            *([_knowing(by_name[name], to) for name in getattr(self, part)] for part, to in knows.items())
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON: a list of names per part, and `how`."""
        Path(path).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read what `save` wrote; raises InvalidSplit, naming the file, for anything else."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            labelled, unlabelled, validation, test = (_names(content[part]) for part in PARTS)
            return cls(labelled, unlabelled, validation, test, content["how"])
        except (ValueError, KeyError, TypeError) as error:  # not JSON, not all there, not lists of names
            raise InvalidSplit(
                f"{path} is not a split ({error!r}); write it anew with Split.save."
            ) from error


def _check(by, labelled, validation, test, folds, fold, **_) -> None:
    if by not in (*FACTS, "image", "patch"):
        raise InvalidSplit(f"by {by!r}? One of 'patient', 'organ', 'image', 'patch'.")
    if not 0 <= labelled <= 1:
        raise InvalidSplit(f"labelled is {labelled}; give the fraction of the training units, from 0 to 1.")
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0 <= fraction < 1:
            raise InvalidSplit(f"{name} is {fraction}; give a fraction of all units, from 0 to below 1.")
    count = len(folds) if isinstance(folds, list) else folds
    if count is not None and count < 2:
        raise InvalidSplit(f"folds is {folds}; ask for 2 or more, or for None.")
    if not 0 <= fold < (count or 1):
        raise InvalidSplit(f"fold {fold} of {count or 'no'} folds; they count from 0.")


def _units(samples: Iterable[Sample], by: str) -> dict[str, list[str]]:
    """{patient, organ or image: names of its samples}."""
    units = defaultdict(list)
    for sample in _distinct(samples):
        unit = sample.meta.get(by) if by in FACTS else sample.meta.get("image", sample.name)
        if unit is None:
            raise InvalidSplit(
                f"sample {sample.name!r} has no meta[{by!r}]; fill it in, or split by 'image'."
            )
        units[str(unit)].append(sample.name)
    return dict(units)


def _held_out(
    samples: Sequence[Sample], units: Mapping[str, list[str]], folds: list[list[str]], fold: int, by: str
) -> list[str]:
    """The units that a named fold holds out, after a look at all folds: each image in one, no unit in two."""
    image_of = {sample.name: str(sample.meta.get("image", sample.name)) for sample in samples}
    images, fold_of = set(image_of.values()), dict[str, int]()
    for number, part in enumerate(folds):
        for name in part:
            if name not in images:
                raise InvalidSplit(
                    f"fold {number} holds out {name!r}, which is not among the {len(images)} images; "
                    "load all parts of the data set, and spell names as its samples do."
                )
            if name in fold_of:
                raise InvalidSplit(
                    f"image {name!r} stands in folds {fold_of[name]} and {number}; keep it in one."
                )
            fold_of[name] = number
    missing = sorted(images - set(fold_of))
    if missing:
        raise InvalidSplit(
            f"no fold holds out image {missing[0]!r} ({len(missing)} in all); leave it out, or add it to one."
        )
    folds_of = {unit: {fold_of[image_of[name]] for name in names} for unit, names in units.items()}
    divided = [unit for unit, numbers in folds_of.items() if len(numbers) > 1]
    if divided:
        raise InvalidSplit(
            f"{by} {min(divided)!r} ({len(divided)} in all) has images in several folds; split by 'image'."
        )
    return [unit for unit, numbers in folds_of.items() if fold in numbers]


def _members(chosen: Iterable[str], units: Mapping[str, list[str]]) -> tuple[str, ...]:
    return tuple(sorted(name for unit in chosen for name in units[unit]))


def _distinct(samples: Iterable[Sample]) -> Iterator[Sample]:
    seen = set()
    for sample in samples:
        if sample.name in seen:
            raise InvalidSplit(f"sample {sample.name!r} stands twice among the samples; names must differ.")
        seen.add(sample.name)
        yield sample


def _shuffled(units: Iterable[str], seed: int) -> list[str]:
    """An order that depends on the seed and each unit's name alone, not on the others or on NumPy."""
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}/{unit}".encode()).digest())


def _whole(fraction: float, total: int, what: str) -> int:
    """`fraction` of `total` in whole units, so that neither side of the line stays empty."""
    if fraction in (0, 1):
        return int(fraction * total)
    if total < 2:
        raise InvalidSplit(
            f"{total} is too few to take {fraction:g} of the {what}; take 0 or 1, or more samples."
        )
    return min(max(math.floor(fraction * total + 0.5), 1), total - 1)


def _knowing(sample: Sample, what: str) -> Sample:
    """The sample with masks and all, points alone, or nothing."""
    if what == "everything" or (what == "masks" and sample.labelled):
        return sample
    if what == "nothing" or sample.labelled:
        return sample.weaken(what)
    if what == "points" and sample.points is not None:
        return sample
    raise InvalidSample(
        f"sample {sample.name!r}: has no {what}, and its part of the split needs them; "
        "make the split of labelled samples, or apply it with other labels."
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r:.40} is no list of names")
    return tuple(value)
