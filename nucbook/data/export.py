"""What a practitioner takes home: polygons for QuPath, label maps for everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from nucbook.nuclei import Nuclei


def to_geojson(nuclei: Nuclei, class_names: Mapping[int, str] | None = None) -> dict:
    """A GeoJSON collection as QuPath imports it: one detection per nucleus, (x, y) in pixels.

    QuPath measures from the corner of a pixel, the library from its centre: 0.5 px are added. Empty
    masks are left out.
    """
    features = []
    for polygon, score, kind in zip(nuclei.to_polygons(), nuclei.scores, nuclei.classes):
        if not len(polygon):
            continue
        ring = (polygon[:, ::-1] + 0.5).tolist()
        properties = {"objectType": "detection", "measurements": {"score": round(float(score), 4)}}
        if kind:
            properties["classification"] = {"name": (class_names or {}).get(int(kind), f"class {kind}")}
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": properties,
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write(
    nuclei: Nuclei, stem: Path, class_names: Mapping[int, str] | None = None, labels: bool = True
) -> None:
    """Write `stem.geojson` and, with `labels`, `stem.tif`: a uint32 label map, zlib inside."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    outlines, *maps = written(stem, labels)
    outlines.write_text(json.dumps(to_geojson(nuclei, class_names)), encoding="utf-8")
    for path in maps:
        tifffile.imwrite(path, nuclei.to_labels().astype(np.uint32), compression="zlib")


def written(stem: Path, labels: bool = True) -> list[Path]:
    """The files that `write` writes."""
    return [Path(f"{stem}{suffix}") for suffix in (".geojson", ".tif")[: 1 + labels]]
