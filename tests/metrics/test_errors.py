"""One kind of error put right at a time, by hand."""

import numpy as np
import pytest

from nucbook.metrics import ERRORS, InvalidPair, costs_of_errors, evaluate, put_right


def row(text: str) -> np.ndarray:
    """One row of pixels, a digit an id, "." background."""
    return np.array([[int(digit) for digit in text.replace(".", "0")]])


TRUTH = row("1111.2222.33..")
PREDICTION = row("55...6677...88")  # 5 is of 1, one of 6 and 7 is of 2, 3 is missed, 8 is of nothing


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        ("outlines", "5555.6666...88"),
        ("false", "55...66......."),
        ("missed", "55...6677.BB88"),
    ],
)
def test_one_kind_of_error_is_put_right(error, wanted):
    right = put_right(error, TRUTH, PREDICTION)
    assert right.tolist() == [[int(digit, 16) for digit in wanted.replace(".", "0")]]


def test_of_two_nuclei_under_one_prediction_one_is_missed():
    right = put_right("missed", row("111.22"), row("777777"))
    assert right.tolist() == [[7, 7, 7, 7, 9, 9]]


def test_what_hardly_touches_a_nucleus_is_false():
    truth, prediction = row("1111111111...."), row(".........55555")  # IoU 1/14
    assert not put_right("false", truth, prediction).any()
    assert put_right("outlines", truth, prediction).tolist() == prediction.tolist()


def test_nothing_is_left_to_put_right_after_all_three():
    truth = np.kron(np.arange(16).reshape(4, 4), np.ones((6, 6), int))
    prediction = np.where(np.isin(truth, [3, 7, 8]), 0, np.roll(truth, (2, 1), (0, 1)))
    assert evaluate(truth, prediction)["aji"] < 0.6
    for error in ERRORS:
        prediction = put_right(error, truth, prediction)
    assert evaluate(truth, prediction)["aji"] == 1


@pytest.mark.parametrize(("truth", "prediction"), [("....", "11.."), ("11..", "...."), ("....", "....")])
def test_empty_sides(truth, prediction):
    for error in ERRORS:
        put_right(error, row(truth), row(prediction))
    assert not put_right("false", row("...."), row("11..")).any()
    assert put_right("missed", row("11.."), row("....")).tolist() == row("11..").tolist()


def test_costs_are_the_gains_of_the_means():
    costs = costs_of_errors([(TRUTH, PREDICTION), (TRUTH, TRUTH)])
    before = evaluate(TRUTH, PREDICTION)["aji"]
    for error, cost in costs.items():
        gain = evaluate(TRUTH, put_right(error, TRUTH, PREDICTION))["aji"] - before
        assert cost == pytest.approx(gain / 2)
    assert set(costs) == set(ERRORS)


def test_refused():
    with pytest.raises(ValueError, match="no error 'masks'; there are outlines, false, missed"):
        put_right("masks", TRUTH, PREDICTION)
    with pytest.raises(InvalidPair):
        put_right("false", TRUTH, PREDICTION[:, 1:])
