"""The head of a chapter names the time that its execution took."""

from __future__ import annotations

import pytest
from docutils import nodes
from docutils.utils import new_document


@pytest.fixture(scope="module")
def run_time(extension):
    return extension("run_time")


def page(*paragraphs: str) -> nodes.document:
    document = new_document("page")
    document += nodes.section(
        "", nodes.title("", "Losses"), *(nodes.paragraph("", text) for text in paragraphs)
    )
    return document


def test_the_time_ends_the_head_of_a_chapter(run_time):
    document = page("You need: Images.", "You need: this no more.")
    run_time.add(document, 27.4)
    first, second = document.findall(nodes.paragraph)
    assert first.astext() == "You need: Images. Run time on the machine that built this page: 25 s."
    assert second.astext() == "You need: this no more."


def test_a_page_without_a_head_stays_as_it_is(run_time):
    for document in (page("A question."), page()):
        before = document.astext()
        run_time.add(document, 27.4)
        assert document.astext() == before


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "5 s"), (27.4, "25 s"), (90, "90 s"), (91, "2 min"), (400, "7 min")]
)
def test_a_time_is_as_exact_as_a_reader_can_use(run_time, seconds, said):
    assert run_time.duration(seconds) == said
