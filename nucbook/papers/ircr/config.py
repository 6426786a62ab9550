"""IRCR-Net's configuration: the paper's values, and those of smaller runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from nucbook.data.catalog import CATALOG, overlap
from nucbook.papers.baselines.config import OnHoVerNet
from nucbook.profile import Fraction, NotNegative, Positive, configuration

SOURCES = ("monusac", "consep", "pannuke", "lizard")  # of the priors, Sec. 3.3
NEAR = ("monuseg", "consep", "tnbc")  # the same for the short profile: small sets


@configuration
class Config(OnHoVerNet):
    """A teacher and a student on HoVer-Net that agree nucleus by nucleus. Defaults are the paper's."""

    alpha: Fraction = 0.95  # fraction of the old average kept at each step, Eq. 1
    consistency: NotNegative = 0.0  # weight of the squared difference, in Tables 3 and 4 instead of PIAC
    piac: NotNegative = 0.1  # γ₁, Eq. 13
    miac: NotNegative = 100.0  # γ₂, Eq. 13
    beta: NotNegative = 0.5  # of the boundaries, Eq. 3
    union: bool = True  # compare in both masks together; Eq. 3 as printed takes each side's own
    radius: Positive = 1.5  # r, mean radii of the nuclei, Table 4
    threshold: Fraction = 0.35  # τ, Eq. 6
    weight: NotNegative = 2.0  # w, Eq. 6
    external: tuple[str, ...] = SOURCES  # data sets of the priors, Sec. 3.3

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The published values, for a GPU; priors from all sets that share no image with this one."""
        return replace(super().paper(dataset), external=_apart(dataset, SOURCES))

    @classmethod
    def short(cls, dataset: str) -> Self:
        """Real slides on two CPU cores, half an hour; priors from smaller sets."""
        return replace(super().short(dataset), external=_apart(dataset, NEAR))

    @classmethod
    def quick(cls) -> Self:
        """Simulated tissue on two CPU cores, two minutes; priors from simulated tissue of other patients."""
        return replace(super().quick(), external=("tissue",))


def _apart(dataset: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The sources that share no image with a data set; simulated tissue for images of one's own."""
    if dataset not in CATALOG:
        return ("tissue",)
    return tuple(name for name in sources if not overlap(name, dataset))


CONFIGS = {"ircr": Config}
