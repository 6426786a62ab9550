from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from nucbook import method as methods
from nucbook.earlier import current
from nucbook.method import Method, UnknownMethod, find, names, register
from nucbook.nuclei import Nuclei
from nucbook.papers.baselines.config import HoVerNetConfig
from nucbook.profile import build as build_config
from nucbook.sample import InvalidSample
from nucbook.segmenter import BadModel, Card, Prediction, Segmenter


@dataclass(frozen=True)
class Config:
    threshold: float = 0.5
    sizes: tuple[int, ...] = (3, 1)

    @classmethod
    def quick(cls):
        return cls()


class Dark(nn.Module):
    """Predicts how dark a pixel is, exactly; refuses what is no multiple of its stride."""

    stride = 8

    def __init__(self):
        super().__init__()
        self.convolve = nn.Conv2d(3, 1, 1)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, image):
        assert image.shape[-1] % 8 == image.shape[-2] % 8 == 0
        return self.norm(self.convolve(image))


def maps(networks, image, config):
    assert not networks["dark"].training
    assert 0 <= image.min() <= image.max() <= 1
    return torch.cat([networks["dark"](image), image], 1)


def decode(maps, config):
    assert maps.dtype == np.float32
    return ndimage.label(maps[0] > config.threshold)[0]


METHOD = Method("dark", Config, lambda config: {"dark": Dark()}, maps, decode)


@pytest.fixture
def method(monkeypatch):
    monkeypatch.setattr(methods, "_REGISTERED", {})
    return register(METHOD)


def segmenter(**card) -> Segmenter:
    net = Dark()
    with torch.no_grad():
        net.convolve.weight.fill_(-1 / 3)
        net.convolve.bias.fill_(1)
    return Segmenter({"dark": net}, METHOD, Config(), card)


def picture(shape, nuclei=12, seed=0):
    """White, with dark discs that do not touch; and the discs' label map."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for i in range(1, nuclei + 1):
        row, column, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(3, 7)
        disc = np.hypot(rows - row, columns - column) < radius
        if not labels[ndimage.binary_dilation(disc)].any():
            labels[disc] = i
    return np.where(labels[..., None] > 0, 40, 250).astype(np.uint8).repeat(3, 2), labels


def same_objects(a, b):
    """One-to-one between the ids of two label maps."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_images_of_any_size(height, width):
    """Also those smaller than the stride: they are padded, and the answer is cut back."""
    image, labels = picture((height, width), nuclei=4)
    prediction = segmenter()(image)
    assert prediction.instances.shape == (height, width)
    assert same_objects(prediction.instances, labels)


def test_a_prediction_has_nuclei_and_a_label_map():
    a, b = np.ones((2, 2), bool), np.ones((2, 3), bool)
    nuclei = Nuclei((4, 4), np.array([[0, 0, 2, 2], [1, 1, 3, 4]]), [a, b], scores=[0.3, 0.9])
    assert Prediction(nuclei).instances.tolist() == [[1, 1, 0, 0], [1, 2, 2, 2], [0, 2, 2, 2], [0, 0, 0, 0]]


def test_a_slide_block_by_block_is_the_whole_at_once():
    image, labels = picture((300, 260), nuclei=60)
    found = list(segmenter().segment(image, block=64, margin=20))
    assert len(found) > 9
    joined = Nuclei.concatenate(found, image.shape[:2])
    assert same_objects(joined.to_labels(), labels)
    assert same_objects(segmenter()(image).instances, labels)


def test_large_images_go_block_by_block():
    seen = []
    spying = replace(METHOD, decode=lambda maps, config: seen.append(maps.shape) or decode(maps, config))
    image = np.full((16, 2100, 3), 250, np.uint8)
    image[4:9, 1045:1055] = 40  # across the border of two blocks
    prediction = replace(segmenter(), method=spying)(image)
    assert len(prediction.nuclei) == 1
    assert (prediction.instances > 0).sum() == 50
    assert len(seen) == 3


def test_a_method_may_return_overlapping_nuclei_and_need_no_network():
    two = lambda maps, config: Nuclei(
        maps.shape[1:], np.array([[0, 0, 2, 2]] * 2), [np.ones((2, 2), bool)] * 2
    )
    method = Method("toys.two", Config, lambda config: {}, lambda networks, image, config: image, two)
    prediction = Segmenter({}, method, Config())(np.zeros((5, 7, 3), np.uint8))
    assert len(prediction.nuclei) == 2
    assert prediction.instances.max() == 1


def test_what_is_no_image_is_refused_and_what_can_be_is_converted():
    with pytest.raises(InvalidSample, match="2 channels"):
        segmenter()(np.zeros((9, 9, 2), np.uint8))
    image, labels = picture((40, 40), nuclei=3)
    with pytest.warns(UserWarning, match="grey repeated"):
        assert same_objects(segmenter()(image[..., 0]).instances, labels)


CARD = {
    "data": "Kumar train, 12 images",
    "licence": "CC BY-NC-SA 4.0",
    "mpp": 0.25,
    "init": "tissue",
    "classes": {1: "epithelial", 2: "other"},
    "metrics": {"kumar/aji": 0.5},
}


def test_save_and_load_give_the_same_segmenter(tmp_path, method):
    one = replace(segmenter(**CARD), config=Config(0.25, (5,)))
    one.networks["dark"].norm.running_mean.fill_(0.1)
    one.save(tmp_path / "model")
    two = Segmenter.load(tmp_path / "model")
    assert two.card == one.card == Card(**CARD)
    assert two.config == one.config
    assert two.method is method
    image, _ = picture((50, 50))
    np.testing.assert_array_equal(one.maps(image), two.maps(image))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    written = json.loads((tmp_path / "model" / "model.json").read_text())
    assert written["method"] == "dark"
    assert written["version"]
    assert written["config"] == {"threshold": 0.25, "sizes": [5]}


def test_a_card_may_be_written_into(tmp_path, method):
    segmenter().save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["card"]["licence"] = "CC0"
    (tmp_path / "model.json").write_text(json.dumps(card))
    assert Segmenter.load(tmp_path).card.licence == "CC0"


def test_a_card_has_its_fields_and_no_others():
    with pytest.raises(
        ValueError, match="a model card has no field 'weather'; its fields are data, licence, mpp"
    ):
        segmenter(weather="fine")


def rewrite(path, change):
    written = json.loads(path.read_text())
    change(written)
    path.write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda f: (f / "model.json").unlink(),
            r"model\.json: no such file; give the folder that `nucbook train` or",
        ),
        (lambda f: (f / "model.json").write_text("{"), r"model\.json: cannot be read .*copy the model again"),
        (lambda f: (f / "model.json").write_text("[]"), r"model\.json: not a nucbook model"),
        (lambda f: (f / "model.json").write_bytes(b"\xff\xfe\x00"), r"model\.json: cannot be read"),
        (lambda f: rewrite(f / "model.json", lambda w: w.update(format="keras")), "not a nucbook model"),
        (lambda f: rewrite(f / "model.json", lambda w: w.pop("config")), "lacks config"),
        (
            lambda f: rewrite(f / "model.json", lambda w: w["config"].update(speed=9)),
            r"written by nucbook .*no field 'speed'; .*install that version",
        ),
        (
            lambda f: rewrite(f / "model.json", lambda w: w["config"].update(threshold="x")),
            "threshold = 'x': expected float",
        ),
        (
            lambda f: rewrite(f / "model.json", lambda w: w["config"].update(threshold=0.75)),
            "not the weights that model.json beside it speaks of",
        ),
        (lambda f: rewrite(f / "model.json", lambda w: w["card"].pop("classes")), "does not fit .*classes"),
        (
            lambda f: rewrite(f / "model.json", lambda w: w.update(method="light")),
            "no method 'light'",
        ),
        (lambda f: rewrite(f / "model.json", lambda w: w.update(method="os")), "no method 'os'"),
        (
            lambda f: rewrite(f / "model.json", lambda w: w.update(method="..os.path")),
            "no method '..os.path'",
        ),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: not a whole file"),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-5]),
            r"model\.safetensors: not a whole file .*copy the model again, or train again",
        ),
        (lambda f: torch.save({"a": 1}, f / "model.safetensors"), "not a whole file"),
    ],
)
def test_a_folder_that_is_no_model_says_why(tmp_path, method, harm, message):
    segmenter().save(tmp_path)
    harm(tmp_path)
    with pytest.raises(BadModel, match=message):
        Segmenter.load(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path, method):
    other = Segmenter({"dark": nn.Conv2d(3, 1, 1)}, METHOD, Config())
    other.save(tmp_path)
    with pytest.raises(BadModel, match="the weights do not fit network 'dark'"):
        Segmenter.load(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path, method):
    segmenter().save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(BadModel, match="its content is damaged"):
        Segmenter.load(tmp_path)


# -- methods by name ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_method_of_the_book_is_found_by_its_name(name):
    found = find(name)
    assert found.name == name
    assert found.config is methods.config_of(name)
    assert (found.train is None) == (name == "classical")


def test_a_method_is_registered_once_known_by_its_name_and_replaced(method):
    assert find("dark") is METHOD
    other = replace(METHOD, learns_from=lambda config: "nothing")
    assert register(other) is find("dark") is other
    with pytest.raises(ValueError, match="the book has a method 'unet'; give yours another name"):
        register(replace(METHOD, name="unet"))


def test_an_unregistered_method_is_refused_with_the_way_out(tmp_path, monkeypatch):
    segmenter().save(tmp_path)
    with pytest.raises(BadModel, match=r"no method 'dark'.*must be registered first: import its module"):
        Segmenter.load(tmp_path)
    with pytest.raises(UnknownMethod, match="no method 'unett': did you mean 'unet'"):
        find("unett")


# -- models of earlier versions -----------------------------------------------------------------

STORED = Path(__file__).parent / "models"


def test_a_model_that_0_1_saved_still_loads_and_predicts_the_same():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    found = Segmenter.load(STORED / "0.1-unet")
    assert (found.method.name, found.config.encoder, found.config.valley) == ("unet", "resnet18", 0.1)
    assert found.maps(image).ravel()[:3] == pytest.approx([0.4906, 0.4903, 0.4932], abs=1e-4)
    found = Segmenter.load(STORED / "0.1-weaknucleiseg")
    assert (found.method.name, found.config.encoder) == ("weaknucleiseg", "resnet18")
    assert found.maps(image).probability.ravel()[:3] == pytest.approx([0.5081, 0.5095, 0.5093], abs=1e-4)


def build(name, values):
    return build_config(methods.config_of(name), values)


def test_configs_of_0_1_keep_their_meaning():
    old = {"depth": 18, "patch": 256, "crop": 96, "batch": 4, "epochs": 150, "steps": 0, "init": "scratch"}
    old |= {"learning_rate": 1e-3, "milestones": [0.5], "precision": "bf16"}
    new = HoVerNetConfig("resnet18", crop=96, steps=None, learning_rate=1e-3, milestones=(0.5,))
    new = replace(new, init="scratch", precision="bf16")
    assert build(*current("baselines.hovernet", old)) == new
    teacher = build(*current("baselines.mean_teacher", {**old, "alpha": 0.9, "mse": 3.0}))
    assert (teacher.hovernet, teacher.alpha, teacher.consistency) == (new, 0.9, 3.0)
    ours = build(*current("ircr", {**old, "mse": 0.0, "alpha": 0.95, "piac": 0.2, "external": ["tissue"]}))
    assert (ours.hovernet, ours.piac, ours.external) == (new, 0.2, ("tissue",))
