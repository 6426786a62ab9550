"""Run every benchmark and write what it printed to `benchmarks/README.md`.

python -m benchmarks            # all
python -m benchmarks metrics    # some; their sections are replaced
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import re
import sys
from pathlib import Path

import torch

NAMES = (
    "metrics",
    "meanshift",
    "targets",
    "tissue",
    "labels",
    "points",
    "training",
    "precision",
    "hovernet",
    "bass",
    "selection",
    "slide",
    "datasets",
)
README = Path(__file__).parent / "README.md"
HEAD = """# Benchmarks

What the speed claims rest on, and what chapters tell about real slides. Every speed is measured against
something else in the same run, since seconds depend on the machine and ratios much less.
`python -m benchmarks` writes this page.
"""


def main(names: list[str]) -> None:
    """Run the named benchmarks, all without names; keep the sections of the others."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}.")
    sections = written()
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        out = io.StringIO()
        with contextlib.redirect_stdout(Tee(out, sys.stdout)):
            module.main()
        question = module.__doc__.split("\n    python")[0].strip()
        sections[name] = f"{question}\n\n*{machine()}*\n\n```\n{out.getvalue().rstrip()}\n```\n"
    body = [f"## {name}\n\n{sections[name]}" for name in NAMES if name in sections]
    README.write_text("\n".join([HEAD, *body]))


def written() -> dict[str, str]:
    """The sections that the page has now, by name."""
    if not README.exists():
        return {}
    parts = re.split(r"^## (\w+)\n\n", README.read_text(), flags=re.MULTILINE)[1:]
    return {name: text.rstrip() + "\n" for name, text in zip(parts[::2], parts[1::2])}


def machine() -> str:
    """Processor, cores and versions, for the record."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    where = f"{os.cpu_count()} cores, {platform.machine()}{gpu}"
    return f"{where}, Python {platform.python_version()}, torch {torch.__version__}"


class Tee(io.TextIOBase):
    """Writes to several streams at once."""

    def __init__(self, *streams: io.TextIOBase):
        self.streams = streams

    def write(self, text: str) -> int:
        """Pass the text on; returns its length."""
        for stream in self.streams:
            stream.write(text)
        return len(text)


if __name__ == "__main__":
    main(sys.argv[1:])
