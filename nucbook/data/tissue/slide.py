"""Organs, and what all images of one simulated slide share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nucbook.data.tissue.shapes import Population
from nucbook.data.tissue.stain import Optics

EPITHELIAL, LYMPHOCYTE, STROMAL, ENDOTHELIAL = 1, 2, 3, 4
CLASS_NAMES = {1: "epithelial", 2: "lymphocyte", 3: "stromal", 4: "endothelial"}
MPP = 0.25  # µm per pixel: a 40× scan


@dataclass(frozen=True)
class Organ:
    """How organs differ. Values are medians; slides and images scatter round them."""

    radius: float  # µm, of an epithelial nucleus as a disc
    ratio: float  # short axis / long axis of an epithelial nucleus
    epithelium: float  # fraction of the area
    glands: float  # probability that a slide's epithelium encloses lumina
    columnar: float  # probability that its nuclei stand across the basal membrane
    pitch: float  # free distance round an epithelial nucleus / its radius
    stromal: float  # fibroblast nuclei per mm² of stroma
    lymphocytes: float  # per mm² of stroma, outside their clusters
    clear: float  # probability of empty-looking cytoplasm
    vesicular: float  # probability that nuclei are clear inside, with a dark boundary
    fat: float  # probability of fat cells in an image; threefold without epithelium


ORGANS = {
    "breast": Organ(3.0, 0.70, 0.45, 0.3, 0.2, 1.15, 900, 500, 0.1, 0.4, 0.15),
    "kidney": Organ(2.0, 0.80, 0.70, 0.5, 0.1, 1.60, 900, 400, 0.5, 0.3, 0.02),
    "liver": Organ(3.0, 0.75, 0.75, 0.1, 0.0, 1.90, 700, 500, 0.2, 0.4, 0.05),
    "prostate": Organ(2.9, 0.80, 0.50, 0.9, 0.4, 1.05, 1100, 300, 0.4, 0.6, 0.02),
    "colon": Organ(2.7, 0.58, 0.50, 0.9, 0.8, 0.90, 1300, 1200, 0.2, 0.6, 0.10),
    "stomach": Organ(2.7, 0.65, 0.45, 0.6, 0.4, 1.00, 1200, 1200, 0.3, 0.5, 0.05),
    "bladder": Organ(2.9, 0.68, 0.55, 0.1, 0.2, 1.10, 1000, 600, 0.1, 0.4, 0.05),
    "lung": Organ(3.1, 0.70, 0.45, 0.4, 0.1, 1.15, 1000, 900, 0.1, 0.4, 0.05),
}


@dataclass(frozen=True)
class Slide:
    """One patient's section: its stain, scan and habits. Drawn wider than real slides spread."""

    optics: Optics
    populations: tuple[Population, ...]
    nucleus: float  # optical density of a typical nucleus, mean of R, G, B
    cytoplasm: float  # optical density of epithelial cytoplasm
    fibre: float  # optical density of stroma
    blue_cytoplasm: float  # fraction of `cytoplasm` that is haematoxylin
    blue_fibre: float  # fraction of `fibre` that is haematoxylin
    mottled: float  # deviation of log blueness; basophilic clouds the size of nuclei
    showing: float  # fraction of the surrounding dye that shows through a nucleus
    gland: float  # px, size of an epithelial nest
    wall: float  # px, epithelium between basal membrane and lumen; inf = no lumina
    palisade: float  # px from the basal membrane within which nuclei stand; inf = anywhere
    goblets: float  # 0..1, how densely mucus-filled cells line the lumen
    clear: float  # 0..1, how empty the cytoplasm looks
    foam: float  # 0..1, strength of vacuoles
    membrane: float  # cell borders: density added (> 0) or taken (< 0), relative
    halo: float  # < 1, retraction round nuclei; < 0: denser there
    grain: float  # deviation of log density in cytoplasm and stroma
    rust: float  # 0..1, how orange patches of the stroma are
    fibrous: float  # deviation of log density between strands; muscle is smooth
    fibre_width: float  # px
    waviness: float  # px, sideways swing of the fibres
    cracks: float  # fraction of the stroma that is torn open
    hiding: float  # 0..1, how much of the surrounding dye cleared nuclei push aside
    nucleoli: float  # size of nucleoli / radius of the nucleus
    pink: float  # eosin of nucleoli / their haematoxylin
    fine: float  # px, chromatin grains
    coarse: float  # px, chromatin clumps
    edge: float  # px, softness of the nuclear border
    swell: float  # px by which the dye reaches over the outline: annotators cut close
    unfocused: float  # fraction of nuclei above or below the focal plane
    defocus: float  # px, their extra blur

    @staticmethod
    def draw(organ: Organ, rng: np.random.Generator) -> Slide:
        """A patient of this organ: everything its images share."""
        u = rng.uniform
        scale = math.exp(u(math.log(0.76), math.log(1.45)))  # scans and shrinkage differ, mpp or not
        radius = organ.radius / MPP * scale
        vesicular = rng.random() < organ.vesicular
        nucleus = math.exp(u(math.log(0.36), math.log(1.25)))
        background = nucleus * (u(0.2, 0.5) if vesicular else u(0.22, 0.6))
        calm = 1 - background / nucleus  # texture must not hide nuclei
        cytoplasm = min(background * u(0.7, 1.3), 0.72 * nucleus)
        glandular = rng.random() < organ.glands
        columnar = bool(glandular and rng.random() < organ.columnar)
        populations = _populations(organ, rng, radius, scale, vesicular, columnar)
        tall = radius / math.sqrt(populations[0].ratio)  # half a long axis
        return Slide(
            optics=Optics.draw(rng),
            populations=populations,
            nucleus=nucleus,
            cytoplasm=cytoplasm,
            fibre=min(background * u(0.6, 1.4), 0.75 * nucleus),
            blue_cytoplasm=min(u(0, 0.75) ** 1.3, 0.4 * nucleus / cytoplasm),
            blue_fibre=u(0, 0.35),
            mottled=u(0, 0.7),
            showing=u(0.65, 1.05),
            gland=(u(80, 160) if columnar else u(45, 90) if glandular else u(60, 150)) * scale,
            wall=tall * u(3.5, 7) if columnar else radius * u(3, 8) if glandular else math.inf,
            palisade=tall * u(1.2, 3.5) if columnar else math.inf,
            goblets=max(0.0, u(-0.5, 0.8)) if columnar else 0.0,
            clear=u(0.4, 0.95) if rng.random() < organ.clear else 0.0,
            foam=max(0.0, u(-0.6, 1)),
            membrane=u(-0.6, 1.0),
            halo=u(-0.5, 0.65),
            grain=u(0.15, 0.5) * calm,
            rust=u(0.2, 1) if rng.random() < 0.2 else 0.0,
            fibrous=u(0.08, 0.6) * calm,
            fibre_width=u(1, 5) * scale,
            waviness=u(1, 18),
            cracks=max(0.0, u(-0.25, 0.25)),
            hiding=u(0.3, 1),
            nucleoli=u(0.1, 0.28),
            pink=u(0, 0.6),
            fine=u(1, 2),
            coarse=radius * u(0.25, 0.5),
            edge=u(0.6, 2) if vesicular else u(0.8, 3.5),
            swell=u(-0.4, 1.0),
            unfocused=max(0.0, u(-0.15, 0.35)),
            defocus=u(1.2, 3.0),
        )


def _populations(
    organ: Organ, rng: np.random.Generator, radius: float, scale: float, vesicular: bool, columnar: bool
) -> tuple[Population, ...]:
    u = rng.uniform
    rim = u(0.4, 1.2) if vesicular else max(0.0, u(-0.5, 0.7))
    cleared = u(0.4, 1.0) if vesicular else max(0.0, u(-0.4, 0.4))
    texture = u(0.15, 0.55)
    if columnar:  # alike, slender and side by side
        spread, ratio, pitch = u(0.08, 0.2), organ.ratio * u(0.7, 1.05), u(0.85, 1.05)
    else:
        spread, ratio, pitch = u(0.12, 0.4), organ.ratio * u(0.75, 1.05), organ.pitch * u(0.6, 1.4)
    lymphocyte = 2.1 / MPP * scale * u(0.85, 1.15)
    return (
        Population(
            EPITHELIAL,
            radius,
            spread,
            ratio,
            u(0.04, 0.17),
            u(0.03, 0.2),
            u(0.7, 1.1),
            rim,
            cleared,
            texture,
            u(0.2, 1) if vesicular else u(0, 0.4),
            pitch,
        ),
        Population(
            LYMPHOCYTE,
            lymphocyte,
            u(0.08, 0.2),
            u(0.65, 0.9),
            u(0.04, 0.14),
            u(0.03, 0.15),
            u(0.95, 1.6),
            max(0.0, u(-0.6, 0.4)),
            0.0,
            texture * u(0.6, 1.1),
            0.0,
            u(0.85, 1.3),
        ),
        Population(
            STROMAL,
            radius * u(0.6, 0.9),
            u(0.15, 0.35),
            u(0.12, 0.6),
            u(0.05, 0.18),
            u(0.02, 0.2),
            u(0.7, 1.3),
            max(0.0, u(-0.4, 0.5)),
            cleared * u(0, 1),
            texture * u(0.6, 1.1),
            u(0, 0.15),
            u(0.9, 1.3),
        ),
        Population(
            ENDOTHELIAL,
            radius * u(0.6, 0.85),
            u(0.15, 0.3),
            u(0.25, 0.45),
            u(0.03, 0.1),
            u(0.1, 0.3),
            u(0.8, 1.3),
            max(0.0, u(-0.4, 0.5)),
            cleared * u(0, 1),
            texture * u(0.6, 1.1),
            0.0,
            u(0.9, 1.3),
        ),
    )
