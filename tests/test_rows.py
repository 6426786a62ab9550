from __future__ import annotations

from dataclasses import replace

import pytest

from nucbook.rows import Measured, Row, Run, Table

run = Run("unet", {"steps": 3, "sizes": (1, 2)}, "kumar", {"labelled": 0.125}, "1/8")


@pytest.mark.parametrize(
    "change",
    [
        {"method": "ircr"},
        {"config": {"steps": 4, "sizes": (1, 2)}},
        {"dataset": "tnbc"},
        {"split": {}},
        {"labels": "1/4"},
        {"fold": 1},
        {"seed": 1},
        {"init": "tissue"},
    ],
)
def test_a_run_is_its_fields(change):
    assert replace(run, **change).identity != run.identity
    assert replace(run).identity == run.identity


def test_a_row_is_measured_on_what_it_learns_from_unless_told():
    assert Row("U-Net", "unet", "kumar").measured_on == ("kumar",)
    assert Row("U-Net", "unet", "tissue", measured_on=["kumar", "tnbc"]).measured_on == (
        "kumar",
        "tnbc",
    )


def test_two_rows_of_one_name_are_refused():
    row = Row("U-Net", "unet", "kumar")
    with pytest.raises(ValueError, match="table baselines/1 has two rows U-Net, 100%, kumar"):
        Table("baselines", "1", "", (row, replace(row, changes={"steps": 3})), {})
    table = Table("whichpixel", "I", "", (row, replace(row, labels="5%")), {}, {"kumar": "TCGA-Kumar"})
    assert [table.spell(name) for name in ("kumar", "tnbc")] == ["TCGA-Kumar", "tnbc"]


def test_measured_says_whether_its_images_are_real():
    with pytest.raises(ValueError, match="data is 'maybe'; say whether the images are 'real' or 'simulated'"):
        Measured({"dice": 1.0}, data="maybe")


def test_the_identity_of_a_run_is_the_same_everywhere():
    """Results are stored under it, so a change of this value makes all stored runs strangers."""
    assert run.identity == "eab1750d23f50ed8"
