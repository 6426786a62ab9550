"""nucbook: label-efficient segmentation of cell nuclei, a book that you run and the library under it."""

__version__ = "0.1.0"
