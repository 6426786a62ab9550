"""What is known of each data set, before a file of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    folder: str
    parts: tuple[str, ...]
    lazy: bool = False

    def how_to_get(self, part: str, root: Path) -> str:
        return f"{self.folder}, part {part}, is not under {root}."


CATALOG = {
    "monuseg": Entry("MoNuSeg", ("train", "test")),
    "kumar": Entry("MoNuSeg", ("train", "validation", "test")),
    "tnbc": Entry("TNBC", ("train", "validation", "test")),
    "consep": Entry("CoNSeP", ("train", "test")),
}
