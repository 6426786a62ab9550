"""Numbers in prose: what was measured is computed where it is read, or cited, and never typed from memory.

A stored run's number is no exception. Most numbers of three digits are the metric of some run, so that a look
into `results/` would let nearly anything pass; and the next run would make the sentence wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

ROOT = Path(__file__).parent.parent
PAGES = [*(ROOT / "book").rglob("*.md"), *(ROOT / "book").rglob("*.ipynb"), *ROOT.glob("*.md")]
PAGES = sorted(page for page in PAGES if ".ipynb_checkpoints" not in page.parts)

MYST = MarkdownIt().enable("table").use(front_matter_plugin).use(dollarmath_plugin, double_inline=True)
MYST = MYST.use(colon_fence_plugin).use(myst_role_plugin)
FORMULAS = {"math_inline", "math_inline_double"}  # definitions, and sums worked out on the page

DECIMAL = r"(?<![\w.])\d*\.\d+\b(?!\.\d)(?:\s%)?"
WHOLE = r"\b\d+(?:\s%|(?=\spoints? of (?:AJI|Dice|PQ|F1)))"
MEASURED = re.compile(f"{DECIMAL}|{WHOLE}")
NO_MEASURE = re.compile(r"(?:CC BY[-A-Z]*|Python|version) \d\.\d+|95\s%")  # names; the level of all intervals
LITERAL = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?\b")
SENTENCE = re.compile(r"(?<=[.:;!?)])\s+(?=[A-Z(*`])")
SOURCE = re.compile(r"\{cite|\b(?:Table|Eqs?\.|Sec\.|Fig\.)\s*[\dIVX]|released code")
OPEN = re.compile(r"\*(?:Paper|Code|Here):\*")  # an entry of what a paper leaves open names its source
BENCHMARKS = ROOT / "benchmarks" / "README.md"


def words(token: Token) -> str:
    """A paragraph's text: code without its digits, no formulas, roles as `{name} content`."""
    text = ""
    for part in token.children or ():
        if part.type == "code_inline":
            text += re.sub(r"[\d.]", "", part.content)
        elif part.type == "myst_role":
            text += f"{{{part.meta['name']}}} {part.content}"
        elif part.type not in FORMULAS:
            text += " " if part.type == "softbreak" else part.content or part.markup
    return text


def prose(text: str) -> Iterator[str]:
    """Paragraphs, and rows of tables; those in directives too."""
    row: list[str] | None = None
    for token in MYST.parse(text):
        if token.type in ("fence", "colon_fence") and token.info.startswith("{"):
            yield from prose(token.content)
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            yield " | ".join(row or ())
            row = None
        elif token.type == "inline" and row is not None:
            row.append(words(token))
        elif token.type == "inline":
            yield words(token)


def code(text: str) -> Iterator[str]:
    """What stands as code in the text."""
    for token in MYST.parse(text):
        if token.type in ("fence", "colon_fence") and token.info.startswith("{"):
            yield from code(token.content)
        elif token.type in ("fence", "code_block"):
            yield token.content
        yield from (part.content for part in token.children or () if part.type == "code_inline")


def literals(text: str) -> set[float]:
    """The numbers in code or output."""
    return {float(number) for number in LITERAL.findall(text)}


def typed(text: str, known: Set[float] = frozenset()) -> list[str]:
    """Numbers in Markdown that look measured and have no source, each with its sentence.

    text  : of a page, or of a chapter's Markdown cells.
    known : settings and kept outputs of the chapter. What stands as code in the text is known as well.
    """
    known = {*known, *literals("\n".join(code(text)))}
    measured = literals(BENCHMARKS.read_text(encoding="utf-8"))
    found = []
    for paragraph in prose(text):
        for sentence in [] if OPEN.search(paragraph) else SENTENCE.split(paragraph):
            if SOURCE.search(sentence):
                continue
            for number in MEASURED.findall(NO_MEASURE.sub("", sentence)):
                value = float(number.rstrip("%").strip())
                sources = known | measured if "benchmarks/" in sentence else known
                if not {value, value / 100 if "%" in number else value} & sources:
                    found.append(f"{number}: {sentence}")
    return found


def chapter(page: Path) -> tuple[str, set[float]]:
    """A page's Markdown, and the numbers of its code cells, its kept outputs and its part's configuration."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text, set()
    cells = json.loads(text)["cells"]
    markdown = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    coded = [cell for cell in cells if cell["cell_type"] == "code"]
    settings = ["".join(cell["source"]) + json.dumps(cell["outputs"]) for cell in coded]
    config = ROOT / "nucbook" / "papers" / page.parent.name / "config.py"
    settings += [config.read_text(encoding="utf-8")] if config.exists() else []
    return "\n\n".join(markdown), literals("\n".join(settings))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_number_in_prose_has_a_source(page):
    assert typed(*chapter(page)) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("AJI is 0.612, or .61.\n\n- It gains 3 points of AJI, +0.03.\n", ["0.612", ".61", "3", "0.03"]),
        ("| AJI | Dice |\n|-|-|\n| 0.5 | 61 % |\n", ["0.5", "61 %"]),
        ("The paper has 0.7 {cite:p}`liu2022weak`. Here AJI is 0.8.", ["0.8"]),
        ("````{solution} one\n:class: dropdown\nAJI is 0.4.\n```python\nrate = 0.1\n```\n````", ["0.4"]),
        ("By `benchmarks/labels.py` it is 0.123456789.", ["0.123456789"]),
    ],
)
def test_a_typed_measurement_is_found(text, numbers):
    assert [found.split(":")[0] for found in typed(text)] == numbers


@pytest.mark.parametrize(
    "text",
    [
        "A threshold of 0.35, or 5 %.",  # both known
        "With `alpha=0.95` α is 0.95, or $0.3 + 0.1 = 0.4$.",
        "It gains 4.66 {cite:p}`liu2022weak`; 0.7 costs 6.9 (Table 3).",
        "**A title.** *Paper:* 0.017. It is odd. *Here:* 0.5.",
        "Python 3.11, CC BY-NC-SA 4.0, version 0.1, 95 % intervals, 1.0.2, Sec. 3.2.",
        "By `benchmarks/labels.py` it is 95.00%.",
    ],
)
def test_a_number_with_a_source_is_left_alone(text):
    assert typed(text, {0.35, 0.05}) == []
