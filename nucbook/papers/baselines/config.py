"""The configurations of all baselines: one class a method, one field a value with unit and source."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, Literal, Self

from nucbook.profile import (
    Count,
    CountOrZero,
    EncoderName,
    Fraction,
    Init,
    NotNegative,
    Positive,
    Precision,
    as_before,
    configuration,
)


@configuration
class Classical:
    """For 40× scans (0.25 µm per pixel). Nothing is trained, so all profiles are one."""

    blur: NotNegative = 1.5  # px, σ of the Gaussian on the haematoxylin channel: calms the chromatin
    opening: CountOrZero = 3  # px, radius of the disc that opens the mask: fibres and specks go
    min_area: CountOrZero = 40  # px, smaller components are debris: a small lymphocyte has about 200
    min_distance: Count = 6  # px between two peaks of the distance: about a small nucleus' radius
    smooth: NotNegative = 1.5  # px, σ of the Gaussian on the distance: fewer peaks from ragged boundaries

    @classmethod
    def paper(cls, dataset: str) -> Self:
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        return cls()

    @classmethod
    def quick(cls) -> Self:
        return cls()


@configuration
class UNetConfig:
    """U-Net with watershed decoding. No paper fixes its values; Kumar's validation images did."""

    encoder: EncoderName = "resnet34"  # as most U-Nets of the field have
    levels: Literal[1, 2, 3, 4, 5] = 5  # scales of the encoder; the coarsest has stride 2**levels
    crop: Count = 256  # px, side of a training crop
    batch: Count = 16  # crops a step
    steps: Count = 20_000  # optimiser steps
    learning_rate: Positive = 1e-3  # AdamW, at its highest
    warm_up: CountOrZero = 200  # steps
    weight_decay: NotNegative = 1e-2  # of AdamW
    init: Init = "imagenet"  # weights of the encoder
    precision: Precision = "auto"  # of the forward pass; bfloat16 on CUDA, else float32
    dice_weight: NotNegative = 0.5  # beside cross-entropy, weight 1
    distance_weight: NotNegative = 4.0  # squared error of the normalised distance
    threshold: Fraction = 0.5  # probability from which a pixel is nucleus
    valley: NotNegative = 0.1  # normalised distance; a shallower valley does not separate two nuclei
    smooth: NotNegative = 1.5  # px, σ of the Gaussian over the distance before markers are taken
    min_area: CountOrZero = 30  # px, smaller objects are dropped

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The full size, for a GPU; the same for every data set."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, a quarter of an hour."""
        return cls(
            encoder="resnet18",
            levels=4,
            crop=160,
            batch=8,
            init="scratch",
            steps=2000,
            learning_rate=2e-3,
        )

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, half a minute."""
        return cls(
            encoder="resnet18",
            levels=4,
            crop=96,
            batch=12,
            init="scratch",
            steps=240,
            learning_rate=2e-3,
            warm_up=20,
        )


@configuration
class Tissue:
    """A U-Net, and the simulated tiles it learns from."""

    unet: UNetConfig = field(default_factory=lambda: UNetConfig(init="scratch"))
    tiles: Count = 4000  # simulated tiles, each of a slide of its own, organs in turn
    tile: Count = 512  # px, their side

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The full size, for a GPU."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Two CPU cores, a quarter of an hour."""
        return cls(UNetConfig.short(dataset), tiles=600, tile=320)

    @classmethod
    def quick(cls) -> Self:
        """Two CPU cores, half a minute."""
        return cls(UNetConfig.quick(), tiles=48, tile=192)


@configuration
class HoVerNetConfig:
    """HoVer-Net on patches. Defaults are those of Lin et al. 2025 for MoNuSeg and CoNSeP."""

    encoder: EncoderName = "resnet50"  # resnet50 is pre-activated and at full resolution
    patch: Count = 256  # px, the largest side of the patches images are cut into, Sec. 4.1.1
    crop: Count = 256  # px, side of a training crop, Sec. 4.2
    batch: Count = 4  # labelled crops a step, Sec. 4.2
    epochs: Count = 150  # each as many crops as there are patches, labelled or not, Sec. 4.2
    steps: Count | None = None  # optimiser steps; None = as many as `epochs` are
    epochs_of: Literal["all", "labelled"] = as_before("all")  # patches, if supervised; not stated
    learning_rate: Positive = 1e-4  # Adam, Sec. 4.2
    milestones: tuple[Fraction, ...] = (2 / 3,)  # of the training, after which it is a tenth, Sec. 4.2
    init: Init = "imagenet"  # weights of the encoder, Sec. 4.2
    precision: Precision = "auto"  # of the forward passes; bfloat16 on CUDA, else float32

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        if dataset in ("monusac", "pannuke"):
            return cls(epochs=50, milestones=(0.5,))
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, a quarter of an hour; half an hour with a teacher."""
        return replace(
            cls.paper(dataset),
            encoder="resnet18",
            crop=160,
            init="scratch",
            steps=1_500,
            learning_rate=1e-3,
        )

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, one minute; two with a teacher."""
        return cls(encoder="resnet18", crop=96, steps=400, learning_rate=2e-3, init="scratch")


@configuration
class MaskRCNNConfig:
    """Mask R-CNN. Defaults are those of Zhang et al. 2024; where they are silent, of their released code."""

    encoder: EncoderName = "resnet50"  # Sec. 3.3; resnet101 in their Table 6
    levels: Literal[2, 3, 4, 5] = 5  # scales of the encoder; the pyramid has those from stride 4 on
    width: Count = 256  # channels of the pyramid and of the mask head; torchvision's
    box_width: Count = 1024  # channels of the two layers that classify a box; torchvision's
    scale: Positive = 3.125  # images are enlarged by it: 256 px to 800; released code (2.5 to 3.125)
    sample: Count = as_before(128)  # px of a crop to each region that trains the heads; torchvision's 512
    crop: Count = 256  # px, side of a training crop, Sec. 3.2
    batch: Count = 2  # crops a step; released code
    epochs: Count = 15  # each as many crops as there are patches of 256² with 128 px in common; released code
    steps: Count | None = None  # optimiser steps; None = as many as `epochs` are
    optimiser: Literal["sgd", "adamw"] = "sgd"  # Sec. 3.2
    learning_rate: Positive = 0.02  # Sec. 3.2; of SGD with 16 crops a step, fewer take a fraction of it
    momentum: Fraction = 0.9  # of SGD, Sec. 3.2
    weight_decay: NotNegative = 1e-3  # Sec. 3.2; released code 1e-4
    warm_up: CountOrZero = 500  # steps; released code
    milestones: tuple[Fraction, ...] = (8 / 15, 11 / 15)  # of the training, each a tenth; released code
    init: Init = "imagenet"  # weights of the encoder; released code
    precision: Precision = "auto"  # of the forward pass; bfloat16 on CUDA, else float32
    score: Fraction = 0.5  # from which a box is a nucleus; released code
    threshold: Fraction = 0.5  # probability from which a pixel of a box is nucleus, Sec. 3.4

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, twenty minutes."""
        sizes: dict[str, Any] = {"levels": 4, "width": 64, "box_width": 256, "crop": 160, "batch": 8}
        return cls(**_SMALL_MASKRCNN, **sizes, sample=400, steps=1_200, learning_rate=1e-3, warm_up=50)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, one minute."""
        sizes: dict[str, Any] = {"levels": 3, "width": 32, "box_width": 128, "crop": 128, "batch": 4}
        return cls(**_SMALL_MASKRCNN, **sizes, steps=400, learning_rate=2e-3, warm_up=20)


_SMALL_MASKRCNN: dict[str, Any] = {  # what both profiles for two CPU cores have in common
    "encoder": "resnet18",
    "scale": 1.0,
    "optimiser": "adamw",
    "weight_decay": 1e-2,
    "init": "scratch",
}


@configuration
class OnHoVerNet:
    """What builds on a HoVer-Net: its configuration stands inside, in the size of each profile."""

    hovernet: HoVerNetConfig = field(default_factory=HoVerNetConfig)

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        return cls(HoVerNetConfig.paper(dataset))

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, half an hour."""
        return cls(HoVerNetConfig.short(dataset))

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, two minutes."""
        return cls(HoVerNetConfig.quick())


@configuration
class MeanTeacher(OnHoVerNet):
    """HoVer-Net and its average. Lin et al. 2025 where they state anything."""

    alpha: Fraction = 0.95  # fraction of the old average kept at each step, Eq. 1
    consistency: NotNegative = 10.0  # weight of the squared difference; chosen on simulated tissue
    ramp_up: Fraction = as_before(0.0)  # of the training, while that weight grows; Tarvainen 2017
    predicts: Literal["student", "teacher"] = as_before("student")  # whose weights are kept; not stated


@configuration
class SelfTraining(OnHoVerNet):
    """HoVer-Net, and what it learns in the next round."""

    rounds: CountOrZero = 1  # networks that learn from the one before; not stated
    truth: Literal["replaced", "kept"] = "replaced"  # masks, by pseudo labels, Sec. 4.3; usually kept


CONFIGS = {
    "classical": Classical,
    "unet": UNetConfig,
    "tissue": Tissue,
    "hovernet": HoVerNetConfig,
    "maskrcnn": MaskRCNNConfig,
    "mean_teacher": MeanTeacher,
    "self_training": SelfTraining,
}
