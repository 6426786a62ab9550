"""Data sets by name: `load("kumar", part="train")` gives Samples.

Real sets are looked for under `root()`, each in a folder of its own, in the layout of its release
(`nucbook.data.catalog` says which) or as a pack; nothing is downloaded. `tissue` and `metaphase` are
simulated and always there.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs

from nucbook.data import layouts, pack
from nucbook.data.catalog import CATALOG
from nucbook.data.item import Item, LazySamples, MissingDataset, UnreadableFile
from nucbook.data.readers import folder
from nucbook.sample import Sample

__all__ = ["MissingDataset", "UnreadableFile", "for_chapter", "items", "load", "load_folder", "root"]

SIMULATED = {"tissue": "nucbook.data.tissue", "metaphase": "nucbook.data.chromosomes"}
_SIMULATED_PARTS = ("train", "validation", "test")

Part = str | tuple[str, ...]


def root() -> Path:
    """Where real data sets are looked for: `$NUCBOOK_DATA`, else the platform's user data folder."""
    chosen = os.environ.get("NUCBOOK_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("nucbook")


def load(name: str, part: Part = "train", root: Path | str | None = None) -> Sequence[Sample]:
    """The samples of a data set, in a fixed order.

    name : one of `nucbook.data.catalog.CATALOG`, or "tissue", "metaphase" (simulated).
    part : a part of the set's split, several as a tuple, or "all".
    root : folder to look in instead of `root()`.

    A list, read in parallel; PanNuke, too large for that, reads each sample when it is indexed.
    Raises ValueError for an unknown name or part, MissingDataset where the set is not there, and
    UnreadableFile for the first file that cannot be used (`nucbook data check` lists them all).
    """
    if name in SIMULATED:
        simulator = importlib.import_module(SIMULATED[name])
        return [sample for one in _parts(part, _SIMULATED_PARTS, name) for sample in simulator.load(one)]
    found = items(name, part, root)
    return LazySamples(found) if CATALOG[name].lazy else _read(found)


def load_folder(path: Path | str, mpp: float | None = None, labelled: bool = True) -> list[Sample]:
    """One's own pictures, with labels beside them (`nucbook.data.readers.folder` says how to name them).

    mpp      : micrometres per pixel, if known.
    labelled : False leaves labels aside; True refuses a folder without a single one.
    Raises UnreadableFile.
    """
    return _read(folder.items(Path(path), mpp, labelled))


def items(name: str, part: Part = "train", root: Path | str | None = None) -> list[Item]:
    """What `load` would read, unread: an `Item` an image. Raises what `load` does before it reads pixels."""
    if name not in CATALOG:
        raise ValueError(f"no data set {name!r}; there are {', '.join([*CATALOG, *SIMULATED])}.")
    entry = CATALOG[name]
    home = _home(root)
    found = []
    for one in _parts(part, entry.parts, name):
        here = layouts.LAYOUTS[name](home / entry.folder, one) or pack.items(home / name, one)
        if not here:
            where = f"{entry.title}, part {one!r}, is not in {home / entry.folder}."
            raise MissingDataset(f"{where}\n{entry.how_to_get(home)}")
        found += here
    return found


def for_chapter(name: str, part: Part = "train") -> Sequence[Sample]:
    """What a chapter shows: simulated images at profile "quick" (the default), else the real set.

    Chromosomes stand in as "metaphase", all other sets as "tissue", of the same part.
    """
    if os.environ.get("NUCBOOK_PROFILE", "quick") == "quick" and name not in SIMULATED:
        name = "metaphase" if name == "chromseg" else "tissue"
    return load(name, part)


def _home(chosen: Path | str | None) -> Path:
    return root() if chosen is None else Path(chosen)


def _read(found: Sequence[Item]) -> list[Sample]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(Item.read, found))


def _parts(part: Part, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    known = known or ("all",)  # a release without a split is one part
    if part == "all":
        return known
    parts = (part,) if isinstance(part, str) else tuple(part)
    unknown = [one for one in parts if one not in known]
    if unknown or not parts:
        choice = ", ".join(dict.fromkeys((*known, "all")))
        raise ValueError(f"{name} has no part {', '.join(map(repr, unknown)) or parts}; there is {choice}.")
    return parts
