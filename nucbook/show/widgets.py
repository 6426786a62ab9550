"""Sliders that leave a picture behind: a page of HTML has no kernel to move them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from IPython import get_ipython

from nucbook.show.figures import WIDTH

POSITIONS = 4  # of the first slider, shown on the page where `at` says nothing


def live() -> bool:
    """Whether a reader sits in front of this kernel, so that sliders can be moved.

    A Jupyter server names the session of its kernels, VS Code names the notebook, Colab brings a
    module; the kernel that builds the book or tests a chapter has none of these. `NUCBOOK_LIVE` =
    1 or 0 decides where that guess is wrong.
    """
    said = os.environ.get("NUCBOOK_LIVE")
    if said is not None:
        return said not in ("", "0")
    shell = get_ipython()
    in_vs_code = shell is not None and "__vsc_ipynb_file__" in shell.user_ns
    return "JPY_SESSION_NAME" in os.environ or in_vs_code or "google.colab" in sys.modules


def explore(
    draw: Callable[..., Any],
    *,
    at: Sequence[Mapping[str, Any]] | None = None,
    columns: int = 1,
    height: float = 2.4,
    **sliders: Sequence[Any],
) -> ipywidgets.Widget | None:
    """Let a reader move sliders where there is a kernel; show a few of their positions where there is none.

    draw    : draw(figure, **values) fills the (sub)figure it is given.
    sliders : name = the positions it can take, in order: `shift=range(9)`.
    at      : positions for the page, each {name: value}; sliders left out stand at their first. By
              default four positions spread over the first slider.
    columns : how many positions stand side by side on the page.
    height  : of one position on the page, inches.

    Returns the widget where it is live, else None. Raises ValueError for a position that a slider
    does not have.

    With `NUCBOOK_EVERY_POSITION` = 1, as in a test run, each position of each slider, the others as
    the page begins, is also drawn as a live slider draws it and thrown away: what a reader could move to
    does not fail.
    """
    choices = {name: list(positions) for name, positions in sliders.items()}
    if not choices or not all(choices.values()):
        raise ValueError("explore needs a slider with at least one position, as shift=range(9).")
    first = {name: positions[0] for name, positions in choices.items()}
    shown = [first | dict(values) for values in (_spread(choices) if at is None else at)]
    for values in shown:
        _check(values, choices)
    zoom = min(columns, 2)  # a small multiple is too small to stand alone
    size = WIDTH / columns * zoom, height * zoom
    if live():
        return _widget(draw, choices, shown[0], size)
    rows = -(-len(shown) // columns)
    page = plt.figure(figsize=(WIDTH, rows * height))
    comma = ", " if columns == 1 else "\n"  # a narrow picture has no room for a long line
    for figure, values in zip(page.subfigures(rows, columns, squeeze=False).flat, shown):
        figure.suptitle(comma.join(f"{name} = {_text(value)}" for name, value in values.items()), fontsize=10)
        draw(figure, **values)
    if os.environ.get("NUCBOOK_EVERY_POSITION", "0") not in ("", "0"):
        _try_all(draw, choices, shown, size)
        plt.figure(page)  # is the current one again
    return None


def _try_all(
    draw: Callable[..., Any], choices: dict[str, list], shown: list[dict[str, Any]], size: tuple[float, float]
):
    """Draw each position that the page does not show, close the figures; an error names the position."""
    for name, positions in choices.items():
        for position in positions:
            values = shown[0] | {name: position}
            if values in shown:
                continue
            try:
                figure = _alone(draw, values, size)
                figure.draw_without_rendering()
            except Exception as error:
                error.add_note(f"at {', '.join(f'{key} = {_text(value)}' for key, value in values.items())}")
                raise
            finally:
                plt.close()


def _alone(draw: Callable[..., Any], values: Mapping[str, Any], size: tuple[float, float]) -> plt.Figure:
    figure = plt.figure(figsize=size)
    draw(figure, **values)
    return figure


def _widget(
    draw: Callable[..., Any], choices: dict[str, list], start: dict[str, Any], size: tuple[float, float]
) -> ipywidgets.Widget:
    def show(**values):
        _alone(draw, values, size)
        plt.show()

    return ipywidgets.interactive(
        show, **{name: _control(name, positions, start[name]) for name, positions in choices.items()}
    )


def _control(name: str, positions: list, value: Any) -> ipywidgets.Widget:
    """A dropdown for names, which have no order; else a slider. Its label is as wide as it needs."""
    options = [(_text(position), position) for position in positions]
    common = {"options": options, "value": value, "description": name}
    common["style"] = {"description_width": "initial"}
    if all(isinstance(position, str) for position in positions):
        return ipywidgets.Dropdown(**common)
    return ipywidgets.SelectionSlider(**common, continuous_update=False)


def _spread(choices: dict[str, list]) -> list[dict[str, Any]]:
    name, positions = next(iter(choices.items()))
    count = min(POSITIONS, len(positions))
    steps = [round(i * (len(positions) - 1) / max(count - 1, 1)) for i in range(count)]
    return [{name: positions[step]} for step in steps]


def _check(values: Mapping[str, Any], choices: dict[str, list]):
    for name, value in values.items():
        if name not in choices:
            raise ValueError(f"at names {name!r}; the sliders are {', '.join(choices)}.")
        if value not in choices[name]:
            raise ValueError(f"{name} has no position {value!r}; one of {choices[name]}.")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
