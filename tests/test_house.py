"""The house keeps its rules: pages, notebooks, docstrings, versions, and chores that install and build."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nucbook
from nucbook import house

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
NOTEBOOKS = sorted(file for file in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts)
CHAPTERS = sorted([*NOTEBOOKS, *BOOK.rglob("*.md")])
MODULES = sorted((ROOT / "nucbook").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
WRITTEN = [*MODULES, *TESTS, *CHAPTERS, *ROOT.glob("*.md"), *ROOT.glob("*.yml")]
SAID_ELSEWHERE = {"forward", "paper", "short", "quick"}  # by torch; by profile.Configuration
INSTALLED = ("pyproject.toml", "requirements.txt", "constraints.txt")  # a change of these is installed
COMMANDS = {"house", "lab", "cli"}  # described in running.md instead


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


# -- the book -------------------------------------------------------------------------------


def test_the_table_of_contents_and_the_chapters_are_the_same():
    found = [relative(file.with_suffix("")) for file in CHAPTERS]
    assert sorted(house.pages()) == sorted(found)
    assert len(found) >= 11


@pytest.mark.parametrize("file", NOTEBOOKS, ids=relative)
def test_notebooks_are_committed_without_outputs(file):
    """But for cells tagged `keep_output`, which keep a little text for nbval to compare."""
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        kept = "keep_output" in cell["metadata"].get("tags", [])
        assert kept or cell["outputs"] == [], f"clear the output of: {''.join(cell['source'])[:80]}"
        assert cell["execution_count"] is None or kept
        assert len(json.dumps(cell["outputs"])) < 4000
        assert "image/png" not in json.dumps(cell["outputs"])


@pytest.mark.parametrize("file", CHAPTERS, ids=relative)
def test_code_that_a_chapter_shows_fits_its_page(file):
    """92 characters beside both sidebars of a laptop screen; see `book/_static/nucbook.css`."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        shown = [block for kind, block in fences if not kind.startswith("{")]
    else:
        code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        shown = [
            "".join(cell["source"]) for cell in code if "hide-input" not in cell["metadata"].get("tags", [])
        ]
    assert [line for block in shown for line in block.splitlines() if len(line) > 92] == []


@pytest.mark.parametrize("file", NOTEBOOKS, ids=relative)
def test_a_cell_closed_on_the_page_is_closed_in_jupyterlab(file):
    """The page reads the tag, JupyterLab its own metadata."""
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        on_page = "hide-input" in cell["metadata"].get("tags", [])
        in_lab = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
        assert in_lab == on_page, f"source_hidden without hide-input, or the reverse: {cell['source'][:2]}"


@pytest.mark.parametrize("file", NOTEBOOKS, ids=relative)
def test_a_chapter_begins_with_what_it_needs_and_teaches(file):
    """One line, to which the page adds the run time; see `book/_ext/run_time.py`."""
    head = json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"]
    assert re.fullmatch(r"# .+\n", head[0])
    assert re.fullmatch(r"\*\*You need:\*\* .+\. \*\*You learn to:\*\* .+\.\n", head[2])


@pytest.mark.parametrize("file", NOTEBOOKS, ids=relative)
def test_notebooks_hold_one_exercise_with_a_folded_solution(file):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert len(re.findall(r"^[`:]{3,}\{exercise", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^[`:]{3,}\{solution", text, re.MULTILINE)) == 1
    assert ":class: dropdown" in text


def test_no_file_knows_the_machine_it_was_written_on():
    homes = "|".join(["home", "root", "Users", "work", "tmp"])
    machine = re.compile(rf"(?<![\w.:/])/(?:{homes})/\w|file:/{{3}}")
    found = {relative(file): machine.findall(file.read_text(encoding="utf-8")) for file in WRITTEN}
    assert {file: hits for file, hits in found.items() if hits} == {}


def test_the_front_picture_is_small():
    assert (BOOK / "_static" / "hero.png").stat().st_size < 300_000


# -- the library ----------------------------------------------------------------------------


def undocumented(file: Path) -> list[str]:
    """Public functions, classes and methods without a docstring."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [] if ast.get_docstring(tree) else ["the module itself"]
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

    def visit(body, prefix=""):
        for node in body:
            if not isinstance(node, definitions) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and node.name not in SAID_ELSEWHERE:
                found.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.")

    visit(tree.body)
    return found


@pytest.mark.parametrize("file", MODULES, ids=relative)
def test_what_is_public_is_documented(file):
    assert undocumented(file) == []


def test_every_part_of_the_library_is_in_the_reference():
    pages = (BOOK / "reference" / "api").glob("*.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    shown = re.findall(r"automodule:: (\S+)", text)
    assert shown == re.findall(r"^## (\S+)$", text, re.MULTILINE)
    assert len(set(shown)) == len(shown)
    top = {file.stem for file in (ROOT / "nucbook").glob("[!_]*.py")}
    top |= {file.parent.name for file in (ROOT / "nucbook").glob("*/__init__.py")}
    covered = {module.split(".")[1] for module in shown}
    assert top - COMMANDS - covered == set()
    assert [module for module in shown if importlib.util.find_spec(module) is None] == []


# -- versions -------------------------------------------------------------------------------


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1]
    assert cited == nucbook.__version__ == importlib.metadata.version("nucbook")


def test_the_installed_torch_is_one_that_torchvision_asks_for():
    wanted = [Requirement(text) for text in importlib.metadata.requires("torchvision")]
    [torch] = [requirement for requirement in wanted if requirement.name == "torch"]
    assert torch.specifier.contains(importlib.metadata.version("torch"), prereleases=True)


def test_a_torchvision_made_for_another_torch_is_explained(tmp_path):
    (tmp_path / "torchvision").mkdir()
    broken = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    (tmp_path / "torchvision" / "__init__.py").write_text(broken, encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import nucbook.networks"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 1
    assert "torchvision does not fit the installed torch" in run.stderr
    assert "pip install -U torch torchvision" in run.stderr


# -- the chores -----------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout, installed already, for the chores to work in."""
    monkeypatch.delenv("NUCBOOK_CONSTRAINTS", raising=False)
    monkeypatch.setattr(house, "PINNED", sys.version_info[:2])
    for name in INSTALLED:
        (tmp_path / name).write_text(name, encoding="utf-8")
    toc = "root: book/intro\nparts:\n- chapters:\n  - file: book/one  # first\n  - file: book/two.ipynb\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    monkeypatch.setattr(house, "ROOT", tmp_path)
    monkeypatch.setattr(house, "STAMP", tmp_path / ".venv" / "nucbook-installed")
    monkeypatch.setattr(house, "HTML", tmp_path / "_build" / "html")
    house.STAMP.parent.mkdir()
    installed = house.fingerprint([tmp_path / name for name in INSTALLED])
    house.STAMP.write_text(f"{tmp_path}\n{installed}\n", encoding="utf-8")
    for page in ("intro", "one", "two"):
        (house.HTML / "book").mkdir(parents=True, exist_ok=True)
        (house.HTML / "book" / f"{page}.html").touch()
    for extra in ("index.html", "genindex.html", "_static/widget.html"):
        (house.HTML / extra).parent.mkdir(exist_ok=True)
        (house.HTML / extra).touch()
    return tmp_path


def test_pages_built_are_counted_against_the_table_of_contents(checkout):
    assert house.pages() == ["book/intro", "book/one", "book/two"]
    assert house.check_pages() == 3


def test_a_page_too_many_or_too_few_is_named(checkout):
    (house.HTML / "book" / "two.html").rename(house.HTML / "book" / "three.html")
    with pytest.raises(house.HouseError, match=r"book/two was not built; book/three is not in _toc\.yml"):
        house.check_pages()


def test_nothing_is_installed_twice(checkout, capsys):
    house.install()
    assert capsys.readouterr().out == ""


def test_changed_requirements_and_a_moved_checkout_are_stale(checkout):
    stamp = house.STAMP.read_text(encoding="utf-8")
    (checkout / "requirements.txt").write_text("more", encoding="utf-8")
    files = [checkout / name for name in INSTALLED]
    assert house.fingerprint(files) not in stamp
    files[1].write_text("requirements.txt", encoding="utf-8")
    assert stamp == f"{checkout}\n{house.fingerprint(files)}\n"


@pytest.fixture
def commands(monkeypatch):
    """What the chores would run."""
    found = []
    monkeypatch.setattr(house, "_run", lambda command, environment=None: found.append([*map(str, command)]))
    return found


def test_the_versions_that_were_tested_are_installed(checkout, commands, capsys):
    (checkout / "constraints.txt").write_text("numpy==2", encoding="utf-8")
    house.install()
    assert commands[-1][-2:] == ["-c", str(checkout / "constraints.txt")]
    assert "the versions of constraints.txt" in capsys.readouterr().out
    commands.clear()
    house.install()
    assert commands == []


def test_the_newest_versions_on_request_and_under_another_python(checkout, commands, monkeypatch):
    monkeypatch.setenv("NUCBOOK_CONSTRAINTS", "")
    house.install()
    assert "-c" not in commands[-1]
    monkeypatch.delenv("NUCBOOK_CONSTRAINTS")
    house.STAMP.unlink()
    monkeypatch.setattr(house, "PINNED", (3, 10))
    house.install()
    assert "-c" not in commands[-1]


def test_constraints_that_are_no_file_are_named(checkout, monkeypatch, capsys):
    monkeypatch.setenv("NUCBOOK_CONSTRAINTS", "pins.txt")
    assert house.main("book") == 1
    assert "pins.txt, no file; empty takes the newest versions" in capsys.readouterr().err


def test_the_constraints_are_versions_alone_and_allow_every_build_of_torch():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = {Requirement(line).name.lower() for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    extras = Requirement(text.strip().replace("-e .", project["name"])).extras
    asked = sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"])
    assert {Requirement(line).name.lower() for line in asked} <= names
    assert not {name for name in names if name.startswith(("nvidia-", "cuda-", "nucbook"))}


def test_what_a_test_starts_knows_no_home_of_the_user():
    program = (
        "import os; from pathlib import Path; import platformdirs, matplotlib; "
        "from nucbook.cache import cache_folder; "
        "print(Path.home(), cache_folder(), platformdirs.user_data_path('nucbook'), "
        "matplotlib.get_cachedir(), os.environ['HF_HOME'], sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    home, *folders = map(Path, run.stdout.splitlines())
    assert home.name.startswith("nucbook-test-")
    assert all(folder.is_relative_to(home) for folder in folders)
    assert len(folders) == 4


def test_data_that_is_named_stays_in_use(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", "slides")
    assert "NUCBOOK_DATA" not in house.elsewhere(tmp_path)
    monkeypatch.delenv("NUCBOOK_DATA")
    found = house.elsewhere(tmp_path)
    assert all(Path(folder).is_dir() and Path(folder).is_relative_to(tmp_path) for folder in found.values())
    assert list(Path(found["NUCBOOK_DATA"]).iterdir()) == []


def test_a_cell_has_the_same_time_in_a_build_and_in_a_test():
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert int(re.search(r"^  timeout: (\d+)", config, re.MULTILINE)[1]) == house.CELL_SECONDS


def test_files_that_swap_content_have_another_fingerprint(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("ab"), two.write_text("c")
    before = house.fingerprint([one, two])
    one.write_text("a"), two.write_text("bc")
    assert house.fingerprint([one, two]) != before


def test_a_folder_that_is_no_checkout_is_refused(checkout, capsys):
    (checkout / "_toc.yml").unlink()
    assert house.main("book") == 1
    assert "is not a checkout of nucbook: clone the repository" in capsys.readouterr().err


def test_an_old_python_is_refused(checkout, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert house.main("test") == 1
    assert "needs 3.11 or newer: name one with `make book PYTHON=python3.12`" in capsys.readouterr().err


def test_the_lab_opens_a_copy(checkout, commands):
    house.lab()
    copied, opened = commands
    assert copied[1:] == ["-m", "nucbook.lab", str(checkout / "book"), str(checkout / "lab")]
    assert opened[1:] == [str(checkout / "lab")]


def test_clean_leaves_the_environment(checkout):
    house.clean()
    assert not (checkout / "_build").exists()
    assert house.STAMP.exists()


def test_a_step_that_fails_is_named():
    with pytest.raises(house.HouseError, match=r"ended with status 3; its messages are above"):
        house._run([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_chores_need_nothing_installed():
    program = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from nucbook import house; print(*house.CHORES)"
    bare = [sys.executable, "-I", "-S", "-c", program]  # without site-packages
    run = subprocess.run(bare, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["book", "test", "all", "check", "lab", "clean"]


def test_make_alone_lists_its_targets():
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    run = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True)
    assert all(f"make {chore}" in run.stdout for chore in house.CHORES)


def test_the_command_line_knows_its_version_and_its_chores():
    command = [sys.executable, "-m", "nucbook"]
    run = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"nucbook {nucbook.__version__}"
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(name in text for name in ("book", "test", "lab", "data"))


# -- docstrings in the reference ------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(extension):
    return extension("plain_docstrings").plain


def test_sentences_keep_their_code_and_lose_no_sign(plain):
    shown = plain(["Areas |g| of `Nuclei`,", "all *of* them.", ""])
    assert shown == [r"Areas \|g\| of ``Nuclei``, all \*of\* them.", ""]
    assert plain(['Of "patient" or `"image"`.']) == ['Of ``"patient"`` or ``"image"``.', ""]
    assert plain(["To `side`² cells."]) == [r"To ``side``\ ² cells.", ""]


def test_arguments_stand_in_columns(plain):
    assert plain(["shape  : (H, W),", "         pixels.", "to     : `points`"]) == [
        ".. rst-class:: columns",
        "",
        "   ``shape``",
        "      (H, W), pixels.",
        "   ``to``",
        "      ``points``",
        "",
    ]


def test_what_is_laid_out_stays_laid_out(plain):
    assert plain(["A folder:", "", "mine/", "    a.tif"]) == [
        "A folder:",
        "",
        ".. code-block:: text",
        "",
        "   mine/",
        "       a.tif",
        "",
    ]
