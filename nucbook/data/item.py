"""An item: one image of a data set that is known to be there, and is read when asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nucbook.sample import InvalidSample, Sample


class UnreadableFile(ValueError):
    """A file that cannot be used; the message names the file, the reason, the way out."""

    def __init__(self, path: Path | str, reason: str, way_out: str = "replace it with an intact copy"):
        self.path = Path(path)
        self._parts = (path, reason, way_out)
        super().__init__(f"{path}: {reason}; {way_out}.")

    def __reduce__(self):
        return type(self), self._parts  # so that it crosses from a worker process unharmed


class MissingDataset(FileNotFoundError):
    """A data set that is not where it is looked for; the message says how to get it."""


@dataclass(frozen=True)
class Item:
    """One image of a data set: its name, its files, and how to make a `Sample` of them.

    make : called without arguments, returns the Sample; may raise UnreadableFile.
    """

    name: str
    files: tuple[Path, ...]
    make: Callable[[], Sample]

    def read(self) -> Sample:
        """The Sample; raises UnreadableFile where a file is absent, broken, or does not fit the others."""
        for path in self.files:
            if not path.exists():
                raise UnreadableFile(path, "it is missing", f"{self.name} needs it: unpack the set again")
        try:
            return self.make()
        except InvalidSample as error:
            files = ", ".join(str(path) for path in self.files)
            reason, _, way_out = str(error).rstrip(".").rpartition("; ")
            raise UnreadableFile(files, reason, way_out) from error


class LazySamples(Sequence):
    """Samples read one by one when indexed, for sets too large to hold in memory."""

    def __init__(self, items: Sequence[Item]):
        self._items = list(items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):
        """One Sample for a number; the same lazy sequence, shortened, for a slice."""
        if isinstance(index, slice):
            return LazySamples(self._items[index])
        return self._items[index].read()

    @property
    def names(self) -> list[str]:
        """Names of the samples, known without reading them."""
        return [item.name for item in self._items]
