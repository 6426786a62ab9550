"""Tables 1 to 4 and 6 of Zhang et al. 2024, their Figures 3 and 4, and what is read in more than one way.

The paper deals out labels by patch, of patches that overlap, so that a half of the patches puts a label on
85 % of MoNuSeg's training pixels. Here labels are dealt out by image; rows "by patch" do as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nucbook.papers.bass.config import HEADS, Head
from nucbook.rows import Column, Row, Table

RATIOS = ("1/8", "1/4", "1/2")
SPELLED = {
    "cryonuseg": "CryoNuSeg",
    "digestpath": "DigestPath",
    "monuseg622": "MoNuSeg",
    "monuseg": "MoNuSeg, official test",
}
PATCH, OVERLAP = 256, 128  # px, Sec. 3.2
METRICS = {"Dice": "dice", "AJI": "aji", "PQ": "pq"}
COLUMNS = {name: Column(key, 100, patch=PATCH) for name, key in METRICS.items()} | {
    f"{name}, whole images": Column(key, 100) for name, key in METRICS.items()
}
ABLATION: dict[str, tuple[Head, ...]] = {
    "NMH": ("nmh",),
    "LRD": ("lrd",),
    "NMH+LRD": ("nmh", "lrd"),
    "NMH+LRD+CRC": HEADS,
}
JITTER = 3  # px, about a third of a simulated nucleus's radius


def _row(
    name: str, alias: str, dataset: str = "monuseg622", labels: str = "1/8", method: str = "bass", **changes
) -> Row:
    on = (dataset, "monuseg") if dataset == "monuseg622" else (dataset,)
    return Row(name, method, dataset, labels, on, changes, alias=alias)


def _compared() -> list[Row]:
    rows = []
    for dataset in ("cryonuseg", "digestpath", "monuseg622"):
        for labels in RATIOS:
            at = f"{dataset}/{labels}"
            rows += [
                _row("Mask R-CNN", f"{at}/maskrcnn", dataset, labels, "maskrcnn"),
                _row("Naive student", f"{at}/naive", dataset, labels, heads=("nmh",)),
                _row("BASS", f"{at}/bass", dataset, labels),
            ]
    return rows


def _monuseg() -> list[Row]:
    return [row for row in _compared() if row.dataset == "monuseg622"]


def _by_own_counts() -> list[Row]:
    """Students whose box threshold comes from the labelled images themselves, on MoNuSeg."""
    return [
        replace(
            row,
            name=f"{row.name}, counts of labelled",
            alias=f"{row.alias}/counts-labelled",
            changes={**row.changes, "counted": "labelled"},
        )
        for row in _monuseg()
        if row.method == "bass"
    ]


def _by_patch() -> list[Row]:
    return [
        replace(row, name=f"{row.name}, by patch", alias=f"{row.alias}/by-patch", patches=(PATCH, OVERLAP))
        for row in _monuseg()
    ]


def _ablation(name: str, values: Sequence, field: str) -> list[Row]:
    """Rows of CryoNuSeg that differ in one field."""
    return [
        _row(f"{name} = {value}", f"{field}={value}", "cryonuseg", "1/2", **{field: value})
        for value in values
    ]


def _table(name: str, caption: str, *rows: Row) -> Table:
    spelled = {dataset: SPELLED[dataset] for dataset in {on for row in rows for on in row.measured_on}}
    return Table("bass", name, caption, rows, COLUMNS, spelled)


TABLES = {
    "1": _table(
        "1",
        "A student of pseudo labels beside its teacher, on three data sets at three label fractions.",
        *_compared(),
        *_by_own_counts(),
        *_by_patch(),
    ),
    "2": _table(
        "2",
        "The mask heads of the student, at half of the labels.",
        *(
            _row(name, f"{dataset}/{name}", dataset, "1/2", heads=heads)
            for dataset in ("cryonuseg", "digestpath")
            for name, heads in ABLATION.items()
        ),
    ),
    "3": _table(
        "3",
        "The threshold on the boxes of pseudo labels, at half of MoNuSeg's labels.",
        *(
            _row(f"BASS box threshold {value}", f"box={value}", labels="1/2", box_threshold=value)
            for value in (0.3, 0.38, 0.5, 0.7)
        ),
        _row("BASS, box threshold by counts", "counts", labels="1/2"),
    ),
    "4": _table(
        "4",
        "The threshold on the pixels of pseudo labels, at half of MoNuSeg's labels.",
        *(
            _row(f"BASS pixel threshold {value}", f"pixel={value}", labels="1/2", pixel_threshold=value)
            for value in (0.3, 0.4, 0.5, 0.6)
        ),
    ),
    "6": _table(
        "6",
        "The same with ResNet-101.",
        *(
            _row(f"{name} R101", f"{dataset}/{labels}/{alias}", dataset, labels, method, encoder="resnet101")
            for dataset in ("cryonuseg", "digestpath")
            for labels in RATIOS
            for name, alias, method in (("Mask R-CNN", "maskrcnn", "maskrcnn"), ("BASS", "bass", "bass"))
        ),
    ),
    "fig3": _table(
        "fig3", "The fraction of cells that CRC compares.", *_ablation("α", (0.1, 0.3, 0.5, 0.7), "sampled")
    ),
    "fig4": _table("fig4", "How far the boundary reaches.", *_ablation("d", (0, 2, 4, 6), "distance")),
    "readings": _table(
        "readings",
        "Teacher, naive student and BASS, its heads, α and d, and the released code's variants.",
        _row("Mask R-CNN", "maskrcnn", method="maskrcnn"),
        *(_row(name, name.lower(), heads=heads) for name, heads in ABLATION.items()),
        _row("no contrast", "no-contrast", contrast=0.0),
        _row("contrast of weight 1", "contrast=1", contrast=1.0),
        *(_row(f"{head.upper()} read alone", f"read-{head}", read=head) for head in HEADS),
        *(
            _row(
                f"{name}, outlines ±{JITTER} px",
                f"{name.lower()}/jitter",
                heads=ABLATION[name],
                jitter=JITTER,
            )
            for name in ("NMH", "NMH+LRD+CRC")
        ),
        _row("two terms", "two-terms", terms="hard"),
        _row("no boundary weight", "no-weight", boundary_weight=1.0),
        _row("query of the batch", "batch-query", query="batch"),
        _row("flipped views", "views", views="flipped"),
        _row("counts of labelled images", "counts-labelled", counted="labelled"),
        *(_row(f"α = {value}", f"alpha={value}", sampled=value) for value in (0.1, 0.3, 0.5)),
        *(_row(f"d = {value}", f"d={value}", distance=value) for value in (0, 2, 6)),
    ),
}
