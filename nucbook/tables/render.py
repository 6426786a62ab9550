"""A table as the book shows it: published, measured, difference, and "not run" where nothing was."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from nucbook.results import Results
from nucbook.rows import Column, Table
from nucbook.tables import published
from nucbook.tables.pairs import p_value
from nucbook.tables.stored import CELL, newest, stored

NOT_RUN = "not run"


class NotMeasured(ValueError):
    """Values that are no measurement on real slides were asked to stand as one."""


def compare(
    table: Table, profile: str = "short", results: Results | None = None, printed: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Published beside measured, in numbers.

    profile : whose runs stand as measured, "short" or "paper"; "quick" raises NotMeasured.
    results : where runs are stored; None = the paper's file.
    printed : what was published; None = `published()`.

    Returns a frame of floats: a row for each (row, dataset, labels), columns (metric, what) with what =
    published, published std, measured, std, runs, older, difference, in the column's unit; NaN where there is
    none. std is over runs (seeds and folds) and needs two. Runs of what the row is today stand before older
    ones; `older` counts the runs that are shown although the row has changed since. Of a column of
    p-values, `measured` is one p-value over the images of all runs. Raises NotMeasured as `measured` does.
    """
    ours = newest(measured(table, profile, results))
    theirs = _published(table, published() if printed is None else printed)
    index = _index(table, theirs, ours)
    columns: dict[tuple[str, str], pd.Series] = {}
    for metric, column in table.columns.items():
        own = theirs[theirs.metric == (column.printed or metric)]
        values = own.set_index(CELL)[["value", "std"]].reindex(index)
        found = _cells(ours, column).reindex(index)
        columns |= {
            (metric, "published"): values["value"],
            (metric, "published std"): values["std"],
            (metric, "measured"): found["mean"],
            (metric, "std"): found["std"],
            (metric, "runs"): found["count"].fillna(0),
            (metric, "older"): ours.groupby(CELL)["older"].sum().reindex(index).fillna(0),
            (metric, "difference"): found["mean"] - values["value"],
        }
    return pd.DataFrame(columns, index=index)


def numbers(frame: pd.DataFrame, column: Column) -> pd.Series:
    """A column's number in each line of a results frame, in its unit; NaN where it was not measured."""
    if column.where:
        values = [_mean_of_some(images, column) for images in frame["per_image"]]
        return pd.Series(values, frame.index, float) * column.unit
    if column.stored not in frame:
        return pd.Series(float("nan"), frame.index)
    return frame[column.stored].astype(float) * column.unit


def _mean_of_some(images: list[dict], column: Column) -> float:
    """The mean over the images with the column's facts, NaN where there is none."""
    counted = [
        image[column.stored]
        for image in images
        if image.get(column.stored) is not None and all(image.get(k) in v for k, v in column.where.items())
    ]
    return sum(counted) / len(counted) if counted else float("nan")


def _cells(ours: pd.DataFrame, column: Column) -> pd.DataFrame:
    """mean, std and count over the runs of each (row, dataset, labels)."""
    if not column.against:
        values = ours[CELL].assign(value=numbers(ours, column))
        return values.groupby(CELL)["value"].agg(["mean", "std", "count"])
    found = {}
    for (row, *cell), own in ours.groupby(CELL):
        base = ours[(ours.row == column.against) & (ours[CELL[1:]] == cell).all(axis=1)]
        if row != column.against and len(base):
            found[(row, *cell)] = {
                "mean": p_value(own, base, column.stored),
                "std": float("nan"),
                "count": len(own),
            }
    index = pd.MultiIndex.from_tuples(found, names=CELL) if found else ours[:0].set_index(CELL).index
    return pd.DataFrame(list(found.values()), index, ["mean", "std", "count"])


def measured(table: Table, profile: str, results: Results | None = None) -> pd.DataFrame:
    """The runs of a table that may stand as measured, as `stored` returns them, one row per run and data set.

    Raises NotMeasured for profile "quick", and where a run of this profile saw simulated images.
    """
    where = f"{table.paper}/{table.name}"
    if profile not in ("short", "paper"):
        raise NotMeasured(f"{where}: {profile!r} runs are no measurement; ask for 'short' or 'paper'.")
    frame = stored(table, profile, results)
    simulated = frame[frame.data != "real"]
    if len(simulated):
        raise NotMeasured(
            f"{where}: row {simulated.row.iloc[0]!r} was run on simulated images, which is no measurement; "
            "take that line out of the results."
        )
    return frame


def render(
    table: Table, profile: str = "short", results: Results | None = None, printed: pd.DataFrame | None = None
) -> Styler:
    """The table for a page: a Styler with a caption; arguments and errors as `compare`.

    To stay narrow it leaves out a data set or kind of labels that is the same in all rows, and the name
    of the metric where there is one alone.
    """
    texts = as_text(compare(table, profile, results, printed), table, profile)
    texts = texts.droplevel([name for name in CELL[1:] if texts.index.unique(name).size == 1])
    if texts.columns.unique(0).size == 1:
        texts = texts.droplevel(0, axis=1)
    styled = texts.style.set_caption(f"{table.caption} {_legend(profile)}")
    styled = styled.set_properties(**{"text-align": "right"}).hide(axis="index", names=True)
    return styled.set_table_attributes('class="dataframe table"')


def markdown(
    table: Table, profile: str = "short", results: Results | None = None, printed: pd.DataFrame | None = None
) -> str:
    """The same as a Markdown table."""
    texts = as_text(compare(table, profile, results, printed), table, profile)
    head = [*CELL, *(f"{metric} {what}".strip() for metric, what in texts.columns)]
    rows = [[*index, *cells] for index, cells in zip(texts.index, texts.to_numpy().tolist())]
    bar = lambda cells: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
    return "\n".join([bar(head), bar(["---"] * 3 + ["---:"] * (len(head) - 3)), *map(bar, rows)])


def as_text(numbers: pd.DataFrame, table: Table, profile: str) -> pd.DataFrame:
    """What `compare` returns, as texts: published, measured (mean ± std, or two runs as they are; n).

    At profile "paper" the difference of the two stands beside them; at "short" network and schedule are not
    the paper's. A table of which nothing is published shows what was measured alone.
    """
    texts = {}
    for metric in numbers.columns.get_level_values(0).unique():
        part, column = numbers[metric], table.columns[metric]
        digits = 1 if column.unit == 100 else 3
        texts[metric, "published"] = [
            _number(value, std, digits) for value, std in part[["published", "published std"]].values
        ]
        texts[metric, f"measured ({profile})"] = [
            f"{_runs(mean, std, runs, digits)} (n={runs:.0f}{', older' if older else ''})"
            if runs
            else NOT_RUN
            for mean, std, runs, older in part[["measured", "std", "runs", "older"]].values
        ]
        if profile == "paper":
            texts[metric, "difference"] = ["–" if pd.isna(d) else f"{d:+.{digits}f}" for d in part.difference]
    shown = pd.DataFrame(texts, index=numbers.index)
    if numbers.xs("published", axis=1, level=1).isna().all(axis=None):
        shown = shown.drop(columns=["published", "difference"], level=1, errors="ignore")
    return shown


def _number(value: float, std: float, digits: int) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.{digits}f}" + ("" if pd.isna(std) else f" ± {std:.{digits}f}")


def _runs(mean: float, std: float, runs: float, digits: int) -> str:
    """Two runs one by one, which their mean and deviation determine; else the mean and its deviation."""
    if runs != 2 or pd.isna(std):
        return _number(mean, std, digits)
    half = std / 2**0.5
    return f"{mean - half:.{digits}f}, {mean + half:.{digits}f}"


def _legend(profile: str) -> str:
    what = (
        "the paper's sizes and schedules" if profile == "paper" else "a small fixed budget, no reproduction"
    )
    runs = "mean ± standard deviation over n runs, two as they are; older: the row has changed since"
    return f"Measured at {profile}: {what}; {runs}."


def _published(table: Table, printed: pd.DataFrame) -> pd.DataFrame:
    own = printed[(printed.paper == table.paper) & (printed.table == table.name)]
    return own.rename(columns={"method": "row"})


def _index(table: Table, theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.MultiIndex:
    """What the paper prints, in its order, our own rows, and those changed on the command line."""
    rows = [(row.name, table.spell(name), row.labels) for row in table.rows for name in row.measured_on]
    printed, stored = (frame[CELL].itertuples(index=False, name=None) for frame in (theirs, ours))
    cells = [*printed, *rows, *stored]
    return pd.MultiIndex.from_tuples(dict.fromkeys(cells), names=CELL)
