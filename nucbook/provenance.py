"""By which commit something was computed, whether the checkout was clean, and when. No torch."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    commit : 12 hex digits of the checkout's commit; None outside a checkout (an installed wheel).
    clean  : whether the checkout was what that commit holds (see `clean`); None outside one.
    time   : when it was done, ISO 8601, UTC.
    """

    commit: str | None
    clean: bool | None
    time: str


def now() -> Provenance:
    """Of what is computed by this process at this moment; the checkout is looked at once in a process."""
    return Provenance(commit(), clean(), datetime.now(UTC).isoformat(timespec="seconds"))


def together(parts: Sequence[Provenance]) -> Provenance:
    """Of what was made of several results: the last one's commit and time, clean where all were.

    Of none it is `now()`.
    """
    if not parts:
        return now()
    last = max(parts, key=lambda part: part.time)
    known = [part.clean for part in parts if part.clean is not None]
    return Provenance(last.commit, all(known) if known else None, last.time)


@cache
def checkout() -> Path | None:
    """The root of the repository that this library is imported from; None where it was installed."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None


@cache
def commit() -> str | None:
    """12 hex digits of the checkout's commit, or None."""
    return _git("rev-parse", "--short=12", "HEAD")


@cache
def clean() -> bool | None:
    """Whether no tracked file differs from the commit, and no file under `nucbook/` is untracked.

    The stored runs in `results/` do not count: each run adds to them. None outside a checkout.
    """
    found = _git("status", "--porcelain", "--untracked-files=normal", "--", ".", ":!results")
    if found is None:
        return None
    return not any(line[:2] != "??" or line[3:].startswith("nucbook/") for line in found.splitlines())


def _git(*command: str) -> str | None:
    root = checkout()
    if root is None or not (root / ".git").exists():  # a repository around it is not its own
        return None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", *command], cwd=root, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.rstrip()
    return None
