"""Tables I to VI of Lou et al. 2022, and what is read in more than one way.

Rows "… + MRCNN" are the paper's; "… + HoVer-Net" repeat them with a segmentation network that two CPU cores
train, and no number of the one stands for the other. Labels are named as printed, "5%" and so on, but it is
windows that are chosen: nine of 256 px are 4.92 % of Kumar's training pixels. "P" is against the first row
named; the paper compares rows with pseudo labels with its own such row, which has a column of its own here.
What its tests pair it does not say: 14 images cannot give 1e-29.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nucbook.rows import Column, Row, Table

SEEN = ("Breast", "Kidney", "Liver", "Prostate")  # organs of Kumar's training images
UNSEEN = ("Bladder", "Colon", "Stomach")
SPELLED = {"kumar": "TCGA-Kumar", "tnbc": "TNBC", "monuseg": "MoNuSeg"}
LABELS = {"kumar": "5%", "tnbc": "5%", "monuseg": "7%"}  # as printed
NETWORKS = {"MRCNN": "maskrcnn", "HoVer-Net": "hovernet"}

Changes = Mapping[str, Any]
SELECTIONS: dict[str, Changes] = {
    "RndCrop": {"method": "rndcrop"},
    "RndCenCrop": {"method": "rndcencrop"},
    "K-means": {"method": "kmeans"},
    "CPS w/o 3rd term": {"without": "consistency"},
    "CPS w/o 2nd term": {"without": "fine"},
    "CPS": {},
}
SYNTHESES: dict[str, Changes] = {
    "NaiveAug": {"synthesis": "none"},
    "pix2pix": {"synthesis": "pix2pix"},
    "cycleGAN": {"synthesis": "cyclegan"},
    "SinGAN": {"conditional": False, "components": ("global",)},
    "CSinGAN (w/o CwD)": {"components": ("global",)},
    "CSinGAN": {},
}
BARE: Changes = {"synthesis": "none", "augmentation": "none"}
STRONG: Changes = {"augmentation": "strong"}
FULL: Changes = {"labels": "given", "synthesis": "none", "rounds": 0}  # on all labels


def _row(name: str, network: str, changes: Changes, dataset: str = "kumar", labels: str = "") -> Row:
    changes = {"segmenter": NETWORKS[network], **changes}
    return Row(name, "whichpixel", dataset, labels or LABELS[dataset], changes=changes, alias=_alias(name))


def _alias(name: str) -> str:
    """ "CPS w/o 3rd term + MRCNN" as cps-w/o-3rd-term/mrcnn."""
    return re.sub(r"[(),]", "", name.lower().replace(" + ", "/").replace(" = ", "=")).replace(" ", "-")


def _table(name: str, caption: str, columns: Mapping[str, Column | str], *rows: Row) -> Table:
    spelled = {dataset: SPELLED[dataset] for row in rows for dataset in row.measured_on}
    return Table("whichpixel", name, caption, rows, columns, spelled)


SCORES: dict[str, Column | str] = {"AJI": "aji", "Dice": "dice"}


def _against(published: str, *names: str) -> dict[str, Column | str]:
    ours = {f"p, against {name}": Column("aji", against=name) for name in names}
    return SCORES | {"P": Column("aji", against=published)} | ours


def _selections(network: str) -> list[Row]:
    rows = [_row(f"{name} + {network}", network, {**own, "rounds": 0}) for name, own in SELECTIONS.items()]
    return rows + [
        _row(f"{name} + {network} + Plabel", network, own)
        for name, own in SELECTIONS.items()
        if not name.startswith("Rnd")
    ]


def _syntheses(network: str) -> list[Row]:
    """The paper's names do not say which network: it is Mask R-CNN."""
    also = "" if network == "MRCNN" else f" + {network}"
    return [_row(name + also, network, {**own, "rounds": 0}) for name, own in SYNTHESES.items()]


def _framework(network: str) -> list[Row]:
    rows = []
    for name in ("RndCrop", "RndCenCrop"):
        own, naive = SELECTIONS[name], {**SELECTIONS[name], "synthesis": "none"}
        rows += [
            _row(f"{name} + {network}", network, {**own, **BARE, "rounds": 0}),
            _row(f"{name} + NaiveAug + {network}", network, {**naive, "rounds": 0}),
            _row(f"{name} + NaiveAug + {network} + Plabel", network, naive),
        ]
    fully = "Fully-supervised Mask-RCNN" if network == "MRCNN" else f"Fully-supervised {network}"
    return [
        *rows,
        _row(f"CPS + NaiveAug + {network} + Plabel", network, {"synthesis": "none"}),
        _row(f"CPS + CSinGAN + {network} + Plabel", network, {}),
        _row(fully, network, FULL, labels="100%"),
    ]


def _beside_supervision(*datasets: str) -> list[Row]:
    rows = []
    for dataset in datasets:
        for network, printed in (("MRCNN", "MRCNN"), ("HoVer-Net", "Hover-net")):
            for row in (
                _row(printed, network, FULL, dataset, "100%"),
                _row(f"{printed} + framework", network, {}, dataset),
            ):
                rows.append(replace(row, alias=f"{dataset}/{row.alias}"))
    return rows


def _sizes(network: str) -> list[Row]:
    also = "" if network == "MRCNN" else f" + {network}"
    rows = []
    for coarse, fine, labels in ((6, 4, "3%"), (9, 4, "5%"), (12, 4, "7%"), (9, 3, "5%"), (9, 8, "5%")):
        at = {"clusters": coarse, "fine_clusters": fine, "rounds": 0}
        name = f"K1={coarse} K2={fine}"
        rows += [
            _row(f"{name} w/o CSinGAN{also}", network, {**at, "synthesis": "none"}, labels=labels),
            _row(f"{name} w/ CSinGAN{also}", network, at, labels=labels),
        ]
    return rows


READINGS: dict[str, Changes] = {
    "CPS": {},
    "candidates of the largest cluster": {"candidates": "largest"},
    "exact features": {"features": "exact"},
    "features of a random network": {"network": "random"},
    "mean colours as features": {"network": "colour"},
    "random polygons": {"shapes": "polygons"},
    "nuclei that touch": {"touching": 0.3},
    "critics of components detached": {"detached": True},
    "no synthesis": {"synthesis": "none"},
    "no synthesis, strong augmentation": {"synthesis": "none", "augmentation": "strong"},
    "strong augmentation": STRONG,
}


def _readings() -> list[Row]:
    rows = [_row(name, "HoVer-Net", {**own, "rounds": 0}) for name, own in READINGS.items()]
    rows += [_row(f"rounds of pseudo labels = {n}", "HoVer-Net", {"rounds": n}) for n in (1, 2, 3)]
    for name, own in {"from the last network": {"begin": "last"}, "strong augmentation": STRONG}.items():
        rows.append(_row(f"rounds of pseudo labels = 2, {name}", "HoVer-Net", {"rounds": 2, **own}))
    return rows


TABLES = {
    "I": _table(
        "I",
        "Ways to choose the windows to annotate; all windows are augmented by CSinGAN.",
        _against("CPS + MRCNN", "CPS + MRCNN + Plabel", "CPS + HoVer-Net", "CPS + HoVer-Net + Plabel"),
        *_selections("MRCNN"),
        *_selections("HoVer-Net"),
    ),
    "II": _table(
        "II",
        "Ways to make more images of the windows that CPS chooses.",
        _against("CSinGAN", "CSinGAN + HoVer-Net"),
        *_syntheses("MRCNN"),
        *_syntheses("HoVer-Net"),
    ),
    "III": _table(
        "III",
        "The framework beside its parts and beside all labels; seen organs are those of training images.",
        {
            "AJI (seen organs)": Column("aji", where={"organ": SEEN}),
            "AJI (unseen organs)": Column("aji", where={"organ": UNSEEN}),
            **SCORES,
        },
        *_framework("MRCNN"),
        *_framework("HoVer-Net"),
    ),
    "IV": _table(
        "IV",
        "The framework beside all labels, on three data sets.",
        SCORES,
        *_beside_supervision("kumar", "tnbc", "monuseg"),
    ),
    "V": _table(
        "V",
        "The same on Kumar, organ by organ, two test images each.",
        {f"AJI {organ}": Column("aji", where={"organ": (organ,)}) for organ in (*SEEN, *UNSEEN)},
        *_beside_supervision("kumar"),
    ),
    "VI": _table(
        "VI",
        "How many windows, and how many clusters of their quarters.",
        SCORES,
        *_sizes("MRCNN"),
        *_sizes("HoVer-Net"),
    ),
    "readings": _table(
        "readings",
        "What is read in more than one way, and rounds of pseudo labels.",
        SCORES,
        *_readings(),
    ),
}
