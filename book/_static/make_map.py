"""Draws the five pictures of the map on the book's first page: what is asked, and what is made of it.

Run `python book/_static/make_map.py`; the SVG files beside it (map/) are committed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from shapely import MultiPoint, Polygon, affinity, box, voronoi_polygons
from shapely.geometry import LineString, Point

SIDE, GAP = 150, 44  # px: a panel, and the arrow between two
TISSUE, NUCLEUS, FAINT = "#f8e8f0", "#9b80ba", "#d8c8df"
GIVEN, MADE, INK = "#d95f02", "#00798c", "#444444"  # by the annotator, by the method, lines
NUCLEI = [  # centre x, y, half axes, degrees
    (30, 32, 15, 10, 20),
    (70, 26, 13, 10, -30),
    (116, 36, 16, 12, 10),
    (28, 82, 13, 12, 0),
    (68, 68, 16, 11, 40),
    (86, 86, 14, 11, -20),
    (124, 88, 13, 11, 60),
    (44, 122, 15, 10, -10),
    (90, 126, 12, 10, 30),
    (128, 126, 11, 10, 0),
]


def ellipse(x, y, a, b, degrees) -> Polygon:
    return affinity.translate(affinity.rotate(affinity.scale(Point(0, 0).buffer(1, 16), a, b), degrees), x, y)


def path(shape, fill="none", stroke="none", width=1.5, dash="", opacity=1.0) -> str:
    """A shapely polygon or line as an SVG path."""
    rings = [shape.exterior, *shape.interiors] if shape.geom_type == "Polygon" else [shape]
    points = [" L".join(f"{x:.1f},{y:.1f}" for x, y in ring.coords) for ring in rings]
    d = "".join(f"M{p}{'Z' if shape.geom_type == 'Polygon' else ''}" for p in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{d}" fill="{fill}" fill-rule="evenodd" stroke="{stroke}" stroke-width="{width}"'
        f'{dashes} opacity="{opacity}"/>'
    )


def drawn(x, y, a, b, degrees, fill="none", stroke="none", width=1.5, dash="", opacity=1.0) -> str:
    """An ellipse as an SVG element; smaller than its path."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{a:.1f}" ry="{b:.1f}" '
        f'transform="rotate({degrees:.0f} {x:.1f} {y:.1f})" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="{width}"{dashes} opacity="{opacity}"/>'
    )


def panel(*parts: str) -> str:
    return f'<rect width="{SIDE}" height="{SIDE}" rx="8" fill="{TISSUE}"/>' + "".join(parts)


def scene(fill=FAINT) -> str:
    return "".join(drawn(*nucleus, fill) for nucleus in NUCLEI)


def dots() -> str:
    return "".join(f'<circle cx="{x}" cy="{y}" r="3.4" fill="{GIVEN}"/>' for x, y, *_ in NUCLEI)


def tiles(columns: int, rows: int, labelled: set[int], seed: int = 0) -> str:
    """Images as small tiles; the labelled ones in the annotator's colour."""
    rng, parts = np.random.default_rng(seed), []
    size, margin = min((SIDE - 4) / columns, (SIDE - 4) / rows) - 4, 4
    left = (SIDE - columns * (size + margin) + margin) / 2
    top = (SIDE - rows * (size + margin) + margin) / 2
    for i in range(columns * rows):
        x, y = left + i % columns * (size + margin), top + i // columns * (size + margin)
        known = i in labelled
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{size:.1f}" rx="2" '
            f'fill="{"#fdf0e4" if known else "#f1d9e6"}" stroke="{GIVEN if known else "#d9b8cb"}" '
            f'stroke-width="{2 if known else 1}"/>'
        )
        for _ in range(4):
            cx, cy = x + size * rng.uniform(0.2, 0.8), y + size * rng.uniform(0.2, 0.8)
            colour = GIVEN if known else FAINT
            parts.append(drawn(cx, cy, size * 0.13, size * 0.09, rng.uniform(0, 180), colour))
    return "".join(parts)


def weaknucleiseg() -> tuple[str, str]:
    frame = box(0, 0, SIDE, SIDE)
    cells = voronoi_polygons(MultiPoint([n[:2] for n in NUCLEI]), extend_to=frame)
    colours = ["#00798c", "#7570b3", "#66a61e", "#e7298a", "#a6761d"]
    made = [drawn(*n, colours[i % 5], opacity=0.8) for i, n in enumerate(NUCLEI)]
    made += [path(cell.intersection(frame), stroke=INK, width=1, dash="4 3") for cell in cells.geoms]
    return panel(scene(), dots()), panel(*made)


def whichpixel() -> tuple[str, str]:
    rng, made = np.random.default_rng(5), []
    for x, y, copy in [(8, 50, False), (82, 6, True), (82, 54, True), (82, 102, True)]:
        size = 50 if not copy else 42
        made.append(
            f'<rect x="{x}" y="{y}" width="{size}" height="{size}" rx="3" fill="#fff" '
            f'stroke="{MADE if copy else GIVEN}" stroke-width="2"/>'
        )
        for k in range(4):
            cx, cy = x + size * (0.3 + 0.4 * (k % 2)), y + size * (0.3 + 0.4 * (k // 2))
            cx, cy = cx + rng.uniform(-3, 3), cy + rng.uniform(-3, 3)
            made.append(drawn(cx, cy, size * 0.15, size * 0.1, rng.uniform(0, 180), MADE if copy else GIVEN))
        if copy:
            made.append(path(LineString([(60, 75), (79, y + 21)]), stroke=INK, width=1.2))
    return panel(tiles(5, 5, {7, 16}, seed=2)), panel(*made)


def bass() -> tuple[str, str]:
    nucleus = ellipse(75, 75, 46, 33, 25)
    inner, outer = nucleus.buffer(-11), nucleus.buffer(11)
    made = [
        path(outer.difference(nucleus), "#f6c9a0"),
        path(nucleus.difference(inner), "#8cc5ce"),
        path(inner, NUCLEUS),
        path(nucleus, stroke=INK, width=2),
        '<rect x="16" y="24" width="118" height="102" fill="none" stroke="#444" stroke-dasharray="5 4"/>',
    ]
    return panel(tiles(4, 2, {1})), panel(*made)


def ircr() -> tuple[str, str]:
    made = []
    for i, (x, y, a, b, degrees) in enumerate(NUCLEI):
        if i == 3:  # seen by one of the two: no match, left out
            made.append(drawn(x, y, a, b, degrees, stroke=INK, width=2, opacity=0.5))
            cross = f"M{x - 9},{y - 9} l18,18 m0,-18 l-18,18"
            made.append(f'<path d="{cross}" stroke="{GIVEN}" stroke-width="2.5"/>')
            continue
        made.append(drawn(x, y, a, b, degrees, FAINT, INK, 2))
        made.append(drawn(x + 2, y - 2, a * 0.9, b * 1.1, degrees + 8, stroke=MADE, width=2, dash="4 3"))
    return panel(tiles(8, 4, {10})), panel(*made)


def a2b() -> tuple[str, str]:
    bends = [
        LineString([(22, 40), (58, 60), (98, 62), (130, 44)]),
        LineString([(54, 24), (66, 62), (64, 104)]),
        LineString([(88, 128), (108, 106), (132, 96)]),
    ]
    bodies = [bend.buffer(9, 8) for bend in bends]
    given = [path(body, NUCLEUS, "#fff", 1) for body in bodies]
    given += [path(body, stroke=GIVEN, width=2) for body in bodies]
    made = [path(body, FAINT) for body in bodies]
    made += [path(body.minimum_rotated_rectangle, stroke=MADE, width=2) for body in bodies]
    made += [path(bend, stroke=INK, width=1.5, dash="3 2") for bend in bends]
    return panel(*given), panel(*made)


TITLES = {
    weaknucleiseg: "One point a nucleus becomes Voronoi cells and separate instances",
    whichpixel: "A few chosen patches become many synthetic ones",
    bass: "One labelled image in eight; learning looks at both sides of a nucleus' boundary",
    ircr: "One labelled image in thirty-two; teacher and student must agree, nucleus by nucleus",
    a2b: "Labelled and unlabelled images; skeletons and rotated boxes part what crosses",
}

if __name__ == "__main__":
    folder = Path(__file__).parent / "map"
    folder.mkdir(exist_ok=True)
    for draw, title in TITLES.items():
        given, made = draw()
        arrow = (
            f'<path d="M{SIDE + 8},{SIDE / 2} h{GAP - 20} m-8,-7 l8,7 l-8,7" fill="none" '
            f'stroke="{INK}" stroke-width="2.5"/>'
        )
        (folder / f"{draw.__name__}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 -4 {2 * SIDE + GAP + 8} {SIDE + 8}">'
            f"<title>{title}</title>{given}{arrow}"
            f'<g transform="translate({SIDE + GAP} 0)">{made}</g></svg>\n',
            encoding="utf-8",
        )
