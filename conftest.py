"""Notebook cells tagged `keep_output` keep their output in the repository; a test run compares it."""

from nbval import plugin

plugin.metadata_tags["keep_output"] = "check"
