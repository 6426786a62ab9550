"""What is known of each data set before a file of it is read: ten real ones, one in three splits.

None is downloaded.

Counts are what this library reads from the released files where `counted` says so, else what the
publication states. What could not be confirmed is marked "(unconfirmed)".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A data set.

    title   : its name in the literature; `holds`: what it is, in a sentence.
    images  : number of images; nuclei: of instances, or None; counted: both were read from the files.
    parts   : what `load` takes; empty where the release has no split (then "all" alone).
    split   : where the parts come from.
    mpp     : micrometres per pixel, or None.
    licence, size, source, cite : licence, size of the download, page, key in the bibliography.
    folder  : where it is looked for, below `nucbook.data.root()`; layout: the files in there.
    expected: {part: (images, nuclei)} as read from the complete release, where known.
    lazy    : too large for memory, read sample by sample.
    """

    title: str
    holds: str
    images: int
    nuclei: int | None
    parts: tuple[str, ...]
    split: str
    mpp: float | None
    licence: str
    size: str
    source: str
    cite: str
    folder: str
    layout: tuple[str, ...]
    counted: bool = False
    expected: dict[str, tuple[int, int]] = field(default_factory=dict)
    lazy: bool = False

    def how_to_get(self, root: Path) -> str:
        """Licence, size, where to get it, and the exact folder and files: what a missing set's error says."""
        files = "\n".join(f"    {line}" for line in self.layout)
        return (
            f"  licence: {self.licence}\n"
            f"  size:    {self.size}\n"
            f"  get it:  {self.source}\n"
            f"  unpack into {root / self.folder}, so that it holds\n{files}\n"
            f"  (set NUCBOOK_DATA to look elsewhere than in {root})"
        )


_NC = "CC BY-NC-SA 4.0"

CATALOG: dict[str, Entry] = {
    "monuseg": Entry(
        title="MoNuSeg 2018",
        holds="H&E images of nine organs from TCGA, 1000×1000 at 40×, every nucleus outlined.",
        images=44,
        nuclei=23_655,
        counted=True,
        parts=("train", "test"),
        expected={"train": (30, 16_958), "test": (14, 6_697)},
        split="The challenge's: 30 training and 14 test images.",
        mpp=0.25,
        licence=_NC,
        size="about 120 MB unpacked",
        source="https://monuseg.grand-challenge.org/Data/",
        cite="kumar2020monuseg",
        folder="MoNuSeg",
        layout=(
            "MoNuSegTrainingData/Tissue Images/TCGA-….tif",
            "MoNuSegTrainingData/Annotations/TCGA-….xml   (or Labels/TCGA-….png)",
            "MoNuSegTestData/TCGA-….tif, TCGA-….xml",
        ),
    ),
    "kumar": Entry(
        title="TCGA-Kumar (MultiOrgan)",
        holds="The 30 training images of MoNuSeg, of seven organs, in the split of their first paper.",
        images=30,
        nuclei=16_958,
        counted=True,
        parts=("train", "validation", "test"),
        expected={"train": (12, 6_842), "validation": (4, 3_065), "test": (14, 7_051)},
        split="12 / 4 / 14 images; 6 of the test images are of three organs that training does not see.",
        mpp=0.25,
        licence=_NC,
        size="about 70 MB unpacked",
        source="https://monuseg.grand-challenge.org/Data/",
        cite="kumar2017dataset",
        folder="MoNuSeg",
        layout=(
            "MoNuSegTrainingData/Tissue Images/TCGA-….tif",
            "MoNuSegTrainingData/Annotations/TCGA-….xml   (or Labels/TCGA-….png)",
        ),
    ),
    "monuseg622": Entry(
        title="MoNuSeg, 6 : 2 : 2",
        holds="The 30 training images of MoNuSeg, 18 / 6 / 6 by image, as Zhang et al. 2024 divide them.",
        images=30,
        nuclei=16_958,
        counted=True,
        parts=("train", "validation", "test"),
        expected={"train": (18, 10_891), "validation": (6, 3_751), "test": (6, 2_316)},
        split="6 : 2 : 2 by image, every fifth; which image BASS had in which part is not published.",
        mpp=0.25,
        licence=_NC,
        size="about 70 MB unpacked",
        source="https://monuseg.grand-challenge.org/Data/",
        cite="kumar2020monuseg",
        folder="MoNuSeg",
        layout=(
            "MoNuSegTrainingData/Tissue Images/TCGA-….tif",
            "MoNuSegTrainingData/Annotations/TCGA-….xml   (or Labels/TCGA-….png)",
        ),
    ),
    "tnbc": Entry(
        title="TNBC",
        holds="Triple-negative breast cancer of 11 patients of the Institut Curie, 512×512 at 40×.",
        images=50,
        nuclei=4_028,
        counted=True,
        parts=("train", "validation", "test"),
        expected={"train": (30, 2_155), "validation": (7, 1_002), "test": (13, 871)},
        split="By patient, as in the code of Liu et al. 2022: 1–6 / 7–8 / 9–11. The release has none.",
        mpp=0.25,
        licence="CC BY 4.0",
        size="25 MB download",
        source="https://zenodo.org/records/2579118",
        cite="naylor2019distance",
        folder="TNBC",
        layout=("Slide_01/01_1.png", "GT_01/01_1.png", "… to Slide_11, GT_11"),
    ),
    "cryonuseg": Entry(
        title="CryoNuSeg",
        holds="Frozen sections of ten organs from TCGA, 512×512 at 40×; the first of three mark-ups.",
        images=30,
        nuclei=7_596,
        parts=("train", "validation", "test"),
        split="6 : 2 : 2 by image, 18 / 6 / 6, every fifth; which images BASS took is not published.",
        mpp=0.25,
        licence=f"{_NC} (unconfirmed)",
        size="unknown; 30 small images",
        source="https://www.kaggle.com/ipateam/segmentation-of-nuclei-in-cryosectioned-he-images",
        cite="mahbod2021cryonuseg",
        folder="CryoNuSeg",
        layout=(
            "tissue images/Human_AdrenalGland_01.tif …",
            "Annotator 1 (biologist)/label masks modify/*.tif   (or Imagj_zips/*.zip)",
        ),
    ),
    "digestpath": Entry(
        title="DigestPath (in Lizard)",
        holds="The 69 colon images of DigestPath, whose nuclei Lizard outlined; 20×.",
        images=69,
        nuclei=None,
        parts=("train", "validation", "test"),
        split="Lizard's three folds: 1 / 2 / 3.",
        mpp=0.5,
        licence=f"{_NC} (unconfirmed)",
        size="see lizard",
        source="https://warwick.ac.uk/fac/cross_fac/tia/data/lizard",
        cite="da2022digestpath",
        folder="Lizard",
        layout=("as lizard; the images named dpath_*",),
    ),
    "monusac": Entry(
        title="MoNuSAC 2020",
        holds="Images of four organs from TCGA, 40×, of many sizes, nuclei of four classes.",
        images=294,
        nuclei=46_909,
        parts=("train", "test"),
        split="The challenge's: 209 training and 85 test images, of different patients.",
        mpp=0.25,
        licence=_NC,
        size="about 600 MB",
        source="https://monusac-2020.grand-challenge.org/Data/",
        cite="verma2021monusac",
        folder="MoNuSAC",
        layout=(
            "MoNuSAC_images_and_annotations/TCGA-…/TCGA-…_1.tif, TCGA-…_1.xml",
            "MoNuSAC Testing Data and Annotations/TCGA-…/TCGA-…_1.tif, TCGA-…_1.xml",
        ),
    ),
    "pannuke": Entry(
        title="PanNuke",
        holds="Patches 256×256 of 19 tissues, nuclei of five classes, outlined half automatically; 40×.",
        images=7_901,
        nuclei=189_744,
        parts=("train", "validation", "test"),
        split="Three official folds, to be rotated: here 1 / 2 / 3 (2,656 / 2,523 / 2,722 patches).",
        mpp=0.25,
        licence=_NC,
        size="37 GB unpacked (float64 arrays)",
        source="https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke",
        cite="gamper2020extension",
        folder="PanNuke",
        layout=(
            "Fold 1/images/fold1/images.npy, types.npy",
            "Fold 1/masks/fold1/masks.npy",
            "… to Fold 3",
        ),
        lazy=True,
    ),
    "consep": Entry(
        title="CoNSeP",
        holds="Colorectal cancer of 16 patients, 1000×1000 at 40×, nuclei of four (released: seven) classes.",
        images=41,
        nuclei=24_332,
        counted=True,
        parts=("train", "test"),
        expected={"train": (27, 15_555), "test": (14, 8_777)},
        split="The release's: 27 training and 14 test images. Which patient an image is of is not released.",
        mpp=0.25,
        licence="non-commercial research",
        size="about 800 MB with its overlays",
        source="https://warwick.ac.uk/fac/cross_fac/tia/data/hovernet",
        cite="graham2019hovernet",
        folder="CoNSeP",
        layout=(
            "Train/Images/train_1.png …  Train/Labels/train_1.mat …",
            "Test/Images/test_1.png …  Test/Labels/test_1.mat …",
        ),
    ),
    "lizard": Entry(
        title="Lizard",
        holds="Colon images of five other sets, 20×, six classes; 495,179 nuclei with 53 images held back.",
        images=238,
        nuclei=None,
        parts=("train", "validation", "test"),
        split="Three official folds, to be rotated: 1 / 2 / 3 here.",
        mpp=0.5,
        licence=f"{_NC} (unconfirmed)",
        size="more than 1 GB (unconfirmed)",
        source="https://warwick.ac.uk/fac/cross_fac/tia/data/lizard",
        cite="graham2021lizard",
        folder="Lizard",
        layout=(
            "Lizard_Images1/*.png, Lizard_Images2/*.png",
            "Lizard_Labels/Labels/*.mat, Lizard_Labels/info.csv",
        ),
    ),
    "chromseg": Entry(
        title="ChromSeg-SSL",
        holds="Metaphase spreads, 1600×1600, of 24 classes of chromosomes that touch and cross.",
        images=4_185,
        nuclei=26_225,
        parts=("train", "unlabelled", "test"),
        split="Wang et al. 2024: 548 labelled, 3,570 unlabelled, 67 test images.",
        mpp=None,
        licence="not stated",
        size="unknown",
        source="https://github.com/wangjuncongyu/A2B-Net (the access code was not published when last seen)",
        cite="wang2024a2b",
        folder="ChromSeg-SSL",
        layout=(
            "labeled/train_labelme/<patient>/*.json, labeled/test_labelme/<patient>/*.json",
            "unlabeled/<patient>/*.png   (folders as in the authors' code; unconfirmed)",
        ),
    ),
}

_SHARED = {
    ("kumar", "monuseg"): "Kumar is MoNuSeg's training part, the same 30 images; its test part is apart.",
    ("monuseg", "monuseg622"): "The 30 images are MoNuSeg's training part; its test part is apart.",
    ("kumar", "monuseg622"): "Both are the 30 training images of MoNuSeg, divided differently.",
    ("monuseg622", "pannuke"): "PanNuke takes in these images, as patches that are not recorded.",
    ("lizard", "monuseg622"): "PanNuke takes in these, Lizard takes images from PanNuke: they may meet.",
    ("kumar", "pannuke"): "PanNuke takes in Kumar's images; which of its patches they are is not recorded.",
    ("monuseg", "pannuke"): "PanNuke takes in MoNuSeg's training images, as patches that are not recorded.",
    ("consep", "lizard"): "16 images of Lizard (consep_*) are regions of CoNSeP's, at half the resolution.",
    ("digestpath", "lizard"): "DigestPath here is the 69 images dpath_* of Lizard.",
    ("kumar", "lizard"): "PanNuke takes in Kumar's, and Lizard takes images from PanNuke: they may meet.",
    ("lizard", "monuseg"): "PanNuke takes in MoNuSeg's, and Lizard takes images from PanNuke: they may meet.",
    ("lizard", "pannuke"): "28 images of Lizard (pannuke_*) come from PanNuke's colon images.",
}


def overlap(a: str, b: str) -> str:
    """Why two data sets share images, or "" where they are not known to: a truth value and its reason.

    Training on one and testing on the other is then leakage, unless the parts are known to be apart.
    Raises KeyError for a name that is not in the catalogue.
    """
    first, second = sorted((a, b))
    if first == second:
        return f"{CATALOG[first].title} is the same data set."
    CATALOG[first], CATALOG[second]  # an unknown name is an error, not "no overlap"
    return _SHARED.get((first, second), "")
