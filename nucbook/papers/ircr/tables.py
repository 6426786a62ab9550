"""Tables 2, 3 and 4 of Lin et al. 2025, and how Eq. 3 is read; Fig. 4 draws Table 2's MoNuSAC."""

from __future__ import annotations

from itertools import product

from nucbook.papers.baselines.config import MeanTeacher
from nucbook.papers.ircr.config import Config
from nucbook.rows import Row, Table

RATIOS = ("1/32", "1/16", "1/8", "1/4")
SPELLED = {"monuseg": "MoNuSeg", "monusac": "MoNuSAC", "pannuke": "PanNuke", "consep": "CoNSeP"}
COLUMNS = {"AJI": "aji", "Dice": "dice", "F1_obj": "f1_object"}
COMPARED = {  # row: (method, changes, alias)
    "Hover-Net": ("hovernet", {}, "hovernet"),
    "Self-Training": ("self_training", {}, "self-training"),
    "Self-Training, truth kept": ("self_training", {"truth": "kept"}, "truth-kept"),
    "Mean Teacher": ("mean_teacher", {}, "mean-teacher"),
    "IRCR-Net": ("ircr", {}, "ircr"),
}
CONSISTENCY = MeanTeacher().consistency  # Scheme 2 and 3 add MIAC to the mean teacher as it is
STRONG = CONSISTENCY / Config.weight**2  # γ₁ that makes PIAC weigh a trusted pixel as MSE does


def _compared() -> list[Row]:
    rows = []
    for dataset in SPELLED:
        for labels in RATIOS:
            rows += [
                Row(name, method, dataset, labels, changes=changes, alias=f"{dataset}/{labels}/{alias}")
                for name, (method, changes, alias) in COMPARED.items()
            ]
        rows.append(Row("Hover-Net", "hovernet", dataset, "100%", alias=f"{dataset}/100%/hovernet"))
    own = {"epochs_of": "labelled"}
    for labels in ("1/32", "1/8"):
        name, alias = "Hover-Net, epochs of labelled patches", f"monuseg/{labels}/labelled-epochs"
        rows.append(Row(name, "hovernet", "monuseg", labels, changes=own, alias=alias))
    return rows


def _teachers() -> list[Row]:
    """Mean teachers with two values each of weight, decay and ramp-up, read as student and as teacher."""
    split = {"by": "patch", "validation": 0, "test": 0.2, "part": "train"}
    rows = []
    for weight, alpha, ramp_up, predicts in product(
        (2, 10), (0.95, 0.99), (0.0, 0.4), ("student", "teacher")
    ):
        grows = ", ramp-up" if ramp_up else ""
        name = f"{predicts}, weight {weight}, α {alpha}{grows}"
        changes = {"consistency": weight, "alpha": alpha, "ramp_up": ramp_up, "predicts": predicts}
        alias = name.replace(", ", "/").replace(" ", "=")
        rows.append(Row(name, "mean_teacher", "monuseg", "1/16", changes=changes, split=split, alias=alias))
    return rows


def _row(name: str, alias: str, method: str = "ircr", **changes) -> Row:
    return Row(name, method, "monusac", "1/32", changes=changes, alias=alias)


def _reading(name: str, alias: str, labels: str = "1/16", **changes) -> Row:
    return Row(name, "ircr", "monuseg", labels, changes=changes, alias=alias)


def _table(name: str, caption: str, *rows: Row) -> Table:
    return Table("ircr", name, caption, rows, COLUMNS, SPELLED)


TABLES = {
    "2": _table(
        "2", "What patches without labels add, on four data sets at four label fractions.", *_compared()
    ),
    "3": _table(
        "3",
        "What each loss adds, on MoNuSAC with 1/32 of the labels; MSE is the consistency of all pixels.",
        _row("SupOnly", "supervised", "hovernet"),
        _row("Sup+MSE", "mse", "mean_teacher"),
        _row("Sup+MSE+MIAC(w/o B)", "no-boundary", consistency=CONSISTENCY, piac=0.0, beta=0.0),
        _row("Sup+MSE+MIAC", "miac", consistency=CONSISTENCY, piac=0.0),
        _row("Sup+PIAC+MIAC", "ircr"),
    ),
    "4": _table(
        "4",
        "How far apart partners may lie, on MoNuSAC with 1/32 of the labels, without PIAC.",
        _row("w/o matching", "none", "mean_teacher"),
        *(
            _row(f"r={r}", f"r={r}", consistency=CONSISTENCY, piac=0.0, radius=r)
            for r in (0.1, 1.0, 1.5, 2.0, 3.0)
        ),
    ),
    "mean-teacher": _table(
        "mean-teacher",
        "Weight of the consistency, decay of the average, ramp-up; on training images that are held out.",
        *_teachers(),
    ),
    "readings": _table(
        "readings",
        "Eq. 3 as printed beside the one used here, each loss alone, and γ₁ at another scale.",
        _reading("IRCR-Net", "ircr"),
        _reading("Eq. 3 as printed", "printed", union=False),
        _reading("MIAC alone", "miac", piac=0.0),
        _reading("PIAC alone", "piac", miac=0.0),
        _reading("PIAC as strong as MSE", "strong", piac=STRONG),
        _reading("IRCR-Net", "1/32/ircr", "1/32"),
        _reading("PIAC as strong as MSE", "1/32/strong", "1/32", piac=STRONG),
    ),
}
