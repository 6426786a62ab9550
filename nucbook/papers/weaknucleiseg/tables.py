"""Tables 1 and 2 of Liu et al. 2022, and what inaccurate and missing points cost."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from nucbook.rows import Column, Row, Table

# SPN alone: connected components of its foreground.
COMPONENTS: dict[str, Any] = {"grouping": "components", "threshold": 0.5}
FOLDS = json.loads(files(__package__).joinpath("folds.json").read_text(encoding="utf-8"))
COLUMNS: dict[str, Column | str] = {
    "IoU": "iou",
    "F1": "dice",
    "Dice_obj": "object_dice",
    "AJI-Qu": Column("aji_qu", printed="AJI"),
    "AJI (Kumar)": "aji",
}
COLOURS = ("as is", "varied", "normalised")
SPELLED = {"kumar": "MultiOrgan", "tnbc": "TNBC"}


def _row(name: str, alias: str, dataset: str = "kumar", labels: str = "points", **changes) -> Row:
    return Row(name, "weaknucleiseg", dataset, labels, changes=changes, alias=alias)


def _ten_folds(name: str, alias: str, dataset: str, by: str, folds: Any) -> Row:
    split = {"by": by, "labelled": 1.0, "validation": 0.1, "folds": folds}
    return Row(name, "weaknucleiseg", dataset, "points, 10-fold", split=split, folds=10, alias=alias)


def _table(name: str, caption: str, *rows: Row) -> Table:
    return Table("weaknucleiseg", name, caption, rows, COLUMNS, SPELLED)


TABLES = {
    "1": _table(
        "1",
        "Ten-fold cross-validation in the released folds, and TNBC's by patient too: in nine of its released "
        "folds a patient is on both sides.",
        _ten_folds("SPN+IEN", "kumar", "kumar", "image", FOLDS["kumar"]),
        _ten_folds("SPN+IEN", "tnbc", "tnbc", "image", FOLDS["tnbc"]),
        _ten_folds("SPN+IEN, by patient", "tnbc-patients", "tnbc", "patient", 10),
    ),
    "2": _table(
        "2",
        "What adaptive labels and the second network add, on the 14 test images of MultiOrgan.",
        Row("Otsu + watershed", "classical", "kumar", labels="none", alias="classical"),
        Row("U-Net, from scratch", "unet", "kumar", changes={"init": "scratch"}, alias="unet"),
        _row("Fully", "fully", labels="masks", supervision="masks"),
        _row("Baseline (Qu et al. labels)", "baseline", features="qu", **COMPONENTS),
        _row("SPN", "spn", **COMPONENTS),
        _row("SPN, threshold 0.3", "spn-generous", **COMPONENTS | {"threshold": 0.3}),
        _row("SPN+IEN", "full"),
    ),
    "colour": _table(
        "colour",
        "Colours as they are, varied in training, or normalised: each training organ left out in turn.",
        *(
            Row(
                f"SPN, colours {colour}",
                "weaknucleiseg",
                "kumar",
                "points, organs",
                changes={"colour": colour, "spn_steps": 500, **COMPONENTS},
                split={"by": "organ", "labelled": 1.0, "validation": 0, "folds": 4, "part": "train"},
                folds=4,
                alias=colour.replace(" ", "-"),
            )
            for colour in COLOURS
        ),
    ),
    "ien": Table(
        "weaknucleiseg",
        "ien",
        "How IEN starts, what it minimises and which pixels it separates, on validation images.",
        (
            *(_row(f"T₀ = {t}", f"threshold={t}", threshold=t) for t in (0.3, 0.4, 0.5)),
            _row("encoder from SPN", "encoder", ien_init="spn"),
            _row("hinges squared", "squared", squared=True),
        ),
        COLUMNS,
        SPELLED,
        test={"kumar": "validation"},
    ),
    "points": _table(
        "points",
        "An annotator who misses the centres, or some nuclei.",
        _row("SPN+IEN", "exact"),
        *(_row(f"points {px} px off", f"off-{px}", jitter=px) for px in (2.0, 4.0, 8.0)),
        *(
            _row(f"{fraction:.0%} of points missing", f"missing-{fraction:.0%}".rstrip("%"), missing=fraction)
            for fraction in (0.1, 0.3, 0.5)
        ),
    ),
}
