"""The configuration of "Which pixel to annotate": the paper's values, and those of smaller runs."""

from __future__ import annotations

from typing import Literal, Self

from nucbook.profile import Count, CountOrZero, configuration

SelectionMethod = Literal["cps", "kmeans", "rndcrop", "rndcencrop"]
Network = Literal["resnet50", "lite0", "random", "colour"]
_CLUSTERS = {"tnbc": 6, "kumar": 9, "monuseg": 18}  # Sec. IV-A


@configuration
class Selection:
    """Which windows are annotated. Defaults are the paper's for Kumar."""

    method: SelectionMethod = "cps"  # CPS, K-means (Eq. 1's first term alone), or random; Table I
    size: Count = 256  # s, px, even; Sec. IV-A
    stride: Count = 15  # t, px between neighbouring windows; Sec. IV-A
    clusters: Count = 9  # K₁, windows to annotate: 6 of TNBC, 9 of Kumar, 18 of MoNuSeg; Sec. IV-A
    fine_clusters: Count = 4  # K₂, of the sub-windows of a cluster; Sec. IV-A
    without: Literal["nothing", "fine", "consistency"] = "nothing"  # Eq. 1's 2nd or 3rd term; Table I
    candidates: Literal["cluster", "largest"] = "cluster"  # all, Algorithm 1; released code, touching c*
    network: Network = "resnet50"  # with ImageNet weights, Sec. III-A; lite0 where they cannot be had
    features: Literal["exact", "dense"] = "exact"  # each window through the network, or each image once
    starts: Count = 10  # of k-means, the best is kept; released code
    seed: CountOrZero | None = None  # of the selection, in Table I 21, 100, 500, 1000; None = the run's

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values."""
        return cls(clusters=_CLUSTERS.get(dataset, 9))

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, two minutes: each image once through a small network."""
        return cls(clusters=_CLUSTERS.get(dataset, 9), network="lite0", features="dense")

    @classmethod
    def quick(cls) -> Self:
        """Simulated tiles of 256², of which windows of 256 px would be whole images."""
        return cls(size=128, network="lite0", features="dense")
