"""What pyproject.toml cannot say: the stored runs of `results/` go into the wheel as `nucbook._results`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["nucbook*"]), "nucbook._results"],
    package_dir={"nucbook._results": "results"},
)
