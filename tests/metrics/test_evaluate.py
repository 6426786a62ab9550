"""All keys at once: the golden table, a slow second implementation, and what must always hold."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nucbook.metrics import KEYS, InvalidPair, evaluate, evaluate_many
from nucbook.nuclei import Nuclei

# -- values measured by running the field's public implementations -------------------------------


def golden_truth() -> np.ndarray:
    labels = np.zeros((40, 40), int)
    labels[2:10, 2:10], labels[2:10, 14:22], labels[20:30, 20:30] = 1, 2, 3
    return labels


def painted(*windows, on=None) -> np.ndarray:
    """The golden truth, or `on`, with further windows painted as ids 4, 5, …; a fifth element is the id."""
    labels = golden_truth() if on is None else on
    for i, (r0, r1, c0, c1, *value) in enumerate(windows, start=4):
        labels[r0:r1, c0:c1] = value[0] if value else i
    return labels


NOTHING = np.zeros((40, 40), int)
PREDICTIONS = {
    "identity": painted(),
    "second missed": painted((2, 10, 14, 22, 0)),
    "one invented": painted((32, 38, 2, 8)),
    "first and second merged": painted((2, 10, 2, 22)),
    "third split in halves": painted((20, 30, 25, 30)),
    "third split 40/60": painted((20, 30, 24, 30)),
    "all shifted down": np.roll(golden_truth(), 3, axis=0),
    "only an invented one": painted((32, 38, 2, 8), on=NOTHING.copy()),
}
GOLDEN = """
                           aji    aji_plus aji_qu dice   ensemble_dice object_dice dq     sq     pq
identity                 : 1.0000 1.0000   1.0000 1.0000 1.0000        1.0000      1.0000 1.0000 1.0000
second missed            : 0.7193 0.7193   0.5616 0.8367 1.0000        0.8596      0.8000 1.0000 0.8000
one invented             : 0.8636 0.8636   0.8636 0.9268 1.0000        0.9318      0.8571 1.0000 0.8571
first and second merged  : 0.5429 0.5062   0.5429 0.9344 0.7037        0.7478      0.4000 1.0000 0.4000
third split in halves    : 0.6403 0.6403   0.6403 1.0000 0.8201        0.8538      0.5714 1.0000 0.5714
third split 40/60        : 0.7015 0.7015   0.7015 1.0000 0.8201        0.8747      0.8571 0.8667 0.7429
all shifted down         : 0.4902 0.4902   0.4902 0.6579 0.6579        0.6579      0.3333 0.5385 0.1795
only an invented one     : 0.0000 0.0000   0.0000 0.0000 0.0000        0.0000      0.0000 0.0000 0.0000
"""
HEAD, *ROWS = GOLDEN.strip().splitlines()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(":")[0].strip())
@pytest.mark.parametrize("convert", [np.asarray, Nuclei.from_labels], ids=["maps", "masks"])
def test_golden_table(row, convert):
    case, values = row.split(":")
    measured = evaluate(convert(golden_truth()), convert(PREDICTIONS[case.strip()]))
    assert [f"{measured[key]:.4f}" for key in HEAD.split()] == values.split()
    assert measured["f1_object"] == measured["dq"]


def test_keys_and_their_order_are_fixed():
    assert tuple(evaluate(golden_truth(), golden_truth())) == KEYS


@pytest.mark.parametrize(
    ("truth", "prediction", "value"),
    [(NOTHING, NOTHING, math.nan), (NOTHING, golden_truth(), 0.0), (golden_truth(), NOTHING, 0.0)],
)
@pytest.mark.parametrize("convert", [np.asarray, Nuclei.from_labels], ids=["maps", "masks"])
def test_empty_on_one_side_is_zero_and_on_both_undefined(truth, prediction, value, convert):
    assert evaluate(convert(truth), convert(prediction)) == pytest.approx(
        dict.fromkeys(KEYS, value), nan_ok=True
    )


# -- the same metrics again, slowly, on sets of pixels -----------------------------------------


def pixel_sets(side) -> list[set]:
    """One set of pixels an instance, in the order of the ids."""
    if isinstance(side, Nuclei):
        return [
            {(int(r + box[0]), int(c + box[1])) for r, c in np.argwhere(mask)}
            for box, mask in zip(side.boxes, side.masks)
        ]
    return [set(map(tuple, np.argwhere(side == i).tolist())) for i in np.unique(side[side > 0])]


def flooded(pixels: set) -> list[set]:
    pieces, left = [], set(pixels)
    while left:
        front, piece = [left.pop()], set()
        while front:
            r, c = front.pop()
            piece.add((r, c))
            near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front.extend(near)
        pieces.append(piece)
    return pieces


def in_reading_order(instances: list[set]) -> list[set]:
    return sorted((piece for pixels in instances for piece in flooded(pixels)), key=min)


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def dice_of(a: set, b: set) -> float:
    return 2 * len(a & b) / (len(a) + len(b))


def slow_aji(G, P, qu=False):
    shared = united = 0
    used = set()
    for g in G:
        scores = [jaccard(g, p) for p in P]
        best = int(np.argmax(scores)) if P else None
        if P and (scores[best] > 0 or qu):
            shared, united = shared + len(g & P[best]), united + len(g) + len(P[best]) - len(g & P[best])
            used.add(best)
        else:
            united += len(g)
    return shared / (united + sum(len(p) for i, p in enumerate(P) if i not in used))


def assignments(G, P, threshold=0.0):
    """Sum of IoU and pairs of every one-to-one assignment of pairs with IoU > threshold."""
    few, many, turned = (G, P, False) if len(G) <= len(P) else (P, G, True)
    for chosen in permutations(range(len(many)), len(few)):
        pairs = [(many[j], few[i]) if turned else (few[i], many[j]) for i, j in enumerate(chosen)]
        pairs = [(g, p) for g, p in pairs if jaccard(g, p) > threshold]
        yield sum(jaccard(g, p) for g, p in pairs), pairs


def slow_aji_plus(G, P) -> set[float]:
    """The values that assignments of largest sum of IoU reach: more than one where they tie."""
    found = list(assignments(G, P))
    best = max(total for total, _ in found)
    area = sum(map(len, G)) + sum(map(len, P))
    values = set()
    for total, pairs in found:
        if total > best - 1e-9:
            shared = sum(len(g & p) for g, p in pairs)
            values.add(shared / (area - shared))
    return values


def slow_object_dice(G, P):
    def one_side(A, B):
        total = 0
        for a in A:
            shared = [len(a & b) for b in B]
            if max(shared, default=0):
                total += len(a) * dice_of(a, B[int(np.argmax(shared))])
        return total / sum(map(len, A)) if A else 0

    return (one_side(G, P) + one_side(P, G)) / 2


def slow(truth, prediction) -> dict:
    G, P = pixel_sets(truth), pixel_sets(prediction)
    all_g, all_p = set().union(*G), set().union(*P)
    meeting = [(g, p) for g in G for p in P if g & p]
    met = sum(len(g) + len(p) for g, p in meeting)
    total, matches = max(assignments(G, P, 0.5), key=lambda found: found[0])
    dq = 2 * len(matches) / (len(G) + len(P))
    sq = total / len(matches) if matches else 0
    return {
        "dice": dice_of(all_g, all_p),
        "object_dice": slow_object_dice(G, P),
        "ensemble_dice": sum(2 * len(g & p) for g, p in meeting) / (met or 1),
        "iou": jaccard(all_g, all_p),
        "aji": slow_aji(G, P),
        "aji_qu": slow_aji(in_reading_order(G), in_reading_order(P), qu=True),
        "dq": dq,
        "sq": sq,
        "pq": dq * sq,
        "f1_object": dq,
    }


@st.composite
def label_maps(draw, highest=4):
    """Two label maps of one shape: blobs, fragments, touching and single pixels, as they come."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    ids = st.integers(0, highest)
    return draw(arrays(np.int32, shape, elements=ids)), draw(arrays(np.int32, shape, elements=ids))


@st.composite
def crossing_masks(draw):
    """Two `Nuclei` of one shape whose rows may cover the same pixels."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6))
    rows = st.lists(arrays(bool, shape), max_size=3)
    sides = draw(rows), draw(rows)
    return tuple(Nuclei(shape, [(0, 0, *shape)] * len(masks), masks).tight() for masks in sides)


@given(label_maps() | crossing_masks())
def test_agrees_with_a_slow_implementation(pair):
    assume(len(pixel_sets(pair[0])) + len(pixel_sets(pair[1])))
    measured = evaluate(*pair)
    aji_plus = measured.pop("aji_plus")
    assert measured == pytest.approx(slow(*pair))
    assert any(aji_plus == pytest.approx(value) for value in slow_aji_plus(*map(pixel_sets, pair)))


# -- what must always hold --------------------------------------------------------------------


@given(label_maps() | crossing_masks())
def test_every_metric_lies_between_0_and_1_or_is_undefined_for_empty_images(pair):
    empty = not any(map(len, map(pixel_sets, pair)))
    for key, value in evaluate(*pair).items():
        assert math.isnan(value) if empty else 0 <= value <= 1, key


@given(label_maps())
def test_truth_against_itself_is_1(pair):
    assume(pair[0].any())
    assert evaluate(pair[0], pair[0]) == pytest.approx(dict.fromkeys(KEYS, 1.0))


@given(label_maps(), st.permutations(range(1, 5)), st.permutations(range(1, 5)))
def test_other_ids_change_nothing(pair, for_truth, for_prediction):
    renumbered = [np.array([0, *ids])[side] for side, ids in zip(pair, (for_truth, for_prediction))]
    measured, again = evaluate(*pair), evaluate(*renumbered)
    # The lowest id wins a tie, so these keep their value only where no partner is contested.
    if has_ties(*pair):
        for key in ("aji", "aji_plus", "object_dice"):
            del measured[key], again[key]
    assert again == pytest.approx(measured, nan_ok=True)


def has_ties(truth, prediction) -> bool:
    G, P = pixel_sets(truth), pixel_sets(prediction)
    if not G or not P:
        return False
    sums = sorted((total for total, _ in assignments(G, P)), reverse=True)
    scores = (jaccard, lambda a, b: len(a & b))
    rows = [[score(a, b) for b in B] for A, B in ((G, P), (P, G)) for a in A for score in scores]
    contested = any(max(row) > 0 and row.count(max(row)) > 1 for row in rows)
    return contested or (len(sums) > 1 and sums[0] - sums[1] < 1e-9)


@given(label_maps(), st.integers(1, 1000), st.integers(0, 10**6))
def test_ids_with_gaps_change_nothing(pair, step, offset):
    spread = [np.where(side > 0, side.astype(np.int64) * step + offset, 0) for side in pair]
    assert evaluate(*spread) == pytest.approx(evaluate(*pair), nan_ok=True)


@given(label_maps())
def test_a_margin_of_background_changes_nothing(pair):
    assert evaluate(*(np.pad(side, 2) for side in pair)) == pytest.approx(evaluate(*pair), nan_ok=True)


@given(label_maps())
def test_mirroring_changes_nothing_but_who_is_first(pair):
    measured, mirrored = evaluate(*pair), evaluate(pair[0].T, pair[1].T)
    del measured["aji_qu"], mirrored["aji_qu"]  # prediction 1 is the first in reading order
    assert mirrored == pytest.approx(measured, nan_ok=True)


@given(label_maps() | crossing_masks())
def test_most_metrics_do_not_ask_which_side_is_the_truth(pair):
    measured, swapped = evaluate(*pair), evaluate(*pair[::-1])
    for key in set(KEYS) - {"aji", "aji_plus", "aji_qu"}:
        assert swapped[key] == pytest.approx(measured[key], nan_ok=True), key


def test_aji_asks_which_side_is_the_truth():
    merged = painted((2, 10, 2, 22))
    assert evaluate(golden_truth(), merged)["aji"] != pytest.approx(evaluate(merged, golden_truth())["aji"])


@given(label_maps(), st.booleans())
def test_valid_erases_pixels_from_both_sides(pair, as_masks):
    valid = np.random.default_rng(0).random(pair[0].shape) < 0.6
    erased = evaluate(*(np.where(valid, side, 0) for side in pair))
    sides = map(Nuclei.from_labels, pair) if as_masks else pair
    assert evaluate(*sides, valid) == pytest.approx(erased, nan_ok=True)


def test_a_nucleus_in_a_region_that_is_not_valid_is_neither_missed_nor_invented():
    valid = np.ones((40, 40), bool)
    valid[:, 12:24] = False  # the second nucleus
    assert evaluate(golden_truth(), painted((2, 10, 14, 22, 0)), valid)["pq"] == 0.8 / 0.8
    assert evaluate(painted((2, 10, 14, 22, 0)), golden_truth(), valid)["f1_object"] == 1


# -- many images ------------------------------------------------------------------------------

PAIRS = [(golden_truth(), golden_truth()), (golden_truth(), NOTHING), (NOTHING, NOTHING), (NOTHING, NOTHING)]


@pytest.mark.parametrize(("policy", "mean"), [("skip", 1 / 2), ("zero", 1 / 4), ("one", 3 / 4)])
def test_the_policy_says_what_empty_images_count(policy, mean):
    report = evaluate_many(iter(PAIRS), empty=policy)
    assert report.mean == pytest.approx(dict.fromkeys(KEYS, mean))
    assert (report.empty, report.policy, len(report.per_image)) == (2, policy, 4)
    assert [row["pq"] for row in report.per_image] == pytest.approx([1, 0, math.nan, math.nan], nan_ok=True)
    assert str(report).startswith("4 images, 2 of them empty on both sides (")


def test_the_mean_of_nothing_but_skipped_images_is_undefined():
    assert math.isnan(evaluate_many([(NOTHING, NOTHING)]).mean["aji"])


def test_a_pair_may_bring_its_valid_region():
    valid = np.zeros((40, 40), bool)
    valid[:16] = True
    report = evaluate_many([(golden_truth(), painted((20, 30, 20, 30, 0)), valid)])
    assert report.mean["aji"] == 1


def test_mean_pq_is_not_mean_dq_times_mean_sq():
    cases = ("second missed", "all shifted down", "third split 40/60")
    mean = evaluate_many((golden_truth(), PREDICTIONS[case]) for case in cases).mean
    assert mean["pq"] == pytest.approx((0.8 + 7 / 39 + 26 / 35) / 3)
    assert mean["pq"] != pytest.approx(mean["dq"] * mean["sq"], abs=1e-3)


def test_refuses_another_policy_and_no_pairs():
    with pytest.raises(ValueError, match=r"empty='ignore'.*'skip', 'zero', 'one'"):
        evaluate_many(PAIRS, empty="ignore")
    with pytest.raises(ValueError, match="no pairs to evaluate"):
        evaluate_many([])
    with pytest.raises(InvalidPair, match=r"pair 2: truth is \(40, 40\), prediction \(39, 40\)"):
        evaluate_many([*PAIRS[:2], (NOTHING, NOTHING[1:])])
