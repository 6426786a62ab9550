"""The chores of a checkout: install, build the book, run the tests, open the lab, clean up.

`make book`, `python -m nucbook book` and `nucbook book` all end here. The standard library is enough:
this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "nucbook-installed"  # what was installed, and where
BUILD = ROOT / "_build"
HTML = BUILD / "html"
OUTPUTS = BUILD / ".jupyter_cache"  # of chapters that were executed, by a build or by a test run
OLDEST = (3, 11)
PINNED = (3, 11)  # the Python that constraints.txt was taken from
CELL_SECONDS = 1800  # before a cell counts as hanging; `_config.yml` has the same number
SPHINX_PAGES = {"genindex", "index", "py-modindex", "search"}  # made for every book, in no _toc.yml
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis")


class HouseError(Exception):
    """A chore that cannot be done; the message says why and what to do.

    It is empty where pytest has said so already: its summary stays the last line.
    """


def install() -> None:
    """Make `.venv` and install requirements.txt into it, if it is missing or stale.

    The versions are those of constraints.txt, with which the tests passed, under the Python that they
    were taken from. `NUCBOOK_CONSTRAINTS` names another file; empty, it takes the newest versions.

    Stale: pyproject.toml, requirements.txt or the constraints differ from those that were installed,
    or the checkout was moved (scripts of a virtual environment hold its path).

    Raises HouseError outside a checkout, under an old Python, or where a step fails.
    """
    if not (ROOT / "_toc.yml").exists():
        raise HouseError(f"{ROOT} is not a checkout of nucbook: clone the repository and run this inside it.")
    if sys.version_info < OLDEST:
        raise HouseError(
            f"this is Python {sys.version.split()[0]}, nucbook needs {'.'.join(map(str, OLDEST))} or newer: "
            "name one with `make book PYTHON=python3.12`, or `python3.12 -m nucbook book`."
        )
    constraints = _constraints()
    wanted = f"{ROOT}\n{fingerprint([ROOT / 'pyproject.toml', ROOT / 'requirements.txt', *constraints])}\n"
    found = STAMP.read_text(encoding="utf-8") if STAMP.exists() else None
    if found == wanted:
        return
    moved = found is not None and found.splitlines()[:1] != [str(ROOT)]
    if moved or (found is None and Path(sys.prefix) != VENV):
        say("making .venv")
        _run([sys.executable, "-m", "venv", *(["--clear"] if moved else []), VENV])
    versions = f"the versions of {constraints[0].name}" if constraints else "the newest versions"
    say(f"installing requirements.txt into .venv, {versions} (with PyTorch the first time: some minutes)")
    pins = [part for file in constraints for part in ("-c", file)]
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, "-r", ROOT / "requirements.txt", *pins])
    STAMP.write_text(wanted, encoding="utf-8")


def book() -> None:
    """Execute the chapters and build the HTML into `_build/html`; a warning is an error.

    Raises HouseError where the build fails or its pages are not those of `_toc.yml`.
    """
    install()
    drop_stale()
    say("executing the chapters and building the book")
    with tempfile.TemporaryDirectory(prefix="nucbook-") as home:
        build(elsewhere(Path(home)))


def test() -> None:
    """Lint, then run the unit tests and every notebook in one pytest run; keep the chapters' outputs."""
    install()
    lint()
    drop_stale()
    say("pytest: unit tests and notebooks")
    _pytest("--nbval-lax", "--nbval-current-env", "tests", "book")


def everything() -> None:
    """Do what `test` and `book` do, every notebook executed once; pytest's summary comes last."""
    install()
    lint()
    drop_stale()
    say("pytest: unit tests and notebooks, then the book from what the notebooks gave")
    _pytest("--nbval-lax", "--nbval-current-env", "--build-book", "tests", "book")


def check() -> None:
    """Lint, then run the unit tests that take seconds: for every change, some minutes at most."""
    install()
    lint()
    say("pytest: unit tests, without the slow ones")
    _pytest("-m", "not slow", "tests")


def lab() -> None:
    """Open the reader's copy of the chapters, the folder `lab`, in JupyterLab; see nucbook/lab.py."""
    install()
    copy = ROOT / "lab"
    _run([PYTHON, "-m", "nucbook.lab", ROOT / "book", copy])
    say("opening your copy of the chapters, the folder lab, in JupyterLab; Ctrl-C ends it")
    settings = filter(None, [str(ROOT / "book" / "_lab"), os.environ.get("JUPYTER_CONFIG_PATH")])
    _run([SCRIPTS / "jupyter-lab", copy], {"JUPYTER_CONFIG_PATH": os.pathsep.join(settings)})


def clean() -> None:
    """Remove what `book` and `test` made; `.venv`, the reader's `lab`, data and results stay."""
    say("removing _build and the tools' caches (.venv and lab stay)")
    for name in ("_build", *CACHES):
        shutil.rmtree(ROOT / name, ignore_errors=True)


CHORES = {"book": book, "test": test, "all": everything, "check": check, "lab": lab, "clean": clean}


def main(name: str) -> int:
    """Do one of CHORES; returns the exit status, 1 after an explained failure."""
    try:
        CHORES[name]()
    except HouseError as error:
        if str(error):
            print(f"nucbook: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


# -- steps ----------------------------------------------------------------------------------


def lint() -> None:
    """Style, format, and the layers that a module may import from."""
    say("ruff: style")
    _run([SCRIPTS / "ruff", "check", ROOT])
    say("ruff: format")
    _run([SCRIPTS / "ruff", "format", "--check", ROOT])
    say("import-linter: layers")
    _run([SCRIPTS / "lint-imports", "--config", ROOT / "pyproject.toml"])
    say("mypy: types")
    _run([PYTHON, "-m", "mypy"])


def drop_stale() -> None:
    """Drop outputs that were made by other code than today's.

    The notebook cache looks at the notebooks alone, and would show what an older library printed.
    """
    stamp, wanted = BUILD / "nucbook-code", _code()
    if BUILD.exists() and not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        say("the library changed since the chapters last ran: dropping _build")
        shutil.rmtree(BUILD)
    BUILD.mkdir(exist_ok=True)
    stamp.write_text(wanted, encoding="utf-8")


def build(environment: dict[str, str]) -> None:
    """Build the HTML; a chapter that the notebook cache holds is not executed again.

    environment : what differs from this process's variables.

    Raises HouseError where the build fails or its pages are not those of `_toc.yml`.
    """
    command = [SCRIPTS / "jupyter-book", "build", "--warningiserror", "--keep-going", ROOT]
    _run(command, _on_the_cpu() | environment)
    say(f"{check_pages()} pages, as _toc.yml lists them: open {HTML.relative_to(ROOT) / 'index.html'}")


def elsewhere(home: Path) -> dict[str, str]:
    """Variables with which neither the library nor its tools look into the user's home, cache or data.

    home : an empty folder. `NUCBOOK_DATA` stays as it is; where it is not set, a folder in `home`
           without any data set stands for it.
    """
    folders = {
        "HOME": ".",
        "USERPROFILE": ".",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "HF_HOME": "cache/huggingface",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter/config",
        "JUPYTER_DATA_DIR": "jupyter/data",
        "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
        "MPLCONFIGDIR": "matplotlib",
        "TORCH_HOME": "cache/torch",
        "NUCBOOK_CACHE": "cache/nucbook",
    }
    if not os.environ.get("NUCBOOK_DATA"):
        folders["NUCBOOK_DATA"] = "data/nucbook"
    for folder in folders.values():
        (home / folder).mkdir(parents=True, exist_ok=True)
    return {name: str((home / folder).resolve()) for name, folder in folders.items()}


# -- the pages ------------------------------------------------------------------------------


def pages() -> list[str]:
    """Pages that `_toc.yml` lists, as paths from the repository without a suffix."""
    lines = (ROOT / "_toc.yml").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"[\s-]*(?:root|file):\s*([^\s#]+)", line) for line in lines)
    return [re.sub(r"\.(ipynb|md)$", "", match[1]) for match in found if match]


def check_pages() -> int:
    """Compare the pages built with `_toc.yml`; returns their number.

    Raises HouseError that names the missing and the surplus pages.
    """
    listed = set(pages())
    built = {file.relative_to(HTML).with_suffix("").as_posix() for file in HTML.rglob("*.html")}
    built = {page for page in built if not page.startswith("_") and page not in SPHINX_PAGES}
    if built != listed:
        wrong = [f"{page} was not built" for page in sorted(listed - built)]
        wrong += [f"{page} is not in _toc.yml" for page in sorted(built - listed)]
        raise HouseError(
            f"{len(built)} pages built, {len(listed)} listed: {'; '.join(wrong)}. Try `make clean book`."
        )
    return len(built)


# -- helpers --------------------------------------------------------------------------------


def fingerprint(files: list[Path]) -> str:
    """SHA-256 of some files' contents, hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(b"%d\n" % len(content) + content)
    return digest.hexdigest()


def say(what: str) -> None:
    """Tell the user what happens next, at once even through a pipe."""
    print(f"nucbook: {what}", flush=True)


def _code() -> str:
    """What a chapter's output depends on besides the chapter itself."""
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml"]
    for folder in ("nucbook", "results"):
        files = (ROOT / folder).rglob("*")
        sources += (file for file in files if file.suffix in {".py", ".csv", ".json", ".jsonl"})
    environment = [os.environ.get(name, "") for name in ("NUCBOOK_PROFILE", "NUCBOOK_DATA")]
    return "\n".join([fingerprint(sorted(sources)), *environment])


def _constraints() -> list[Path]:
    """The file with the versions to install, if there is one for this Python."""
    chosen = os.environ.get("NUCBOOK_CONSTRAINTS")
    if chosen is None:
        chosen = "constraints.txt" if sys.version_info[:2] == PINNED else ""
    if chosen and not (ROOT / chosen).is_file():
        raise HouseError(
            f"NUCBOOK_CONSTRAINTS names {ROOT / chosen}, no file; empty takes the newest versions."
        )
    return [ROOT / chosen] if chosen else []


def _pytest(*arguments: str) -> None:
    # Two workers that each thread over all cores would only wait for each other.
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2))}
    workers = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]  # conftest.py groups and orders
    command = [str(PYTHON), "-m", "pytest", *workers, *arguments]
    if subprocess.run(command, cwd=ROOT, env={**os.environ, **threads, **_on_the_cpu()}).returncode:
        raise HouseError


def _on_the_cpu() -> dict[str, str]:
    """Kept outputs and bit-identical weights are the CPU's, so is `quick`; a variable that is set wins."""
    return {"ACCELERATE_USE_CPU": os.environ.get("ACCELERATE_USE_CPU", "true")}


def _run(command: list, environment: dict[str, str] | None = None) -> None:
    command = [str(part) for part in command]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})}).returncode
    if status:
        raise HouseError(f"`{' '.join(command)}` ended with status {status}; its messages are above.")
