import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgba

from nucbook import show
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample
from nucbook.show import COLOURS
from nucbook.training import History


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def labels():
    """Two touching squares and one apart, ids with a gap."""
    labels = np.zeros((20, 24), np.int32)
    labels[2:8, 2:8], labels[2:8, 8:14], labels[12:18, 4:10] = 1, 2, 7
    return labels


def test_a_label_map_is_transparent_where_nothing_is_and_one_colour_an_instance(labels):
    picture = show.label_map(labels)
    assert picture.shape == (20, 24, 4)
    np.testing.assert_array_equal(picture[..., 3], labels > 0)
    colours = {id: np.unique(picture[labels == id], axis=0) for id in (1, 2, 7)}
    assert all(len(colour) == 1 for colour in colours.values())
    assert len({tuple(colour[0]) for colour in colours.values()}) == 3


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30, unique=True))
def test_an_instance_keeps_its_colour_whoever_else_is_there(ids):
    together = show.label_map(np.array([[0, *ids]]))[0, 1:]
    alone = [show.label_map(np.array([[0, id]]))[0, 1] for id in ids]
    np.testing.assert_allclose(together, alone)


def test_consecutive_ids_differ_in_brightness_too():
    brightness = show.label_map(np.arange(1, 200)[None])[0, :, :3].max(1)
    assert np.abs(np.diff(brightness)).min() > 0.15


def test_outlines_run_between_the_pixels_of_an_instance_and_its_outside(labels):
    axes = show.overlay(np.zeros((20, 24, 3), np.uint8), labels)
    segments = axes.collections[0].get_segments()
    assert len(segments) == 3
    x, y = segments[2].T
    assert (x.min(), x.max(), y.min(), y.max()) == (3.5, 9.5, 11.5, 17.5)


def test_overlay_of_a_sample_shows_its_own_truth(labels):
    sample = Sample(np.zeros((20, 24, 3), np.uint8), instances=labels)
    assert len(show.overlay(sample).collections[0].get_segments()) == 3


def test_overlay_of_an_image_alone_asks_for_labels():
    with pytest.raises(ValueError, match="give labels, or a sample"):
        show.overlay(np.zeros((20, 24, 3), np.uint8))


def test_a_pixel_comparison_paints_both_missed_and_false():
    truth, prediction = np.array([[0, 1, 1]]), np.array([[2, 2, 0]])
    axes = show.compare(truth, prediction, by="pixel")
    painted = axes.images[1].get_array()[0]
    assert [to_hex(colour) for colour in painted] == [
        to_hex(COLOURS[key]) for key in ("false", "matched", "missed")
    ]


def test_an_instance_comparison_colours_by_partner(labels):
    prediction = np.where(labels == 7, 0, labels)  # one missed,
    prediction[14:18, 16:22] = 9  # one false
    axes = show.compare(labels, Nuclei.from_labels(prediction))
    dashed, solid = axes.collections
    colours = lambda lines: [tuple(colour) for colour in lines.get_colors()]
    wanted = lambda *keys: [to_rgba(COLOURS[key]) for key in keys]
    assert colours(dashed) == wanted("matched", "matched", "missed")
    assert colours(solid) == wanted("matched", "matched", "false")


def test_comparing_with_nothing_predicted_calls_all_missed(labels):
    dashed, solid = show.compare(labels, np.zeros_like(labels)).collections
    assert {to_hex(colour) for colour in dashed.get_colors()} == {to_hex(COLOURS["missed"])}
    assert solid.get_segments() == []


def test_a_sample_is_compared_on_its_own_image(labels):
    sample = Sample(np.full((20, 24, 3), 9, np.uint8), instances=labels)
    axes = show.compare(sample, labels)
    np.testing.assert_array_equal(axes.images[0].get_array(), sample.image)
    assert {to_hex(colour) for colour in axes.collections[0].get_colors()} == {to_hex(COLOURS["matched"])}


def test_compare_knows_two_ways_only(labels):
    with pytest.raises(ValueError, match="compare by 'colour'"):
        show.compare(labels, labels, by="colour")


def marks(figure):
    return [text.get_text() for text in figure.texts]


def test_a_figure_says_whether_its_images_are_simulated(labels):
    known = {
        name: Sample(np.zeros((20, 24, 3), np.uint8), labels, meta={"dataset": name})
        for name in ("tissue", "kumar")
    }
    figure, (left, right) = plt.subplots(1, 2)
    show.overlay(known["tissue"], axes=left)
    show.compare(known["tissue"], labels, axes=right)
    assert marks(figure) == ["SIMULATED TISSUE"]
    show.overlay(known["kumar"], axes=left)
    assert marks(figure) == ["SIMULATED TISSUE, REAL SLIDES"]
    grid = show.image_grid([known["kumar"], np.zeros((20, 24, 3), np.uint8)])
    assert marks(grid[0, 0].figure) == ["REAL SLIDES"]
    own = show.overlay(Sample(np.zeros((20, 24, 3), np.uint8), labels))
    assert marks(own.figure) == []
    with pytest.raises(ValueError, match="data is 'real slides'; say whether it is 'simulated' or 'real'"):
        show.mark(figure, "real slides")


def test_a_table_says_whether_its_numbers_are_of_simulated_tissue():
    frame = pd.DataFrame({"aji": [0.5]})
    assert "SIMULATED TISSUE" in show.table(frame, data="simulated").to_html()
    assert "caption" not in show.table(frame).to_html()


def test_a_score_that_is_not_a_number_is_not_shown_as_zero():
    axes = show.scores({"pq": 0.5, "aji": float("nan")}, before={"pq": 1.0, "aji": 1.0})
    assert [text.get_text() for text in axes.texts] == ["0.50", "undefined"]
    assert list(axes.lines[0].get_xdata()) == [1.0, 1.0]


def test_a_scale_bar_is_as_long_as_it_says():
    axes = show.overlay(np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), int))
    show.scale_bar(axes, mpp=0.5, micrometres=25)
    assert np.ptp(axes.lines[0].get_xdata()) == 50
    assert axes.texts[0].get_text() == "25 µm"


def test_a_grid_holds_every_image_and_hides_empty_places():
    grid = show.image_grid([np.zeros((8, 8, 3), np.uint8)] * 5, titles=list("abcde"), columns=3)
    assert grid.shape == (2, 3)
    assert [len(axes.images) for axes in grid.flat] == [1, 1, 1, 1, 1, 0]
    assert not any(axes.axison for axes in grid.flat)
    assert grid[1, 1].get_title() == "e"


def test_a_table_rounds_marks_the_best_and_writes_dashes():
    frame = pd.DataFrame({"name": ["a", "b"], "pq": [0.12345, np.nan]})
    html = show.table(frame, digits=2, best=["pq"]).to_html()
    assert "0.12" in html
    assert "0.123" not in html
    assert "–" in html
    assert html.count("font-weight: bold") == 1
    named = show.table(frame.set_index("name")).to_html()
    assert named.count("<tr>") == 1 + len(frame)  # one header, with the name in its corner
    assert ">name</th>" in named
    both = pd.concat({"dice": frame.set_index("name"), "aji": frame.set_index("name")}, axis=1)
    both = show.table(both.rename_axis(columns=["metric", "column"])).to_html()
    assert both.count("<tr>") == 2 + len(frame)
    assert ">column</th>" not in both


def test_curves_of_a_training_show_the_one_loss_once_and_several_with_their_sum():
    rows = [{"step": step, "loss": 3.0 / step, "a": 1.0 / step, "learning_rate": 0.1} for step in (10, 20)]
    names = lambda axes: [text.get_text() for text in axes.get_legend().get_texts()]
    axes = show.curves(History(rows))
    assert names(axes) == ["a"]
    assert list(axes.lines[0].get_xdata()) == [10, 20]
    assert names(show.curves(History([row | {"b": 2.0} for row in rows]))) == ["loss", "a", "b"]
    assert names(show.curves(History(rows).frame(), ["learning_rate"])) == ["learning_rate"]


def test_intervals_stand_in_the_order_of_the_rows_round_their_difference():
    frame = pd.DataFrame({"difference": [0.1, -0.2], "low": [0.0, -0.3], "high": [0.3, -0.15]}, ["A", "B"])
    axes = show.intervals(frame)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["A", "B"]
    assert axes.yaxis_inverted()
    bars = axes.collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 0] for bar in bars], frame[["low", "high"]])


def test_the_look_is_set_once_for_all_figures_that_follow():
    with plt.rc_context():
        show.use_style()
        assert plt.rcParams["figure.dpi"] == 120
        assert plt.figure().get_layout_engine() is not None
