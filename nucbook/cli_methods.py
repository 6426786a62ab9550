"""`nucbook train, predict, score, pretrain, table`: the library from the command line."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from tqdm import tqdm

from nucbook.data import load_folder
from nucbook.data.export import write, written
from nucbook.data.item import UnreadableFile
from nucbook.data.readers.folder import picture_files
from nucbook.data.readers.geojson import read_features
from nucbook.data.readers.images import PICTURES, read_labels, read_rgb
from nucbook.data.readers.polygons import paint
from nucbook.data.slides import SLIDES, Slide, is_slide
from nucbook.metrics import evaluate_many
from nucbook.networks.encoder import save_tissue_weights
from nucbook.nuclei import Nuclei
from nucbook.papers import METHODS
from nucbook.papers.baselines import tables as baselines
from nucbook.papers.baselines import tissue
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import CARD, UNFINISHED, Segmenter, find_method
from nucbook.tables import find
from nucbook.tables.render import as_text, compare
from nucbook.tables.run import run_table
from nucbook.training.prepare import agreed, first_process
from nucbook.training.profile import profile as profile_in_force
from nucbook.training.profile import resolve
from nucbook.training.stages import Desk, OutOfTime

Profile = Annotated[str | None, typer.Option(help="quick, short or paper.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a config field, as steps=500; repeatable.")
]
Minutes = Annotated[
    float | None, typer.Option(help="Stop cleanly after so long; the same command goes on later.")
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
MISTAKES = (ValueError, OSError, OutOfTime)  # InvalidSample, BadModel, … are ValueErrors


@contextmanager
def said():
    """An error a user can act on becomes its message and exit code 1, not a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("nucbook: interrupted; the same command goes on.", err=True)
        raise typer.Exit(130) from None
    except ExceptionGroup as group:
        messages = dict.fromkeys(str(error) for error in group.exceptions)
        if not all(isinstance(error, MISTAKES) for error in group.exceptions):
            raise
        typer.echo("\n".join(f"nucbook: {message}" for message in messages), err=True)
        raise typer.Exit(1) from group
    except MISTAKES as error:
        typer.echo(f"nucbook: {error}", err=True)
        raise typer.Exit(1) from error


def train(
    images: Annotated[
        Path, typer.Argument(help="Folder of images with labels (`nucbook data check FOLDER`).")
    ],
    out: Annotated[Path, typer.Option(help="Folder the model is written to.")],
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "baselines.unet",
    profile: Profile = None,
    changes: Changes = None,
    seed: Seed = 0,
    minutes: Minutes = None,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of the images; ircr must know it.")
    ] = None,
) -> None:
    """Train a method on your own images. Without --profile: paper where there is a GPU, else short."""
    with said():
        if (out / CARD).exists():
            raise FileExistsError(f"{out}: holds a finished model; give another --out, or delete it.")
        found = find_method(method)
        kind = found.learns_from
        samples = annotated(images, mpp, kind)
        profile = profile or ("paper" if torch.cuda.is_available() else "short")
        config = resolve(found.config, "own", profile, command_line=pairs(changes))
        typer.echo(f"{method} at profile {profile}: {len(samples)} images with {kind} in {images}")
        teach = getattr(importlib.import_module(f"nucbook.papers.{method}"), "train", None)
        if teach is None:
            raise ValueError(f"{method} has nothing to learn; there are {', '.join(METHODS)}.")
        card = {
            "data": f"{len(samples)} images of {images.name}, {sum(s.labelled for s in samples)} with masks",
            "licence": "the trainer's own images",
            "mpp": mpp,
        }
        segmenter, history = teach(samples, config, seed=seed, checkpoint=out / UNFINISHED, minutes=minutes)
        histories = history.values() if isinstance(history, Mapping) else [history]
        if not all(one.finished for one in histories):
            raise OutOfTime("the time limit came first; the same command goes on.")
        if first_process():
            Segmenter(segmenter.networks, found, config, {"init": segmenter.card.init, **card}).save(out)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            typer.echo(f"saved to {out}; next: nucbook predict {out} IMAGES --out RESULTS")
        agreed(None)  # all wait until it is written


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `nucbook train` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Images, slides, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder the results are written to.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older results.")] = False,
) -> None:
    """Segment images: polygons for QuPath (.geojson) and label maps (.tif); of slides, polygons alone."""
    with said():
        segmenter = Segmenter.load(model)
        files = pictures(images)
        check_results(files, out, overwrite)
    failed = 0
    for path in tqdm(files, desc="predict", disable=len(files) < 2):
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
    with said():
        samples = annotated(truth, None, "masks")
        report = evaluate_many((sample.label_map, read_found(found, sample)) for sample in samples)
        rows = pd.DataFrame(report.per_image, [sample.name for sample in samples])
        rows.loc["mean"] = report.mean
        typer.echo(rows.round(3).to_string())


def read_found(folder: Path, sample: Sample) -> np.ndarray:
    """The label map that `predict` wrote for a sample; where there are polygons alone, these painted."""
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
    with said():
        profile = profile or ("paper" if torch.cuda.is_available() else "short")
        config = resolve(tissue.Config, "tissue", profile, command_line=pairs(changes))
        desk = Desk(seed=seed, minutes=minutes)
        trained = desk.do(baselines.simulated, config, tissue.simulator())
        network = baselines.segmenter(config, trained).networks["unet"]
        typer.echo(f"ResNet-{config.layers}, {config.levels} scales: {save_tissue_weights(network.encoder)}")


def table(
    address: Annotated[str, typer.Argument(help="paper/table, as baselines/slides.")],
    rows: Annotated[
        list[str] | None, typer.Option(help="A row's name or alias; repeatable. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each row.")] = 1,
    profile: Profile = None,
    minutes: Minutes = None,
    changes: Changes = None,
    workers: Annotated[int, typer.Option(help="Runs at a time on this machine.")] = 1,
) -> None:
    """Run what is missing of a table, and print what there is beside what was published."""
    with said():
        wanted, profile = find(address), profile_in_force(profile)
        outcome = run_table(
            wanted,
            rows=rows,
            seeds=seeds,
            profile=profile,
            minutes=minutes,
            changes=pairs(changes),
            workers=workers,
        )
        typer.echo(f"{len(outcome.done)} runs done, {len(outcome.waiting)} wait for the next call.")
        if profile in ("short", "paper"):
            numbers = compare(wanted, profile)
            run = numbers.xs("runs", axis=1, level=1).gt(0).any(axis=1)
            typer.echo(as_text(numbers[run], profile, wanted.unit).to_string())


def annotated(images: Path, mpp: float | None, kind: str) -> list[Sample]:
    """The samples of a folder that have `kind`, all of them for "some masks"; says how many have none.

    Raises InvalidSample where not one has.
    """
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
    found = []
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
    images, image_of = {path.resolve() for path in files}, {}
    for path in files:
        for result in written(out / path.stem, labels=not is_slide(path)):
            other = image_of.setdefault(result.resolve(), path)
            if other.resolve() != path.resolve():
                raise FileExistsError(f"{other} and {path} have one name; give each an --out of its own.")
            if result.resolve() in images:
                raise FileExistsError(f"{result}: would be replaced by its own result; give another --out.")
            if result.exists() and not overwrite:
                raise FileExistsError(f"{result}: is there already; give another --out, or --overwrite.")


def pairs(changes: list[str] | None) -> dict[str, Any]:
    """{"steps": "500"} of ["steps=500"]; raises ValueError for a text without "="."""
    split = [change.partition("=") for change in changes or []]
    for name, equals, _ in split:
        if not equals:
            raise ValueError(f"--set {name}: write it as field=value.")
    return {name: value for name, _, value in split}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `nucbook`."""
    for command in (train, predict, score, pretrain, table):
        app.command()(command)
