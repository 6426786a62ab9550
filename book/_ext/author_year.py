"""The bibliography calls a work as the text does, "Liu et al., 2022", and is sorted by that.

`bibtex_default_style: author_year` in `_config.yml`. Works with the same label are told apart in their years,
2021a and 2021b; a build that finds two ends with a warning.
"""

from __future__ import annotations

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as Unsrt
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle

from nucbook.lab import authors


def label(entry) -> str:
    """One author, two, or the first of more, and the year, as the reference style author_year has them."""
    return ", ".join(authors(entry))


class _Labels(BaseLabelStyle):
    def format_labels(self, sorted_entries):
        return map(label, sorted_entries)


class _Order(BaseSortingStyle):
    def sorting_key(self, entry):
        return label(entry).casefold()


class _Style(Unsrt):
    default_label_style = _Labels
    default_sorting_style = _Order


def setup(app):
    register_plugin("pybtex.style.formatting", "author_year", _Style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
