"""`nucbook train, predict, score, pretrain`: own images from the command line.

PyTorch and what stands on it is imported by the commands themselves.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nucbook import method as methods
from nucbook.cli.options import Changes, Minutes, Profile, Seed, explained, pairs
from nucbook.profile import flat, resolve

if TYPE_CHECKING:
    import numpy as np

    from nucbook.sample import Sample
    from nucbook.segmenter import Segmenter

TRAINABLE = tuple(name for name in methods.names() if name not in ("classical", "tissue"))


def train(
    images: Annotated[
        Path, typer.Argument(help="Folder of images with labels (`nucbook data check FOLDER`).")
    ],
    out: Annotated[Path, typer.Option(help="Folder the model is written to.")],
    method: Annotated[str, typer.Option(help=f"One of {', '.join(TRAINABLE)}.")] = "unet",
    profile: Profile = None,
    changes: Changes = None,
    seed: Seed = 0,
    minutes: Minutes = None,
    mpp: Annotated[
        float | None, typer.Option(min=0.01, help="Micrometres per pixel of the images; ircr must know it.")
    ] = None,
) -> None:
    """Train a method on your own images. Without --profile: paper where there is a GPU, else short."""
    with explained():
        kind = methods.config_of(method)
        from nucbook.segmenter import CARD, UNFINISHED, Segmenter
        from nucbook.segmenter import train as train_method
        from nucbook.training.prepare import agreed, first_process

        if (out / CARD).exists():
            raise FileExistsError(f"{out}: holds a finished model; give another --out, or delete it.")
        found = methods.find(method)
        if found.train is None or method not in TRAINABLE:
            raise ValueError(f"{method} learns nothing from images; there are {', '.join(TRAINABLE)}.")
        profile = profile or _default_profile()
        config = resolve(kind, "own", profile, command_line=pairs(changes))
        wanted = found.learns_from(config)
        samples = annotated(images, mpp, wanted)
        typer.echo(f"{method} at profile {profile}: {len(samples)} images with {wanted} in {images}")
        card = {
            "data": f"{len(samples)} images of {images.name}, {sum(s.labelled for s in samples)} with masks",
            "licence": "the trainer's own images",
            "mpp": mpp,
        }
        segmenter, _ = train_method(
            found,
            samples,
            config,
            seed=seed,
            checkpoint=out / UNFINISHED,
            minutes=minutes,
            progress=sys.stderr.isatty(),
        )
        if first_process():
            Segmenter(segmenter.networks, found, config, {"init": segmenter.card.init, **card}).save(out)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            typer.echo(f"saved to {out}; next: nucbook predict {out} IMAGES --out RESULTS")
        agreed(None)  # all wait until it is written


def _default_profile() -> str:
    import torch

    return "paper" if torch.cuda.is_available() else "short"


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `nucbook train` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Images, slides, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder the results are written to.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older results.")] = False,
) -> None:
    """Segment images: polygons for QuPath (.geojson) and label maps (.tif); of slides, polygons alone."""
    from tqdm import tqdm

    from nucbook.data.item import UnreadableFile
    from nucbook.sample import InvalidSample

    with explained():
        from nucbook.segmenter import Segmenter

        segmenter = Segmenter.load(model)
        files = pictures(images)
        check_results(files, out, overwrite)
    failed = 0
    for path in tqdm(files, desc="predict", disable=len(files) < 2 or not sys.stderr.isatty()):
        try:
            count = predict_one(segmenter, path, out)
            tqdm.write(f"{path.name}: {count} nuclei")
        except (UnreadableFile, InvalidSample) as error:  # the others are still worth having
            failed += 1
            tqdm.write(f"nucbook: {error}")
    if failed:
        typer.echo(f"{failed} of {len(files)} images could not be read.", err=True)
        raise typer.Exit(1)


def predict_one(segmenter: Segmenter, path: Path, out: Path) -> int:
    """Segment one image or slide and write what was found; returns the number of nuclei."""
    from tqdm import tqdm

    from nucbook.data.export import write
    from nucbook.data.readers.images import read_rgb
    from nucbook.data.slides import Slide, is_slide
    from nucbook.nuclei import Nuclei

    names = segmenter.card.classes
    if not is_slide(path):
        nuclei = segmenter(read_rgb(path)).nuclei
        write(nuclei, out / path.stem, names)
        return len(nuclei)
    slide = Slide(path)
    trained = segmenter.card.mpp
    if slide.mpp and trained and not 0.8 < slide.mpp / trained < 1.25:
        tqdm.write(
            f"{path.name}: {slide.mpp:.3g} µm per pixel, the model learnt at {trained:.3g}; expect errors."
        )
    nuclei = Nuclei.concatenate(segmenter.segment(slide), slide.shape[:2])
    write(nuclei, out / path.stem, names, labels=False)
    return len(nuclei)


def score(
    found: Annotated[Path, typer.Argument(help="Folder that `nucbook predict` wrote.")],
    truth: Annotated[Path, typer.Argument(help="Folder of the images with their labels.")],
) -> None:
    """Compare what was found with masks, image by image; images without masks are left out."""
    with explained():
        import pandas as pd

        from nucbook.metrics import evaluate_many

        if not found.is_dir():
            raise FileNotFoundError(f"{found}: no such folder; give the one that `nucbook predict` wrote.")
        samples = annotated(truth, None, "masks")
        report = evaluate_many(
            (sample.label_map, read_found(found, sample), sample.counted) for sample in samples
        )
        rows = pd.DataFrame(report.per_image, [sample.name for sample in samples])
        rows.loc["mean"] = report.mean
        typer.echo(rows.round(3).to_string())


def read_found(folder: Path, sample: Sample) -> np.ndarray:
    """The label map that `predict` wrote for a sample; where there are polygons alone, these painted."""
    from nucbook.data.export import written
    from nucbook.data.item import UnreadableFile
    from nucbook.data.readers.geojson import read_features
    from nucbook.data.readers.images import read_labels
    from nucbook.data.readers.polygons import paint

    outlines, labels = written(folder / sample.name)
    if labels.exists():
        return read_labels(labels)
    if not outlines.exists():
        raise UnreadableFile(labels, "it is missing", "segment its image too, or take its labels away")
    return paint(read_features(outlines).outlines, sample.shape)


def pretrain(
    profile: Profile = None, seed: Seed = 0, minutes: Minutes = None, changes: Changes = None
) -> None:
    """Train on simulated tissue and keep the encoder, which `init: tissue` starts from."""
    with explained():
        from nucbook.networks.encoder import save_tissue_weights
        from nucbook.segmenter import train as train_method

        profile = profile or _default_profile()
        config = resolve(methods.config_of("tissue"), "tissue", profile, command_line=pairs(changes))
        progress = sys.stderr.isatty()
        segmenter, _ = train_method("tissue", [], config, seed=seed, minutes=minutes, progress=progress)
        encoder = segmenter.networks["unet"].get_submodule("encoder")
        used = flat(config)
        where = save_tissue_weights(encoder)
        typer.echo(f"{used['unet.encoder']}, {used['unet.levels']} scales: {where}")


def annotated(images: Path, mpp: float | None, kind: str) -> list[Sample]:
    """The samples of a folder that have `kind`, all of them for "some masks"; says how many have none.

    Raises InvalidSample where not one has.
    """
    from nucbook.data import load_folder
    from nucbook.sample import InvalidSample

    samples = load_folder(images, mpp)
    kept = [s for s in samples if s.labelled or (kind == "points" and s.points is not None)]
    what, partly = kind.removeprefix("some "), kind == "some masks"
    if not kept:
        raise InvalidSample(f"{images}: not one of {len(samples)} images has {what}, which the method needs.")
    if len(kept) < len(samples):
        without, fate = len(samples) - len(kept), "used without" if partly else "left out"
        typer.echo(f"{without} of {len(samples)} images have no {what} and are {fate}.")
    outlined = sum(sample.labelled for sample in kept)
    if kind == "points" and outlined:
        typer.echo(f"The points of {outlined} images are the centres of their masks.")
    return samples if partly else kept


def pictures(paths: list[Path]) -> list[Path]:
    """The images and slides among files and folders, without labels that lie beside them.

    Raises FileNotFoundError where there is none.
    """
    from nucbook.data.readers.folder import picture_files
    from nucbook.data.readers.images import PICTURES
    from nucbook.data.slides import SLIDES

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder.")
        found += picture_files(path, PICTURES + SLIDES) if path.is_dir() else [path]
    if not found:
        raise FileNotFoundError(
            f"{paths[0]}: no images in it; there should be {', '.join(PICTURES + SLIDES)}."
        )
    return found


def check_results(files: list[Path], out: Path, overwrite: bool) -> None:
    """Raises FileExistsError where a result would replace an image, another result or an older file."""
    from nucbook.data.export import written
    from nucbook.data.slides import is_slide

    images, image_of = {path.resolve() for path in files}, dict[Path, Path]()
    for path in files:
        for result in written(out / path.stem, labels=not is_slide(path)):
            other = image_of.setdefault(result.resolve(), path)
            if other.resolve() != path.resolve():
                raise FileExistsError(f"{other} and {path} have one name; give each an --out of its own.")
            if result.resolve() in images:
                raise FileExistsError(f"{result}: would be replaced by its own result; give another --out.")
            if result.exists() and not overwrite:
                raise FileExistsError(f"{result}: is there already; give another --out, or --overwrite.")
