"""What chapters tell about real slides in numbers that readers without the data sets cannot compute.

Needs `NUCBOOK_DATA` with MoNuSeg, TNBC and CoNSeP; only training images are looked at.

    python benchmarks/datasets.py
"""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd

from nucbook import data
from nucbook.data.readers.aperio import read_regions
from nucbook.data.readers.polygons import Rings, paint
from nucbook.papers.weaknucleiseg import labels
from nucbook.sample import Sample
from nucbook.split import Split

HALF = 0.5  # px
OF_ANOTHER_REVISION = "TCGA-B0-5710-01Z-00-DX1"  # this label map of MoNuSeg


def main() -> dict[str, pd.DataFrame]:
    """Print and return the tables by the name of what they tell."""
    tables = {
        "how slides look": appearance(),
        "MoNuSeg's outlines against its label maps": outlines(),
        "nuclei per image of MoNuSeg at 1/8": few_labelled(),
        "labels from points on Kumar": point_labels(),
    }
    for title, table in tables.items():
        print(f"{title}\n{table.to_string(float_format='{:.2f}'.format)}\n")
    return tables


def appearance() -> pd.DataFrame:
    """Mean and standard deviation over images of what `foundations/images` compares with simulated tissue."""
    rows = {}
    for name in ("kumar", "tnbc", "consep"):
        of_each = pd.DataFrame([described(sample) for sample in data.load(name, "train")])
        rows[name] = {"images": len(of_each)} | {
            f"{key}, {what}": value
            for key in of_each
            for what, value in (("mean", of_each[key].mean()), ("std", of_each[key].std()))
        }
    return pd.DataFrame(rows)


def described(sample: Sample) -> dict[str, float]:
    """Size of nuclei, µm; their number; mean optical density inside and outside."""
    inside = sample.label_map > 0
    areas = sample.truth.areas * sample.mpp**2
    density = -np.log((sample.image + 1.0) / 256).mean(2)
    return {
        "diameter": np.sqrt(np.median(areas) * 4 / np.pi),
        "nuclei per mm²": 1e6 * len(areas) / (inside.size * sample.mpp**2),
        "density inside": density[inside].mean(),
        "density outside": density[~inside].mean(),
    }


def outlines() -> pd.DataFrame:
    """Foreground IoU of MoNuSeg's outlines with its label maps by three rules, and who has shared pixels."""
    folder = data.items("monuseg", "train")[0].files[0].parents[1] / "Annotations"
    truth = {sample.name: sample.instances for sample in data.load("monuseg", "train")}
    rows = {}
    for path in sorted(folder.glob("*.xml")):
        theirs, regions = truth[path.stem], read_regions(path).outlines
        first, last = paint(regions, theirs.shape), paint(regions[::-1], theirs.shape)
        last = np.where(last > 0, len(regions) + 1 - last, 0)
        contested = (first != last) & (theirs > 0)
        rows[path.stem] = {
            "centre inside": iou(first, theirs),
            "touched": iou(touched(regions, theirs.shape), theirs),
            "half a pixel away": iou(paint(moved(regions, -HALF), theirs.shape), theirs),
            "shared pixels, first has": (theirs == first)[contested].mean(),
        }
    found = pd.DataFrame(rows).T
    found.loc["mean, without another revision"] = found.drop(OF_ANOTHER_REVISION, errors="ignore").mean()
    return found


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of the foregrounds of two label maps."""
    return np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0))


def touched(regions: list[Rings], shape: tuple[int, int]) -> np.ndarray:
    """The pixels that an outline encloses or touches, as drawing routines fill it."""
    canvas = np.zeros(shape, np.uint8)
    for rings in regions:
        whole = [np.round(ring[:, ::-1] * 16).astype(np.int32) for ring in rings if len(ring) >= 3]
        cv2.fillPoly(canvas, whole, 1, cv2.LINE_8, 4)  # four bits are fractions of a pixel
    return canvas


def moved(regions: list[Rings], by: float) -> list[Rings]:
    """Outlines moved down and right by so many pixels."""
    return [[ring + by for ring in rings] for rings in regions]


def few_labelled() -> pd.DataFrame:
    """Nuclei of the images that are labelled with seed 0, and the mean of the others."""
    samples = data.load("monuseg622", "train")
    chosen = Split.make(samples, by="image", labelled=1 / 8, validation=0, test=0, seed=0).labelled
    nuclei = {sample.name: len(sample.truth) for sample in samples}
    others = [count for name, count in nuclei.items() if name not in chosen]
    return pd.Series(
        {name: nuclei[name] for name in chosen} | {"others": np.mean(others)}, name="nuclei"
    ).to_frame()


def point_labels() -> pd.DataFrame:
    """σ of Kumar's training images, and how good cluster labels from points are there."""
    rows = []
    for item in data.items("kumar", "train"):
        sample = item.read()
        points, truth = sample.weaken("points").points, sample.instances > 0
        row = {"sigma": labels.colour_spread(sample.image, points)}
        features = {"": labels.cluster_features(sample.image, points)}
        features[", Qu et al."] = labels.qu_features(sample.image, points)
        for name, values in features.items():
            found = labels.cluster_labels(values, points)
            row |= {
                f"precision{name}": truth[found == labels.NUCLEUS].mean(),
                f"recall{name}": (found == labels.NUCLEUS)[truth].mean(),
                f"background{name}": (~truth)[found == labels.BACKGROUND].mean(),
                f"ignored{name}": (found == labels.IGNORED).mean(),
            }
        rows.append(row)
    return pd.DataFrame(rows).agg(["min", "mean", "max"]).T


if __name__ == "__main__":
    main()
