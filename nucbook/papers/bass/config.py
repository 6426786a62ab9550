"""BASS's configuration: the paper's values, and those of smaller runs."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal, Self

from nucbook.papers.baselines.config import MaskRCNNConfig
from nucbook.profile import Count, CountOrZero, Fraction, NotNegative, Positive, as_before, configuration

Head = Literal["nmh", "lrd", "crc"]
HEADS: tuple[Head, ...] = ("nmh", "lrd", "crc")


@configuration
class Config:
    """A teacher, its pseudo labels, and a student with up to three mask heads. Defaults are the paper's."""

    maskrcnn: MaskRCNNConfig = field(default_factory=MaskRCNNConfig)  # the teacher, and the student's trunk
    student_steps: Count = 90_000  # optimiser steps; released code, 2,000 for Kumar
    student_milestones: tuple[Fraction, ...] = (2 / 3, 8 / 9)  # of the training; released code
    box_threshold: Fraction | None = None  # score of a pseudo label; None = by counts of nuclei, Sec. 2.2
    counted: Literal["unlabelled", "labelled"] = as_before("unlabelled")  # images whose detections it counts
    pixel_threshold: Fraction = 0.5  # probability of its pixels, Table 4
    views: Literal["one", "flipped"] = "one"  # of an image, whose detections the teacher averages
    jitter: CountOrZero = as_before(0)  # px by which outlines of pseudo labels are made worse; an experiment
    heads: tuple[Head, ...] = HEADS  # naive, low-resolution denoising, cross-RoI contrast; Table 2
    boundary_width: CountOrZero = 1  # cells of 14² on either side of a boundary; not stated
    boundary_weight: Fraction = 0.5  # of those cells in LRD, 1 = as the others; not stated
    distance: CountOrZero = 4  # d, cells of 28² from a boundary within which cells are hard, Eq. 3, Fig. 4
    sampled: Fraction = 0.7  # α, fraction of each set of cells, Fig. 3
    temperature: Positive = 0.7  # τ, Eq. 7; released code
    terms: Literal["four", "hard"] = "four"  # of Eq. 6; the released code has the two of boundary cells
    query: Literal["pair", "batch"] = "pair"  # Eq. 5 averages over two RoIs, the released code over all
    contrast: NotNegative = 1.0  # weight of L_cl, Eq. 2; 0.25 in the released code
    contrast_width: Count = 64  # channels of CRC; released code
    rois: Count = 128  # of a step, at most, that CRC sees
    read: Literal["mask", "nmh", "lrd", "crc"] = as_before("mask")  # head of a prediction; mask, all together

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU."""
        steps = 2_000 if dataset in ("monuseg", "monuseg622", "kumar") else 90_000
        return cls(MaskRCNNConfig.paper(dataset), student_steps=steps)

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores: a teacher of twenty minutes, a student of thirty-five."""
        return cls(MaskRCNNConfig.short(dataset), student_steps=1_200, **_SMALL)

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, three minutes with the teacher."""
        return cls(MaskRCNNConfig.quick(), student_steps=400, **_SMALL)


# Of 28² cells some hundred are negative: at weight 1 the contrast's gradient is ten times that of the masks.
_SMALL: dict[str, Any] = {"contrast": 0.05, "contrast_width": 32, "rois": 32}

CONFIGS = {"bass": Config}
