# Each target installs what is missing into .venv first. The steps themselves are in
# nucbook/house.py, so that `python -m nucbook book` does the same where there is no make.

PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help book test all check lab clean

help:
	@echo "make book    execute the chapters and build the book into _build/html"
	@echo "make test    run the linters, the unit tests and every notebook"
	@echo "make all     both, every notebook executed once"
	@echo "make check   run the linters and the unit tests that take seconds"
	@echo "make lab     open a copy of the chapters in JupyterLab"
	@echo "make clean   remove what book and test made (.venv and lab stay)"
	@echo "Another Python: make book PYTHON=python3.12"
	@echo "The newest versions instead of those in constraints.txt: make book NUCBOOK_CONSTRAINTS="

book test all check lab clean:
	@$(PYTHON) -m nucbook $@
