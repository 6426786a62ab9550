"""What a table, a column, a row and a run are. Pure data, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from nucbook.fingerprint import fingerprint

Part = str | tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained on what, and on what it is measured.

    name        : as `published.csv` spells it, or a name of ours.
    method      : name of a method, as `nucbook.method.find` knows it.
    dataset     : data set it learns from, as `nucbook.data.load` knows it.
    labels      : how many labels of which kind, as `published.csv` spells it ("1/8", "100%"), or "none".
    measured_on : data sets it is measured on, one results line each, from one training; empty = `dataset`.
    changes     : config fields in which it differs from the paper's main method.
    split       : arguments of `Split.make`, or empty for the official parts; "part" names the part of the
                  data set that is split, all of it by default.
    folds       : how many folds of a cross-validation it takes.
    patches     : (side, overlap), px, of patches that labels are dealt out by, instead of by what the method
                  works on; or None.
    alias       : a short name for the command line.
    """

    name: str
    method: str
    dataset: str
    labels: str = "100%"
    measured_on: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    folds: int = 1
    alias: str = ""
    patches: tuple[int, int] | None = None

    def __post_init__(self):
        object.__setattr__(self, "measured_on", tuple(self.measured_on) or (self.dataset,))

    @property
    def dealt(self) -> Mapping[str, Any]:
        """How labels are dealt out, as a run is named by it: the split, and the patches if there are such."""
        return {**self.split, **({"patches": list(self.patches)} if self.patches else {})}


@dataclass(frozen=True)
class Column:
    """One column of a table: which of our numbers stands for a published one.

    key     : of `nucbook.metrics.evaluate` (a mean over images), of a whole data set ("ap50", "rotated_ap50",
              "mpq", …: `nucbook.measure.OF_A_SET`), or "parameters" or "flops" of the networks.
    unit    : what our number is multiplied by, 100 where the paper prints per cent.
    where   : facts of the images that count, as {"organ": ("Breast", "Liver")}; empty = all images.
    against : name of a row; the column then holds the p-value of a paired test against it, over images.
    side    : px, of the image whose forward pass "flops" counts.
    patch   : px; the mean over patches of this side, half of it in common, each segmented alone and compared
              with its part of the truth, as papers do that cut their test images. 0 = whole images.
    printed : how `published.csv` calls it, where the table here has another name for it.
    """

    key: str
    unit: float = 1
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    against: str = ""
    side: int = 256
    patch: int = 0
    printed: str = ""

    @property
    def stored(self) -> str:
        """The key of its number in the `metrics` of a results line."""
        if self.key == "flops":
            return f"flops@{self.side}"
        return f"{self.key}/{self.patch}" if self.patch else self.key


@dataclass(frozen=True)
class Table:
    """A table: rows, and which of our numbers stands for each published column.

    paper, name : as in `published.csv` ("ircr", "2").
    caption     : what is compared, one sentence.
    columns     : {published metric, or our name of it: Column, or the key of one}.
    spelled     : {our name of a data set: the paper's}, where they differ.
    unit        : of the columns that are given by their key alone.
    test        : {data set: part it is measured on}, where that is not "test".

    Raises ValueError where two rows have the same name, labels and data set, and for a column against a row
    there is not.
    """

    paper: str
    name: str
    caption: str
    rows: tuple[Row, ...]
    columns: Mapping[str, Column]
    spelled: Mapping[str, str]
    unit: float
    test: Mapping[str, Part]

    def __init__(
        self,
        paper: str,
        name: str,
        caption: str,
        rows: tuple[Row, ...],
        columns: Mapping[str, Column | str],
        spelled: Mapping[str, str] | None = None,
        unit: float = 1,
        test: Mapping[str, Part] | None = None,
    ):
        whole = {
            metric: Column(column, unit) if isinstance(column, str) else column
            for metric, column in columns.items()
        }
        values = (paper, name, caption, rows, whole, spelled or {}, unit, test or {})
        for each, value in zip(fields(self), values):
            object.__setattr__(self, each.name, value)
        self._check()

    def _check(self) -> None:
        seen = set()
        for row in self.rows:
            for key in [(row.name, row.labels, dataset) for dataset in row.measured_on]:
                if key in seen:
                    raise ValueError(f"table {self.address} has two rows {', '.join(key)}.")
                seen.add(key)
        names = {row.name for row in self.rows}
        for name, column in self.columns.items():
            if column.against and column.against not in names:
                raise ValueError(
                    f"table {self.address}: column {name!r} is against no row: {column.against!r}."
                )

    @property
    def address(self) -> str:
        """How the command line names it, "ircr/2"."""
        return f"{self.paper}/{self.name}"

    def spell(self, dataset: str) -> str:
        """A data set's name as the paper has it."""
        return self.spelled.get(dataset, dataset)

    def tested(self, dataset: str) -> Part:
        """The part of a data set that its rows are measured on."""
        return self.test.get(dataset, "test")


@dataclass(frozen=True)
class Run:
    """A row made definite: configuration, fold and seed. The same run in two tables is run once.

    config : the fields of the resolved configuration that name it (`nucbook.profile.identity`).
    init   : weights it asks to start from.
    """

    method: str
    config: Mapping[str, Any]
    dataset: str
    split: Mapping[str, Any]
    labels: str
    fold: int = 0
    seed: int = 0
    init: str = "scratch"

    @property
    def identity(self) -> str:
        """16 hex digits: the hash of all fields. Which code ran it is recorded beside it, not hashed."""
        return fingerprint([getattr(self, f.name) for f in fields(self)])


@dataclass(frozen=True)
class Measured:
    """The numbers of a run on one data set.

    metrics   : {key: value}: means over images, numbers of the whole set, of the networks.
    per_image : one dict per image: its name, its facts (organ, …), the metrics.
    data      : whether its images are "real" or "simulated".
    """

    metrics: Mapping[str, float | None]
    per_image: Sequence[Mapping[str, Any]] = ()
    data: str = "real"

    def __post_init__(self):
        if self.data not in ("real", "simulated"):
            raise ValueError(f"data is {self.data!r}; say whether the images are 'real' or 'simulated'.")


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    measured  : {data set: Measured}.
    init      : weights it did start from; "scratch" where ImageNet's could not be had.
    selection : how the weights were chosen: "last", or by what on the validation images.
    seconds   : of training, over all resumptions.
    """

    measured: Mapping[str, Measured]
    init: str = "scratch"
    selection: str = "last"
    seconds: float = 0.0
