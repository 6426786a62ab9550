"""What training returns and prediction needs: networks, how to read them, a card that says what they are."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook import __version__
from nucbook.instances import stitch
from nucbook.nuclei import Nuclei
from nucbook.rows import fingerprint
from nucbook.sample import to_rgb
from nucbook.training import device, files
from nucbook.training.profile import build

FORMAT = "nucbook segmenter 1"
CARD, WEIGHTS = "model.json", "model.safetensors"
UNFINISHED = "checkpoint"  # folder beside them, as long as the training lasts
AT_ONCE = 1280  # px, side; larger images go block by block, these with margins


class BadModel(ValueError):
    """A saved model that cannot be used; the message names the file, the reason, the way out."""


@dataclass(frozen=True)
class Method:
    """How a method's networks are built and read. Its module under `nucbook.papers` exposes it as METHOD.

    Beside it stands `train(samples, config, *, seed, checkpoint, minutes, progress)`, which returns a
    `Segmenter` and the `History` of its training, or {network: History}.

    name        : that module ("baselines.unet"), by which a saved model finds it again.
    config      : the configuration class.
    networks    : config -> {name: network with random weights}; a `stride` attribute says what H and W
                  of its input must be multiples of.
    maps        : (networks, images float (B, 3, H, W) in [0, 1]) -> what they say, first axis B; a tensor
                  (B, C, H, W) is cut back where the image was padded and reaches `decode` as an array.
    decode      : (maps of one image, config) -> label map int (H, W), or `Nuclei`.
    learns_from : what its samples must have: "masks", or "points", which masks have too, or "some masks",
                  where images without are used as well.
    """

    name: str
    config: type
    networks: Callable[[Any], dict[str, nn.Module]]
    maps: Callable[[Mapping[str, nn.Module], Tensor], Any]
    decode: Callable[[Any, Any], np.ndarray | Nuclei]
    learns_from: str = "masks"


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
    card: Card | Mapping[str, Any] = field(default_factory=Card)

    def __post_init__(self):
        if not isinstance(self.card, Card):
            unknown = set(self.card) - {f.name for f in fields(Card)}
            if unknown:
                names = ", ".join(f.name for f in fields(Card))
                raise ValueError(f"a model card has no field {sorted(unknown)[0]!r}; its fields are {names}.")
            object.__setattr__(self, "card", Card(**self.card))
        for network in self.networks.values():
            network.eval()

    def __call__(self, image: np.ndarray) -> Prediction:
        """The nuclei of an image (H, W, 3) uint8, or what `nucbook.sample.to_rgb` converts.

        Images beyond 1280 px a side go block by block. Raises InvalidSample for what is no image.
        """
        image = to_rgb(image)
        if max(image.shape[:2]) <= AT_ONCE:
            return Prediction(self.nuclei(image))
        return Prediction(Nuclei.concatenate(self.segment(image), image.shape[:2]))

    def segment(self, reader: Any, block: int = 1024, margin: int = 128) -> Iterator[Nuclei]:
        """The nuclei of an image of any size, block by block, in its coordinates.

        reader : what `reader[top:bottom, left:right]` reads uint8 pixels from and has a `shape`: an
                 array, a memory-mapped file, a slide.
        block, margin : pixels; a nucleus belongs to the block that holds its centroid, and is seen with
                 `margin` around the block, which should exceed a nucleus.
        """
        return stitch.segment(reader, self.nuclei, block, margin)

    def nuclei(self, image: np.ndarray) -> Nuclei:
        """The nuclei of an image uint8 (H, W, 3) of any size, in one pass of the networks."""
        found = self.method.decode(self.maps(image), self.config)
        return found if isinstance(found, Nuclei) else Nuclei.from_labels(found)

    @torch.inference_mode()
    def maps(self, image: np.ndarray) -> Any:
        """What the networks say of an image uint8 (H, W, 3): `method.maps`, usually float32 (C, H, W)."""
        height, width = image.shape[:2]
        stride = max((getattr(network, "stride", 1) for network in self.networks.values()), default=1)
        padded = np.pad(image, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="symmetric")
        pixels = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float() / 255
        said = self.method.maps(self.networks, pixels)[0]
        return said[..., :height, :width].float().cpu().numpy() if isinstance(said, Tensor) else said

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
    def load(cls, folder: str | Path) -> Segmenter:
        """A segmenter that `save` wrote, on this machine's device. Nothing in the files executes.

        Raises BadModel for a folder that is no model, a file cut short or changed, weights that do not
        fit, or a method this version does not know.
        """
        folder = Path(folder)
        written = _read_card(folder / CARD)
        method = find_method(str(written["method"]), folder / CARD)
        try:
            config = build(method.config, written["config"])
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


def find_method(name: str, source: str | Path = "method") -> Method:
    """The METHOD of a module under `nucbook.papers`, and of no other; raises BadModel naming `source`."""
    papers = "nucbook.papers"
    if re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*", name):
        try:
            return importlib.import_module(f"{papers}.{name}").METHOD
        except AttributeError:
            pass
        except ModuleNotFoundError as error:
            if not str(error.name).startswith(papers):  # it is there, and lacks something itself
                raise
    there = ", ".join(importlib.import_module(papers).METHODS)
    raise BadModel(f"{source}: nucbook {__version__} has no method {name!r}; there are {there}.")


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
    if not isinstance(written, dict) or written.get("format") != FORMAT:
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
