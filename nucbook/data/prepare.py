"""From samples to what a method learns from: cut into patches, weakened, labelled and unlabelled apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nucbook.data.patches import patches
from nucbook.data.reinhard import colours, normalise
from nucbook.method import Method
from nucbook.sample import InvalidSample, Sample
from nucbook.split import Parts


def prepare(
    method: Method, config: Any, samples: Sequence[Sample], validation: Sequence[Sample] = ()
) -> Parts:
    """The samples as a method learns from them.

    samples    : with and without labels, in any mixture; whole images or what was cut out of them.
    validation : passed on; the method may choose weights on them where its config says so.

    Images are cut into patches where the method works on those. A method that learns from points gets
    points alone, the centres of masks where there are no others. Images that learn get the method's colours;
    those of the validation keep their own, as a segmenter expects them. Raises InvalidSample where no sample
    has the labels that the method needs, or all have and it needs some without.
    """
    wanted = method.learns_from(config)
    if wanted == "nothing":
        return Parts([])
    if wanted_colours := method.colours(config):
        samples = [replace(s, image=normalise(s.image, colours(s.image), wanted_colours)) for s in samples]
    cut = cut_for(method, config, samples)
    usable = [s.labelled or (wanted == "points" and s.points is not None) for s in cut]
    labelled = [sample for sample, known in zip(cut, usable) if known]
    unlabelled = [sample.weaken("nothing") for sample, known in zip(cut, usable) if not known]
    need = wanted.removeprefix("some ")
    if not labelled:
        raise InvalidSample(
            f"not one of {len(samples)} samples has {need}, which {method.name} learns from; "
            f"outline the nuclei of some{', or click them' if need == 'points' else ''}."
        )
    if wanted == "some masks" and not unlabelled:
        raise InvalidSample(
            f"every sample has masks, and {method.name} learns from some without as well; add such images, "
            "or train hovernet."
        )
    if wanted == "points":
        labelled = [sample.weaken("points") for sample in labelled]
    return Parts(labelled, unlabelled, validation)


def cut_for(method: Method, config: Any, samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples, cut into patches where the method works on patches; those cut before stay as they are."""
    if method.patch is None:
        return samples
    size = method.patch(config)
    whole = lambda sample: "box" not in sample.meta or max(sample.shape) > size
    return [cut for sample in samples for cut in (patches(sample, size) if whole(sample) else [sample])]
