"""Simulated tissue: exact labels, the picture agrees with them, organs and classes are there."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from scipy import ndimage

from nucbook.data.tissue import CLASS_NAMES, ORGANS, load, simulate
from nucbook.data.tissue.architecture import arrange, place
from nucbook.data.tissue.shapes import Placed, Population, keep_whole, outlines, paint
from nucbook.data.tissue.slide import EPITHELIAL, LYMPHOCYTE, MPP, STROMAL, Slide


def darkness(image):
    """Optical density, mean of R, G, B."""
    return -np.log((image.astype(float) + 1) / 256).mean(2)


@cache
def many(organ, count=12):
    return [simulate(organ, seed=seed) for seed in range(count)]


@pytest.mark.parametrize("organ", ORGANS)
def test_an_organ_gives_a_labelled_sample(organ):
    sample = simulate(organ, size=128, seed=1)
    assert sample.shape == sample.instances.shape == (128, 128)
    assert sample.mpp == MPP == 0.25
    assert sample.meta["organ"] == organ
    assert sample.meta["dataset"] == "tissue"
    assert sample.class_names == CLASS_NAMES


def test_the_same_seed_gives_the_same_image_and_another_seed_another():
    one, same, other = simulate("colon", seed=3), simulate("colon", seed=3), simulate("colon", seed=4)
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.instances, same.instances)
    assert one.class_of == same.class_of
    assert (one.instances != other.instances).any()


def test_images_of_one_patient_share_the_stain():
    """Within a patient, glass and dyes are the same; the mean colours of nuclei lie closer."""

    def hue(sample):
        colour = -np.log((sample.image[sample.instances > 0].astype(float) + 1) / 256).mean(0)
        return colour / colour.sum()

    def drawn(patient):  # some images hold no nucleus
        samples = (simulate("breast", seed=seed, patient=patient) for seed in range(6))
        return [sample for sample in samples if len(sample.class_of) > 2]

    spread = lambda samples: np.std([hue(s) for s in samples], axis=0).sum()
    patients = [drawn(patient) for patient in range(6)]
    assert all(len(samples) > 2 for samples in patients)
    assert np.mean([spread(p) for p in patients]) < 0.7 * spread([p[0] for p in patients])


@pytest.mark.parametrize("size", [(64, 300), (300, 64), (17, 33), 16])
def test_odd_sizes(size):
    sample = simulate("stomach", size=size, seed=2)
    assert sample.shape == (size if isinstance(size, tuple) else (size, size))


def test_ids_match_the_classes():
    for organ in ORGANS:
        sample = simulate(organ, seed=5)
        assert set(sample.class_of) == set(np.unique(sample.instances)) - {0}
        assert set(sample.class_of.values()) <= set(CLASS_NAMES)


def test_all_classes_occur():
    seen = {class_id for s in many("breast") + many("colon") for class_id in s.class_of.values()}
    assert seen == set(CLASS_NAMES)


def test_every_nucleus_is_one_piece():
    for organ in ORGANS:
        labels = simulate(organ, seed=11).instances
        for i in np.unique(labels)[1:]:
            assert ndimage.label(labels == i)[1] == 1, (organ, i)


@pytest.mark.parametrize("organ", ORGANS)
def test_nuclei_are_darker_than_what_lies_round_them(organ):
    """On average over images: single ones may be paler, as vesicular nuclei are."""
    differences = []
    for sample in many(organ):
        inside = (sample.instances > 0).astype(np.uint8)
        ring = (cv2.dilate(inside, np.ones((13, 13))) > 0) & (cv2.dilate(inside, np.ones((5, 5))) == 0)
        if inside.any() and ring.any():
            dark = darkness(sample.image)
            differences.append(dark[inside > 0].mean() - dark[ring].mean())
    assert np.mean(differences) > 0.1
    assert np.mean(np.array(differences) > 0) > 0.8


@pytest.mark.parametrize("organ", ORGANS)
def test_sizes_are_those_of_nuclei(organ):
    """Median area between those of discs 3 and 10 µm wide."""
    areas = np.concatenate([s.truth.areas for s in many(organ)]) * MPP**2  # µm²
    assert np.pi * 1.5**2 < np.median(areas) < np.pi * 5**2
    assert areas.max() < np.pi * 16**2


def test_lymphocytes_are_rounder_and_fibroblasts_longer():
    axes = {EPITHELIAL: [], LYMPHOCYTE: [], STROMAL: []}
    for sample in many("breast", 20):
        truth = sample.truth
        long, short = truth.rotated_boxes()[:, 2:4].T
        for class_id, ratios in axes.items():
            ratios.extend((short / long)[truth.classes == class_id])
    assert np.median(axes[STROMAL]) < np.median(axes[EPITHELIAL]) < np.median(axes[LYMPHOCYTE])


def test_some_nuclei_touch():
    def touches(labels):
        a, b = labels[:, 1:], labels[:, :-1]
        return ((a != b) & (a > 0) & (b > 0)).any()

    assert np.mean([touches(s.instances) for s in many("colon")]) > 0.5


def test_some_spindles_are_long_and_thin():
    """As in muscle: 40 px and more, less than a fifth as wide."""
    long, short = np.concatenate([s.truth.rotated_boxes()[:, 2:4] for s in many("breast", 20)]).T
    assert ((long > 40) & (short < long / 5)).sum() >= 3


def test_nuclei_of_a_columnar_gland_stand_beside_each_other_at_its_border():
    """Across the basal membrane: the depth rises along their long axes."""
    organ, size = replace(ORGANS["colon"], glands=1, columnar=1), (384, 384)
    turns = []
    for seed in range(6):
        slide = Slide.draw(organ, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        layout = arrange(organ, slide, rng, size)
        nuclei = place(organ, slide, rng, layout)
        nuclei = nuclei[nuclei.kind == 0]
        row, column = nuclei.centre.astype(int).T
        assert (layout.depth[row, column] < slide.palisade).all()
        slope = np.stack(np.gradient(cv2.GaussianBlur(layout.depth, (0, 0), 3)), -1)[row, column]
        long = nuclei.outline[:, 0] - nuclei.outline[:, 16]  # end to end
        length = np.linalg.norm(long, axis=1) * np.linalg.norm(slope, axis=1)
        turns.extend(np.abs((long * slope).sum(1)) / length)
    assert len(turns) > 100
    assert np.median(turns) > np.cos(np.radians(25))


def test_some_images_hold_hardly_any_nuclei_and_most_hold_many():
    """Fat, muscle, blood, the end of the section: what a network must learn to leave alone."""
    counts = np.array([len(s.class_of) for organ in ORGANS for s in many(organ)])
    assert 0.05 < np.mean(counts < 9) < 0.4  # 9 in 256² is 2,200 per mm²
    assert np.median(counts) > 12


def test_an_unknown_organ_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"no organ 'spleen'; there are breast, kidney, .*lung"):
        simulate("spleen")


def test_a_size_without_room_is_refused():
    with pytest.raises(ValueError, match="size 8: too small to hold a nucleus; give at least 16 px"):
        simulate(size=8)


def test_the_benchmark_is_as_promised():
    parts = {part: load(part) for part in ("train", "validation", "test")}
    assert [len(samples) for samples in parts.values()] == [48, 6, 12]
    assert all(s.shape == (256, 256) for samples in parts.values() for s in samples)
    assert all(len(s.class_of) >= 20 for samples in parts.values() for s in samples)
    patients = {part: {s.meta["patient"] for s in samples} for part, samples in parts.items()}
    assert not patients["train"] & patients["test"] | patients["train"] & patients["validation"]
    assert not patients["validation"] & patients["test"]
    organs = {part: {s.meta["organ"] for s in samples} for part, samples in parts.items()}
    assert organs["test"] - organs["train"] == {"bladder", "colon", "stomach", "lung"}
    names = [s.name for samples in parts.values() for s in samples]
    assert len(set(names)) == len(names)


def test_what_one_caller_does_to_a_tile_no_other_sees():
    spoilt = load("validation")[0]
    spoilt.image[:], spoilt.instances[:] = 0, 0
    fresh = load("validation")[0]
    assert fresh.image.any()
    assert fresh.instances.any()


def test_the_benchmark_has_no_other_part():
    with pytest.raises(ValueError, match="tissue has no part 'val'; there are train, validation, test"):
        load("val")


def disc(radius, clearance=1.0):
    return Population(1, radius, 0, 1, 0, 0, 1, 0, 0, 0, 0, clearance)


def placed(centres, population):
    centres = np.array(centres, np.float32)
    angle = np.zeros(len(centres), np.float32)
    return outlines(np.random.default_rng(0), population, 0, centres, angle, (64, 64))


def test_an_outline_has_the_area_of_its_radius():
    nuclei = placed([[32, 32]], disc(10))
    labels, under, kept = paint(nuclei, (64, 64))
    assert len(kept) == 1
    assert not under.any()
    # cv2 paints the outline too: half a pixel more all round
    assert (labels == 1).sum() == pytest.approx(np.pi * (nuclei.radius[0] + 0.5) ** 2, rel=0.1)


def test_a_nucleus_without_room_is_left_out():
    labels, _, kept = paint(placed([[32, 32], [33, 33]], disc(10)), (64, 64))
    assert len(kept) == 1
    assert labels.max() == 1


def test_the_later_nucleus_lies_on_top_and_the_earlier_is_remembered_below():
    nuclei = placed([[32, 24], [32, 38]], disc(10, clearance=0.3))
    labels, under, kept = paint(nuclei, (64, 64))
    assert len(kept) == 2
    assert (under > 0).any()
    assert set(labels[under == 1]) == {2}


def test_what_overlap_tears_off_is_dropped():
    labels = np.zeros((20, 20), np.int32)
    labels[8:12, 1:19] = 1
    labels[:, 6:9] = 2
    under = np.zeros_like(labels)
    under[8:12, 6:9] = 1
    box = np.array([[[8, 1], [11, 18], [8, 18], [11, 1]], [[0, 6], [19, 8], [0, 8], [19, 6]]], np.float32)
    probe, kind = np.zeros((2, 1, 2), np.int32), np.zeros(2, np.int32)
    nuclei = Placed(box.mean(1), np.ones(2, np.float32), box, probe, kind)
    whole = keep_whole(labels, under, nuclei)
    assert not (whole[:, :6] == 1).any()
    assert (whole[8:12, 9:19] == 1).all()
    assert (whole == 2).sum() == 60
