"""Tiny data sets in the layouts of their releases, for every test that needs files.

`write(name, root)` makes one; the truth of its first images is `tile(seed, size)`, whose three nuclei are
rectangles, so that outlines and label maps say the same to the pixel.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from roifile import ImagejRoi
from scipy.io import savemat

from nucbook.data.layouts import KUMAR

SIZE = 24  # pixels a side
TNBC_IMAGES = (7, 3, 5, 8, 4, 3, 3, 4, 6, 4, 3)  # of each patient


def tile(seed: int = 0, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A picture (size, size, 3) and its label map: three dark rectangles with ids 1, 2, 3 on pink noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(190, 230, (size, size, 3), np.uint8)
    labels = np.zeros((size, size), np.int32)
    for i, (r0, c0, r1, c1) in enumerate(boxes(seed, size), start=1):
        labels[r0:r1, c0:c1] = i
    image[labels > 0] -= 100
    return image, labels


def boxes(seed: int = 0, size: int = SIZE) -> list[tuple[int, int, int, int]]:
    """First row, first column, last row + 1, last column + 1 of the three nuclei of `tile`."""
    unit, shift = size // 8, seed % 2
    return [
        (unit, unit + shift, 3 * unit, 3 * unit),
        (unit, 5 * unit, 4 * unit + shift, 7 * unit),
        (5 * unit, 2 * unit, 7 * unit, 6 * unit),
    ]


def write(name: str, root: Path, size: int = SIZE) -> Path:
    """A tiny data set in its official layout below `root`; returns `root`."""
    WRITERS[name](Path(root), size)
    return Path(root)


# -- parts of files ---------------------------------------------------------------------------


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def aperio_xml(layers: dict[str, list], mpp: float | None = 0.25) -> str:
    """Layers {class name: outlines}, each outline a list of (row, column)."""
    text = [f'<Annotations MicronsPerPixel="{mpp}">' if mpp else "<Annotations>"]
    for name, outlines in layers.items():
        text.append(f'<Annotation Id="1"><Attributes><Attribute Name="{name}" Id="0"/></Attributes><Regions>')
        for i, outline in enumerate(outlines, start=1):
            vertices = "".join(f'<Vertex X="{column}" Y="{row}"/>' for row, column in outline)
            text.append(f'<Region Id="{i}"><Attributes/><Vertices>{vertices}</Vertices></Region>')
        text.append("</Regions><Plots/></Annotation>")
    return "\n".join([*text, "</Annotations>"])


def centres(box: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    """The outline of a rectangle through the centres of its outermost pixels, as (row, column)."""
    r0, c0, r1, c1 = box
    return [(r0, c0), (r0, c1 - 1), (r1 - 1, c1 - 1), (r1 - 1, c0)]


def corners(box: tuple[int, int, int, int]) -> list[list[float]]:
    """The outline of a rectangle round its pixels, as [x, y] from the corner of the first pixel."""
    r0, c0, r1, c1 = box
    return [[c0, r0], [c1, r0], [c1, r1], [c0, r1]]


def roi_zip(found: list) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for i, box in enumerate(found):
            archive.writestr(f"{i:04}.roi", ImagejRoi.frompoints(np.array(corners(box))).tobytes())
    return stream.getvalue()


def labelme(image: str, found: list, size: int = SIZE, kinds=("1", "23", "24"), snake: bool = False) -> dict:
    points = [{"label": kind, "points": corners(box)} for kind, box in zip(kinds, found)]
    shapes = [{**shape, "shape_type": "polygon"} for shape in points]
    if snake:
        return {"shapes": shapes, "image_path": image, "image_height": size, "image_width": size}
    return {"shapes": shapes, "imagePath": image, "imageHeight": size, "imageWidth": size}


def geojson(found: list, kinds=("tumour", "", "stroma")) -> dict:
    features = []
    for kind, box in zip(kinds, found):
        ring = corners(box)
        properties = {"classification": {"name": kind}} if kind else {}
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


# -- data sets --------------------------------------------------------------------------------


def _aperio_image(folder: Path, name: str, seed: int, size: int, xml_folder: Path | None = None) -> None:
    save(folder / f"{name}.tif", tile(seed, size)[0])
    target = (xml_folder or folder) / f"{name}.xml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(aperio_xml({"Description": [centres(box) for box in boxes(seed, size)]}))


def _monuseg(root: Path, size: int) -> None:
    home = root / "MoNuSeg" / "MoNuSegTrainingData"
    for seed, name in enumerate(KUMAR["train"] + KUMAR["validation"] + KUMAR["test"]):
        _aperio_image(home / "Tissue Images", name, seed, size, home / "Annotations")
    for seed, name in enumerate(("TCGA-2Z-A9J9-01A-01-TS1", "TCGA-44-2665-01B-06-BS6")):
        _aperio_image(root / "MoNuSeg" / "MoNuSegTestData", name, seed, size)


def _tnbc(root: Path, size: int) -> None:
    for patient, images in enumerate(TNBC_IMAGES, start=1):
        for number in range(1, images + 1):
            image, labels = tile(patient + number, size)
            name = f"{patient:02}_{number}.png"
            save(root / "TNBC" / f"Slide_{patient:02}" / name, image)
            save(root / "TNBC" / f"GT_{patient:02}" / name, np.uint8(255) * (labels > 0))


def _consep(root: Path, size: int) -> None:
    for part in ("Train", "Test"):
        for seed in (1, 2):
            image, labels = tile(seed, size)
            save(root / "CoNSeP" / part / "Images" / f"{part.lower()}_{seed}.png", image)
            mat = root / "CoNSeP" / part / "Labels" / f"{part.lower()}_{seed}.mat"
            mat.parent.mkdir(parents=True, exist_ok=True)
            savemat(mat, {"inst_map": labels.astype(float), "inst_type": [[2.0], [4.0], [7.0]]})


def _lizard(root: Path, size: int) -> None:
    home = root / "Lizard"
    rows = []
    for seed, source in enumerate(("dpath", "dpath", "dpath", "dpath", "consep", "pannuke")):
        name = f"{source}_{seed}"
        image, labels = tile(seed, size)
        save(home / f"Lizard_Images{1 + seed % 2}" / f"{name}.png", image)
        mat = home / "Lizard_Labels" / "Labels" / f"{name}.mat"
        mat.parent.mkdir(parents=True, exist_ok=True)
        savemat(mat, {"inst_map": labels, "id": [[3], [1], [2]], "class": [[6], [2], [3]]})
        rows.append({"Filename": name, "Source": source, "Split": 1 + seed % 3})
    with (home / "Lizard_Labels" / "info.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["Filename", "Source", "Split"])
        writer.writeheader()
        writer.writerows(rows)


def _pannuke(root: Path, size: int, patches: int = 2) -> None:
    for k in (1, 2, 3):
        home = root / "PanNuke" / f"Fold {k}"
        tiles = [tile(seed, size) for seed in range(patches)]
        masks = np.zeros((patches, size, size, 6))
        for i, (_, labels) in enumerate(tiles):
            masks[i, ..., 0] = np.where(labels == 1, 7, 0)
            masks[i, ..., 2] = np.where(labels == 2, 7, 0)  # the same id in another channel
            masks[i, ..., 4] = np.where(labels == 3, 255, 0)
            masks[i, ..., 5] = labels == 0
        for folder, name, array in (
            ("images", "images", np.stack([image for image, _ in tiles]).astype(float)),
            ("images", "types", np.array(["Breast", "Colon"] * patches)[:patches]),
            ("masks", "masks", masks),
        ):
            (home / folder / f"fold{k}").mkdir(parents=True, exist_ok=True)
            np.save(home / folder / f"fold{k}" / f"{name}.npy", array)


def _monusac(root: Path, size: int) -> None:
    for folder, name in (
        ("MoNuSAC_images_and_annotations", "TCGA-5P-A9K0-01Z-00-DX1"),
        ("MoNuSAC Testing Data and Annotations", "TCGA-2Z-A9JG-01Z-00-DX1"),
    ):
        home = root / "MoNuSAC" / folder / name
        first, second, third = (centres(box) for box in boxes(0, size))
        save(home / f"{name}_1.tif", tile(0, size)[0])
        layers = {"Epithelial": [first], "Lymphocyte": [], "Neutrophil": [second], "Ambiguous": [third]}
        (home / f"{name}_1.xml").write_text(aperio_xml(layers, mpp=0.2468))


def _cryonuseg(root: Path, size: int) -> None:
    markup = root / "CryoNuSeg" / "Annotator 1 (biologist)"
    names = [f"Human_{organ}_{number:02}" for organ in ("AdrenalGland", "Larynx") for number in (1, 2, 3)]
    for seed, name in enumerate(names):
        image, labels = tile(seed, size)
        save(root / "CryoNuSeg" / "tissue images" / f"{name}.tif", image)
        save(markup / "label masks modify" / f"{name}.tif", labels.astype(np.uint16))


def _chromseg(root: Path, size: int) -> None:
    for part in ("train", "test"):
        home = root / "ChromSeg-SSL" / "labeled" / f"{part}_labelme" / "211029-011C"
        save(home / "202_3.png", tile(0, size)[0])
        (home / "202_3.json").write_text(json.dumps(labelme("202_3.png", boxes(0, size), size)))
    save(root / "ChromSeg-SSL" / "unlabeled" / "211029-017C" / "94_6.png", tile(1, size)[0])


WRITERS = {
    "monuseg": _monuseg,
    "kumar": _monuseg,
    "monuseg622": _monuseg,
    "tnbc": _tnbc,
    "cryonuseg": _cryonuseg,
    "digestpath": _lizard,
    "monusac": _monusac,
    "pannuke": _pannuke,
    "consep": _consep,
    "lizard": _lizard,
    "chromseg": _chromseg,
}
