"""What needs no PyTorch answers without it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.data.layouts import write

CALL = """
import sys
from nucbook.cli import app
try:
    app(sys.argv[1:], prog_name="nucbook")
finally:
    print("imported:", *{"torch", "torchvision", "accelerate"} & set(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--help", "pretrain"),
        ("data list", "kumar"),
        ("data where kumar", "TCGA-Kumar"),
        ("data check tnbc", "images"),
        ("table ircr/2 --list", "IRCR-Net"),
        ("table ircr/2 --dry-run", "runs to do"),
        ("config ircr", "piac"),
        ("cache", "0 stages, 0.0 kB in "),
        ("cache prune --unused", "removed 0 stages"),
    ],
)
def test_no_torch(words, told, tmp_path):
    write("tnbc", tmp_path / "data", size=64)
    folders = {"NUCBOOK_CACHE": str(tmp_path / "cache"), "NUCBOOK_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-c", CALL, *words.split()]
    done = subprocess.run(
        command, env=os.environ | folders, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert done.stderr.splitlines()[-1].split() == ["imported:"]
