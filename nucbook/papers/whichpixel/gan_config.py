"""The configuration of synthetic masks: the paper's values, and smaller."""

from __future__ import annotations

from typing import Literal, Self

from nucbook.profile import Count, CountOrZero, Fraction, NotNegative, configuration


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
