"""Whether a data set is complete and readable: counts, and every file that cannot be used."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nucbook import data
from nucbook.data.catalog import CATALOG
from nucbook.data.item import Item, MissingDataset, UnreadableFile
from nucbook.data.readers import folder
from nucbook.sample import Sample


@dataclass
class Count:
    """What one part holds.

    images  : readable images; unlabelled: those of them without a mask; points: point labels of all.
    regions : outlines and ids that the files list; nuclei: those that have a pixel.
    """

    images: int = 0
    unlabelled: int = 0
    points: int = 0
    regions: int = 0
    nuclei: int = 0

    @property
    def dropped(self) -> int:
        """Regions that left no pixel: fewer than three vertices, no pixel centre inside, or hidden."""
        return self.regions - self.nuclei

    def add(self, sample: Sample) -> None:
        """Count one sample that could be read."""
        self.images += 1
        self.unlabelled += not sample.labelled
        self.points += 0 if sample.points is None else len(sample.points)
        nuclei = _nuclei(sample)
        self.nuclei += nuclei
        self.regions += sample.meta.get("regions", nuclei)


@dataclass
class CheckReport:
    """What `check` found. `problems` keep the set from being used; `notes` are worth knowing."""

    name: str
    where: Path
    parts: dict[str, Count] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every file could be used."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"{self.name} in {self.where}"]
        for part, count in self.parts.items():
            line = f"  {part}: {count.images:,} images, {count.nuclei:,} nuclei"
            if count.points:
                line += f", {count.points:,} points"
            if count.unlabelled:
                line += f", {count.unlabelled:,} images without masks"
            if count.dropped:
                line += f", {count.dropped:,} of {count.regions:,} regions left no pixel"
            lines.append(line)
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        return "\n".join(lines)


def check(name: str, root: Path | str | None = None) -> CheckReport:
    """Read every image of a data set, or of one's own folder, and go on after each that fails.

    name : a name of the catalogue, or the path of a folder.
    Raises MissingDataset where no part is there, ValueError for a name that is neither.
    """
    if name not in CATALOG:
        if not Path(name).is_dir():
            raise ValueError(f"{name!r} is neither a folder nor a data set; there are {', '.join(CATALOG)}.")
        return _check_folder(Path(name))
    entry = CATALOG[name]
    report = CheckReport(name, (Path(root) if root is not None else data.root()) / entry.folder)
    missing = []
    for part in entry.parts or ("all",):
        try:
            found = data.items(name, part, root)
        except MissingDataset as error:
            missing.append(error)
            report.problems.append(f"part {part} is missing.")
        except UnreadableFile as error:
            report.problems.append(str(error))
        else:
            _count(found, part, report)
            _compare(report, part, entry.expected.get(part))
    if len(missing) == len(entry.parts or ("all",)):
        raise missing[0]
    return report


def _check_folder(path: Path) -> CheckReport:
    report = CheckReport(path.name, path)
    try:
        _count(folder.items(path), "all", report)
    except UnreadableFile as error:
        report.problems.append(str(error))
    return report


def _count(found: list[Item], part: str, report: CheckReport) -> None:
    count = report.parts.setdefault(part, Count())
    for item in found:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                count.add(item.read())
            except UnreadableFile as error:
                report.problems.append(str(error))
        report.notes += [str(warning.message) for warning in said]


def _compare(report: CheckReport, part: str, expected: tuple[int, int] | None) -> None:
    count = report.parts[part]
    if expected and (count.images, count.nuclei) != expected:
        images, nuclei = expected
        report.notes.append(
            f"{part} has {count.images:,} images and {count.nuclei:,} nuclei; "
            f"the release that the catalogue knows has {images:,} and {nuclei:,}."
        )


def _nuclei(sample: Sample) -> int:
    if sample.nuclei is not None:
        return len(sample.nuclei)
    if sample.instances is None:
        return 0
    return int(np.count_nonzero(np.bincount(sample.instances.ravel())[1:]))
