"""The pictures of the book, in one look.

Every function draws into the `axes` it is given, or into a new figure, and returns the axes, so that a
chapter can put several beside each other. Figures are at most `WIDTH` inches wide with letters of
10 points: they stay readable on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours

from nucbook.data import SIMULATED
from nucbook.metrics import Overlap
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample
from nucbook.training.history import watched

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

WIDTH = 6.0  # inches, the widest figure
MARKS = {"simulated": "SIMULATED TISSUE", "real": "REAL SLIDES"}

# Okabe & Ito's palette, distinguishable by every kind of colour vision.
COLOURS = {
    "matched": "#009E73",  # green: true and predicted
    "missed": "#0072B2",  # blue: true, not predicted
    "false": "#E69F00",  # orange: predicted, not true
    "truth": "#F0E442",  # yellow, stands out on haematoxylin
    "prediction": "#56B4E9",  # sky blue
    "pink": "#CC79A7",
    "red": "#D55E00",
    "grey": "#7F7F7F",
}

STYLE: dict[str, Any] = {
    "figure.figsize": (WIDTH, 2.8),
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(
        color=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F"]
    ),
    "image.interpolation": "nearest",
    "image.cmap": "viridis",
    "lines.linewidth": 1.6,
}


def use_style() -> None:
    """Set the look of the book for the figures that follow; the first cell of a chapter calls it."""
    plt.style.use(STYLE)


def mark(drawn: Axes | Figure, data: str | Sample) -> None:
    """Write under a figure, at its right, whether it shows simulated tissue or real slides.

    data : "simulated" or "real", or a sample that knows its data set. One figure may get both. `overlay`,
           `compare` and `image_grid` do it themselves where they are given samples.

    Raises ValueError for another text.
    """
    if isinstance(data, Sample):
        if "dataset" not in data.meta:
            return
        data = "simulated" if data.meta["dataset"] in SIMULATED else "real"
    if data not in MARKS:
        raise ValueError(f"data is {data!r}; say whether it is 'simulated' or 'real'.")
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None  # axes have one
    before = [text for text in figure.texts if text.get_gid() == "mark"]
    kinds = {kind for text in before for kind in MARKS if MARKS[kind] in text.get_text()} | {data}
    for text in before:
        text.remove()
    shown = ", ".join(MARKS[kind] for kind in MARKS if kind in kinds)
    figure.text(1, 0, shown, ha="right", va="top", fontsize=7, color=COLOURS["grey"], gid="mark")


def label_map(labels: np.ndarray | Nuclei) -> np.ndarray:
    """A label map (H, W) as float32 RGBA (H, W, 4): one colour per instance, background transparent.

    The colour depends on the id alone, so an instance keeps it from figure to figure. Hue and
    brightness follow two irrational steps (Roberts' R2 sequence): ids that are near each other differ
    in both, so neighbours are distinguishable without colour vision.
    """
    labels = labels.to_labels() if isinstance(labels, Nuclei) else np.asarray(labels)
    ids, index = np.unique(labels, return_inverse=True)
    steps = ids[:, None] * (0.7548776662, 0.5698402910) % 1
    hsv = np.stack([steps[:, 0], np.full(len(ids), 0.75), 0.5 + 0.5 * steps[:, 1]], axis=1)
    colours = np.concatenate([hsv_to_rgb(hsv), np.ones((len(ids), 1))], axis=1).astype(np.float32)
    colours[ids == 0] = 0
    return colours[index.reshape(labels.shape)]


def image_grid(
    images: Iterable[np.ndarray | Sample],
    titles: Iterable[str] = (),
    columns: int = 4,
    height: float | None = None,
) -> np.ndarray:
    """Images or samples side by side; returns the axes, (rows, columns).

    images : RGB (H, W, 3), RGBA, or one channel (H, W), shown in the colour map of the style.
    height : of one row, inches; by default what the first image needs.
    """
    images, titles = list(images), list(titles)
    pictures = [item.image if isinstance(item, Sample) else np.asarray(item) for item in images]
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    if height is None:
        height = WIDTH / columns * pictures[0].shape[0] / pictures[0].shape[1] + 0.25 * bool(titles)
    grid = plt.figure(figsize=(WIDTH, rows * height)).subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures):
        axes.imshow(picture)
    for axes, title in zip(grid.flat, titles):
        axes.set_title(title)
    for item in images:
        if isinstance(item, Sample):
            mark(grid.flat[0], item)
    return grid


def overlay(
    image: np.ndarray | Sample,
    labels: np.ndarray | Nuclei | None = None,
    axes: Axes | None = None,
    colour: str | Sequence[str] = COLOURS["truth"],
    width: float = 1.2,
    title: str = "",
) -> Axes:
    """The outlines of instances on their image.

    labels : label map (H, W) or Nuclei; by default the truth of the sample.
    colour : one for all, or one an instance, in the order of ids.
    width  : of the outline, points.

    Raises ValueError for an image without labels.
    """
    axes = axes or _square_axes()
    if isinstance(image, Sample):
        labels = image.truth if labels is None else labels
        mark(axes, image)
        image = image.image
    if labels is None:
        raise ValueError("an image alone has no outlines; give labels, or a sample.")
    axes.imshow(image)
    _outline(axes, labels, colour, width)
    axes.set_title(title)
    axes.axis("off")
    return axes


def compare(
    truth: np.ndarray | Nuclei | Sample,
    prediction: np.ndarray | Nuclei,
    image: np.ndarray | None = None,
    by: str = "instance",
    axes: Axes | None = None,
    title: str = "",
    legend: bool = True,
) -> Axes:
    """Truth against prediction, matched, missed and false in the three colours of `COLOURS`.

    truth : a sample brings its image with it.
    by    : "pixel" paints each pixel by whether it is foreground in both, in truth or in prediction
            only; "instance" outlines each instance by whether it has a partner with IoU > 0.5,
            a matched pair by both of its outlines (the truth's dashed).
    image : drawn underneath; white by default.
    """
    axes = axes or _square_axes()
    if isinstance(truth, Sample):
        image = truth.image if image is None else image
        mark(axes, truth)
        truth = truth.truth
    axes.imshow(np.full((*truth.shape, 3), 255, np.uint8) if image is None else image)
    if by == "pixel":
        axes.imshow(_confusion(truth, prediction))
        names = ("in both", "truth only", "prediction only")
    elif by == "instance":
        overlap = Overlap.between(truth, prediction)
        pairs = overlap.iou > 0.5
        found = np.isin(_ids(truth), overlap.truth_ids[overlap.truth_of[pairs]])
        right = np.isin(_ids(prediction), overlap.prediction_ids[overlap.prediction_of[pairs]])
        matched = COLOURS["matched"]
        _outline(axes, truth, np.where(found, matched, COLOURS["missed"]), 1.4, "--")
        _outline(axes, prediction, np.where(right, matched, COLOURS["false"]), 1.4)
        names = ("matched", "missed", "false")
    else:
        raise ValueError(f"compare by {by!r}? One of 'pixel', 'instance'.")
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    if legend:
        keys = ("matched", "missed", "false")
        patches = [Patch(color=COLOURS[key], label=name) for key, name in zip(keys, names)]
        axes.legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=3,
            handlelength=1,
            columnspacing=1,
        )
    return axes


def scores(
    values: Mapping[str, float],
    axes: Axes | None = None,
    before: Mapping[str, float] | None = None,
    title: str = "",
) -> Axes:
    """Metrics as bars from 0 to 1 with their numbers; `before` leaves a mark to compare with.

    A value that is not a number is written as "undefined": it is not a zero.
    """
    axes = axes or plt.figure(figsize=(WIDTH, 0.22 * len(values) + 0.4)).subplots()
    names, numbers = list(values), np.array(list(values.values()), float)
    axes.barh(names, np.nan_to_num(numbers), color=COLOURS["prediction"], height=0.7)
    for row, number in enumerate(numbers):
        text = "undefined" if np.isnan(number) else f"{number:.2f}"
        axes.text(np.nan_to_num(number) + 0.02, row, text, va="center", fontsize=9)
    if before is not None:
        marks = [before[name] for name in names]
        axes.plot(marks, range(len(names)), "|", color="black", markersize=9, markeredgewidth=1.5)
    axes.set(xlim=(0, 1.18), xticks=[0, 0.5, 1], title=title)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.invert_yaxis()
    return axes


def curves(history: Any, columns: Sequence[str] = (), axes: Axes | None = None, title: str = "") -> Axes:
    """What a training wrote down, against the optimiser step.

    history : the History that `fit` returns, or its table, indexed by step.
    columns : of its table; by default every loss, and their sum where there are several, but nothing
              "watched/…".
    """
    frame = history if hasattr(history, "columns") else history.frame()
    if not columns:
        columns = [name for name in frame.columns if name != "learning_rate" and not watched(name)]
        columns = columns[1:] if len(columns) == 2 and columns[0] == "loss" else columns
    axes = axes or plt.figure(figsize=(WIDTH, 2.6)).subplots()
    for name in columns:
        axes.plot(frame.index, frame[name], label=name, color="black" if name == "loss" else None)
    axes.set(xlabel="optimiser step", title=title)
    axes.legend()
    return axes


def intervals(frame: pd.DataFrame, axes: Axes | None = None, title: str = "") -> Axes:
    """Differences with their intervals, one line per row, the first on top; the dashed line is no difference.

    frame : indexed by row, with columns difference, low and high, as `nucbook.tables.pairs.differences`.
    """
    axes = axes or plt.figure(figsize=(WIDTH, 0.5 + 0.35 * len(frame))).subplots()
    reach = np.abs(frame[["low", "high"]].to_numpy().T - frame["difference"].to_numpy())
    axes.axvline(0, color="black", linewidth=0.8, linestyle="--")
    axes.errorbar(frame["difference"], range(len(frame)), xerr=reach, fmt="o", capsize=3)
    axes.set(yticks=range(len(frame)), yticklabels=frame.index, title=title)
    axes.set_ylim(len(frame) - 0.4, -0.6)
    return axes


def scale_bar(axes: Axes, mpp: float, micrometres: float = 20) -> Axes:
    """A bar of so many micrometres in the lower left corner of an image with `mpp` µm a pixel."""
    length = micrometres / mpp
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    span = abs(np.diff(axes.get_ylim())[0])
    x, y = left + 0.05 * span, bottom - 0.06 * span
    outline = [withStroke(linewidth=3, foreground="white")]  # legible on dark tissue too
    axes.plot([x, x + length], [y, y], color="white", linewidth=5, solid_capstyle="butt")
    axes.plot([x, x + length], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    axes.text(
        x + length / 2,
        y - 0.02 * span,
        f"{micrometres:g} µm",
        ha="center",
        va="bottom",
        fontsize=9,
        path_effects=outline,
    )
    return axes


def table(frame: pd.DataFrame, digits: int = 3, best: Sequence[str] = (), data: str | None = None) -> Styler:
    """A data frame for the page: rounded, empty cells as "–", the highest of the `best` columns bold.

    data : "simulated" or "real", written under the table; None where its numbers are of neither.

    The name of the index stands in the corner of the header, not in a row of its own, and takes the place
    of a name of the columns.
    """
    if frame.index.name:
        above = [None] * (frame.columns.nlevels - 1)
        frame = frame.rename_axis(columns=[*above, frame.index.name]).rename_axis(index=None)
    numbers = frame.select_dtypes("number").columns
    styled = frame.style.format(precision=digits, na_rep="–", thousands=",")
    styled = styled.set_properties(**{"text-align": "left", "vertical-align": "top"})
    styled = styled.set_properties(subset=list(numbers), **{"text-align": "right"})
    styled = styled.set_table_attributes('class="dataframe table"')  # the look of the page's tables
    if len(best):
        styled = styled.highlight_max(subset=list(best), props="font-weight: bold")
    if data is not None:
        look = "caption-side: bottom; text-align: right; font-size: 70%;"
        styled = styled.set_caption(MARKS[data])
        styled = styled.set_table_styles([{"selector": "caption", "props": look}])
    return styled


def _square_axes() -> Axes:
    return plt.figure(figsize=(3.4, 3.4)).subplots()


def _ids(labels: np.ndarray | Nuclei) -> np.ndarray:
    if isinstance(labels, Nuclei):
        return np.arange(1, len(labels) + 1)
    ids = np.unique(labels)
    return ids[ids != 0]


def _outline(axes: Axes, labels: np.ndarray | Nuclei, colour: str | Iterable[str], width: float, style="-"):
    nuclei = labels if isinstance(labels, Nuclei) else Nuclei.from_labels(labels)
    colours = [colour] * len(nuclei) if isinstance(colour, str) else list(colour)
    lines, line_colours = [], []
    for (row, column, _, _), mask, its_colour in zip(nuclei.boxes, nuclei.masks, colours):
        for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
            y, x = contour.T
            lines.append(np.stack([x + column - 1, y + row - 1], axis=1))
            line_colours.append(to_rgba(its_colour))
    axes.add_collection(LineCollection(lines, colors=line_colours, linewidths=width, linestyles=style))


def _confusion(truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei) -> np.ndarray:
    foreground = lambda labels: (labels.to_labels() if isinstance(labels, Nuclei) else np.asarray(labels)) > 0
    case = foreground(truth) + 2 * foreground(prediction)  # 0 none, 1 truth, 2 prediction, 3 both
    return np.array([(0, 0, 0, 0), *(to_rgba(COLOURS[key]) for key in ("missed", "false", "matched"))])[case]
