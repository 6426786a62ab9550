"""The baselines on real slides: without labels, with simulated labels, with all of Kumar's."""

from __future__ import annotations

from nucbook.rows import Row, Table

SLIDES = ("kumar", "tnbc", "consep")
UNSEEN_TNBC = ("validation", "test")  # patients 7 to 11: nothing here is chosen on TNBC


def _row(name: str, method: str, alias: str, labels: str = "100%", **changes: str) -> Row:
    return Row(name, method, "kumar", labels, SLIDES, changes, alias=alias)


TABLES = {
    "slides": Table(
        paper="baselines",
        name="slides",
        caption="No labels, simulated labels and all labels of the 12 Kumar training images, on the test "
        "images of three data sets.",
        rows=(
            _row("Otsu + watershed", "classical", "classical", labels="none"),
            _row("U-Net, simulated tissue only", "tissue", "tissue", labels="none"),
            _row("U-Net, from scratch", "unet", "scratch", init="scratch"),
            _row("U-Net, from simulated tissue", "unet", "from-tissue", init="tissue"),
        ),
        columns={"Dice": "dice", "AJI": "aji", "PQ": "pq"},
        spelled={"kumar": "Kumar", "tnbc": "TNBC", "consep": "CoNSeP"},
        test={"tnbc": UNSEEN_TNBC},
    )
}
