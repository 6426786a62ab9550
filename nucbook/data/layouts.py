"""Where each data set keeps its files, as released: one function per set, from a folder to its items.

A function `(folder, part) -> list[Item]` looks and lists, and reads no pixel. An empty list means
that this part is not there; `nucbook.data.load` says so with the way to get it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from nucbook.data.item import Item
from nucbook.data.readers import aperio, imagej, images, labelme, matlab, paired, pannuke
from nucbook.sample import Sample

KUMAR = json.loads((Path(__file__).parent / "kumar.json").read_text(encoding="utf-8"))

# 6 : 2 : 2 by image, as BASS cuts its sets, in the order of the names; which ones it took is not published.
_SIX_TWO_TWO = ("train", "validation", "train", "test", "train")

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
    return [items.get(name) or absent(name) for name in KUMAR[part]]  # reading an absent one raises


def monuseg622(folder: Path, part: str) -> list[Item]:
    """The 30 training images of MoNuSeg, by name, every fifth for validation and every fifth for test."""
    items = sorted(monuseg(folder, "train", dataset="monuseg622"), key=lambda item: item.name)
    return [item for i, item in enumerate(items) if _SIX_TWO_TWO[i % 5] == part]


def _monuseg_item(picture: Path, home: Path, dataset: str) -> Item:
    name = picture.stem
    meta = _meta(dataset, name, KUMAR["organ"].get(name), _tcga_patient(name))
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
            meta = _meta("tnbc", name, "Breast", f"{patient:02}")
            read = partial(paired.read_pair_of_mask, picture, mask, name, 0.25, meta)
            items.append(Item(name, (picture, mask), read))
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
    return Sample(
        images.read_rgb(picture),
        instances,
        class_of=class_of,
        class_names=CONSEP_CLASSES,
        mpp=0.25,
        name=picture.stem,
        meta=_meta("consep", picture.stem, "Colon"),
    )


def _has_seven_types(mats: list[Path]) -> bool:
    # One image cannot tell: type 4 is malignant epithelial in the released files, spindle-shaped in
    # copies that were merged. Types beyond 4 anywhere in the part can.
    return any(matlab.read_mat_classes(mat).max(initial=0) > 4 for mat in mats if mat.exists())


# -- Lizard, and DigestPath within it ---------------------------------------------------------

LIZARD_CLASSES = {
    1: "neutrophil",
    2: "epithelial",
    3: "lymphocyte",
    4: "plasma",
    5: "eosinophil",
    6: "connective",
}
_LIZARD_SPLIT = {"train": "1", "validation": "2", "test": "3"}


def lizard(folder: Path, part: str, dataset: str = "lizard", source: str = "") -> list[Item]:
    """`Lizard_Images1|2/*.png`, `Lizard_Labels/Labels/*.mat`, `Lizard_Labels/info.csv` (its column Split).

    The parts are the three folds of the release: train = 1, validation = 2, test = 3.
    source : only images whose name begins so ("dpath_", "consep_", …).
    """
    labels = _first_folder(folder, ("Lizard_Labels", "lizard_labels/Lizard_Labels"))
    if not (labels / "info.csv").exists():
        return []
    homes = [_first_folder(folder, (f"Lizard_Images{i}", f"lizard_images{i}/Lizard_Images{i}")) for i in "12"]
    with (labels / "info.csv").open(encoding="utf-8-sig", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["Filename"].startswith(source)]
    items = []
    for row in rows:
        if row["Split"].strip() == _LIZARD_SPLIT[part]:
            name = row["Filename"].removesuffix(".png")
            home = next((home for home in homes if (home / f"{name}.png").exists()), homes[0])
            files = home / f"{name}.png", labels / "Labels" / f"{name}.mat"
            meta = {**_meta(dataset, name, "Colon"), "source": row.get("Source")}
            items.append(Item(name, files, partial(_lizard_sample, *files, name, meta)))
    return items


def digestpath(folder: Path, part: str) -> list[Item]:
    """The DigestPath images of Lizard, which alone have outlines of nuclei."""
    return lizard(folder, part, dataset="digestpath", source="dpath_")


def _lizard_sample(picture: Path, mat: Path, name: str, meta: dict[str, Any]) -> Sample:
    instances, class_of = matlab.read_mat(mat)
    return Sample(
        images.read_rgb(picture),
        instances,
        class_of=class_of,
        class_names=LIZARD_CLASSES,
        mpp=0.5,
        name=name,
        meta=meta,
    )


# -- PanNuke ----------------------------------------------------------------------------------

_PANNUKE_FOLDS = {"train": 1, "validation": 2, "test": 3}


def pannuke_fold(folder: Path, part: str) -> list[Item]:
    """`Fold k/images/foldk/{images,types}.npy` + `Fold k/masks/foldk/masks.npy`.

    The parts are the first of the three official rotations: train = 1, validation = 2, test = 3.
    """
    k = _PANNUKE_FOLDS[part]
    home = _first_folder(folder, (f"Fold {k}", f"fold_{k}/Fold {k}", f"fold{k}/Fold {k}"))
    pictures, types = (home / "images" / f"fold{k}" / f"{name}.npy" for name in ("images", "types"))
    masks = home / "masks" / f"fold{k}" / "masks.npy"
    if not home.is_dir():
        return []
    items = []
    for i, tissue in enumerate(pannuke.read_fold(pictures, masks, types)):
        name = f"fold{k}_{i:04}"
        meta = {**_meta("pannuke", name, tissue), "fold": k}
        read = partial(pannuke.read_patch, pictures, masks, i, name, 0.25, meta)
        items.append(Item(name, (pictures, masks, types), read))
    return items


# -- MoNuSAC ----------------------------------------------------------------------------------

MONUSAC_CLASSES = {1: "Epithelial", 2: "Lymphocyte", 3: "Macrophage", 4: "Neutrophil"}

_MONUSAC_FOLDERS = {
    "train": ("MoNuSAC_images_and_annotations", "MoNuSAC_images_and_annotations_trainning"),
    "test": ("MoNuSAC Testing Data and Annotations", "MoNuSAC_Testing_Data_and_Annotations"),
}


def monusac(folder: Path, part: str) -> list[Item]:
    """`<patient>/<patient>_k.tif` + `.xml`; the .svs beside them holds the same picture."""
    items = []
    for patient in sorted(_first_folder(folder, _MONUSAC_FOLDERS[part]).glob("TCGA-*")):
        for picture in images.find_pictures(patient):
            name, xml = picture.stem, picture.with_suffix(".xml")
            meta = _meta("monusac", name, patient=_tcga_patient(name))
            read = partial(aperio.read_sample, picture, xml, name, 0.25, meta, MONUSAC_CLASSES)
            items.append(Item(name, (picture, xml), read))
    return items


# -- CryoNuSeg --------------------------------------------------------------------------------

# The first of three mark-ups: by this annotator once more, and by a second one, there are two others.
_CRYONUSEG_MARKUP = ("Annotator 1 (biologist)", "Annotator 1 (biologist)/Annotator 1 (biologist)")


def cryonuseg(folder: Path, part: str) -> list[Item]:
    """`tissue images/*.tif` + the first mark-up's `label masks modify/*.tif`, or its ImageJ zips.

    The two zips of the project's first samples (`TCGA-….zip`, picture and outlines in one) are "train" too.
    """
    markup = _first_folder(folder, _CRYONUSEG_MARKUP)
    items = []
    for i, picture in enumerate(images.find_pictures(folder / "tissue images")):
        if part != _SIX_TWO_TWO[i % 5]:
            continue
        name = picture.stem
        meta = _meta("cryonuseg", name, organ=name.removeprefix("Human_").rsplit("_", 1)[0], patient=name)
        masks, rois = markup / "label masks modify" / f"{name}.tif", markup / "Imagj_zips" / f"{name}.zip"
        outlined = rois.exists() and not masks.exists()
        read, labels = (imagej.read_pair_of_rois, rois) if outlined else (paired.read_pair, masks)
        items.append(Item(name, (picture, labels), partial(read, picture, labels, name, 0.25, meta)))
    for bundle in sorted(folder.glob("TCGA-*.zip")) if part == "train" else ():
        name = bundle.stem
        meta = _meta("cryonuseg", name, patient=_tcga_patient(name))
        items.append(Item(name, (bundle,), partial(imagej.read_bundle, bundle, name, 0.25, meta)))
    return items


# -- ChromSeg-SSL -----------------------------------------------------------------------------

CHROMOSOMES = {**{i: str(i) for i in range(1, 23)}, 23: "X", 24: "Y"}
_CHROMSEG_LABELS = {i: str(i) for i in range(1, 25)}  # the files write 23 and 24 for X and Y


def chromseg(folder: Path, part: str) -> list[Item]:
    """`labeled/{train,test}_labelme/<patient>/*.json` (LabelMe), `unlabeled/**/*.png`.

    The release could not be had; these folders are those that the authors' code reads.
    """
    if part == "unlabelled":
        found = sorted((folder / "unlabeled").rglob("*"))
        pictures = [path for path in found if path.suffix.lower() in images.PICTURES]
        return [_chromosome_item(folder, path, _unlabelled_chromosomes) for path in pictures]
    home = folder / "labeled" / f"{part}_labelme"
    return [_chromosome_item(folder, path, _labelled_chromosomes) for path in sorted(home.rglob("*.json"))]


def _chromosome_item(folder: Path, path: Path, read: Callable) -> Item:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return Item(name, (path,), partial(read, path, name, _meta("chromseg", name, patient=path.parent.name)))


def _labelled_chromosomes(path: Path, name: str, meta: dict[str, Any]) -> Sample:
    sample = labelme.read_sample(path, name, None, meta, _CHROMSEG_LABELS)
    return replace(sample, class_names=CHROMOSOMES)


def _unlabelled_chromosomes(path: Path, name: str, meta: dict[str, Any]) -> Sample:
    return Sample(images.read_rgb(path), name=name, meta=meta)


# -- helpers ----------------------------------------------------------------------------------


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of these folders that exists, else the first named."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _meta(dataset: str, name: str, organ: str | None = None, patient: str | None = None) -> dict[str, Any]:
    return {"dataset": dataset, "organ": organ, "patient": patient, "image": name}


def _tcga_patient(name: str) -> str:
    """A TCGA barcode begins with project, tissue source site and participant: these name the patient."""
    return "-".join(name.split("-")[:3])


LAYOUTS: dict[str, Callable[[Path, str], list[Item]]] = {
    "monuseg": monuseg,
    "kumar": kumar,
    "monuseg622": monuseg622,
    "tnbc": tnbc,
    "cryonuseg": cryonuseg,
    "digestpath": digestpath,
    "monusac": monusac,
    "pannuke": pannuke_fold,
    "consep": consep,
    "lizard": lizard,
    "chromseg": chromseg,
}
