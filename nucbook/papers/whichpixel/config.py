"""The configuration of "Which pixel to annotate": the paper's values, and those of smaller runs."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, Literal, Self

from nucbook.papers.baselines.config import HoVerNetConfig, MaskRCNNConfig
from nucbook.profile import Count, CountOrZero, Fraction, NotNegative, Positive, configuration

SelectionMethod = Literal["cps", "kmeans", "rndcrop", "rndcencrop"]
Network = Literal["resnet50", "lite0", "random", "colour"]
Component = Literal["global", "foreground", "background"]
COMPONENTS: tuple[Component, ...] = ("global", "foreground", "background")
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


@configuration
class Masks:
    """Synthetic masks of one labelled patch. Defaults are the paper's."""

    count: Count = 50  # masks of a patch; Sec. IV-A
    shapes: Literal["nuclei", "polygons"] = "nuclei"  # the patch's own, or random polygons; Fig. 4
    copies: Count = 8  # of each nucleus in E, turned and flipped; not stated
    spread: Fraction = 0.25  # of Q about the density of the patch; not stated
    margin: CountOrZero = 22  # px cut off each side of the canvas h' × w'; released code
    gap: NotNegative = 2.0  # px added to R_q of the dilation, Fig. 4; released code, 2 to 5: at 0, some touch
    smallest: CountOrZero = 20  # px of a nucleus that the cut leaves, smaller ones go; released code
    touching: Fraction = 0.0  # of the nuclei, as far as possible; 0 in the paper

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides: the published values, which cost a second a patch."""
        return cls.paper(dataset)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue: fewer masks."""
        return cls(count=20)


@configuration
class GAN:
    """CSinGAN: a pyramid of generators that learns from one patch. Defaults are the paper's."""

    scales: tuple[Count, ...] = (128, 152, 181, 215, 256)  # px, longer side of the patch; released code
    iterations: tuple[Count, ...] = (500,) * 5  # rounds of each scale, on one mask each; released code
    width: Count = 32  # channels, doubled every `doubling` scales; Sec. IV-A
    doubling: Count = 4  # scales; Sec. IV-A
    conditional: bool = True  # the generators see the mask; without it, SinGAN
    components: tuple[Component, ...] = COMPONENTS  # what has a critic; Eq. 3, ("global",) without CwD
    detached: bool = False  # the critics of foreground and background teach no generator; released code
    global_weight: NotNegative = 1.0  # β, Eq. 3
    foreground_weight: NotNegative = 1.0  # γ, Eq. 3
    background_weight: NotNegative = 1.0  # δ, Eq. 3
    penalty: NotNegative = 0.1  # λ, Eq. 4
    reconstruction: NotNegative = 10.0  # α, Sec. III-B; released code
    noise: NotNegative = 0.1  # of a scale, times the error of the scale before; released code
    critic_steps: Count = 3  # a round; released code
    learning_rate: Positive = 5e-4  # Adam, both players; released code
    momentum: Fraction = 0.5  # β₁ of Adam; released code
    patience: Count = 50  # rounds in which a reconstruction may be worse than twice the scale before's
    tries: Count = 3  # of a scale that diverges, before it is given up

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides: two minutes of one CPU core for a patch of 256 px."""
        return cls(scales=(38, 56, 81, 119, 175, 256), iterations=(100, 80, 70, 60, 50, 40), **_SMALL)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue: half a minute of one CPU core for a patch of 128 px."""
        return cls(scales=(40, 59, 87, 128), iterations=(120, 80, 60, 40), **_SMALL)


# Three critic steps cost 2.4 times as much; with so many fewer rounds, single pixels of nuclei stay too dark.
_SMALL: dict[str, Any] = {"width": 16, "doubling": 8, "critic_steps": 1}


@configuration
class Translation:
    """pix2pix and CycleGAN, which make images of masks (Isola et al. 2017; Zhu et al. 2017), as published."""

    width: Count = 64  # channels of the first layer of generators and critics; both papers
    blocks: CountOrZero = 9  # residual blocks of a generator; Zhu et al. 2017, for 256 px
    crop: Count = 256  # px, side of a training crop
    steps: Count = 20_000  # rounds of generator and critics; not stated
    batch: Count = 1  # crops a step; both papers
    learning_rate: Positive = 2e-4  # Adam, both players, falling to 0 over the second half; both papers
    momentum: Fraction = 0.5  # β₁ of Adam; both papers
    likeness: NotNegative = 100.0  # weight of pix2pix's absolute difference from the image; Isola et al. 2017
    cycle: NotNegative = 10.0  # weight of CycleGAN's absolute difference after a cycle; Zhu et al. 2017

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, ten minutes."""
        return cls(width=16, blocks=4, crop=128, steps=1_500)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, a minute."""
        return cls(width=16, blocks=3, crop=64, steps=500)


@configuration
class Config:
    """Windows are chosen, images made from them, and a network learns from both. Defaults are the paper's."""

    labels: Literal["selected", "given"] = "selected"  # of chosen windows, Sec. III-A, or all there are
    selection: Selection = field(default_factory=Selection)
    synthesis: Literal["none", "csingan", "pix2pix", "cyclegan"] = "csingan"  # what paints masks; Table II
    masks: Masks = field(default_factory=Masks)
    gan: GAN = field(default_factory=GAN)
    translation: Translation = field(default_factory=Translation)
    augmentation: Literal["none", "naive", "strong"] = "naive"  # of crops; Sec. IV-A, strong: the book's
    rounds: CountOrZero = 3  # of pseudo labels, each a training; 2 to 3, Sec. III-C
    begin: Literal["anew", "last"] = "anew"  # a round, or from the network before; either in Sec. III-C
    pseudo: CountOrZero = 600  # crops with pseudo labels in an epoch; Sec. IV-A
    segmenter: Literal["maskrcnn", "hovernet"] = "maskrcnn"  # Table IV
    maskrcnn: MaskRCNNConfig = field(default_factory=MaskRCNNConfig)
    hovernet: HoVerNetConfig = field(default_factory=HoVerNetConfig)

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        return cls(
            labels=_labels(dataset),
            selection=Selection.paper(dataset),
            maskrcnn=MaskRCNNConfig(**_MASKRCNN),
            hovernet=HoVerNetConfig(epochs=100, milestones=(0.5,)),  # Sec. IV-A; Graham et al. 2019
        )

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores: GANs of ten minutes, half an hour of HoVer-Net."""
        return cls(
            labels=_labels(dataset),
            selection=Selection.short(dataset),
            masks=Masks.short(dataset),
            gan=GAN.short(dataset),
            translation=Translation.short(dataset),
            rounds=2,
            segmenter="hovernet",
            maskrcnn=MaskRCNNConfig.short(dataset),
            hovernet=replace(HoVerNetConfig.short(dataset), batch=6, steps=600),
        )

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, five minutes."""
        return cls(
            selection=Selection.quick(),
            masks=Masks.quick(),
            gan=GAN.quick(),
            translation=Translation.quick(),
            rounds=2,
            segmenter="hovernet",
            maskrcnn=MaskRCNNConfig.quick(),
            hovernet=replace(HoVerNetConfig.quick(), batch=6, steps=300),
        )


def _labels(dataset: str) -> Literal["selected", "given"]:
    """Of a user's own images those that have outlines are what was annotated."""
    return "given" if dataset == "own" else "selected"


# Sec. IV-A: SGD, 0.005 with 6 crops a step, which is 0.0133 with 16; the schedule is not stated.
_MASKRCNN: dict[str, Any] = {
    "batch": 6,
    "epochs": 200,
    "learning_rate": 0.005 * 16 / 6,
    "weight_decay": 1e-4,
    "milestones": (),
}

CONFIGS = {"whichpixel": Config}
