"""HoVer-Net with all labels, with its own, and before a teacher: what each may know and what moves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.patches import Batch
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate
from nucbook.papers.baselines import hovernet, mean_teacher, self_training
from nucbook.papers.baselines.semi_supervised import (
    STRONG,
    WEAK,
    Views,
    consistency_loss,
    teacher_maps,
    views,
)
from nucbook.profile import change
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import Segmenter, train
from nucbook.split import Parts
from nucbook.training.prepare import Models
from nucbook.training.schedules import StepDecay
from nucbook.training.stages import StageRunner

SMALL = {"crop": 32, "batch": 2, "steps": 2, "precision": "no"}
TINY = change(hovernet.Config.quick(), SMALL)
TEACHING = change(mean_teacher.Config.quick(), SMALL)
REPEATING = change(self_training.Config.quick(), SMALL)
CONFIGS = {"hovernet": TINY, "mean_teacher": TEACHING, "self_training": REPEATING}


@pytest.fixture(scope="module")
def known():
    return [simulate("breast", 64, seed=5)]


@pytest.fixture(scope="module")
def unknown():
    return [simulate("kidney", 64, seed=6).weaken("nothing")]


def same(one: Segmenter, other: Segmenter) -> bool:
    a, b = (found.networks["hovernet"].state_dict() for found in (one, other))
    return all(torch.equal(a[key], b[key]) for key in a)


def test_hv_maps_of_nuclei_that_are_cut_are_not_learnt():
    """They are nucleus all the same; so with distance maps, in the U-Net."""
    labels = torch.zeros(1, 32, 32, dtype=torch.int32)
    labels[:, 4:12, 4:12], labels[:, 18:28, 18:28] = 1, 2
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    batch = Batch(torch.rand(1, 3, 32, 32), valid, instances=labels, whole=labels != 2)
    logits, hv = torch.zeros(1, 2, 32, 32, requires_grad=True), torch.rand(1, 2, 32, 32, requires_grad=True)
    losses = hovernet.labelled_losses((logits, hv), batch)
    sum(losses.values()).backward()
    of = lambda gradient, nucleus: gradient.abs().sum(1)[labels == nucleus].sum()
    assert of(hv.grad, 1) > 0
    assert of(hv.grad, 2) == 0
    assert of(logits.grad, 1) > 0
    assert of(logits.grad, 2) > 0


def test_the_schedule_is_the_papers():
    """Sec. 4.2: a tenth after 100 of 150 epochs, or after 25 of 50."""
    config = hovernet.Config.paper("monuseg")
    assert hovernet.steps(config, 432) == 150 * 108
    rate = StepDecay(config.milestones)
    assert [rate(epoch, 150) for epoch in (0, 99, 100, 149)] == pytest.approx([1, 1, 0.1, 0.1])
    config = hovernet.Config.paper("pannuke")
    assert hovernet.steps(config, 2656) == 50 * 664
    assert [StepDecay(config.milestones)(epoch, 50) for epoch in (24, 25, 49)] == pytest.approx([1, 0.1, 0.1])


def test_an_epoch_may_count_the_labelled_patches_alone(known, unknown, tmp_path):
    parts = Parts(known, unknown * 3)
    runner = StageRunner(seed=0, progress=False, folder=tmp_path)
    steps = {
        of: hovernet.train(runner, replace(TINY, steps=8, epochs_of=of), parts).histories["hovernet"].step
        for of in ("all", "labelled")
    }
    assert steps == {"all": 8, "labelled": 2}


def test_a_weight_grows_and_stays():
    assert [round(mean_teacher.ramp(step, 40), 4) for step in (0, 20, 40, 90)] == [0.0067, 0.2865, 1, 1]
    assert mean_teacher.ramp(0, 0) == 1


def test_student_and_teacher_come_from_one_training(known, unknown, tmp_path):
    runner, parts = StageRunner(seed=0, progress=False, folder=tmp_path), Parts(known, unknown)
    student, teacher = (
        mean_teacher.train(runner, change(TEACHING, {"predicts": predicts}), parts).weights["hovernet"]
        for predicts in ("student", "teacher")
    )
    assert len(list(tmp_path.iterdir())) == 1
    assert not all(torch.equal(student[key], teacher[key]) for key in student)


@pytest.mark.slow
def test_it_overfits_one_image(tmp_path):
    sample = simulate("breast", size=128, seed=5)
    config = replace(hovernet.Config.quick(), steps=160, crop=96, batch=4)
    segmenter, history = train("hovernet", [sample], config, checkpoint=tmp_path, progress=False)
    assert history["hovernet"].finished
    scores = evaluate(sample.label_map, segmenter(sample.image).instances)
    assert scores["dice"] > 0.85
    assert scores["aji"] > 0.8


def test_losses_stay_finite_without_nuclei_and_with_one_giant(tmp_path, unknown):
    for labels in (np.zeros((64, 64), np.int32), np.ones((64, 64), np.int32)):
        sample = Sample(np.full((64, 64, 3), 200, np.uint8), labels, name="flat")
        for name, config in CONFIGS.items():
            _, history = train(name, [sample, *unknown], config, checkpoint=tmp_path, progress=False)
            assert np.isfinite(history["hovernet"].rows[-1]["loss"])


def test_a_gradient_reaches_every_weight(known):
    models = hovernet.networks(TINY)
    batch = Batch(
        torch.rand(2, 3, 32, 32),
        torch.ones(2, 32, 32, dtype=torch.bool),
        instances=torch.randint(0, 3, (2, 32, 32), dtype=torch.int32),
    )
    sum(hovernet.step(Models(models), batch).values()).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in models["hovernet"].parameters())


@pytest.mark.parametrize(("name", "config"), CONFIGS.items())
def test_truth_of_the_unlabelled_is_never_needed_and_a_run_repeats(name, config, known, unknown, tmp_path):
    one, _ = train(name, [*known, *unknown], config, checkpoint=tmp_path / "a", progress=False)
    two, _ = train(name, [*known, *unknown], config, checkpoint=tmp_path / "b", progress=False)
    assert same(one, two)
    with pytest.raises(InvalidSample, match="not one"):
        train(name, unknown, config, checkpoint=tmp_path / "c", progress=False)


@pytest.mark.parametrize("name", ["mean_teacher", "self_training"])
def test_without_unlabelled_images_there_is_nothing_to_learn_from_them(name, known, tmp_path):
    with pytest.raises(InvalidSample, match="or train hovernet"):
        train(name, known, CONFIGS[name], checkpoint=tmp_path, progress=False)


def test_a_saved_segmenter_finds_its_method_again(known, unknown, tmp_path):
    found, _ = train("mean_teacher", [*known, *unknown], TEACHING, checkpoint=tmp_path / "c", progress=False)
    found.save(tmp_path / "model")
    image = known[0].image
    assert np.array_equal(Segmenter.load(tmp_path / "model")(image).instances, found(image).instances)


# -- self-training ------------------------------------------------------------------------------


def done(folder):
    return sorted(path.name.rsplit("-", 1)[0].split(".")[-1] for path in folder.iterdir())


def test_both_kinds_of_self_training_share_their_first_network(known, unknown, tmp_path):
    samples, options = [*known, *unknown], {"checkpoint": tmp_path, "progress": False}
    first, _ = train("hovernet", samples, TINY, **options)
    replaced, _ = train("self_training", samples, REPEATING, **options)
    assert done(tmp_path) == ["learner", "pseudo_labels", "supervised"]
    kept, _ = train("self_training", samples, replace(REPEATING, truth="kept"), **options)
    assert done(tmp_path) == ["learner", "learner", "pseudo_labels", "supervised"]
    assert not same(first, replaced)
    assert not same(replaced, kept)


def test_another_round_labels_with_the_network_of_the_round_before(known, unknown, tmp_path):
    config = replace(REPEATING, rounds=2)
    train("self_training", [*known, *unknown], config, checkpoint=tmp_path, progress=False)
    assert done(tmp_path).count("pseudo_labels") == 2


# -- mean teacher -------------------------------------------------------------------------------


def flat(value: float) -> Batch:
    """One grey crop with a single nucleus in its corner."""
    labels = torch.zeros(1, 32, 32, dtype=torch.int32)
    labels[:, :8, :8] = 1
    return Batch(torch.full((1, 3, 32, 32), value), torch.ones(1, 32, 32, dtype=torch.bool), instances=labels)


def test_views_share_their_geometry_and_differ_in_colour():
    """A dark square lies in the same place in both, under other colours and noise."""
    plain = flat(0.9)
    plain.image[..., 8:16, 8:16] = 0.2
    drawn = views(lambda g: flat(0.5), lambda g: plain)(torch.Generator().manual_seed(3))
    assert torch.equal(drawn.unlabelled.image, plain.image)
    assert not torch.equal(drawn.weak, drawn.strong)
    for view in (drawn.weak, drawn.strong):
        assert view[..., 9:15, 9:15].max() < view[..., 20:, 20:].min()
    assert WEAK.noise < STRONG.noise


def test_consistency_by_hand_counts_valid_pixels_and_moves_the_student_alone():
    student = torch.tensor([[[[0.5, 0.2]], [[1.0, 0.0]]]], requires_grad=True)  # (1, 2, 1, 2)
    teacher = torch.tensor([[[[0.1, 0.9]], [[0.0, 0.0]]]], requires_grad=True)
    valid = torch.tensor([[[True, False]]])
    loss = consistency_loss(student, teacher, valid)
    assert loss.item() == pytest.approx(0.4**2 + 1)
    loss.backward()
    assert teacher.grad is None
    assert not student.grad[..., 1].any()
    assert consistency_loss(student, teacher, torch.zeros_like(valid)).item() == 0


def test_the_teacher_normalises_by_its_batch():
    """Running statistics, far off here, change nothing in what it says."""
    torch.manual_seed(0)
    teacher = hovernet.networks(TINY)["hovernet"].eval()
    batch = flat(0.5)
    batch.image = torch.rand(1, 3, 32, 32)
    seen = Views(batch, batch, batch.image, batch.image)
    before = teacher_maps(Models(teacher=teacher), seen)
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.fill_(7)
            module.running_var.fill_(9)
    teacher.eval()
    assert torch.allclose(teacher_maps(Models(teacher=teacher), seen), before)


def test_no_gradient_reaches_the_teacher():
    torch.manual_seed(0)
    student, teacher = (hovernet.networks(TINY)["hovernet"] for _ in range(2))
    batch = flat(0.5)
    seen = Views(batch, batch, batch.image, batch.image)
    losses = mean_teacher.step(Models(hovernet=student, teacher=teacher.eval()), seen, TEACHING)
    assert losses["consistency"] > 0
    losses["consistency"].backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in student.parameters())
