"""IRCR-Net's step and training: who gets a gradient, what happens where nothing can be compared."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from nucbook import data
from nucbook.data.patches import Batch, patches
from nucbook.data.tissue import simulate
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.semi_supervised import Views
from nucbook.papers.ircr import training
from nucbook.papers.ircr.config import Config
from nucbook.papers.ircr.training import fitted, nuclei, resolution, step, weights
from nucbook.profile import change
from nucbook.sample import InvalidSample
from nucbook.segmenter import Segmenter, train
from nucbook.training.prepare import Models

TINY = change(Config.quick(), {"crop": 64, "batch": 2, "steps": 2, "precision": "no"})
VALID = torch.ones(2, 64, 64, dtype=torch.bool)


@pytest.fixture(scope="module")
def priors():
    return fitted(TINY, "tissue", ["breast-1"])


def discs(*circles) -> np.ndarray:
    """Label map 64² of (row, column, radius)."""
    rows, columns = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.int32)
    for number, (row, column, radius) in enumerate(circles, start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return labels


class Says(torch.nn.Module):
    """A network that says the maps of a label map, whatever it sees; one number learns."""

    def __init__(self, labels: np.ndarray):
        super().__init__()
        labels = torch.from_numpy(np.stack([labels] * 2))
        foreground = (labels > 0).float() * 8 - 4
        self.logits = torch.stack([-foreground, foreground], 1)
        self.hv = hovernet.hv_maps(labels)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, image):
        times = len(image) // 2
        return [torch.cat([maps] * times) * self.scale for maps in (self.logits, self.hv)]


def seen(labels: np.ndarray) -> Views:
    image = torch.full((2, 3, 64, 64), 0.6)
    batch = Batch(image, VALID, instances=torch.from_numpy(np.stack([labels] * 2)))
    return Views(batch, batch, image, image)


MANY = discs((20, 20, 8), (20, 44, 7), (46, 30, 9))
NOTHING = discs()
GIANT = discs((32, 32, 60))
ELSEWHERE = discs((56, 8, 5))


def test_both_terms_reach_the_student_and_never_the_teacher(priors):
    student, teacher = Says(discs((20, 20, 7), (22, 44, 7), (46, 30, 9))), Says(MANY)
    config = replace(TINY, threshold=0.0)  # all nuclei count
    losses = step(Models(hovernet=student, teacher=teacher), seen(MANY), config, priors)
    for name in ("miac", "piac"):
        assert losses[name] > 0
        (grown,) = torch.autograd.grad(losses[name], student.scale, retain_graph=True)
        assert grown.abs() > 0
        with pytest.raises(RuntimeError, match=r"not have been used|does not require grad"):
            torch.autograd.grad(losses[name], teacher.scale, retain_graph=True)


@pytest.mark.parametrize("student", [MANY, NOTHING, GIANT, ELSEWHERE], ids=["many", "none", "giant", "else"])
@pytest.mark.parametrize("teacher", [MANY, NOTHING, GIANT, ELSEWHERE], ids=["many", "none", "giant", "else"])
def test_losses_stay_finite_whatever_the_two_find(student, teacher, priors):
    models = Models(hovernet=Says(student), teacher=Says(teacher))
    losses = step(models, seen(MANY), TINY, priors)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert torch.isfinite(models.hovernet.scale.grad)
    if not teacher.any():
        assert losses["piac"] == losses["miac"] == 0


def test_a_term_of_weight_nought_is_not_there(priors):
    models = Models(hovernet=Says(MANY), teacher=Says(MANY))
    names = lambda **changes: (
        set(step(models, seen(MANY), replace(TINY, **changes), priors))
        - {"dice", "cross_entropy", "mse", "msge"}
    )
    assert names() == {"piac", "miac"}
    assert names(piac=0.0) == {"miac"}
    assert names(piac=0.0, miac=0.0, consistency=1.0) == {"consistency"}


def test_a_weight_of_piac_asks_for_priors():
    with pytest.raises(ValueError, match="there are none; fit them, or take piac=0"):
        step(Models(hovernet=Says(MANY), teacher=Says(MANY)), seen(MANY), TINY, None)


def test_what_is_not_valid_holds_no_nucleus_and_no_weight(priors):
    maps = hovernet.feature_maps(*Says(MANY)(torch.zeros(2, 3, 64, 64)))
    half = VALID.clone()
    half[..., 32:] = False
    found = nuclei(maps, half.numpy())
    assert found.any()
    assert not found[..., 32:].any()
    trusted = weights(found, np.full((2, 3, 64, 64), 0.6, np.float32), half.numpy(), priors, TINY, 0.25)
    assert trusted.dtype == np.float32
    assert not trusted[..., 32:].any()


def test_beyond_the_slide_no_loss_is_counted(priors):
    """The rim of what is valid cuts a nucleus; its boundary reaches beyond, its loss must not."""
    student, teacher = Says(discs((32, 34, 9))), Says(discs((32, 32, 9)))
    views = seen(MANY)
    views.unlabelled.valid = VALID.clone()
    views.unlabelled.valid[..., 32:] = False
    student.logits = student.logits.requires_grad_()
    losses = step(Models(hovernet=student, teacher=teacher), views, TINY, priors)
    (slope,) = torch.autograd.grad(losses["miac"] + losses["piac"], student.logits)
    assert slope[..., :32].any()
    assert not slope[..., 32:].any()


def test_maps_that_are_not_finite_hold_no_nuclei_and_leave_the_error_to_the_loop(priors):
    models = Models(hovernet=Says(MANY), teacher=Says(MANY))
    models.hovernet.scale.data.fill_(float("nan"))
    losses = step(models, seen(MANY), TINY, priors)
    assert not torch.isfinite(sum(losses.values()))


def test_areas_need_one_resolution(tmp_path):
    known, unknown = simulate("breast", 64, seed=5), simulate("kidney", 64, seed=6).weaken("nothing")
    for other, found in ((None, "0.25, None"), (0.5, "0.25, 0.5")):
        pair = [known, replace(unknown, mpp=other)]
        with pytest.raises(InvalidSample, match=f"per pixel are {found}"):
            train("ircr", pair, TINY, checkpoint=tmp_path, progress=False)
    assert resolution([replace(known, mpp=mpp) for mpp in (0.2456, 0.252, 0.2527)]) == 0.252
    _, history = train("ircr", pair, replace(TINY, piac=0.0), checkpoint=tmp_path, progress=False)
    assert history["hovernet"].finished


def test_the_whole_runs_repeats_and_is_found_again(tmp_path):
    known, unknown = simulate("breast", 96, seed=5), simulate("kidney", 96, seed=6).weaken("nothing")
    one, history = train("ircr", [known, unknown], TINY, checkpoint=tmp_path / "a", progress=False)
    two, _ = train("ircr", [known, unknown], TINY, checkpoint=tmp_path / "b", progress=False)
    assert history["hovernet"].finished
    assert {"piac", "miac", "msge"} <= set(history["hovernet"].rows[-1])
    a, b = (found.networks["hovernet"].state_dict() for found in (one, two))
    assert all(torch.equal(a[key], b[key]) for key in a)
    one.save(tmp_path / "model")
    again = Segmenter.load(tmp_path / "model")(known.image).instances
    assert np.array_equal(again, one(known.image).instances)


def test_it_needs_both_kinds_of_samples(tmp_path):
    sample = simulate("breast", 64, seed=5)
    with pytest.raises(InvalidSample, match="every sample has masks"):
        train("ircr", [sample], TINY, checkpoint=tmp_path, progress=False)
    with pytest.raises(InvalidSample, match="not one"):
        train("ircr", [sample.weaken("nothing")], TINY, checkpoint=tmp_path, progress=False)


def test_priors_are_external_or_refused():
    assert fitted(TINY, "tissue", ["breast-1"]).sources == ("tissue",)
    with pytest.raises(ValueError, match="not external"):
        fitted(TINY, "tissue", ["breast-13"])  # of the validation part
    for dataset, refused in (("monuseg", "pannuke"), ("consep", "lizard"), ("pannuke", "lizard")):
        sources = Config.paper(dataset).external
        assert sources
        assert not {dataset, refused} & set(sources)
    assert Config.paper("own").external == ("tissue",)


def test_priors_on_too_few_nuclei_are_refused(monkeypatch, tmp_path):
    few = [sample for sample in patches(data.load("tissue", "validation")[0], 64)][:1]
    monkeypatch.setattr(training.data, "load", lambda name, part: few)
    own = replace(few[0], meta={})  # of no data set
    with pytest.raises(ValueError, match="add images until there are 20"):
        train("ircr", [own, own.weaken("nothing")], TINY, checkpoint=tmp_path, progress=False)


def test_the_priors_survive_the_way_through_a_stage(priors):
    again = training.Priors(**asdict(priors))
    assert np.array_equal(
        again.score(MANY, np.full((64, 64, 3), 150, np.uint8)),
        priors.score(MANY, np.full((64, 64, 3), 150, np.uint8)),
    )
