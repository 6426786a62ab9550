"""What the chapters show: pictures, sliders, tables, and the source of library functions."""

from nucbook.show.figures import (
    COLOURS,
    WIDTH,
    compare,
    curves,
    image_grid,
    intervals,
    label_map,
    mark,
    overlay,
    scale_bar,
    scores,
    table,
    use_style,
)
from nucbook.show.source import source
from nucbook.show.widgets import explore, live

__all__ = [
    "COLOURS",
    "WIDTH",
    "compare",
    "curves",
    "explore",
    "image_grid",
    "intervals",
    "label_map",
    "live",
    "mark",
    "overlay",
    "scale_bar",
    "scores",
    "source",
    "table",
    "use_style",
]
