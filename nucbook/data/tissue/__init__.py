"""Simulated H&E tissue with exact labels: the data set that is always there.

From the slide glass up: a layout of epithelium, lumina, vessels and fat, nuclei placed in it
(`architecture`), shaped and painted (`shapes`); dyes in what lies round them and their chromatin
(`dyes`); things that look like nuclei but are none (`clutter`); the microscope and the scanner
(`stain`). `Organ` holds how organs differ, `Slide` what the images of one patient share
(`slide`); both scatter more widely than real slides, so that a network trained here has seen worse.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import count

import numpy as np

from nucbook.data.tissue.architecture import arrange, place
from nucbook.data.tissue.clutter import distract
from nucbook.data.tissue.dyes import Territory, chromatin, surroundings
from nucbook.data.tissue.shapes import keep_whole, paint
from nucbook.data.tissue.slide import CLASS_NAMES, MPP, ORGANS, Organ, Slide
from nucbook.data.tissue.stain import photograph
from nucbook.sample import Sample

__all__ = ["CLASS_NAMES", "ORGANS", "Organ", "load", "simulate"]


def simulate(
    organ: str = "breast", size: int | tuple[int, int] = 256, seed: int = 0, patient: int | None = None
) -> Sample:
    """One simulated H&E image at 0.25 µm per pixel, with every nucleus labelled and classed.

    organ   : a key of `ORGANS`.
    size    : side, or (height, width), px.
    seed    : the image; the same seed gives the same image.
    patient : images of one patient share stain, scan and habits; by default each seed is its own.

    Raises ValueError for an unknown organ or a size below 16 px.
    """
    if organ not in ORGANS:
        raise ValueError(f"no organ {organ!r}; there are {', '.join(ORGANS)}.")
    shape = (size, size) if isinstance(size, (int, np.integer)) else (int(size[0]), int(size[1]))
    if min(shape) < 16:
        raise ValueError(f"size {size}: too small to hold a nucleus; give at least 16 px a side.")
    patient = seed if patient is None else patient
    key = zlib.crc32(organ.encode())
    slide = Slide.draw(ORGANS[organ], np.random.default_rng([key, patient]))
    rng = np.random.default_rng([key, patient, seed])

    layout = arrange(ORGANS[organ], slide, rng, shape)
    nuclei = place(ORGANS[organ], slide, rng, layout)
    labels, under, nuclei = paint(nuclei, shape)
    labels = keep_whole(labels, under, nuclei)
    near = Territory.of(labels)
    dyes = surroundings(slide, rng, layout, near)
    chromatin(slide, rng, near, under, nuclei, dyes)
    distract(slide, rng, layout, labels, dyes)
    image = photograph(rng, dyes, slide.optics)

    ids = np.flatnonzero(np.bincount(labels.ravel()))[1 if (labels == 0).any() else 0 :]
    classes = [slide.populations[kind].class_id for kind in nuclei.kind[ids - 1]]
    name = f"{organ}-{patient}-{seed}"
    return Sample(
        image,
        instances=labels,
        class_of=dict(zip(ids.tolist(), classes)),
        class_names=CLASS_NAMES,
        mpp=MPP,
        name=name,
        meta={"dataset": "tissue", "organ": organ, "patient": f"{organ}-{patient}", "image": name},
    )


FEWEST = 20  # nuclei in a tile of the benchmark; real sets are picked for many, too
PARTS: dict[str, dict[str, Sequence[int]]] = {  # organ: patients; each patient gives one tile
    "train": dict.fromkeys(("breast", "kidney", "liver", "prostate"), range(1, 13)),
    "validation": dict.fromkeys(("breast", "kidney", "prostate"), (13, 14)),
    "test": dict.fromkeys(("breast", "kidney", "bladder", "colon", "stomach", "lung"), (15, 16)),
}


def load(part: str) -> list[Sample]:
    """The fixed benchmark of profile "quick": 48 training, 6 validation and 12 test tiles of 256².

    As in Kumar's split, each tile is of a patient of its own, and four of the test organs are in no
    other part. Of each patient the first tile that holds at least 20 nuclei is taken.
    Raises ValueError for an unknown part.
    """
    if part not in PARTS:
        raise ValueError(f"tissue has no part {part!r}; there are {', '.join(PARTS)}.")
    tiles = [_crowded(organ, patient) for organ, patients in PARTS[part].items() for patient in patients]
    return [copy.deepcopy(tile) for tile in tiles]  # made once in a process, and each caller's own


@cache
def _crowded(organ: str, patient: int) -> Sample:
    tiles = (simulate(organ, seed=seed, patient=patient) for seed in count())
    return next(tile for tile in tiles if len(tile.class_of) >= FEWEST)
