"""ImageJ regions of interest: CryoNuSeg's outlines, as zips of .roi files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from roifile import ImagejRoi

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import BROKEN, PICTURES, read_rgb
from nucbook.data.readers.polygons import Rings, paint
from nucbook.sample import Sample

_BROKEN_ZIP = (zipfile.BadZipFile, NotImplementedError, RuntimeError, *BROKEN)


def read_pair_of_rois(image: Path, rois: Path, name: str, mpp: float | None, meta: dict[str, Any]) -> Sample:
    """A picture and the zip of its outlines; `meta["regions"]` counts them. Raises UnreadableFile."""
    return _sample(read_rgb(image), read_rois(rois), name, mpp, meta)


def read_bundle(bundle: Path, name: str, mpp: float | None, meta: dict[str, Any]) -> Sample:
    """A zip that holds the picture and, in a zip of their own, its outlines (CryoNuSeg's first samples).

    Raises UnreadableFile where either is absent or broken.
    """
    members = _members(bundle)
    pictures = [member for member in members if member.suffix.lower() in PICTURES]
    outlines = [member for member in members if member.suffix.lower() == ".zip"]
    if len(pictures) != 1 or len(outlines) != 1:
        reason = f"{len(pictures)} pictures and {len(outlines)} zips of outlines in it, expected one of each"
        raise UnreadableFile(bundle, reason, "unpack the download again")
    picture = read_rgb(bundle / pictures[0], io.BytesIO(members[pictures[0]]))
    return _sample(picture, read_rois(bundle / outlines[0], members[outlines[0]]), name, mpp, meta)


def read_rois(path: Path, content: bytes | None = None) -> list[Rings]:
    """The outlines of a zip of ImageJ .roi files, by name (see `polygons` for the form).

    content : the zip's bytes where it is itself a member of a zip; `path` then names it.
    ImageJ counts from the corner of the first pixel, whose centre is at (0.5, 0.5).
    Raises UnreadableFile for a broken zip or .roi file, or a zip without any.
    """
    members = {m: data for m, data in _members(path, content).items() if m.suffix.lower() == ".roi"}
    if not members:
        raise UnreadableFile(path, "no .roi file in it", "save the regions from ImageJ's ROI manager")
    return [_rings(path / member, data) for member, data in members.items()]


def _members(path: Path, content: bytes | None = None) -> dict[Path, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content) if content is not None else path) as archive:
            names = sorted(n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n)
            return {Path(name): archive.read(name) for name in names}
    except _BROKEN_ZIP as error:
        raise UnreadableFile(path, f"no intact zip ({error})") from error


def _rings(path: Path, data: bytes) -> Rings:
    try:
        pieces = ImagejRoi.frombytes(data).coordinates(multi=True)
        return [np.asarray(piece, np.float64).reshape(-1, 2)[:, ::-1] - 0.5 for piece in pieces]
    except BROKEN as error:
        raise UnreadableFile(path, f"no intact ImageJ outline ({error})") from error


def _sample(picture: np.ndarray, outlines: list[Rings], name: str, mpp: float | None, meta: dict) -> Sample:
    labels = paint(outlines, picture.shape[:2])
    return Sample(picture, labels, mpp=mpp, name=name, meta={**meta, "regions": len(outlines)})
