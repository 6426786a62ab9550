"""Any picture or label map, read whole or refused with the file's name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
import tifffile
from PIL import Image

from nucbook.data.item import UnreadableFile
from nucbook.sample import InvalidSample, to_instances, to_rgb

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp")

# What Pillow, tifffile, numpy and scipy raise on files that are cut short or are something else.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error)

_COLOUR = ("RGB", "RGBA", "RGBX", "CMYK")
_RGB_OF = {"P": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "LA": "RGBA", "PA": "RGBA"}


def read_array(path: Path, content: BinaryIO | None = None, indices: bool = False) -> np.ndarray:
    """The pixels of a PNG, TIFF, JPEG, BMP, WebP or .npy file, as stored: (H, W) or (H, W, C).

    content : an open binary stream to read instead, as a member of a zip; `path` then names it.
    indices : a palette picture gives its indices (label maps), not its colours.
    The format is told by the content, so a JPEG named .png is read.
    Raises UnreadableFile for anything truncated, of another format, or with pickled content.
    """
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    try:
        with Image.open(content or path) as image:
            pictures = getattr(image, "n_frames", 1)
            if pictures > 1:
                raise UnreadableFile(path, f"it holds {pictures} pictures", "save one picture per file")
            if image.mode in _COLOUR and any(";16" in str(tile.args) for tile in image.tile):
                return _read_deep(path, content)
            mode = "RGBA" if "transparency" in image.info else _RGB_OF.get(image.mode, image.mode)
            return np.array(image if indices or mode == image.mode else image.convert(mode))
    except UnreadableFile:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableFile(path, str(error).rstrip("."), "read slides this large block by block") from error
    except BROKEN as error:
        # Pillow does not know every TIFF (float colour, many channels); tifffile does.
        if content is None and path.suffix.lower() in (".tif", ".tiff"):
            return _read_tiff(path)
        raise UnreadableFile(path, f"no intact picture ({error})") from error


def read_rgb(path: Path, content: BinaryIO | None = None) -> np.ndarray:
    """uint8 (H, W, 3); conversions are those of `to_rgb`, with its warnings.

    Raises UnreadableFile for a broken file, or a picture that `to_rgb` refuses.
    """
    try:
        return to_rgb(read_array(path, content), name=str(path))
    except InvalidSample as error:
        raise _renamed(path, error) from error


def read_labels(path: Path) -> np.ndarray:
    """int32 (H, W), one id per nucleus, from PNG, TIFF or .npy; conversions are those of `to_instances`.

    Raises UnreadableFile for a broken file, or an array that is no label map.
    """
    try:
        return to_instances(read_array(path, indices=True), name=str(path))
    except InvalidSample as error:
        raise _renamed(path, error) from error


def read_npy(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """A .npy array without pickled objects; raises UnreadableFile."""
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except BROKEN as error:
        raise UnreadableFile(path, f"no intact .npy array ({error})") from error


def find_pictures(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> list[Path]:
    """Pictures of a folder, by name; hidden files (macOS leaves `._…` beside each) are left out."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))


def _read_deep(path: Path, content: BinaryIO | None) -> np.ndarray:
    """Colour of 16 bits a channel, which Pillow would silently cut to 8."""
    if content is not None:
        content.seek(0)
    data = np.frombuffer(path.read_bytes() if content is None else content.read(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        raise UnreadableFile(path, "no intact picture of 16 bits a channel")
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _read_tiff(path: Path) -> np.ndarray:
    try:
        return tifffile.imread(path)
    except BROKEN as error:
        raise UnreadableFile(path, f"no intact TIFF ({error})") from error


def _renamed(path: Path, error: InvalidSample) -> UnreadableFile:
    reason, _, way_out = str(error).removeprefix(f"{path}: ").rstrip(".").partition("; ")
    return UnreadableFile(path, reason, way_out or "replace it")
