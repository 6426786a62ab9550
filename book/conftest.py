"""Chapters as tests: each is executed once, kept outputs are compared, new ones are stored for the book.

nbval collects the code cells and compares the outputs of those tagged `keep_output`. The execution is the
one that jupyter-book does, so that a build finds in its notebook cache what it would have made itself.
"""

from __future__ import annotations

import copy

import pytest
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from nbval import plugin

from nucbook import house

plugin.metadata_tags["keep_output"] = "check"


class Chapter(plugin.IPyNbFile):
    """A notebook that is executed as a whole before its first cell is looked at."""

    def collect(self):
        """One test for each code cell."""
        for item in super().collect():
            cell = Cell.from_parent(
                self, name=item.name, cell_num=item.cell_num, cell=item.cell, options=item.options
            )
            # The first test waits for the whole chapter; a cell that hangs is stopped by its own limit.
            cell.add_marker(pytest.mark.timeout(house.CELL_SECONDS * 2))
            yield cell

    def setup(self):
        """Execute the chapter; if nothing failed, keep it for the book."""
        self.setup_sanitize_files()
        notebook = copy.deepcopy(self.nb)
        reached = []
        self.result = single_nb_execution(
            notebook,
            cwd=str(self.path.parent),
            timeout=house.CELL_SECONDS,
            allow_errors=False,
            on_cell_execute=lambda cell, cell_index: reached.append(cell_index),
        )
        code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        self.executed = [notebook.cells[index] for index in code]
        self.failed_at = code.index(reached[-1]) if self.result.err else None
        if self.result.err is None:
            self.keep(notebook)

    def keep(self, notebook):
        """Put an executed notebook where a build of the book looks for it."""
        house.BUILD.mkdir(exist_ok=True)
        bundle = CacheBundleIn(notebook, str(self.path), data={"execution_seconds": self.result.time})
        with FileLock(house.BUILD / "nucbook-outputs.lock"):
            cache = get_cache(house.OUTPUTS)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

    def teardown(self):
        """The kernel ended with the execution."""


class Cell(plugin.IPyNbCell):
    """A code cell of an executed chapter."""

    def runtest(self):
        """Raise where the cell failed or was not reached, or where kept outputs differ."""
        chapter = self.parent
        if chapter.failed_at is not None and self.cell_num >= chapter.failed_at:
            if self.cell_num > chapter.failed_at:
                self.raise_cell_error(f"not executed: cell {chapter.failed_at} failed")
            self.raise_cell_error("Cell execution caused an exception", chapter.result.exc_string)
        outputs = copy.deepcopy(chapter.executed[self.cell_num].outputs)
        kept = copy.deepcopy(self.cell.outputs)
        if self.options["check"] and not self.compare_outputs(*map(plugin.coalesce_streams, (outputs, kept))):
            self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """What nbval collects becomes a chapter."""
    found = yield
    return [
        Chapter.from_parent(parent, path=file_path) if isinstance(node, plugin.IPyNbFile) else node
        for node in found
    ]
