"""The supervised U-Net: losses by hand, gradients, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.batch import Batch
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate
from nucbook.papers.baselines import unet
from nucbook.papers.baselines.unet import Config, distance_loss, foreground_loss
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import train
from nucbook.training.prepare import Models

VALID = torch.ones(1, 2, 2, dtype=torch.bool)


def test_foreground_loss_by_hand():
    truth = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    undecided = torch.zeros(1, 2, 2)
    dice = 1 - (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)
    assert foreground_loss(undecided, truth, VALID, 0.5).item() == pytest.approx(np.log(2) + 0.5 * dice)
    certain = (truth * 2 - 1) * 50
    assert foreground_loss(certain, truth, VALID, 0.5).item() == pytest.approx(0, abs=1e-6)


def test_distance_loss_by_hand():
    truth = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]])
    assert distance_loss(torch.zeros(1, 2, 2), truth, VALID).item() == pytest.approx(1.25 / 4)


@pytest.mark.parametrize("loss", [lambda x, y, v: foreground_loss(x, y, v, 0.5), distance_loss])
def test_pixels_that_do_not_count_get_no_gradient(loss):
    valid = torch.tensor([[[True, False], [True, False]]])
    prediction = torch.randn(1, 2, 2, requires_grad=True)
    loss(prediction, torch.ones(1, 2, 2), valid).backward()
    assert prediction.grad[valid].all()
    assert not prediction.grad[~valid].any()
    nothing = torch.randn(1, 2, 2, requires_grad=True)
    loss(nothing, torch.ones(1, 2, 2), torch.zeros_like(valid)).backward()
    assert torch.isfinite(nothing.grad).all()


class Fixed(torch.nn.Module):
    """A network whose output is its only parameter."""

    def __init__(self):
        super().__init__()
        self.output = torch.nn.Parameter(torch.rand(1, 2, 32, 32))

    def forward(self, image):
        return self.output


def test_distances_of_nuclei_that_are_cut_are_not_learnt():
    labels = torch.zeros(1, 32, 32, dtype=torch.int32)
    labels[:, 4:12, 4:12], labels[:, 18:28, 18:28] = 1, 2
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    batch = Batch(torch.rand(1, 3, 32, 32), valid, instances=labels, whole=labels != 2)
    network = Fixed()
    sum(unet.step(Models({"unet": network}), batch, Config.quick()).values()).backward()
    logit, distance = network.output.grad[0].abs()
    assert distance[labels[0] == 1].all()
    assert not distance[labels[0] == 2].any()
    assert logit[labels[0] == 2].all()


def test_losses_stay_finite_without_nuclei_and_a_gradient_reaches_every_weight(tmp_path):
    config = replace(Config.quick(), crop=32, batch=2, steps=1, precision="no")
    for labels in (np.zeros((64, 64), np.int32), np.ones((64, 64), np.int32)):
        sample = Sample(np.full((64, 64, 3), 200, np.uint8), labels)
        _, history = train("unet", [sample], config, checkpoint=tmp_path, progress=False)
        assert np.isfinite(history["unet"].rows[-1]["loss"])
    models = unet.networks(config)
    batch = Batch(
        torch.rand(2, 3, 32, 32),
        torch.ones(2, 32, 32, dtype=torch.bool),
        instances=torch.randint(0, 3, (2, 32, 32)),
    )
    sum(unet.step(Models(models), batch, config).values()).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in models["unet"].parameters())


@pytest.mark.slow
def test_it_overfits_one_image(tmp_path):
    sample = simulate("breast", size=128, seed=5)
    config = replace(Config.quick(), steps=240, crop=96, batch=4, warm_up=10)
    segmenter, histories = train("unet", [sample], config, checkpoint=tmp_path, progress=False)
    history = histories["unet"]
    assert history.finished
    assert history.rows[-1]["loss"] < 0.5 * history.rows[0]["loss"]
    assert evaluate(sample.instances, segmenter(sample.image).instances)["aji"] > 0.8


def test_refuses_to_learn_from_nothing():
    sample = Sample(np.full((64, 64, 3), 200, np.uint8), name="slide 7")
    for samples in ([sample], []):
        with pytest.raises(InvalidSample, match=f"not one of {len(samples)} samples has masks, which unet"):
            train("unet", samples, Config.quick())
