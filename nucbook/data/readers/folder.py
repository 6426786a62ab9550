"""A plain folder of pictures and labels: one's own slides.

    mine/images/a.tif  b.tif …        mine/a.tif  b.tif …
    mine/labels/a.png  b.geojson …    mine/a_labels.png  b.geojson …

A label is a PNG, TIFF or .npy map with one id per nucleus, or GeoJSON from QuPath with polygons
or points of all nuclei. A picture without a label is an unlabelled sample; beside pictures, what is
named `…_labels` or `…_mask` is a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

import numpy as np

from nucbook.data.item import Item, UnreadableFile
from nucbook.data.readers.geojson import read_features, read_kinds
from nucbook.data.readers.images import PICTURES, find_pictures, read_labels, read_rgb
from nucbook.data.readers.polygons import paint
from nucbook.sample import Sample, inside

_LABELS = (".npy", ".png", ".tif", ".tiff", ".geojson", ".json")
_SUFFIXES = ("", "_labels", "_mask")


def items(folder: Path, mpp: float | None = None, labelled: bool = True) -> list[Item]:
    """One item a picture, and one for every label without a picture, which fails when read.

    labelled : False takes the pictures alone.
    Raises UnreadableFile where there is no picture, or `labelled` and not one label.
    """
    folder = Path(folder)
    pictures: dict[str, Path] = {}
    for path in picture_files(folder):
        first = pictures.setdefault(path.stem, path)
        if first != path:
            raise UnreadableFile(path, f"{first.name} beside it has the same name", "rename one of them")
    if not pictures:
        what = "no pictures in it" if folder.is_dir() else "no such folder"
        raise UnreadableFile(folder, what, "put them there, or into a folder images/ in it")
    labels = _find_labels(folder, set(pictures.values())) if labelled else {}
    if labelled and not labels:
        way_out = "put them into labels/ (same names; PNG, TIFF, .npy or GeoJSON), or pass labelled=False"
        raise UnreadableFile(folder, f"{len(pictures)} pictures but no labels", way_out)
    kinds = cache(lambda: _kinds(labels.values()))
    made = [_item(name, picture, labels.get(name), mpp, kinds) for name, picture in sorted(pictures.items())]
    lost = [labels[name] for name in sorted(labels) if name not in pictures]
    return made + [Item(path.stem, (path,), partial(_refuse, path)) for path in lost]


def picture_files(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> list[Path]:
    """The pictures of a folder, or of images/ in it, without what is named as a label beside them."""
    if (folder / "images").is_dir():
        return find_pictures(folder / "images", suffixes)
    return [path for path in find_pictures(folder, suffixes) if _stem(path) == path.stem]


def _item(name: str, picture: Path, label: Path | None, mpp: float | None, kinds: Callable) -> Item:
    files = (picture,) if label is None else (picture, label)
    return Item(name, files, partial(_read, name, picture, label, mpp, kinds))


def _read(name: str, picture: Path, label: Path | None, mpp: float | None, kinds: Callable) -> Sample:
    image = read_rgb(picture)
    meta = {"dataset": picture.parent.name, "organ": None, "patient": None, "image": name}
    if label is None:
        return Sample(image, mpp=mpp, name=name, meta=meta)
    if label.suffix.lower() not in (".geojson", ".json"):
        return Sample(image, read_labels(label), mpp=mpp, name=name, meta=meta)
    features = read_features(label)
    _check_points(features.points, image.shape, label)
    if len(features.points):
        return Sample(image, points=features.points, mpp=mpp, name=name, meta=meta)
    class_names = dict(enumerate(kinds(), start=1))
    id_of = {kind: i for i, kind in class_names.items()}
    return Sample(
        image,
        paint(features.outlines, image.shape[:2]),
        class_of={i: id_of.get(kind, 0) for i, kind in enumerate(features.kinds, start=1)} if id_of else {},
        class_names=class_names,
        mpp=mpp,
        name=name,
        meta={**meta, "regions": len(features.outlines)},
    )


def _check_points(points: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    """Says it in the file's own terms, (x, y) from the corner of the first pixel, before `Sample` does."""
    height, width = shape[:2]
    for y, x in points[~inside(points, (height, width))] + 0.5:
        what = f"point x = {x:g}, y = {y:g} lies outside the image, {width} px wide and {height} px high"
        raise UnreadableFile(path, what, "check that both belong together and x and y are not swapped")


def _find_labels(folder: Path, pictures: set[Path]) -> dict[str, Path]:
    home = next((folder / name for name in ("labels", "masks") if (folder / name).is_dir()), folder)
    found: dict[str, Path] = {}
    for path in sorted(home.iterdir()):
        if path.suffix.lower() in _LABELS and path not in pictures and not path.name.startswith("."):
            found.setdefault(_stem(path), path)
    return found


def _stem(path: Path) -> str:
    """The name of the picture that a label belongs to."""
    suffix = next((s for s in _SUFFIXES if s and path.stem.endswith(s)), "")
    return path.stem.removesuffix(suffix)


def _kinds(labels: Iterable[Path]) -> list[str]:
    """Class names of all GeoJSON files of the folder, so that an id means one class throughout."""
    files = [path for path in labels if path.suffix.lower() in (".geojson", ".json")]
    return sorted({kind for path in files for kind in read_kinds(path) if kind})


def _refuse(path: Path) -> Sample:
    raise UnreadableFile(path, "no picture of this name", "add the picture, or take the label away")
