"""What is installed from a wheel has the book's stored results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nucbook
from nucbook import tables
from nucbook.results import Results
from nucbook.tables import report

ROOT = Path(nucbook.__file__).parent.parent


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs a checkout")
def test_a_wheel_prints_a_table_and_writes_to_the_user_s_folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("nucbook", "results"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-deps", "--no-index"]
    wheels, target, home = tmp_path / "wheels", tmp_path / "target", tmp_path / "home"
    environment = {key: value for key, value in os.environ.items() if key != "NUCBOOK_RESULTS"}
    environment |= {"PYTHONPATH": str(target), "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=600
        ).stdout

    run(*pip, "wheel", source, *offline, "--no-build-isolation", "-w", wheels)
    run(*pip, "install", next(wheels.glob("*.whl")), *offline, "--target", target)
    where = "import nucbook.results as r; print(r.__file__, r.folder(), r.shipped(), sep='\\n')"
    file, folder, shipped = map(Path, run(sys.executable, "-c", where).splitlines())
    assert file == target / "nucbook" / "results.py"
    assert shipped == target / "nucbook" / "_results"
    assert folder.is_relative_to(home)
    assert not folder.exists()

    table = [sys.executable, "-m", "nucbook", "table", "baselines/slides", "--profile", "short"]
    environment["NUCBOOK_DATA"] = str(home / "nowhere")
    shown = subprocess.run(table, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "is not in" in shown.stderr  # its data: what today's rows lack cannot be run
    here = report.printed(tables.find("baselines/slides"), "short", Results(ROOT / "results/baselines.jsonl"))
    assert "U-Net, from scratch" in here
    assert here in shown.stdout
