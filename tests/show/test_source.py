import ast
import re
from pathlib import Path

import pytest

import nucbook
from nucbook.nuclei import Nuclei
from nucbook.papers.baselines.hovernet_losses import hv_gradient_loss
from nucbook.sample import to_rgb
from nucbook.show import source

ROOT = Path(nucbook.__file__).parent.parent


def test_the_text_is_that_of_the_file_at_the_line_named():
    shown = source(to_rgb)
    lines = (ROOT / shown.file).read_text(encoding="utf-8").splitlines()
    assert shown.file == "nucbook/sample.py"
    assert str(shown).splitlines() == lines[shown.line - 1 : shown.line - 1 + len(str(shown).splitlines())]
    assert str(shown).startswith("def to_rgb(")


def test_a_method_or_property_loses_its_indentation_and_stays_valid():
    for member in (Nuclei.shifted, Nuclei.areas, Nuclei.from_labels):
        assert isinstance(ast.parse(str(source(member))).body[0], ast.FunctionDef)
    assert str(source(Nuclei.areas)).startswith("@property\ndef areas")


def test_a_trimmed_docstring_keeps_its_first_line_and_all_the_code():
    full, short = source(to_rgb), source(to_rgb, docstring=False)
    lines = str(short).splitlines()
    assert lines[1].strip() == f'"""{to_rgb.__doc__.splitlines()[0]}"""'
    assert "Converted with a warning" in str(full)
    assert "Converted with a warning" not in str(short)
    code = lambda shown: [ast.dump(node) for node in ast.parse(str(shown)).body[0].body[1:]]
    assert code(full) == code(short)


def test_comments_follow_their_code_whatever_their_column_in_the_file():
    text = str(source(hv_gradient_loss))
    assert "\n    kernel = torch.stack([right, right.T])[:, None]  # (2, 1, 5, 5)\n" in text
    assert not re.search(r"\S {3,}# ", text)


def test_a_notebook_gets_the_file_name_and_highlighted_python():
    markdown = source(to_rgb)._repr_markdown_()
    assert markdown.startswith("`nucbook/sample.py`, line ")
    assert "````python\ndef to_rgb(" in markdown


@pytest.mark.parametrize("thing", [len, 3, pytest.raises])
def test_what_is_not_of_the_library_is_refused(thing):
    with pytest.raises(TypeError, match="has no source in nucbook; show a function, class or method of it"):
        source(thing)
