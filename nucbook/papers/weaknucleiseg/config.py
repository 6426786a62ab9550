"""The two networks' configuration: the paper's values, and those of smaller runs."""

from __future__ import annotations

from dataclasses import replace
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
class Config:
    """SPN and IEN. Defaults are the paper's for MultiOrgan; "released code" where the paper is silent."""

    supervision: Literal["points", "masks"] = "points"  # what is learnt from; masks for the row Fully
    jitter: NotNegative = 0.0  # px, how far points are off; studied here, the paper's future work
    missing: Fraction = 0.0  # fraction of nuclei without a point; the same
    colour: Literal["as is", "varied", "normalised"] = as_before("as is")  # of images; not stated
    features: Literal["adaptive", "qu"] = "adaptive"  # for k-means: Sec. 2.2, or the baseline's
    colour_weight: Positive = 0.2  # λ, Sec. 3.2
    patch: Count = 60  # px, L, Sec. 3.2
    max_distance: Count = 20  # px, d*, Sec. 3.2
    foreground_threshold: Fraction = 0.5  # T_fg of the pseudo instances, Sec. 3.2
    background_threshold: Fraction = 0.3  # T_bg, Sec. 3.2
    encoder: EncoderName = "resnet34"  # of both networks, Sec. 3.2
    levels: Literal[1, 2, 3, 4, 5] = 5  # scales of the encoders
    channels: Count = 16  # D, of the embedding, Sec. 3.2
    pull_margin: NotNegative = 0.5  # δ_intra, embedding units, Sec. 3.2
    push_margin: NotNegative = 3.0  # δ_inter, embedding units, Sec. 3.2
    alpha: NotNegative = 1.0  # weight of the background instance, Sec. 3.2
    gamma: NotNegative = 0.001  # weight of the regulariser, Sec. 3.2
    squared: bool = False  # hinges squared, as in the released code; Eq. 1 does not
    init: Init = "imagenet"  # of both encoders, Sec. 3.2
    ien_init: Literal["init", "spn"] = as_before("init")  # of IEN: as `init` says, or SPN's encoder
    crop: Count = 224  # px, released code
    batch: Count = 8  # crops a step, released code
    spn_steps: Count = 1_440  # 60 epochs (Sec. 3.2) of 24 batches (released code)
    ien_steps: Count = 24_000  # 1000 epochs of 24 batches
    spn_learning_rate: Positive = 1e-4  # Adam, Sec. 3.2
    ien_learning_rate: Positive = 1e-3  # Adam, Sec. 3.2
    spn_weight_decay: NotNegative = 1e-4  # released code
    schedule: Literal["constant", "cosine"] = "constant"  # of the learning rates, released code
    precision: Precision = "auto"  # of the forward passes; bfloat16 on CUDA, else float32
    selection: Literal["last", "masks"] = "last"  # of weights; by AJI on full masks of validation images
    grouping: Literal["embedding", "components"] = "embedding"  # or connected components of SPN's foreground
    threshold: Fraction = 0.3  # T_0, Sec. 3.2; the rows without IEN take 0.5, released code
    overlap: CountOrZero = 80  # px, of the windows that embeddings are read in, half of one at most
    bandwidth: Positive = 1.5  # embedding units, mean shift, Sec. 3.2
    pieces: Count | None = 5  # components from which a cluster is background, released code; None = never
    min_area: CountOrZero = 20  # px, released code

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        if dataset == "tnbc":
            return cls(colour_weight=0.12, patch=80, max_distance=18, background_threshold=0.2, alpha=0.5)
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, some ten minutes a stage."""
        return replace(cls.paper(dataset), **_SMALL, crop=160, spn_steps=1_000, ien_steps=2_000)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, a minute and a half."""
        return cls(**_SMALL, crop=96, spn_steps=400, ien_steps=250)


_SMALL: dict[str, Any] = {  # what both profiles for two CPU cores have in common
    "encoder": "resnet18",
    "levels": 4,
    "overlap": 48,
    "batch": 8,
    "spn_learning_rate": 2e-3,
    "ien_learning_rate": 1e-3,
    "schedule": "cosine",
    "init": "scratch",
    "pieces": None,  # five components are a mark of background in windows of 224 px, not in these
}
CONFIGS = {"weaknucleiseg": Config}
