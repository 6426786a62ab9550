"""Leaves out the buttons that need the repository's address while `_config.yml` does not name one."""

from __future__ import annotations


def _buttons(app, config):
    theme = config.html_theme_options
    if theme.get("repository_url"):
        theme.update(use_repository_button=True, use_issues_button=True)
    else:
        theme["launch_buttons"] = {}


def setup(app):
    app.connect("config-inited", _buttons, priority=100)  # before the theme reads them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
