"""IRCR-Net's configuration: the paper's values, and those of smaller runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nucbook.data.catalog import CATALOG, overlap
from nucbook.papers.baselines import mean_teacher

SOURCES = ("monusac", "consep", "pannuke", "lizard")  # of the priors, Sec. 3.3
NEAR = ("monuseg", "consep", "tnbc")  # the same for the short profile: small sets


@dataclass(frozen=True)
class Config(mean_teacher.Config):
    """A mean teacher on HoVer-Net with consistency at the level of nuclei. Defaults are the paper's."""

    mse: float = 0.0  # weight of the squared difference, in Tables 3 and 4 instead of PIAC
    piac: float = 0.1  # γ₁, Eq. 13
    miac: float = 100.0  # γ₂, Eq. 13
    beta: float = 0.5  # of the boundaries, Eq. 3
    union: bool = True  # compare in both masks together; Eq. 3 as printed takes each side's own
    radius: float = 1.5  # r, mean radii of the nuclei, Table 4
    threshold: float = 0.35  # τ, Eq. 6
    weight: float = 2.0  # w, Eq. 6
    external: tuple[str, ...] = SOURCES  # data sets of the priors, Sec. 3.3

    @classmethod
    def paper(cls, dataset: str) -> Config:
        """The published values, for a GPU; priors from all sets that share no image with this one."""
        return replace(super().paper(dataset), external=_apart(dataset, SOURCES))

    @classmethod
    def short(cls, dataset: str) -> Config:
        """Real slides on two CPU cores, half an hour; priors from smaller sets."""
        return replace(super().short(dataset), external=_apart(dataset, NEAR))

    @classmethod
    def quick(cls) -> Config:
        """Simulated tissue on two CPU cores, two minutes; priors from simulated tissue of other patients."""
        return replace(super().quick(), external=("tissue",))


def _apart(dataset: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The sources that share no image with a data set; simulated tissue for images of one's own."""
    if dataset not in CATALOG:
        return ("tissue",)
    return tuple(name for name in sources if not overlap(name, dataset))
