"""The example of CONTRIBUTING.md runs as it stands: a method of one's own, from training to a table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_method_of_ones_own_in_one_script(tmp_path):
    [script] = re.findall(
        r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S
    )
    assert len([line for line in script.splitlines() if line.strip()]) <= 60
    (tmp_path / "mine.py").write_text(script, encoding="utf-8")
    folders = {
        "PYTHONPATH": str(ROOT),
        "NUCBOOK_CACHE": str(tmp_path / "cache"),
        "ACCELERATE_USE_CPU": "true",
    }
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d+ nuclei\n", done.stdout)
    assert all(
        word in done.stdout for word in ("Mine", "Otsu + watershed", "AJI", "no measurement on slides")
    )
    assert json.loads((tmp_path / "mine" / "model.json").read_text())["method"] == "mine"
    lines = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert {line["row"]: line["data"] for line in lines} == {
        "Mine": "simulated",
        "Otsu + watershed": "simulated",
    }
    assert all(line["metrics"]["aji"] > 0 for line in lines)
