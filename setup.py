"""What pyproject.toml cannot say: the stored runs of `results/` go into the wheel, as `nucbook/_results`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RUNS = sorted(str(file) for file in Path("results").glob("*.jsonl"))


class BuildWithRuns(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib) / "nucbook" / "_results"
            self.mkpath(str(folder))
            for file in RUNS:
                self.copy_file(file, str(folder))

    def get_source_files(self):
        return [*super().get_source_files(), *RUNS]  # a source distribution holds them too


setup(cmdclass={"build_py": BuildWithRuns})
