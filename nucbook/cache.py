"""Where what was computed once is kept: finished stages, checkpoints, pre-trained encoders."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$NUCBOOK_CACHE`, else the platform's user cache."""
    folder = os.environ.get("NUCBOOK_CACHE")
    return Path(folder) if folder else platformdirs.user_cache_path("nucbook")
