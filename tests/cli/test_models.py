"""From a folder of one's own images to polygons for QuPath, on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from nucbook.cli import app
from nucbook.data.export import write
from nucbook.data.readers.geojson import read_features
from nucbook.data.readers.polygons import paint
from nucbook.data.tissue import simulate
from nucbook.nuclei import Nuclei
from nucbook.segmenter import Segmenter
from nucbook.tables.run import Outcome

TINY = [
    "--profile",
    "quick",
    "--set",
    "steps=3",
    "--set",
    "crop=32",
    "--set",
    "batch=2",
    "--set",
    "precision=no",
]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """Two images with label maps and one without, as a user keeps them."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for i in range(3):
        sample = simulate("colon", size=96, seed=i)
        Image.fromarray(sample.image).save(folder / "images" / f"slide{i}.png")
        if i < 2:
            Image.fromarray(sample.instances.astype(np.uint16)).save(folder / "labels" / f"slide{i}.png")
    return folder


@pytest.fixture(scope="module")
def model(slides, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    done = call("train", slides, "--out", folder, "--mpp", 0.25, *TINY)
    assert done.exit_code == 0, done.output
    assert "2 images with masks" in done.output
    assert "1 of 3 images have no masks" in done.output
    return folder


def test_the_card_says_what_the_model_is(model):
    segmenter = Segmenter.load(model)
    assert segmenter.method.name == "unet"
    assert segmenter.config.steps == 3
    assert segmenter.card.mpp == 0.25
    assert not (model / "checkpoint").exists()


def test_predicted_polygons_and_label_maps_tell_the_same(model, slides, tmp_path):
    done = call("predict", model, slides / "images", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("*.geojson"))) == 3
    labels = tifffile.imread(tmp_path / "slide0.tif")
    assert labels.shape == (96, 96)
    outlines = read_features(tmp_path / "slide0.geojson").outlines
    assert np.array_equal(paint(outlines, (96, 96)) > 0, labels > 0)
    assert json.loads((tmp_path / "slide0.geojson").read_text())["type"] == "FeatureCollection"


def test_nothing_is_written_over(model, slides, tmp_path):
    tiff, twin = tmp_path / "in" / "a.tif", tmp_path / "a.png"
    tiff.parent.mkdir()
    Image.open(slides / "images" / "slide0.png").save(tiff)
    Image.open(slides / "images" / "slide1.png").save(twin)
    content = tiff.read_bytes()
    done = call("predict", model, tiff.parent, "--out", tiff.parent, "--overwrite")
    assert done.exit_code == 1
    assert "a.tif: would be replaced by its own result" in done.output
    assert tiff.read_bytes() == content
    done = call("predict", model, tiff, twin, "--out", tmp_path / "out")
    assert "have one name" in done.output
    assert not (tmp_path / "out").exists()
    assert call("predict", model, tiff, "--out", tmp_path / "out").exit_code == 0
    again = call("predict", model, tiff, "--out", tmp_path / "out")
    assert again.exit_code == 1
    assert "is there already; give another --out, or --overwrite" in again.output
    assert call("predict", model, tiff, "--out", tmp_path / "out", "--overwrite").exit_code == 0
    again = call("train", slides, "--out", model, *TINY)
    assert again.exit_code == 1
    assert "holds a finished model" in again.output


def test_labels_beside_images_are_not_segmented_but_compared(model, slides, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for i in range(2):
        Image.open(slides / "images" / f"slide{i}.png").save(mine / f"slide{i}.png")
        Image.open(slides / "labels" / f"slide{i}.png").save(mine / f"slide{i}_labels.png")
    assert call("predict", model, mine, "--out", tmp_path / "out").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == ["slide0.tif", "slide1.tif"]
    done = call("score", tmp_path / "out", mine)
    assert done.exit_code == 0, done.output
    assert all(word in done.output for word in ("slide0", "slide1", "mean", "aji", "pq"))
    (tmp_path / "out" / "slide0.tif").unlink()  # as of a slide: polygons alone
    assert call("score", tmp_path / "out", mine).output == done.output
    (tmp_path / "out" / "slide0.geojson").unlink()
    missing = call("score", tmp_path / "out", mine)
    assert missing.exit_code == 1
    assert "slide0.tif: it is missing; segment its image too" in missing.output


def test_truth_compared_with_itself_is_perfect(slides, tmp_path):
    for i in range(2):
        labels = np.array(Image.open(slides / "labels" / f"slide{i}.png"))
        write(Nuclei.from_labels(labels.astype(np.int32)), tmp_path / f"slide{i}")
    done = call("score", tmp_path, slides)
    assert done.output.splitlines()[-1].split() == ["mean"] + 11 * ["1.0"]


def test_an_interrupted_training_says_that_it_goes_on(slides, tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nucbook.segmenter.train", interrupted)
    done = call("train", slides, "--out", tmp_path, *TINY)
    assert done.exit_code == 130
    assert "interrupted; the same command goes on" in done.output


def test_one_broken_image_does_not_cost_the_others(model, slides, tmp_path):
    (tmp_path / "in").mkdir()
    whole = (slides / "images" / "slide0.png").read_bytes()
    (tmp_path / "in" / "a.png").write_bytes(whole[:2000])
    (tmp_path / "in" / "b.png").write_bytes(whole)
    done = call("predict", model, tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "a.png" in done.output
    assert (tmp_path / "out" / "b.geojson").exists()


def test_training_stops_at_the_limit_and_goes_on(slides, tmp_path):
    stopped = call("train", slides, "--out", tmp_path, "--minutes", 0, *TINY)
    assert stopped.exit_code == 1
    assert "the same call goes on" in stopped.output
    assert call("train", slides, "--out", tmp_path, *TINY).exit_code == 0


def test_points_clicked_in_qupath_are_enough_for_a_method_that_learns_from_points(tmp_path):
    for i in range(2):
        sample = simulate("colon", size=96, seed=i).weaken("points")
        Image.fromarray(sample.image).save(tmp_path / f"slide{i}.png")
        place = {"type": "MultiPoint", "coordinates": (sample.points[:, ::-1] + 0.5).tolist()}
        (tmp_path / f"slide{i}.geojson").write_text(json.dumps({"type": "Feature", "geometry": place}))
    words = ["crop=32", "batch=2", "spn_steps=3", "ien_steps=3", "precision=no", "levels=3"]
    tiny = ["--profile", "quick", *(w for word in words for w in ("--set", word))]
    tiny += ["--out", tmp_path / "model"]
    done = call("train", tmp_path, "--method", "weaknucleiseg", *tiny, "--minutes", 0)
    assert done.exit_code == 1
    assert "nucbook: " in done.output
    done = call("train", tmp_path, "--method", "weaknucleiseg", *tiny)
    assert done.exit_code == 0, done.output
    assert "2 images with points" in done.output
    done = call("predict", tmp_path / "model", tmp_path / "slide0.png", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert call("train", tmp_path, *TINY, "--out", tmp_path / "other").output.startswith(
        f"nucbook: {tmp_path}: not one of 2 images has masks"
    )


def test_images_without_masks_are_used_by_a_method_that_learns_from_some(tmp_path):
    for i, organ in enumerate(("breast", "kidney", "liver")):
        sample = simulate(organ, size=64, seed=i)
        Image.fromarray(sample.image).save(tmp_path / f"slide{i}.png")
        if i == 0:
            Image.fromarray(sample.label_map.astype(np.uint16)).save(tmp_path / f"slide{i}_labels.png")
    words = ["crop=32", "batch=2", "steps=2", "precision=no"]
    tiny = ["--profile", "quick", *(w for word in words for w in ("--set", word))]
    done = call("train", tmp_path, "--method", "ircr", *tiny, "--out", tmp_path / "model")
    assert done.exit_code == 1
    assert "`--mpp`" in done.output
    tiny += ["--mpp", 0.25]
    done = call("train", tmp_path, "--method", "ircr", *tiny, "--out", tmp_path / "model")
    assert done.exit_code == 0, done.output
    assert "2 of 3 images have no masks and are used without" in done.output
    done = call("predict", tmp_path / "model", tmp_path / "slide2.png", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "slide2.geojson").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere", "--out", "x"], "nowhere"),
        (["train", "{slides}", "--out", "x", "--method", "unett"], "no method 'unett': did you mean 'unet'"),
        (["train", "{slides}", "--out", "x", "--set", "stepps=3"], "no field 'stepps'"),
        (["train", "{slides}", "--out", "x", "--set", "steps"], "field=value"),
        (["predict", "{slides}", "{slides}/images", "--out", "x"], "model.json"),
        (["predict", "{model}", "nowhere.png", "--out", "x"], "nowhere.png"),
        (["train", "{slides}", "--out", "x", "--method", "IRCR-Net"], "There are classical, unet, "),
        (["train", "{slides}", "--out", "x", "--method", "classical"], "learns nothing from images"),
        (
            ["train", "{slides}", "--out", "x", "--profile", "quick", "--set", "steps=-5"],
            "steps = '-5': expected int >= 1",
        ),
        (["predict", "{model}", "{slides}/..", "--out", "x"], "no images in it"),
        (["table", "baselines/none"], "baselines/slides"),
        (["table", "baselines"], "write paper/table; there are baselines/slides"),
        (["table", "baselines/slides", "--rows", "none"], "--list` shows all"),
        (["table", "baselines/slides", "--rows", "none", "--list"], "no row 'none'"),
        (
            ["table", "baselines/slides", "--labels", "1/3", "--show"],
            "has labels '1/3'; there are 100%, none",
        ),
        (["config", "ircr", "--dataset", "foo"], "no data set 'foo'; there are own, monuseg, kumar"),
        (["score", "nowhere", "{slides}"], "nowhere: no such folder"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(arguments, message, slides, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*[argument.format(slides=slides, model=model) for argument in arguments])
    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_resolution_that_is_none_is_the_options_fault(slides, tmp_path):
    done = call("train", slides, "--out", tmp_path / "x", "--mpp", "-1")
    assert done.exit_code == 2
    assert "--mpp" in done.output


def test_tables_are_listed_and_shown_without_running(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_RESULTS", str(tmp_path))
    done = call("table")
    assert "ircr/2 " in done.output
    assert "baselines/slides " in done.output
    shown = call("table", "baselines/slides", "--show", "--profile", "short")
    assert shown.output.strip() == "nothing is stored of baselines/slides at profile short."


def test_runs_that_were_measured_again_can_be_dropped(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_RESULTS", str(tmp_path))
    stored = Path(__file__).parents[2] / "results" / "bass.jsonl"
    twice = [line for line in stored.read_text().splitlines() if '"quick"' in line][:1] * 2
    (tmp_path / "bass.jsonl").write_text("\n".join(twice) + "\n")
    assert "1 lines dropped" in call("table", "bass/readings", "--prune").output
    assert (tmp_path / "bass.jsonl").read_text().splitlines() == twice[:1]


def test_a_table_without_its_data_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path))
    monkeypatch.setenv("NUCBOOK_RESULTS", str(tmp_path / "results"))
    done = call("table", "baselines/slides", "--profile", "short")
    assert done.exit_code == 1
    assert done.output.count("TCGA-Kumar (MultiOrgan), part 'test', is not in") == 1
    assert "Traceback" not in done.output


def test_a_table_is_not_trained_in_a_checkout_that_differs_from_its_commit(tmp_path, monkeypatch):
    """Its stored part is shown all the same."""
    monkeypatch.setenv("NUCBOOK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr("nucbook.tables.run.clean", lambda: False)
    done = call("table", "baselines/slides", "--profile", "quick")
    assert done.exit_code == 1
    assert done.output.startswith("nothing is stored of baselines/slides at profile quick.\n")
    assert (
        "commit first, or train all the same with --dirty, which is recorded as clean: false" in done.output
    )
    asked = []
    monkeypatch.setattr("nucbook.tables.run.run_table", lambda *a, **o: asked.append(o["dirty"]) or Outcome())
    assert call("table", "baselines/slides", "--dirty").exit_code == 0
    assert asked == [True]


def test_pretrained_tissue_weights_are_found_by_init(tmp_path, monkeypatch):
    from nucbook.networks import Encoder, initialise

    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    done = call("pretrain", *TINY, "--set", "tiles=3", "--set", "tile=64")
    assert done.exit_code == 0, done.output
    assert initialise(Encoder("resnet18", 4), "tissue") == "tissue"
