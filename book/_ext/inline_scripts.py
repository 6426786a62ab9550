"""Inline scripts of extensions stand once on a page.

Sphinx 7 takes one that is added after its start for two, with no file name and with an empty one; the second
`const` of Thebe's is an error in the browser's console.
"""

from __future__ import annotations


def _once(app, pagename, template, context, doctree):
    scripts = context["script_files"]
    scripts[:] = {script.attributes.get("body") or script.filename: script for script in scripts}.values()


def setup(app):
    app.connect("html-page-context", _once)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
