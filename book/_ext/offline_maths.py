"""Formulas without a network: MathJax lies beside the pages, no server is asked for it.

The package sphinx-mathjax-offline holds all of MathJax 3.2.2 (Apache licence 2.0), 24 MB; the script that
reads LaTeX and its fonts are 2 MB of it, and all that a page loads.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sphinx.util.fileutil import copy_asset

SCRIPT = "tex-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def _copy(app):
    if app.builder.format == "html":
        package = find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
        source, target = Path(package) / "static" / "mathjax", Path(app.outdir) / "_static" / "mathjax"
        target.mkdir(parents=True, exist_ok=True)
        copy_asset(source / SCRIPT, target)
        copy_asset(source / FONTS, target / FONTS)


def _path(app, config):
    config.mathjax_path = f"mathjax/{SCRIPT}"  # from _static


def setup(app):
    app.connect("config-inited", _path)
    app.connect("builder-inited", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
