"""Hypothesis without deadlines: a busy machine is slow, not wrong. And a loader of the book's extensions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("nucbook", deadline=None)
settings.load_profile("nucbook")

EXTENSIONS = Path(__file__).parent.parent / "book" / "_ext"


@pytest.fixture(scope="session")
def extension():
    """Loads an extension of the book's build by its name, as Sphinx would; returns the module."""

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
