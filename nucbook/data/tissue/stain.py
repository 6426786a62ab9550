"""From amounts of dye to a picture: Beer–Lambert absorption, the microscope, the scanner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

DYES = ("haematoxylin", "eosin", "haemoglobin", "deposit")  # the last: ink or pigment
DEPOSITS = ((1.0, 0.6, 0.1), (0.7, 0.9, 1.1), (1.0, 1.0, 1.0), (0.9, 0.5, 0.9), (0.4, 0.6, 1.0))


@dataclass(frozen=True)
class Optics:
    """How one slide was stained and scanned. `Optics.draw` scatters wider than real slides do."""

    dyes: np.ndarray  # float32 (4, 3), optical density in R, G, B of one unit of each of `DYES`
    white: np.ndarray  # float32 (3,), grey levels of empty glass in R, G, B
    blur: float  # px, deviation of the point spread
    shift: np.ndarray  # float32 (3, 2), px, displacement of each colour (chromatic aberration)
    sharpen: float  # strength of the scanner's unsharp mask
    noise: float  # grey levels, deviation
    grain: float  # px, size of the noise's grains
    jpeg: int  # quality, 0 to 100

    @staticmethod
    def draw(rng: np.random.Generator) -> Optics:
        """A random slide; ranges enclose those of the training images of Kumar, TNBC and CoNSeP."""
        u = rng.uniform
        dyes = np.array(
            [
                [u(0.42, 0.68), 0.72, u(0.20, 0.44)],  # haematoxylin
                [u(0.10, 0.46), u(0.66, 0.92), u(0.16, 0.66)],  # eosin
                [u(0.05, 0.35), u(0.65, 0.85), u(0.35, 0.85)],  # haemoglobin, and what is orange
                DEPOSITS[rng.integers(len(DEPOSITS))] * rng.uniform(0.8, 1.25, 3),
            ],
            np.float32,
        )
        return Optics(
            dyes=3 * dyes / dyes.sum(1, keepdims=True),  # unit: mean density 1
            white=np.array([u(232, 255), u(224, 252), u(230, 255)], np.float32),
            blur=u(0.4, 1.3),
            shift=rng.normal(0, 0.3, (3, 2)).astype(np.float32),
            sharpen=max(0.0, u(-0.7, 0.9)),
            noise=math.exp(u(math.log(0.5), math.log(4))),
            grain=u(0.3, 0.9),
            jpeg=int(u(55, 98)),
        )


def photograph(rng: np.random.Generator, amounts: Sequence[np.ndarray], optics: Optics) -> np.ndarray:
    """uint8 (H, W, 3) RGB of a section.

    amounts : one float32 (H, W) for each of `DYES`.
    Intensities follow Beer–Lambert, I = white · exp(−Σ amount · dye) (Ruifrok and Johnston 2001).
    """
    shape = amounts[0].shape
    image = np.empty((*shape, 3), np.uint8)
    grain: np.ndarray = rng.standard_normal(shape, dtype=np.float32)
    if optics.grain > 0.5:
        grain = cv2.GaussianBlur(grain, (0, 0), optics.grain)
        grain = grain / (0.28 / optics.grain)  # a Gaussian of σ keeps 1 / (2σ√π) of white noise
    grain *= optics.noise
    for channel in range(3):
        density = sum(amount * dye for amount, dye in zip(amounts, optics.dyes[:, channel]))
        light = optics.white[channel] * cv2.exp(-density)
        light = _focus(light, optics, channel)
        light += grain
        image[..., channel] = np.clip(light, 0, 255)
    return _jpeg(image, optics.jpeg)


def _focus(light: np.ndarray, optics: Optics, channel: int) -> np.ndarray:
    row, column = optics.shift[channel]
    move = np.array([[1, 0, column], [0, 1, row]], np.float32)
    light = cv2.warpAffine(light, move, light.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    light = cv2.GaussianBlur(light, (0, 0), optics.blur)
    if optics.sharpen:
        blurred = cv2.GaussianBlur(light, (0, 0), 1.2 + optics.blur / 2)
        light = light + optics.sharpen * (light - blurred)
    return light


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None  # None is for broken files
    return np.ascontiguousarray(decoded[..., ::-1])
