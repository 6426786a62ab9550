"""A pack: a data set made small without losing a pixel, to carry to another machine.

    <out>/<name>/pack.json                   what is in it
    <out>/<name>/<part>/0000.webp|png|jpg    the picture, lossless (or the original file, where smaller)
    <out>/<name>/<part>/0000_labels.png      ids, 16 bit (or 0000_labels.npz: overlapping nuclei, large ids)
    <out>/<name>/<part>/0000_valid.png       where `valid` is not everywhere

`nucbook.data.load` reads it back identically, when `<out>` is the data root.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nucbook.data.item import Item, UnreadableFile
from nucbook.data.readers.images import BROKEN, read_array, read_rgb
from nucbook.data.readers.labelme import read_json
from nucbook.nuclei import InvalidNuclei, Nuclei
from nucbook.sample import Sample

_MANIFEST = "pack.json"
_LARGEST_WEBP = 16383  # pixels a side


@dataclass(frozen=True)
class Packed:
    """What `write` did: where, how many bytes, and the names taken and left out, by part."""

    folder: Path
    size: int
    taken: dict[str, list[str]]
    left_out: dict[str, list[str]]


def write(name: str, parts: Mapping[str, Sequence[Item]], out: Path, max_mb: float = 40) -> Packed:
    """Pack whole images of each part into `out/name`, as many as `max_mb` MB (10⁶ bytes) hold.

    The parts get the same fraction of their images each (with "train" first where it is a draw), so that a
    small pack still trains and tests. From the first image that does not fit, all others are left out.
    Raises FileExistsError where the folder is taken, ValueError where not one image fits, and
    UnreadableFile for a broken source. Nothing is left behind but a finished pack.
    """
    target = Path(out) / name
    if target.exists():
        raise FileExistsError(f"{target} is there already; remove it, or pack to another folder.")
    unfinished = target.with_name(f".{name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        packed = _fill(unfinished, name, parts, max_mb * 1e6)
        os.replace(unfinished, target)
        return replace(packed, folder=target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _fill(folder: Path, name: str, parts: Mapping[str, Sequence[Item]], limit: float) -> Packed:
    order = _fair_order(parts)
    entries: dict[str, list] = {part: [] for part in parts}
    manifest, pictures, taken = b"", 0, 0
    for part, index, item in order:
        files, entry = _encode(item, f"{part}/{index:04}")
        entries[part].append(entry)
        content = {"name": name, "samples": entries, "left_out": _by_part(order[taken + 1 :])}
        longer = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        size = pictures + sum(map(len, files.values()))
        if size + len(longer) > limit:
            break
        manifest, pictures, taken = longer, size, taken + 1
        for file, data in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
    if not taken:
        raise ValueError(f"not one image of {name} fits into {limit / 1e6:g} MB; allow more.")
    (folder / _MANIFEST).write_bytes(manifest)
    return Packed(folder, pictures + len(manifest), _by_part(order[:taken]), _by_part(order[taken:]))


def _by_part(order: Sequence[tuple[str, int, Item]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for part, _, item in order:
        names.setdefault(part, []).append(item.name)
    return names


def items(folder: Path, part: str) -> list[Item]:
    """The images of one part of a pack, unread; empty where there is no pack, or not this part in it.

    Warns where some images of the part were left out. Raises UnreadableFile for a broken manifest.
    """
    if not (folder / _MANIFEST).exists():
        return []
    manifest = read_json(folder / _MANIFEST)
    try:
        entries, left_out = manifest["samples"].get(part, []), manifest["left_out"].get(part, [])
        found = [_item(folder, entry) for entry in entries]
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"no manifest of a pack ({error!r})"
        raise UnreadableFile(folder / _MANIFEST, reason, "pack the set again") from error
    if found and left_out:
        total = len(found) + len(left_out)
        warnings.warn(f"{folder}: this pack holds {len(found)} of {total} {part} images.", stacklevel=3)
    return found


def _fair_order(parts: Mapping[str, Sequence[Item]]) -> list[tuple[str, int, Item]]:
    """All images, so that any beginning of the list holds the same fraction of every part."""
    order = ["train", "test", *parts]
    every = [(part, i, item) for part, found in parts.items() for i, item in enumerate(found)]
    return sorted(every, key=lambda one: ((one[1] + 0.5) / len(parts[one[0]]), order.index(one[0])))


# -- one sample to bytes, and back ------------------------------------------------------------


def _encode(item: Item, stem: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files (path in the pack, content) and the manifest's entry of one sample."""
    sample = item.read()
    suffix, picture = _smallest(sample.image, item.files[0])
    files = {f"{stem}{suffix}": picture}
    entry = {
        "name": sample.name,
        "image": f"{stem}{suffix}",
        "mpp": sample.mpp,
        "class_of": [[int(i), int(kind)] for i, kind in sample.class_of.items()],
        "class_names": [[int(i), str(kind)] for i, kind in sample.class_names.items()],
        "points": None if sample.points is None else sample.points.tolist(),
        "meta": dict(sample.meta),
    }
    if sample.nuclei is not None:
        files[f"{stem}_labels.npz"] = _npz(**_columns(sample.nuclei))
    elif sample.instances is not None and sample.instances.max(initial=0) > 0xFFFF:
        files[f"{stem}_labels.npz"] = _npz(instances=sample.instances)
    elif sample.instances is not None:
        files[f"{stem}_labels.png"] = _picture(sample.instances.astype(np.uint16), "PNG", optimize=True)
    if sample.valid is not None:
        files[f"{stem}_valid.png"] = _picture(sample.valid, "PNG", optimize=True)
    return files, entry | {Path(file).stem.split("_")[1]: file for file in files if "_" in Path(file).stem}


def _smallest(image: np.ndarray, original: Path) -> tuple[str, bytes]:
    """Suffix and bytes of the smallest file that gives back this very image."""
    if max(image.shape) > _LARGEST_WEBP:
        best = ".png", _picture(image, "PNG", optimize=True)
    else:
        best = ".webp", _picture(image, "WEBP", lossless=True, quality=70, method=4)
    if original.suffix.lower() == ".npy" or not original.is_file() or original.stat().st_size >= len(best[1]):
        return best
    try:
        same = np.array_equal(read_array(original), image)  # not where the reader converted it
    except UnreadableFile:  # the zip of a bundle, a LabelMe file
        same = False
    return (original.suffix.lower(), original.read_bytes()) if same else best


def _item(folder: Path, entry: Mapping[str, Any]) -> Item:
    files = tuple(folder / entry[key] for key in ("image", "labels", "valid") if key in entry)
    return Item(entry["name"], files, partial(_decode, folder, entry))


def _decode(folder: Path, entry: Mapping[str, Any]) -> Sample:
    image = read_rgb(folder / entry["image"])
    instances = nuclei = None
    if "labels" in entry:
        instances, nuclei = _labels(folder / entry["labels"], image.shape[:2])
    return Sample(
        image,
        instances,
        nuclei,
        points=None if entry["points"] is None else np.array(entry["points"], np.float64).reshape(-1, 2),
        class_of={i: kind for i, kind in entry["class_of"]},
        class_names={i: kind for i, kind in entry["class_names"]},
        valid=read_array(folder / entry["valid"]).astype(bool) if "valid" in entry else None,
        mpp=entry["mpp"],
        name=entry["name"],
        meta=entry["meta"],
    )


def _labels(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray | None, Nuclei | None]:
    if path.suffix == ".png":
        return read_array(path).astype(np.int32), None  # ids as they are: {0, 255} is no mask here
    try:
        with np.load(path, allow_pickle=False) as content:
            columns = dict(content)
        return (columns["instances"], None) if "instances" in columns else (None, _nuclei(columns, shape))
    except (zipfile.BadZipFile, zlib.error, InvalidNuclei, *BROKEN) as error:
        raise UnreadableFile(path, f"no labels of a pack ({error})", "pack the set again") from error


def _columns(nuclei: Nuclei) -> dict[str, np.ndarray]:
    bits = np.packbits(np.concatenate([np.zeros(0, bool), *(mask.ravel() for mask in nuclei.masks)]))
    columns = {"boxes": nuclei.boxes, "masks": bits, "scores": nuclei.scores, "classes": nuclei.classes}
    return columns if nuclei.rotated is None else {**columns, "rotated": nuclei.rotated}


def _nuclei(columns: Mapping[str, np.ndarray], shape: tuple[int, int]) -> Nuclei:
    boxes = columns["boxes"]
    sizes = boxes[:, 2:] - boxes[:, :2]
    ends = np.cumsum(sizes.prod(1))
    bits = np.unpackbits(columns["masks"], count=ends[-1] if len(ends) else 0)
    masks = [flat.reshape(size) for flat, size in zip(np.split(bits, ends[:-1]), sizes)]
    return Nuclei(shape, boxes, masks, columns["scores"], columns["classes"], columns.get("rotated"))


def _picture(array: np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def _npz(**columns: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **columns)  # type: ignore[arg-type]  # the stub takes a column for allow_pickle
    return stream.getvalue()
