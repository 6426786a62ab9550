"""Where each data set keeps its files, as released: one function a set, from a folder to its items.

A function `(folder, part) -> list[Item]` looks and lists, and reads no pixel. An empty list means
that this part is not there; `nucbook.data.load` says so with the way to get it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from nucbook.data.item import Item
from nucbook.data.readers import aperio, images, matlab, paired
from nucbook.sample import Sample

KUMAR = json.loads((Path(__file__).parent / "kumar.json").read_text(encoding="utf-8"))


# -- MoNuSeg and its training images, Kumar ---------------------------------------------------


def monuseg(folder: Path, part: str, dataset: str = "monuseg") -> list[Item]:
    """train: `Tissue Images/*.tif` + `Annotations/*.xml`; test: tif and XML side by side.

    Where there is `Labels/<id>.png`, an instance map made of the polygons, it is read instead.
    """
    home = _first_folder(folder, _MONUSEG_FOLDERS[part])
    tissue = home / "Tissue Images" if part == "train" else home
    return [_monuseg_item(picture, home, dataset) for picture in images.find_pictures(tissue)]


def kumar(folder: Path, part: str) -> list[Item]:
    """The 30 training images of MoNuSeg in the split of Kumar et al. 2017: 12 / 4 / 14 by TCGA id."""
    items = {item.name: item for item in monuseg(folder, "train", dataset="kumar")}
    if not items:
        return []
    home = _first_folder(folder, _MONUSEG_FOLDERS["train"])
    absent = lambda name: _monuseg_item(home / "Tissue Images" / f"{name}.tif", home, "kumar")
    return [items.get(name) or absent(name) for name in KUMAR[part]]        # an absent one is told when read


def _monuseg_item(picture: Path, home: Path, dataset: str) -> Item:
    name = picture.stem
    meta = _tcga_meta(name, dataset, KUMAR["organ"].get(name))
    labels = home / "Labels" / f"{name}.png"
    if labels.exists():
        return Item(name, (picture, labels), partial(paired.read_pair, picture, labels, name, 0.25, meta))
    annotations = home / "Annotations" if (home / "Annotations").is_dir() else picture.parent
    xml = annotations / f"{name}.xml"
    return Item(name, (picture, xml), partial(aperio.read_sample, picture, xml, name, 0.25, meta))


_MONUSEG_FOLDERS = {
    "train": ("MoNuSegTrainingData", "MoNuSeg 2018 Training Data", "."),
    "test": ("MoNuSegTestData", "MoNuSeg 2018 Test Data"),
}


# -- TNBC -------------------------------------------------------------------------------------

# The split of Liu et al. 2022 (released code): no patient in two parts.
_TNBC_PATIENTS = {"train": range(1, 7), "validation": range(7, 9), "test": range(9, 12)}


def tnbc(folder: Path, part: str) -> list[Item]:
    """`Slide_NN/NN_k.png` + `GT_NN/NN_k.png`; NN is the patient."""
    home = _first_folder(folder, ("TNBC_NucleiSegmentation", "."))
    items = []
    for patient in _TNBC_PATIENTS[part]:
        for picture in images.find_pictures(home / f"Slide_{patient:02}"):
            name = picture.stem
            mask = home / f"GT_{patient:02}" / picture.name
            meta = {"dataset": "tnbc", "organ": "Breast", "patient": f"{patient:02}", "image": name}
            items.append(Item(name, (picture, mask), partial(paired.read_pair_of_mask, picture, mask, name, 0.25, meta)))
    return items


# -- CoNSeP -----------------------------------------------------------------------------------

CONSEP_CLASSES = {1: "miscellaneous", 2: "inflammatory", 3: "epithelial", 4: "spindle-shaped"}

# Seven types as released: other, inflammatory, healthy epithelial, malignant epithelial, fibroblast,
# muscle, endothelial. HoVer-Net's paper, and so everybody, scores the four above.
_CONSEP_MERGED = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 4, 7: 4}


def consep(folder: Path, part: str) -> list[Item]:
    """`{Train,Test}/Images/*.png` + `{Train,Test}/Labels/*.mat`."""
    home = folder / part.capitalize()
    pictures = images.find_pictures(home / "Images")
    files = [(picture, home / "Labels" / f"{picture.stem}.mat") for picture in pictures]
    released = cache(lambda: _has_seven_types([mat for _, mat in files]))
    return [Item(p.stem, (p, mat), partial(_consep_sample, p, mat, released)) for p, mat in files]


def _consep_sample(picture: Path, mat: Path, has_seven_types: Callable[[], bool]) -> Sample:
    instances, class_of = matlab.read_mat(mat)
    if has_seven_types():
        class_of = {i: _CONSEP_MERGED.get(kind, 0) for i, kind in class_of.items()}
    meta = {"dataset": "consep", "organ": "Colon", "patient": None, "image": picture.stem}
    return Sample(
        images.read_rgb(picture),
        instances,
        class_of=class_of,
        class_names=CONSEP_CLASSES,
        mpp=0.25,
        name=picture.stem,
        meta=meta,
    )


def _has_seven_types(mats: list[Path]) -> bool:
    # One image cannot tell: type 4 is malignant epithelial in the released files, spindle-shaped in
    # copies that were merged. Types beyond 4 anywhere in the part can.
    return any(matlab.read_mat_classes(mat).max(initial=0) > 4 for mat in mats if mat.exists())


# -- helpers ----------------------------------------------------------------------------------


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of these folders that exists, else the first named."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _tcga_meta(name: str, dataset: str, organ: str | None) -> dict[str, Any]:
    """A TCGA barcode begins with project, tissue source site and participant: these name the patient."""
    return {"dataset": dataset, "organ": organ, "patient": "-".join(name.split("-")[:3]), "image": name}


LAYOUTS: dict[str, Callable[[Path, str], list[Item]]] = {
    "monuseg": monuseg,
    "kumar": kumar,
    "tnbc": tnbc,
    "consep": consep,
}
