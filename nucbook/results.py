"""The store of measured runs: JSON lines, one a run and data set, committed with the book.

Where the library was installed without its checkout, the book's lines lie in the package and are read
beside the user's own.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import platformdirs
from filelock import FileLock

from nucbook.fingerprint import fingerprint
from nucbook.provenance import checkout

KEYS = (
    "run",
    "paper",
    "table",
    "row",
    "dataset",
    "data",
    "labels",
    "fold",
    "seed",
    "profile",
    "schedule",
    "init",
    "selection",
    "metrics",
    "images",
    "per_image",
    "seconds",
    "device",
    "versions",
    "commit",
    "clean",
    "time",
    "config",
)
LATER = ("commit", "clean", "time")  # of `nucbook.provenance`; None in lines from before they were recorded
CELL = ("paper", "table", "row", "dataset", "labels", "profile", "seed", "fold")  # what a line measures


class BadResults(ValueError):
    """A results file that cannot be read; the message names the file, the line, the way out."""


def folder() -> Path:
    """Where results are kept: `$NUCBOOK_RESULTS`, else `results` of this checkout, else the user's data."""
    if chosen := os.environ.get("NUCBOOK_RESULTS"):
        return Path(chosen)
    return (checkout() or platformdirs.user_data_path("nucbook")) / "results"


def shipped() -> Path | None:
    """The book's results inside an installed package; None in a checkout and under `$NUCBOOK_RESULTS`."""
    packed = Path(__file__).parent / "_results"
    return None if os.environ.get("NUCBOOK_RESULTS") or checkout() or not packed.is_dir() else packed


class Results:
    """A file of results lines. A line that a crash tore is set aside, said, and the rest is used.

    path : a `.jsonl` file, or the name of a paper: that paper's file in `folder()`, whose lines follow those
           in `shipped()`.
    """

    def __init__(self, path: str | Path):
        by_name = not Path(path).suffix
        self.path = folder() / f"{path}.jsonl" if by_name else Path(path)
        self._before = shipped() if by_name else None

    def everywhere(self) -> list[Results]:
        """The results of all papers that lie in the same folders, by name."""
        folders = [self.path.parent, *filter(None, [self._before])]
        names = {self.path.stem, *(path.stem for each in folders for path in each.glob("*.jsonl"))}
        beside = [Results(self.path.with_name(f"{name}.jsonl")) for name in sorted(names)]
        for each in beside:
            each._before = self._before
        return beside

    def append(self, line: Mapping[str, Any]):
        """Add one line under a lock and wait until the disk has it.

        Raises ValueError for a missing or unknown key, BadResults where the file is no results file.
        """
        wrong = sorted(set(KEYS) ^ set(line))
        if wrong:
            raise ValueError(f"a results line has {', '.join(KEYS)}; wrong or missing: {', '.join(wrong)}.")
        text = json.dumps({key: _plain(line[key]) for key in KEYS}, ensure_ascii=False, allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._whole_lines()
            with open(self.path, "ab") as file:
                file.write(text.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def lines(self) -> list[dict[str, Any]]:
        """All lines in their order; none where there is no file yet. Raises BadResults."""
        first = Results(self._before / self.path.name)._read().lines if self._before else []
        return first + self._own()

    def _own(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        if not os.access(self.path.parent, os.W_OK):
            return self._read().lines
        with FileLock(f"{self.path}.lock"):
            return self._whole_lines()

    def frame(self) -> pd.DataFrame:
        """A row a line, the metrics as columns of their own (`dice`, `aji`, …) in place of `metrics`.

        Where a cell was measured again with the same seed and fold, the line of the later training stands:
        the row, or the method, has changed since. A line without a time comes before those with one, and
        of the same time the last in the file stands.
        """
        lines = self.lines()
        plain = [key for key in KEYS if key != "metrics"]
        rows = [
            {**{key: line[key] for key in plain}, **line["metrics"]}
            for line in map(lines.__getitem__, _standing(lines))
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=plain)

    def prune(self, table: str) -> int:
        """Drop the lines of a table that `frame` leaves out: measured again later. Returns how many."""
        if not self.path.exists():
            return 0
        with FileLock(f"{self.path}.lock"):
            lines, texts = self._whole_lines(), self._read().texts
            standing = set(_standing(lines))
            kept = [i for i, line in enumerate(lines) if i in standing or line["table"] != table]
            self._write([texts[i] for i in kept])
        return len(lines) - len(kept)

    def _write(self, texts: Sequence[bytes]):
        """Under the lock: these lines in place of all."""
        aside = self.path.with_name(f"{self.path.name}.writing")
        aside.write_bytes(b"".join(text + b"\n" for text in texts))
        os.replace(aside, self.path)

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Under the lock: all lines, after a torn last one was set aside."""
        found = self._read()
        if found.torn:
            self.path.with_name(f"{self.path.name}.torn-{fingerprint(found.torn.hex())[:8]}").write_bytes(
                found.torn
            )
        if found.torn or not found.ended:
            self._write(found.texts)
        return found.lines

    def _read(self) -> _Found:
        content = self.path.read_bytes() if self.path.exists() else b""
        texts, torn = [text for text in content.split(b"\n") if text.strip()], b""
        if texts and not _is_line(texts[-1]):
            torn = texts.pop()
            warnings.warn(
                f"{self.path}: its last line is torn (a crash while it was written?); it is kept in a file "
                f"of its own, .torn-…, and the {len(texts)} lines before it are used.",
                stacklevel=4,
            )
        lines = [_parsed(text, f"{self.path}, line {i}") for i, text in enumerate(texts, start=1)]
        return _Found(lines, texts, torn, ended=content.endswith(b"\n") or not content)


class _Found(NamedTuple):
    lines: list[dict[str, Any]]
    texts: list[bytes]  # the same, as they stand in the file
    torn: bytes  # a last line that is none, or nothing
    ended: bool  # whether the file ends with a line's end


def _standing(lines: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which lines stand: of each cell the one of the latest training."""
    cells: dict[tuple, int] = {}
    for i, line in enumerate(lines):
        cell = tuple(line[key] for key in CELL)
        if cell not in cells or (line["time"] or "") >= (lines[cells[cell]]["time"] or ""):
            cells[cell] = i
    return list(cells.values())


def _is_line(text: bytes) -> bool:
    try:
        return bool(_parsed(text, ""))
    except BadResults:
        return False


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise BadResults(f"{where}: not a results line ({error}); mend it or take it out.") from error
    missing = [key for key in KEYS if not isinstance(line, dict) or key not in (*line, *LATER)]
    if missing:
        raise BadResults(f"{where}: lacks {', '.join(missing)}; mend it or take it out.")
    line = {**dict.fromkeys(LATER), **line}
    line["metrics"] = {key: math.nan if value is None else value for key, value in line["metrics"].items()}
    return line


def _plain(value: Any) -> Any:
    """What JSON can hold: NaN becomes null, arrays lists, paths texts."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
