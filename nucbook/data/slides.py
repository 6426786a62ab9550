"""Slides that do not fit in memory, read window by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nucbook.data.item import UnreadableFile

SLIDES = (".svs", ".ndpi", ".scn", ".mrxs", ".bif")


def is_slide(path: Path) -> bool:
    """Whether a file is a slide, by its name: too large to be read whole, or to get a label map."""
    return path.suffix.lower() in SLIDES


class Slide:
    """A scanned slide at full resolution, read as an array: `slide[top:bottom, left:right]`.

    shape : (H, W, 3) at full resolution.
    mpp   : micrometres per pixel, or None where the file does not say.
    Needs the `slides` extra. Raises UnreadableFile for a file tiffslide cannot open.
    """

    def __init__(self, path: Path):
        import tiffslide

        try:
            self.file = tiffslide.TiffSlide(path)
        except Exception as error:
            raise UnreadableFile(path, f"no slide ({error})", "export the region as TIFF") from error
        width, height = self.file.dimensions
        self.shape = (height, width, 3)
        self.mpp = self.file.properties.get(tiffslide.PROPERTY_NAME_MPP_X)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip(window, self.shape))
        pixels = self.file.read_region((left, top), 0, (right - left, bottom - top), as_array=True)
        return np.ascontiguousarray(pixels[..., :3])
