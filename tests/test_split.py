"""Splits: whole units, one part each, the same from any order, and no truth where none belongs."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucbook.data.patches import grid
from nucbook.sample import InvalidSample, Sample
from nucbook.split import PARTS, InvalidSplit, Split


def sample(name: str, **columns) -> Sample:
    labels = np.zeros((8, 8), np.int32)
    labels[1:4, 1:4] = 5
    return Sample(
        np.zeros((8, 8, 3), np.uint8), **{"instances": labels, "class_of": {5: 1}} | columns, name=name
    )


def hospital(images: int, patients: int) -> list[Sample]:
    """Images of patients, each cut into four patches that overlap."""
    whole = [sample(f"i{i}", meta={"patient": f"p{i % patients}"}) for i in range(images)]
    return [one.crop(row, column, 6, 6) for one in whole for row, column in grid(one.shape, 6, overlap=4)]


def units_of(split: Split, samples, key: str) -> dict[str, set]:
    """{part: patients or images in it}."""
    meta = {one.name: one.meta[key] for one in samples}
    return {part: {meta[name] for name in getattr(split, part)} for part in PARTS}


IMAGES = [sample(f"i{i:02}") for i in range(40)]


def test_shares_are_counted_in_units():
    split = Split.make(IMAGES, labelled=1 / 4, validation=0.1, test=0.2)
    assert [len(getattr(split, part)) for part in PARTS] == [7, 21, 4, 8]
    assert split.how["labelled"] == 1 / 4
    by_patient = Split.make(
        hospital(images=20, patients=10), by="patient", labelled=0.5, validation=0.1, test=0.2
    )
    assert [len(getattr(by_patient, part)) for part in PARTS] == [32, 24, 8, 16]  # 8 patches a patient


def test_shares_of_nothing_and_of_all():
    split = Split.make(IMAGES, labelled=1, validation=0, test=0)
    assert [len(getattr(split, part)) for part in PARTS] == [40, 0, 0, 0]
    assert len(Split.make(IMAGES, labelled=0, validation=0, test=0).unlabelled) == 40


def test_small_shares_get_one_unit_and_large_ones_leave_one():
    few = Split.make(IMAGES[:6], labelled=0.01, validation=0.01, test=0.01)
    assert [len(getattr(few, part)) for part in PARTS] == [1, 3, 1, 1]
    assert len(Split.make(IMAGES[:6], labelled=0.99, validation=0, test=0).unlabelled) == 1


@st.composite
def requests(draw):
    folds = draw(st.none() | st.integers(2, 4))
    return {
        "by": draw(st.sampled_from(["patient", "image", "patch"])),
        "labelled": draw(st.sampled_from([1 / 32, 1 / 8, 1 / 2, 1.0])),
        "validation": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "test": draw(st.sampled_from([0.0, 0.2, 0.4])),
        "folds": folds,
        "fold": draw(st.integers(0, (folds or 1) - 1)),
        "seed": draw(st.integers(0, 99)),
    }


@given(requests(), st.integers(10, 16), st.randoms(use_true_random=False))
def test_every_split_is_a_partition_by_units_whatever_the_order(request_, images, random_):
    samples = hospital(images, patients=10)
    split = Split.make(samples, **request_)
    assert sorted(split.names) == sorted(one.name for one in samples)
    random_.shuffle(samples)
    assert Split.make(samples, **request_) == split
    by = request_["by"]
    parts = units_of(split, samples, "patient" if by == "patient" else "image")
    if by == "patch":  # labels may cut through an image
        parts["labelled"] |= parts.pop("unlabelled")
    assert all(parts[a].isdisjoint(parts[b]) for a, b in combinations(parts, 2))


@given(st.integers(0, 99), st.sampled_from(["image", "patch"]))
def test_a_smaller_share_of_labels_lies_within_a_larger_one_and_moves_nothing_else(seed, by):
    samples = hospital(images=12, patients=12)
    small, large = (Split.make(samples, by=by, labelled=share, seed=seed) for share in (1 / 8, 1 / 2))
    assert set(small.labelled) < set(large.labelled)
    assert (small.validation, small.test) == (large.validation, large.test)


@given(st.integers(0, 99), st.integers(2, 7))
def test_folds_test_each_unit_once(seed, folds):
    tested = [Split.make(IMAGES, folds=folds, fold=fold, seed=seed).test for fold in range(folds)]
    assert sorted(name for part in tested for name in part) == [one.name for one in IMAGES]
    assert max(map(len, tested)) - min(map(len, tested)) <= 1


def test_seeds_differ():
    assert len({Split.make(IMAGES, seed=seed).test for seed in range(20)}) == 20


def test_a_split_is_the_same_everywhere():
    split = Split.make(IMAGES, seed=0)
    assert split.labelled == ("i09", "i21", "i24", "i33")
    assert split.test == ("i00", "i01", "i03", "i05", "i07", "i19", "i23", "i25")


def test_all_images_come_up_for_test():
    counts = dict.fromkeys((one.name for one in IMAGES), 0)
    for seed in range(200):
        for name in Split.make(IMAGES, seed=seed).test:
            counts[name] += 1
    assert all(15 < count < 70 for count in counts.values())  # 40 on average


def test_an_image_named_as_a_patch_of_another_stays_whole():
    samples = [sample("a", meta={"image": "b"}), sample("b", meta={"image": "c"})]
    samples += [sample(f"x{i}") for i in range(6)]
    for seed in range(20):
        assert len(Split.make(samples, by="patch", seed=seed).names) == 8


# -- folds by name --------------------------------------------------------------------------------

NAMED = [[f"i{i:02}" for i in range(start, 40, 4)] for start in range(4)]


@pytest.mark.parametrize("by", ["image", "patch"])
def test_named_folds_hold_out_their_images(by):
    cut = [one.crop(row, column, 6, 6) for one in IMAGES for row, column in grid(one.shape, 6, overlap=4)]
    for fold, held_out in enumerate(NAMED):
        split = Split.make(IMAGES, by=by, labelled=1, validation=0.1, folds=NAMED, fold=fold)
        assert split.test == tuple(held_out)
        assert len(split.validation) == 4
        assert sorted(split.names) == [one.name for one in IMAGES]
        patches = Split.make(cut, by=by, labelled=0.5, validation=0.1, folds=NAMED, fold=fold)
        assert units_of(patches, cut, "image")["test"] == set(held_out)
        assert len(patches.names) == 160


def test_named_folds_hold_out_whole_patients():
    patients = [sample(f"i{i}", meta={"patient": f"p{i % 4}"}) for i in range(12)]
    folds = [["i0", "i4", "i8", "i1", "i5", "i9"], ["i2", "i6", "i10", "i3", "i7", "i11"]]
    split = Split.make(patients, by="patient", labelled=1, validation=0, folds=folds, fold=1)
    assert split.test == tuple(sorted(folds[1]))
    folds[0][0], folds[1][0] = "i2", "i0"
    with pytest.raises(InvalidSplit, match=r"patient 'p0' \(2 in all\) has images in several folds"):
        Split.make(patients, by="patient", folds=folds)


def test_each_organ_is_left_out_once():
    organs = [sample(f"i{i}", meta={"organ": "abc"[i % 3]}) for i in range(12)]
    splits = [Split.make(organs, by="organ", labelled=1, validation=0, folds=3, fold=k) for k in range(3)]
    left_out = [units_of(split, organs, "organ")["test"] for split in splits]
    assert sorted(set.union(*left_out)) == ["a", "b", "c"]
    assert all(len(split.test) == 4 and len(split.labelled) == 8 for split in splits)
    with pytest.raises(InvalidSplit, match=r"sample 'i00' has no meta\['organ'\]"):
        Split.make(IMAGES, by="organ")


def test_a_split_by_named_folds_survives_the_disk(tmp_path):
    split = Split.make(IMAGES, folds=tuple(map(tuple, NAMED)), fold=2)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    assert split.how["folds"] == NAMED


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (
            [*NAMED[:3], [*NAMED[3], "x"]],
            0,
            "fold 3 holds out 'x', which is not among the 40 images",
        ),
        (NAMED[:3], 0, r"no fold holds out image 'i03' \(10 in all\); leave it out, or add it to one"),
        ([*NAMED, ["i00"]], 0, "image 'i00' stands in folds 0 and 4; keep it in one"),
        (NAMED, 4, "fold 4 of 4 folds; they count from 0"),
        ([NAMED[0] + NAMED[1] + NAMED[2] + NAMED[3]], 0, "ask for 2 or more"),
    ],
)
def test_refuses_named_folds_that_do_not_hold_each_image_once(folds, fold, message):
    with pytest.raises(InvalidSplit, match=message):
        Split.make(IMAGES, folds=folds, fold=fold)


# -- what is handed out ---------------------------------------------------------------------------

FOUR = [sample(name) for name in "abcd"]
BY_HAND = Split(labelled=("a",), unlabelled=("b",), validation=("c",), test=("d",))


def test_unlabelled_samples_know_nothing_and_the_test_keeps_its_truth():
    labelled, unlabelled, validation, test = BY_HAND.apply(reversed(FOUR))
    assert [part[0].name for part in (labelled, unlabelled, validation, test)] == list("abcd")
    bare = unlabelled[0]
    assert (bare.instances, bare.nuclei, bare.points, bare.class_of) == (None, None, None, {})
    assert all(part[0].labelled and part[0].class_of == {5: 1} for part in (labelled, validation, test))


def test_labels_may_be_weakened_to_points_and_validation_then_too():
    parts = BY_HAND.apply(FOUR, labels="points")
    for one in (parts.labelled[0], parts.validation[0]):
        assert not one.labelled
        assert one.points.tolist() == [[2, 2]]
    assert parts.test[0].labelled
    by_masks = BY_HAND.apply(FOUR, labels="points", validation="masks")
    assert not by_masks.labelled[0].labelled
    assert by_masks.validation[0].labelled


def test_points_without_masks_are_used_as_they_are():
    clicked = sample("a", instances=None, class_of={}, points=np.array([[1.5, 6]]))
    parts = BY_HAND.apply([clicked, *FOUR[1:]], labels="points")
    assert parts.labelled[0].points.tolist() == [[1.5, 6]]
    with pytest.raises(InvalidSample, match="'a': has no masks, and its part of the split needs them"):
        BY_HAND.apply([clicked, *FOUR[1:]])


# -- on disk --------------------------------------------------------------------------------------


def test_a_split_survives_the_disk(tmp_path):
    split = Split.make(IMAGES, by="patch", folds=3, fold=2, seed=9)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


GOOD = {"labelled": ["a"], "unlabelled": [], "validation": [], "test": ["b"], "how": {}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"labelled": ["a"', "JSONDecodeError"),
        ("", "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        (json.dumps({key: value for key, value in GOOD.items() if key != "test"}), "KeyError\\('test'\\)"),
        (json.dumps(GOOD | {"test": "b"}), "'b' is no list of names"),
        (json.dumps(GOOD | {"test": [3]}), "is no list of names"),
        (json.dumps(GOOD | {"test": ["a"]}), "sample 'a' stands twice in the split"),
    ],
)
def test_what_is_not_a_split_is_refused_by_its_file(tmp_path, content, reason):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(InvalidSplit, match=f"split.json is not a split .*{reason}.*write it anew"):
        Split.load(path)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (IMAGES[:2], {}, "2 images are too few: 1 for test and 1 for validation leave none to train on"),
        (IMAGES[:3], {}, "1 is too few to take 0.125 of the training images to label"),
        (IMAGES[:1], {}, "1 is too few to take 0.2 of the images for test"),
        ([], {}, "0 is too few to take 0.2 of the images for test"),
        ([], {"test": 0, "validation": 0}, "0 images are too few"),
        (IMAGES[:3], {"folds": 4}, "3 images cannot make 4 folds; ask for fewer"),
        (IMAGES, {"folds": 1}, "folds is 1; ask for 2 or more"),
        (IMAGES, {"folds": 3, "fold": 3}, "fold 3 of 3 folds; they count from 0"),
        (IMAGES, {"fold": 1}, "fold 1 of no folds"),
        (IMAGES, {"labelled": 8}, "labelled is 8; give the fraction of the training units, from 0 to 1"),
        (IMAGES, {"labelled": float("nan")}, "labelled is nan"),
        (IMAGES, {"test": 1.0}, "test is 1.0; give a fraction of all units, from 0 to below 1"),
        (IMAGES, {"validation": -0.1}, "validation is -0.1"),
        (IMAGES, {"by": "slide"}, "by 'slide'\\? One of 'patient', 'organ', 'image', 'patch'"),
        (IMAGES, {"by": "patient"}, "'i00' has no meta\\['patient'\\]; fill it in, or split by 'image'"),
        ([*IMAGES, IMAGES[7]], {}, "sample 'i07' stands twice among the samples"),
    ],
)
def test_refuses_to_make_what_cannot_be_made(samples, options, message):
    with pytest.raises(InvalidSplit, match=message):
        Split.make(samples, **options)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (FOUR[1:3], {}, "sample 'a' of the split \\(2 in all\\) is not among the 2 samples; load the parts"),
        ([*FOUR, sample("e")], {}, "sample 'e' \\(1 in all\\) is in no part of the split"),
        ([*FOUR, FOUR[0]], {}, "sample 'a' stands twice among the samples"),
        (FOUR, {"labels": "boxes"}, "labels 'boxes'\\? One of 'masks', 'points'"),
        (FOUR, {"validation": "nothing"}, "labels 'nothing'"),
    ],
)
def test_refuses_to_apply_where_names_do_not_meet(samples, options, message):
    with pytest.raises(InvalidSplit, match=message):
        BY_HAND.apply(samples, **options)


def test_a_name_stands_in_one_part_only():
    with pytest.raises(InvalidSplit, match="sample 'a' stands twice in the split; keep it in one part"):
        Split(labelled=("a", "b"), test=("c", "a"))
