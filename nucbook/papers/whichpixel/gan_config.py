"""The configurations of synthetic masks and of the GAN that paints them: the paper's values, and smaller."""

from __future__ import annotations

from typing import Any, Literal, Self

from nucbook.profile import Count, CountOrZero, Fraction, NotNegative, Positive, configuration

Component = Literal["global", "foreground", "background"]
COMPONENTS: tuple[Component, ...] = ("global", "foreground", "background")


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
