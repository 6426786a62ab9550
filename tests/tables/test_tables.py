from __future__ import annotations

import pytest

from nucbook import tables
from nucbook.method import config_of


def test_published_values_as_printed():
    printed = tables.published()
    assert len(printed) == 1051
    assert list(printed.columns) == [
        "paper",
        "table",
        "dataset",
        "labels",
        "method",
        "metric",
        "value",
        "std",
        "source",
    ]
    cell = printed.query(
        "paper == 'weaknucleiseg' and table == '1' and dataset == 'TNBC' and metric == 'AJI'"
    )
    assert dict(zip(cell.method, cell.value))["SPN+IEN"] == 0.5854
    assert set(printed.paper) == {"a2b", "bass", "ircr", "weaknucleiseg", "whichpixel"}
    assert printed.value.notna().all()
    assert not printed.duplicated(["paper", "table", "dataset", "labels", "method", "metric"]).any()


def test_tables_and_methods_are_found_by_name(toys):
    assert "toys" in tables.papers()
    assert tables.find("toys/2") is toys.TABLES["2"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tables.find("toys/7"), "no table 'toys/7'; there are toys/2, toys/other"),
        (lambda: tables.find("os/7"), "no tables of 'os'; papers with tables: .*toys"),
        (
            lambda: tables.select(tables.find("toys/2"), ["IEN"]),
            r"no row 'IEN' in weaknucleiseg/2; nearest: SPN\+IEN\. .*--list` shows all 3",
        ),
    ],
)
def test_a_name_that_is_not_there_lists_those_that_are(toys, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_by_name_or_alias(toys):
    table = toys.TABLES["2"]
    assert [row.name for row in tables.select(table, None)] == ["SPN", "SPN+IEN", "folded"]
    assert [row.name for row in tables.select(table, ["spn", "folded"])] == ["SPN", "folded"]


def test_every_declared_table_can_be_addressed():
    """Rows of all papers: methods there, columns that are metrics, names and data sets as published."""
    printed = tables.published()
    for paper in tables.papers():
        for name, table in tables.tables_of(paper).items():
            assert (table.paper, table.name) == (paper, name)
            theirs = printed[(printed.paper == paper) & (printed.table == name)]
            printed_as = {column.printed or name for name, column in table.columns.items()}
            assert printed_as >= set(theirs.metric)
            for row in table.rows:
                assert config_of(row.method).quick() is not None
                assert tables.select(table, [row.alias or row.name])[0].name == row.name
                if row.name in set(theirs.method):
                    assert table.spell(row.dataset) in set(theirs.dataset)  # others may be ours
