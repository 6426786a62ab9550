import ipywidgets
import matplotlib.pyplot as plt
import pytest

from nucbook.show import explore, live


@pytest.fixture(autouse=True)
def _close_figures(monkeypatch):
    monkeypatch.delenv("NUCBOOK_EVERY_POSITION", raising=False)  # a test run sets it for the chapters
    yield
    plt.close("all")


@pytest.fixture
def drawn():
    """The values that `draw` was called with, in order."""
    calls = []

    def draw(figure, **values):
        figure.subplots().set_title("drawn")
        calls.append(values)

    draw.calls = calls
    return draw


def test_a_page_shows_four_positions_of_the_first_slider_and_the_first_of_the_others(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "0")
    assert explore(drawn, shift=range(10), split=[False, True]) is None
    assert drawn.calls == [{"shift": shift, "split": False} for shift in (0, 3, 6, 9)]
    titles = [figure.get_suptitle() for figure in plt.gcf().subfigs]
    assert titles[1] == "shift = 3, split = False"


def test_a_page_shows_the_positions_a_chapter_asks_for(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "0")
    explore(drawn, shift=range(10), gap=[0.5, 1.5], at=[{"shift": 2}, {"gap": 1.5}], columns=2)
    assert drawn.calls == [{"shift": 2, "gap": 0.5}, {"shift": 0, "gap": 1.5}]


def test_fewer_positions_than_four_are_shown_once_each(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "0")
    explore(drawn, way=["left", "right"])
    assert drawn.calls == [{"way": "left"}, {"way": "right"}]


def test_a_slider_that_moves_draws_again(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "1")
    widget = explore(drawn, shift=range(4), gap=[0.5, 1.5], at=[{"shift": 1}])
    sliders = {slider.description: slider for slider in widget.children[:-1]}
    assert {name: slider.value for name, slider in sliders.items()} == {"shift": 1, "gap": 0.5}
    sliders["shift"].value = 3
    assert drawn.calls[-1] == {"shift": 3, "gap": 0.5}


def test_names_are_chosen_from_a_list_and_labels_are_shown_whole(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "1")
    widget = explore(drawn, organ=["kidney", "liver"], threshold=[0.3, 0.5], at=[{"organ": "liver"}])
    organ, threshold = widget.children[:-1]
    assert isinstance(organ, ipywidgets.Dropdown)
    assert isinstance(threshold, ipywidgets.SelectionSlider)
    assert (organ.value, threshold.value) == ("liver", 0.3)
    assert {control.style.description_width for control in (organ, threshold)} == {"initial"}
    organ.value = "kidney"
    assert drawn.calls[-1] == {"organ": "kidney", "threshold": 0.3}


def test_a_test_run_draws_what_the_page_leaves_out(monkeypatch, drawn):
    monkeypatch.setenv("NUCBOOK_LIVE", "0")
    monkeypatch.setenv("NUCBOOK_EVERY_POSITION", "1")
    explore(drawn, shift=range(4), gap=[0.5, 1.5], at=[{"shift": 1}, {"shift": 2}])
    moved = [{"shift": 0, "gap": 0.5}, {"shift": 3, "gap": 0.5}, {"shift": 1, "gap": 1.5}]
    assert drawn.calls[2:] == moved
    assert plt.get_fignums() == [1]
    assert len(plt.gcf().subfigs) == 2


def test_a_position_that_only_a_reader_would_see_fail_is_named(monkeypatch):
    def draw(figure, shift):
        figure.subplots().plot([1 / (2 - shift)])

    monkeypatch.setenv("NUCBOOK_LIVE", "0")
    monkeypatch.setenv("NUCBOOK_EVERY_POSITION", "0")
    explore(draw, shift=range(4), at=[{"shift": 1}])
    monkeypatch.setenv("NUCBOOK_EVERY_POSITION", "1")
    with pytest.raises(ZeroDivisionError) as caught:
        explore(draw, shift=range(4), at=[{"shift": 1}])
    assert caught.value.__notes__ == ["at shift = 2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a slider"),
        ({"shift": []}, "needs a slider"),
        ({"shift": range(3), "at": [{"shfit": 1}]}, "at names 'shfit'; the sliders are shift"),
        ({"shift": range(3), "at": [{"shift": 7}]}, r"shift has no position 7; one of \[0, 1, 2\]"),
    ],
)
def test_a_position_that_no_slider_has_is_refused(drawn, arguments, message):
    with pytest.raises(ValueError, match=message):
        explore(drawn, **arguments)
    assert drawn.calls == []


@pytest.mark.parametrize(
    ("said", "session", "expected"),
    [
        (None, None, False),
        (None, "chapter.ipynb", True),
        ("0", "chapter.ipynb", False),
        ("1", None, True),
    ],
)
def test_a_kernel_of_a_jupyter_session_is_live_unless_told_otherwise(monkeypatch, said, session, expected):
    for name, value in (("NUCBOOK_LIVE", said), ("JPY_SESSION_NAME", session)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert live() is expected
