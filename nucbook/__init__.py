"""nucbook: label-efficient segmentation of cell nuclei, a book that you run and the library under it."""

from nucbook.method import Method, Trained, register

__all__ = ["Method", "Trained", "register"]
__version__ = "0.1.0"
