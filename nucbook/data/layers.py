"""What is known of samples, as maps (H, W) for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.segmentation import relabel_sequential

from nucbook.sample import Sample


def nuclei(samples: Sequence[Sample]) -> dict[str, list[np.ndarray]]:
    """The maps of labelled samples, by name one int32 (H, W) a sample, ids from 1 on.

    instances : their label maps.
    whole     : bool, False in nuclei that touch the border of the image, or pixels that nobody annotated and
                are not theirs: either may cut them.
    classes   : class ids, 0 where unknown; only if one is known.
    layers    : (L, H, W), label maps on which no two instances overlap; only if some do.
    """
    made: dict[str, list[np.ndarray]] = {"instances": [], "whole": [], "classes": [], "layers": []}
    for sample in samples:
        labels = sample.label_map
        class_of = sample.class_of
        if sample.nuclei is not None:
            class_of = dict(enumerate(sample.nuclei.classes.tolist(), 1))
        ids, ranks = np.unique(labels, return_inverse=True)
        classes = np.array([class_of.get(i, 0) if i else 0 for i in ids.tolist()], np.int32)
        made["classes"].append(classes[ranks].reshape(labels.shape))
        stack = relabel_sequential(np.stack([labels, *_layers(sample)]))[0].astype(np.int32)
        labels = stack[0]
        made["instances"].append(labels)
        made["layers"].append(stack[1:])
        edge = np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])
        if sample.annotated is not None:
            beyond = ~sample.annotated
            reached = labels[binary_dilation(beyond, np.ones((3, 3)))]
            edge = np.concatenate([edge, np.setdiff1d(reached, labels[beyond])])
        made["whole"].append((labels == 0) | ~np.isin(labels, edge))
    most = max(map(len, made["layers"]))
    if most > 1:
        missing = lambda layers: [(0, most - len(layers)), (0, 0), (0, 0)]
        made["layers"] = [np.pad(layers, missing(layers)) for layers in made["layers"]]
    else:
        del made["layers"]
    if not any(classes.any() for classes in made["classes"]):
        del made["classes"]
    return made


def _layers(sample: Sample) -> list[np.ndarray]:
    """Label maps (H, W) on which no two instances overlap, each on the first that has room for it."""
    layers = [np.zeros(sample.shape, np.int32)]
    if sample.nuclei is None:
        return [sample.label_map]
    for i, ((top, left, bottom, right), mask) in enumerate(zip(sample.nuclei.boxes, sample.nuclei.masks), 1):
        windows = [layer[top:bottom, left:right] for layer in layers]
        free = [window for window in windows if not window[mask].any()]
        if not free:
            layers.append(np.zeros(sample.shape, np.int32))
            free = [layers[-1][top:bottom, left:right]]
        free[0][mask] = i
    return layers


def everywhere(masks: Sequence[np.ndarray | None], samples: Sequence[Sample]) -> list[np.ndarray]:
    """Masks (H, W), True everywhere where there is none."""
    return [np.ones(s.shape, bool) if mask is None else mask for mask, s in zip(masks, samples)]
