"""A run of pytest leaves the user's folders alone, spreads its work, and may end with the book.

Chapters are collected in `book/conftest.py`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from nucbook import house


def pytest_addoption(parser):
    text = "after the tests build the book from the chapters that they executed"
    parser.addoption("--build-book", action="store_true", help=text)


def pytest_configure(config):
    """Give workers and kernels an empty home, cache and data folder, before anything is imported."""
    if hasattr(config, "workerinput"):
        return
    home = tempfile.TemporaryDirectory(prefix="nucbook-test-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ.update(house.elsewhere(Path(home.name)))
    os.environ.pop("NUCBOOK_RESULTS", None)  # chapters read the measured runs of this checkout
    os.environ["NUCBOOK_EVERY_POSITION"] = "1"  # of each slider is drawn once; see nucbook/show/widgets.py


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep a chapter on one worker, and hand out all other tests one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByChapter(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return file if file.endswith(".ipynb") else nodeid

    return ByChapter(config, log)


def pytest_collection_modifyitems(items):
    """Start with what takes long, so that no worker waits at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.path.suffix == ".ipynb":
        return 0 if item.path.stem == "training" else 1
    return 2 if item.get_closest_marker("slow") else 3


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """Build the book before pytest prints its summary; a build that fails is an error among the tests'."""
    config = session.config
    if hasattr(config, "workerinput") or not config.getoption("build_book"):
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reporter.ensure_newline()
    if exitstatus != pytest.ExitCode.OK:
        reporter.write_line("the book is not built: a test failed")
        return
    with config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        try:
            house.build({})
        except house.HouseError as error:
            place = ("book", None, "the book")
            report = pytest.TestReport("book", place, {}, "failed", f"the book: {error}", "setup")
            reporter.stats.setdefault("error", []).append(report)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
