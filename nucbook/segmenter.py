"""What training returns and prediction needs: networks, how to read them, a card that says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook import __version__
from nucbook.data.prepare import prepare
from nucbook.data.reinhard import Normalised, colours, normalise
from nucbook.earlier import FORMAT_0_1, current
from nucbook.fingerprint import fingerprint
from nucbook.instances import stitch
from nucbook.method import Method, Trained, UnknownMethod, find
from nucbook.nuclei import Nuclei
from nucbook.profile import build
from nucbook.sample import Sample, to_rgb
from nucbook.split import Parts
from nucbook.training import History, device, files
from nucbook.training.stages import StageRunner

FORMAT = "nucbook segmenter 2"
CARD, WEIGHTS = "model.json", "model.safetensors"
UNFINISHED = "checkpoint"  # folder beside them, as long as the training lasts
AT_ONCE = 1280  # px, side; larger images go block by block, these with margins


class BadModel(ValueError):
    """A saved model that cannot be used; the message names the file, the reason, the way out."""


@dataclass(frozen=True)
class Card:
    """What a user must know of a model.

    data    : what it learnt from, and how much of it was labelled.
    licence : of that data, which may bind the model.
    mpp     : micrometres per pixel it was trained at; images should come at the same.
    classes : {class id: name}; empty where it tells none apart.
    init    : weights it started from: "scratch", "tissue" or "imagenet".
    metrics : {"data set/metric": value} as measured.
    """

    data: str = "unknown"
    licence: str = "unknown"
    mpp: float | None = None
    classes: Mapping[int, str] = field(default_factory=dict)
    init: str = "scratch"
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """The nuclei found in one image."""

    nuclei: Nuclei

    @cached_property
    def instances(self) -> np.ndarray:
        """int32 (H, W), nucleus i painted i + 1; a contested pixel goes to the higher score or the first."""
        return self.nuclei.to_labels()


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained method. `segmenter(image)` predicts; `segment` does so for slides that do not fit in memory.

    networks : {name: network}, as `method.networks(config)` builds them; they are put in eval mode.
    card     : a `Card`, or a mapping of some of its fields.
    """

    networks: Mapping[str, nn.Module]
    method: Method
    config: Any
    card: Card

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        method: Method,
        config: Any,
        card: Card | Mapping[str, Any] = Card(),
    ):
        if not isinstance(card, Card):
            unknown = set(card) - {f.name for f in fields(Card)}
            if unknown:
                names = ", ".join(f.name for f in fields(Card))
                raise ValueError(f"a model card has no field {sorted(unknown)[0]!r}; its fields are {names}.")
            card = Card(**card)
        for name, value in {"networks": networks, "method": method, "config": config, "card": card}.items():
            object.__setattr__(self, name, value)
        for network in networks.values():
            network.eval()

    def __call__(self, image: np.ndarray) -> Prediction:
        """The nuclei of an image (H, W, 3) uint8, or what `nucbook.sample.to_rgb` converts.

        Images beyond 1280 px a side go block by block. Raises InvalidSample for what is no image.
        """
        image = to_rgb(image)
        if max(image.shape[:2]) <= AT_ONCE:
            if wanted := self.method.colours(self.config):
                image = normalise(image, colours(image), wanted)
            return Prediction(self.nuclei(image))
        return Prediction(Nuclei.concatenate(self.segment(image), image.shape[:2]))

    def segment(self, reader: Any, block: int = 1024, margin: int = 128) -> Iterator[Nuclei]:
        """The nuclei of an image of any size, block by block, in its coordinates.

        reader : what `reader[top:bottom, left:right]` reads uint8 pixels from and has a `shape`: an
                 array, a memory-mapped file, a slide.
        block, margin : pixels; a nucleus belongs to the block that holds its centroid, and is seen with
                 `margin` around the block, which should exceed a nucleus.
        """
        if wanted := self.method.colours(self.config):
            reader = Normalised(reader, colours(reader), wanted)
        return stitch.segment(reader, self.nuclei, block, margin)

    def nuclei(self, image: np.ndarray) -> Nuclei:
        """The nuclei of an image uint8 (H, W, 3) in the method's colours, in one pass of the networks."""
        found = self.method.decode(self.maps(image), self.config)
        return found if isinstance(found, Nuclei) else Nuclei.from_labels(found)

    @torch.inference_mode()
    def maps(self, image: np.ndarray) -> Any:
        """What the networks predict for an image uint8 (H, W, 3): `method.maps`, often float32 (C, H, W)."""
        height, width = image.shape[:2]
        stride = max((getattr(network, "stride", 1) for network in self.networks.values()), default=1)
        padded = np.pad(image, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="symmetric")
        pixels = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float() / 255
        raw = self.method.maps(self.networks, pixels, self.config)[0]
        return raw[..., :height, :width].float().cpu().numpy() if isinstance(raw, Tensor) else raw

    @property
    def device(self) -> torch.device:
        """Where the networks are; the CPU where there are none."""
        parameters = (p for network in self.networks.values() for p in network.parameters())
        return next((p.device for p in parameters), torch.device("cpu"))

    # -- kept in a folder -------------------------------------------------------------------

    def save(self, folder: str | Path):
        """Write `model.safetensors` (weights) and `model.json` (method, config, card, version) into a folder.

        Both are written aside, then renamed, so a full disk leaves what was there. Raises OSError where
        they cannot be written.
        """
        folder = Path(folder)
        weights = {
            f"{name}/{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        card = {
            "format": FORMAT,
            "version": __version__,
            "method": self.method.name,
            "config": asdict(self.config),
            "card": asdict(self.card),
        }
        weights_aside = files.write_aside(folder / WEIGHTS, weights, {"of": _of(card)})
        card_aside = files.write_bytes_aside(folder / CARD, json.dumps(card, indent=2).encode())
        files.put(weights_aside, folder / WEIGHTS)
        files.put(card_aside, folder / CARD)

    @classmethod
    def of(
        cls,
        method: Method,
        config: Any,
        weights: Mapping[str, Mapping[str, Tensor]],
        card: Card | Mapping[str, Any] = Card(),
    ) -> Segmenter:
        """A segmenter of trained weights, {network: state dict}, on this process's device."""
        networks = method.networks(config)
        for name, network in networks.items():
            network.load_state_dict(weights[name])
            network.to(device())
        return cls(networks, method, config, card)

    @classmethod
    def load(cls, folder: str | Path) -> Segmenter:
        """A segmenter that `save` wrote, on this machine's device. Nothing in the files executes.

        Raises BadModel for a folder that is no model, a file cut short or changed, weights that do not
        fit, or a method this version does not know.
        """
        folder = Path(folder)
        written = _read_card(folder / CARD)
        name, values = str(written["method"]), written["config"]
        if written["format"] == FORMAT_0_1:
            name, values = current(name, values)
        try:
            method = find(name)
        except UnknownMethod as error:
            raise BadModel(f"{folder / CARD}: {error}") from None
        try:
            config = build(method.config, values)
            classes = {int(k): v for k, v in written["card"]["classes"].items()}  # JSON keys are texts
            card = Card(**{**written["card"], "classes": classes})
            networks = method.networks(config)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadModel(
                f"{folder / CARD}: written by nucbook {written['version']}, this is {__version__}, and it "
                f"does not fit ({error}); install that version, or train again."
            ) from error
        _fill(networks, folder / WEIGHTS, _of(written))
        return cls({name: net.to(device()) for name, net in networks.items()}, method, config, card)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        way_out = "give the folder that `nucbook train` or Segmenter.save wrote"
        if (path.parent / UNFINISHED).is_dir():
            way_out = "its training has not finished; call it again"
        raise BadModel(f"{path}: no such file; {way_out}.") from None
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read ({error}); copy the model again, or train again.") from error
    if not isinstance(written, dict) or written.get("format") not in (FORMAT, FORMAT_0_1):
        raise BadModel(f"{path}: not a nucbook model; give the folder that Segmenter.save wrote.")
    missing = {"version", "method", "config", "card"} - set(written)
    if missing:
        raise BadModel(f"{path}: lacks {', '.join(sorted(missing))}; copy the model again, or train again.")
    return written


def _of(card: Mapping[str, Any]) -> str:
    """What ties weights to their card: method and config. Data, licence, metrics may be written in later."""
    return fingerprint(card["method"], card["config"])


def _fill(networks: Mapping[str, nn.Module], path: Path, of: str):
    again = "copy the model again, or train again"
    try:
        weights, texts = files.read(path)
    except files.DamagedFile as error:
        raise BadModel(f"{path}: {error}; {again}.") from error
    if texts.get("of") != of:
        raise BadModel(f"{path}: not the weights that {CARD} beside it speaks of; {again}.")
    for name, network in networks.items():
        start = f"{name}/"
        own = {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise BadModel(f"{path}: the weights do not fit network {name!r} ({error}); {again}.") from error


# -- from samples to a segmenter ----------------------------------------------------------------


def train(
    method: str | Method,
    samples: Sequence[Sample],
    config: Any,
    *,
    validation: Sequence[Sample] = (),
    seed: int = 0,
    checkpoint: str | Path | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> tuple[Segmenter, dict[str, History]]:
    """Train a method on samples.

    method     : a `Method`, or the name of one.
    samples    : as `data.prepare.prepare` takes them: with and without labels, whole images or patches.
    config     : of the method's class.
    validation : samples with masks, for a config that selects weights by them.
    seed       : of the weights and of every crop.
    checkpoint : folder of finished stages and of the one that was broken off; None = the user's cache.
    minutes    : time limit of this call; the same call goes on later.

    Returns the segmenter and {network: its `History`}. Raises OutOfTime at the limit, InvalidSample where the
    samples lack the labels that the method needs, UnknownMethod, and what the method's training raises.
    """
    method = find(method)
    runner = StageRunner(seed, checkpoint, minutes, progress)
    segmenter, trained = train_on(method, config, prepare(method, config, samples, validation), runner)
    return segmenter, dict(trained.histories)


def train_on(method: Method, config: Any, parts: Parts, runner: StageRunner) -> tuple[Segmenter, Trained]:
    """The same for samples that are prepared already; of a method that learns nothing, its segmenter."""
    if method.train is None:
        return Segmenter({}, method, config, {"init": "none"}), Trained({}, {}, init="none")
    trained = method.train(runner, config, parts)
    return Segmenter.of(method, config, trained.weights, {"init": trained.init}), trained
