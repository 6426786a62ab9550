from __future__ import annotations

import math

import pytest

from nucbook.results import Results
from nucbook.tables.render import NotMeasured, compare, markdown, render
from nucbook.tables.run import run_table


def test_published_beside_measured(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn"], seeds=3, progress=False)
    numbers = compare(table)
    row = numbers.loc["SPN", "MultiOrgan", "points"]["AJI"]
    assert row.published == 0.4754  # Table 2 of the paper
    assert row.measured == pytest.approx((0.05 + 0.055 + 0.06) / 3)
    assert row["std"] == pytest.approx(0.005)
    assert row.runs == 3
    assert row.difference == pytest.approx(row.measured - row.published)
    other = numbers.loc["Fully", "MultiOrgan", "masks"]["AJI"]
    assert math.isnan(other.measured)
    assert other.runs == 0
    text = markdown(table)
    assert "| SPN | MultiOrgan | points | " in text
    assert "| 0.475 | 0.055 ± 0.005 (n=3) | -0.420 |" in text
    assert "not run" in text


def test_every_published_row_is_there_and_ours_after_them(toys):
    rows = [row for row, *_ in compare(toys.TABLES["2"]).index]
    assert rows.index("SPN+IEN") < rows.index("folded")
    assert {"Baseline (Qu et al. labels)", "Dong et al.", "Fully"} <= set(rows)
    assert len(rows) == len(set(compare(toys.TABLES["2"]).index))


def test_per_cent_and_no_published_column_where_nothing_is_published(toys):
    run_table(toys.TABLES["other"], progress=False)
    text = markdown(toys.TABLES["other"])
    assert text.splitlines()[0] == "| row | dataset | labels | Dice measured (short) |"
    assert "| mine | tnbc | points | 20.0 (n=1) |" in text


def test_a_page_gets_a_caption_that_says_what_short_is(toys):
    assert "no reproduction" in render(toys.TABLES["2"]).to_html()
    assert "Toys." in render(toys.TABLES["2"], profile="paper").to_html()


def test_quick_values_are_refused(toys):
    with pytest.raises(
        NotMeasured, match="weaknucleiseg/2: 'quick' runs are no measurement; ask for 'short' or 'paper'"
    ):
        render(toys.TABLES["2"], profile="quick")
    run_table(toys.TABLES["2"], profile="quick", progress=False)
    assert (compare(toys.TABLES["2"])["AJI"].runs == 0).all()


def test_simulated_values_are_refused(toys):
    run_table(toys.TABLES["2"], rows=["spn"], progress=False)
    results = Results("weaknucleiseg")
    results.append({**results.lines()[0], "data": "simulated", "run": "x"})
    with pytest.raises(NotMeasured, match="row 'SPN' was run on simulated images"):
        compare(toys.TABLES["2"])
