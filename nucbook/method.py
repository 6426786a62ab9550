"""What a method is: declared once, for `nucbook train`, tables and chapters alike.

    METHOD = Method("unet", UNet, networks, maps, decode, train)

`nucbook.papers.METHODS` lists the methods of the book, `register` adds one of your own. Nothing here needs
PyTorch, so that names and configurations can be read in an instant.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from nucbook.data.reinhard import Colours
    from nucbook.nuclei import Nuclei
    from nucbook.profile import Configuration
    from nucbook.split import Parts
    from nucbook.training.fit import History
    from nucbook.training.stages import StageRunner

LearnsFrom = Literal["masks", "some masks", "points", "nothing"]


class UnknownMethod(ValueError):
    """No method of that name is known; the message lists those there are, and how to add one."""


@dataclass(frozen=True)
class Trained:
    """What a training returns.

    weights   : {network: its state dict}, for the networks that `Method.networks` builds.
    histories : {network: what happened while it was trained}.
    init      : weights that the encoder did start from; "scratch" where others could not be had.
    selection : how the weights were chosen: "last", or by what on the validation images.
    """

    weights: Mapping[str, Mapping[str, Tensor]]
    histories: Mapping[str, History]
    init: str = "scratch"
    selection: str = "last"

    @property
    def seconds(self) -> float:
        """Seconds of training, all networks and resumptions together."""
        return sum(history.seconds for history in self.histories.values())


@dataclass(frozen=True)
class Method:
    """A method, from samples to nuclei.

    name        : by which the command line, tables and saved models know it.
    config      : its configuration, a frozen dataclass with `paper`, `short` and `quick`.
    networks    : config -> {name: network with random weights}; a `stride` attribute tells what H and W of
                  its input must be multiples of. A network holds nothing that only decoding needs.
    maps        : (networks, images float (B, 3, H, W) in [0, 1], config) -> what they predict, first axis B;
                  a tensor (B, C, H, W) is cut back where the image was padded, and becomes an array.
    decode      : (maps of one image, config) -> `Nuclei`, with boxes, scores, classes, rotated boxes as far
                  as the method has them, or a label map int (H, W).
    train       : (runner, config, parts) -> `Trained`; None where there is nothing to learn. Its work is done
                  in stages of the `StageRunner`.
    learns_from : config -> what its samples must have: "masks", "some masks", where images without are
                  used as well, "points", which masks have too, or "nothing".
    patch       : config -> px, largest side of the patches that images are cut into; None = whole images.
    reads       : config -> names of other data sets that the training reads.
    selects     : config -> whether it chooses what is annotated: it gets all labels, however many a table's
                  row names.
    colours     : config -> the colours that every image gets before the method sees it, in training and in
                  prediction (`nucbook.data.reinhard`); None = its own.
    """

    name: str
    config: type[Configuration]
    networks: Callable[[Any], dict[str, nn.Module]]
    maps: Callable[[Mapping[str, nn.Module], Tensor, Any], Any]
    decode: Callable[[Any, Any], np.ndarray | Nuclei]
    train: Callable[[StageRunner, Any, Parts], Trained] | None = None
    learns_from: Callable[[Any], LearnsFrom] = field(default=lambda config: "masks")
    patch: Callable[[Any], int] | None = None
    reads: Callable[[Any], tuple[str, ...]] = field(default=lambda config: ())
    selects: Callable[[Any], bool] = field(default=lambda config: False)
    colours: Callable[[Any], Colours | None] = field(default=lambda config: None)


_REGISTERED: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Make a method of your own known by its name, to `Segmenter.load`, `train` and tables; returns it.

    Registering a method again replaces it. Raises ValueError for a name that the book has taken.
    """
    if method.name in _book():
        raise ValueError(f"the book has a method {method.name!r}; give yours another name.")
    _REGISTERED[method.name] = method
    return method


def names() -> tuple[str, ...]:
    """The methods there are: the book's, then those registered."""
    return (*_book(), *_REGISTERED)


def find(method: str | Method) -> Method:
    """The method of a name; a `Method` is returned as it is. Raises UnknownMethod."""
    if isinstance(method, Method):
        return method
    if method in _REGISTERED:
        return _REGISTERED[method]
    return importlib.import_module(f"nucbook.papers.{_module(method)}").METHOD


def config_of(method: str) -> type[Configuration]:
    """The configuration class of a method, without importing PyTorch. Raises UnknownMethod."""
    if method in _REGISTERED:
        return _REGISTERED[method].config
    paper = _module(method).partition(".")[0]
    return importlib.import_module(f"nucbook.papers.{paper}.config").CONFIGS[method]


def _module(name: str) -> str:
    if name not in _book():
        near = get_close_matches(name, names(), n=1)
        meant = f": did you mean {near[0]!r}?" if near else "."
        raise UnknownMethod(
            f"no method {name!r}{meant} There are {', '.join(names())}. One of your own must be registered "
            "first: import its module, which calls nucbook.register(METHOD)."
        )
    return _book()[name]


def _book() -> Mapping[str, str]:
    return importlib.import_module("nucbook.papers").METHODS
