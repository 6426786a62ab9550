from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from scipy.stats import wilcoxon

from nucbook.results import Results
from nucbook.rows import Column
from nucbook.tables.render import NotMeasured, compare, markdown, render
from nucbook.tables.run import run_table


def test_published_beside_measured(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn"], seeds=3, progress=False)
    numbers = compare(table)
    row = numbers.loc["SPN", "MultiOrgan", "points"]["AJI"]
    assert row.published == 0.4754  # Table 2 of the paper
    stored = Results("weaknucleiseg").frame().aji
    assert row.measured == pytest.approx(stored.mean())
    assert row["std"] == pytest.approx(stored.std()) != 0
    assert row.older == 0
    assert row.runs == 3
    assert row.difference == pytest.approx(row.measured - row.published)
    other = numbers.loc["Fully", "MultiOrgan", "masks"]["AJI"]
    assert math.isnan(other.measured)
    assert other.runs == 0
    text = markdown(table)
    assert "| SPN | MultiOrgan | points | " in text
    assert f"| 0.475 | {stored.mean():.3f} ± {stored.std():.3f} (n=3) |" in text
    assert "not run" in text
    assert "difference" not in text


def test_two_runs_are_listed(toys):
    run_table(toys.TABLES["2"], rows=["spn"], seeds=2, progress=False)
    low, high = sorted(Results("weaknucleiseg").frame().aji)
    assert f"| 0.475 | {low:.3f}, {high:.3f} (n=2) |" in markdown(toys.TABLES["2"])


def test_a_difference_is_formed_at_the_papers_sizes_alone(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn"], profile="paper", progress=False)
    [aji] = Results("weaknucleiseg").frame().aji
    assert f"| 0.475 | {aji:.3f} (n=1) | {aji - 0.4754:+.3f} |" in markdown(table, "paper")


def test_every_published_row_is_there_and_ours_after_them(toys):
    rows = [row for row, *_ in compare(toys.TABLES["2"]).index]
    assert rows.index("SPN+IEN") < rows.index("folded")
    assert {"Baseline (Qu et al. labels)", "Dong et al.", "Fully"} <= set(rows)
    assert len(rows) == len(set(compare(toys.TABLES["2"]).index))


def test_per_cent_and_no_published_column_where_nothing_is_published(toys):
    run_table(toys.TABLES["other"], progress=False)
    text = markdown(toys.TABLES["other"])
    assert text.splitlines()[0] == "| row | dataset | labels | Dice measured (short) |"
    dice = Results("toys").frame().set_index("dataset").dice["tnbc"]
    assert f"| mine | tnbc | points | {100 * dice:.1f} (n=1) |" in text


def test_a_page_gets_a_caption_that_says_what_short_is(toys):
    assert "no reproduction" in render(toys.TABLES["2"]).to_html()
    assert "Toys." in render(toys.TABLES["2"], profile="paper").to_html()


@pytest.mark.slow
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


def test_runs_of_what_a_row_was_are_marked_older_until_it_is_run_again(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn"], progress=False)
    changed = replace(table, rows=(replace(table.rows[0], changes={"gain": 0.3}), *table.rows[1:]))
    numbers = compare(changed).loc["SPN", "MultiOrgan", "points"]["AJI"]
    assert (numbers.runs, numbers.older) == (1, 1)
    assert "(n=1, older)" in markdown(changed)
    run_table(changed, rows=["spn"], seeds=2, progress=False)
    numbers = compare(changed).loc["SPN", "MultiOrgan", "points"]["AJI"]
    assert (numbers.runs, numbers.older) == (2, 0)


def test_a_column_under_a_name_of_ours_stands_beside_what_is_printed(toys):
    columns = {"AJI-Qu": Column("aji_qu", printed="AJI"), "AJI (Kumar)": "aji"}
    table = replace(toys.TABLES["2"], columns=columns)
    row = compare(table).loc["SPN", "MultiOrgan", "points"]
    assert row["AJI-Qu"].published == 0.4754
    assert math.isnan(row["AJI (Kumar)"].published)
    assert "AJI-Qu published" in markdown(table)


def test_columns_of_some_images_with_a_unit_of_their_own_and_p_values(toys):
    plain = toys.TABLES["2"]
    columns = {
        "AJI": "aji",
        "AJI (colon)": Column("aji", 100, {"organ": ("Colon",)}),
        "p": Column("aji", against="SPN"),
        "M": Column("parameters", 1e-6),
    }
    table = replace(plain, columns=columns)
    run_table(table, rows=["spn", "SPN+IEN"], seeds=2, progress=False)
    numbers = compare(table)
    lines = [line for line in Results("weaknucleiseg").lines() if line["dataset"] == "MultiOrgan"]
    scores = {
        row: pd.DataFrame([image for line in lines if line["row"] == row for image in line["per_image"]])
        for row in ("SPN", "SPN+IEN")
    }
    other = numbers.loc["SPN+IEN", "MultiOrgan", "points"]
    colon = scores["SPN+IEN"][scores["SPN+IEN"].organ == "Colon"].aji
    assert 0 < len(colon) < len(scores["SPN+IEN"])
    assert other["AJI (colon)"].measured == pytest.approx(100 * colon.mean())
    by_image = [scores[row].groupby("name").aji.mean() for row in ("SPN+IEN", "SPN")]
    assert other["p"].measured == pytest.approx(wilcoxon(by_image[0] - by_image[1]).pvalue)
    assert math.isnan(numbers.loc["SPN", "MultiOrgan", "points"]["p"].measured)
    assert other["M"].measured == 0  # the toy has a buffer and no parameter
    with pytest.raises(ValueError, match="column 'p' is against no row: 'SPM'"):
        replace(plain, columns={"p": Column("aji", against="SPM")})
    with pytest.raises(ValueError, match="no metric 'ajji'; there are dice"):
        run_table(replace(plain, columns={"AJI": "ajji"}), progress=False)
