"""From a label map to what a network learns: points, boxes, distances, boundaries, Voronoi cells, HV maps.

Batches of label maps are int tensors (B, H, W), 0 = background; every function returns tensors on the
device of its input. Ids need not be contiguous, and touching instances stay apart.

A nucleus is the pixels that the label map holds of it. The border of the map is no boundary: distances
are measured to pixels of the map alone. So where the border cuts a nucleus, its values are those of the
part in the map, not of the nucleus: its mean lies elsewhere and its largest distance may be missing.
Training therefore computes targets on a map wider than the crop (`Batch.target`) and leaves out nuclei that
the image itself cuts (`Batch.whole`).
"""

from nucbook.targets.cells import voronoi, voronoi_edges
from nucbook.targets.distance import boundaries, distance_maps, normalised_distance_maps
from nucbook.targets.hv import hv_maps
from nucbook.targets.nuclei import boxes, points
from nucbook.targets.regions import region_masks

__all__ = [
    "boundaries",
    "boxes",
    "distance_maps",
    "hv_maps",
    "normalised_distance_maps",
    "points",
    "region_masks",
    "voronoi",
    "voronoi_edges",
]
