"""Aperio ImageScope XML: outlines of nuclei as polygons (MoNuSeg, Kumar, MoNuSAC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException, ElementTree

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import read_rgb
from nucbook.data.readers.polygons import Rings, paint
from nucbook.sample import Sample

AMBIGUOUS = "Ambiguous"  # MoNuSAC's name for what annotators could not decide


@dataclass(frozen=True)
class Regions:
    """What an annotation file holds.

    outlines : one a region, in file order (see `polygons` for the form).
    kinds    : name of each region's class, "" where the file has none.
    mpp      : micrometres per pixel, or None.
    """

    outlines: list[Rings]
    kinds: list[str]
    mpp: float | None


def read_sample(
    image: Path,
    xml: Path,
    name: str,
    mpp: float | None,
    meta: Mapping[str, Any],
    class_names: Mapping[int, str] | None = None,
) -> Sample:
    """A picture and the regions of its XML; `meta["regions"]` counts the nuclei that the file lists.

    mpp         : used where the file does not tell its own.
    class_names : {class id: name of the layer}; regions of other layers get class 0.
    Regions of the layer "Ambiguous" are no nuclei: their pixels, but for those of a labelled nucleus,
    are False in `valid`. Raises UnreadableFile for broken files.
    """
    picture, regions = read_rgb(image), read_regions(xml)
    doubtful = [kind == AMBIGUOUS for kind in regions.kinds]
    nuclei = [outline for outline, doubt in zip(regions.outlines, doubtful) if not doubt]
    labels = paint(nuclei, picture.shape[:2])
    valid = None
    if any(doubtful):
        faint = paint([outline for outline, doubt in zip(regions.outlines, doubtful) if doubt], labels.shape)
        valid = (faint == 0) | (labels > 0)
    id_of = {kind: i for i, kind in (class_names or {}).items()}
    kinds = [kind for kind in regions.kinds if kind != AMBIGUOUS]
    return Sample(
        picture,
        labels,
        class_of={i: id_of.get(kind, 0) for i, kind in enumerate(kinds, start=1)} if id_of else {},
        class_names=class_names or {},
        valid=valid,
        mpp=regions.mpp or mpp,
        name=name,
        meta={**meta, "regions": len(nuclei)},
    )


def read_regions(path: Path) -> Regions:
    """All regions of an Aperio XML, also those of fewer than three vertices.

    Aperio's X is the column and Y the row, both taken as pixel indices (centres at integers). The stain's
    edge lies half a pixel up and left of that in MoNuSeg; we keep to it because the label maps of its
    training images do (foreground IoU 0.98, against 0.91), and training and test must share one rule.
    A region's class is the name of its layer's first attribute (`Attribute@Name`), but for
    "Description", which ImageScope writes by itself.
    Raises UnreadableFile for broken XML, entity declarations, coordinates that are no numbers, or a
    file without any layer (an empty layer is no error: an image may hold no nucleus).
    """
    try:
        root = ElementTree.parse(path).getroot()
    except DefusedXmlException as error:
        reason = f"refused as unsafe XML ({type(error).__name__})"
        raise UnreadableFile(path, reason, "annotations need no entities: export it again") from error
    except (ParseError, OSError, ValueError) as error:
        raise UnreadableFile(path, f"no intact XML ({error})") from error
    layers = list(root.iter("Annotation"))
    if not layers:
        raise UnreadableFile(path, "no <Annotation> layer in it", "export the regions from ImageScope again")
    outlines, kinds = [], []
    for layer in layers:
        names = [attribute.get("Name", "") for attribute in layer.findall("Attributes/Attribute")]
        kind = next((name for name in names if name and name != "Description"), "")
        for region in layer.iter("Region"):
            outlines.append([_ring(region, path)])
            kinds.append(kind)
    return Regions(outlines, kinds, _mpp(root))


def _ring(region, path: Path) -> np.ndarray:
    try:
        points = [(float(vertex.get("Y")), float(vertex.get("X"))) for vertex in region.iter("Vertex")]
    except (TypeError, ValueError) as error:
        reason = f"region {region.get('Id')} has a vertex without numbers ({error})"
        raise UnreadableFile(path, reason) from error
    ring = np.array(points, np.float64).reshape(-1, 2)
    if not np.isfinite(ring).all():
        raise UnreadableFile(path, f"region {region.get('Id')} has a vertex that is not finite")
    return ring


def _mpp(root) -> float | None:
    try:
        mpp = float(root.get("MicronsPerPixel"))
    except (TypeError, ValueError):
        return None
    return mpp if 0 < mpp < 100 else None
