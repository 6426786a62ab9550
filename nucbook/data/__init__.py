"""Data sets by name: `load("kumar", part="train")` gives Samples.

Real sets are looked for under `root()`, each in a folder of its own, in the layout of its release
(`nucbook.data.catalog` says which); nothing is downloaded. `tissue` and `metaphase` are simulated
and always there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs

from nucbook.data import layouts, pack
from nucbook.data.catalog import CATALOG, Entry
from nucbook.data.item import Item, LazySamples, MissingDataset, UnreadableFile
from nucbook.sample import Sample

__all__ = ["MissingDataset", "UnreadableFile", "for_chapter", "items", "load", "root"]

SIMULATED = {"tissue": ("train", "validation", "test"), "metaphase": ("train", "validation", "test")}


def root() -> Path:
    """Where real data sets are looked for: `$NUCBOOK_DATA`, else the platform's user data folder."""
    folder = os.environ.get("NUCBOOK_DATA")
    return Path(folder) if folder else platformdirs.user_data_path("nucbook")


def load(name: str, part: str | tuple[str, ...] = "train", root: Path | str | None = None) -> Sequence[Sample]:
    """The samples of a data set, in a fixed order.

    name : one of `nucbook.data.catalog.CATALOG`, or "tissue", "metaphase" (simulated).
    part : a part of the set's split, several as a tuple, or "all".
    root : folder to look in instead of `root()`.

    A list, read in parallel; PanNuke, too large for that, reads each sample when it is indexed.
    Raises ValueError for an unknown name or part, MissingDataset where the set is not there, and
    UnreadableFile for the first file that cannot be used (`nucbook data check` lists them all).
    """
    if name in SIMULATED:
        return _simulated(name, part)
    found = items(name, part, root)
    if CATALOG[name].lazy:
        return LazySamples(found)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(Item.read, found))


def items(name: str, part: str | tuple[str, ...] = "train", root: Path | str | None = None) -> list[Item]:
    """What `load` would read, unread: an `Item` an image. Raises as `load` does, but for UnreadableFile."""
    entry = _entry(name)
    home = Path(root) if root is not None else globals()["root"]()
    found = []
    for one in _parts(part, entry.parts, name):
        here = layouts.LAYOUTS[name](home / entry.folder, one) or pack.items(home / name, one)
        if not here:
            raise MissingDataset(entry.how_to_get(one, home))
        found += here
    return found


def for_chapter(name: str, part: str | tuple[str, ...] = "train") -> Sequence[Sample]:
    """What a chapter shows: simulated images at profile "quick" (the default), else the real set.

    Chromosome sets stand in as "metaphase", all others as "tissue", of the same part.
    """
    if name in SIMULATED or os.environ.get("NUCBOOK_PROFILE", "quick") != "quick":
        return load(name, part)
    _parts(part, _entry(name).parts, name)                  # a wrong part fails at every profile
    return load("metaphase" if name == "chromseg" else "tissue", part)


def _simulated(name: str, part: str | tuple[str, ...]) -> list[Sample]:
    from nucbook.data import chromosomes, tissue            # heavy to import, and not always wanted

    simulator = {"tissue": tissue, "metaphase": chromosomes}[name]
    return [sample for one in _parts(part, SIMULATED[name], name) for sample in simulator.load(one)]


def _entry(name: str) -> Entry:
    if name not in CATALOG:
        raise ValueError(f"no data set {name!r}; there are {', '.join([*CATALOG, *SIMULATED])}.")
    return CATALOG[name]


def _parts(part: str | tuple[str, ...], known: tuple[str, ...], name: str) -> tuple[str, ...]:
    if part == "all":
        return known
    parts = (part,) if isinstance(part, str) else tuple(part)
    unknown = [one for one in parts if one not in known]
    if unknown or not parts:
        raise ValueError(f"{name} has no part {', '.join(map(repr, unknown))}; there are {', '.join((*known, 'all'))}.")
    return parts
