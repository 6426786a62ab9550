"""The papers of the book, one package each, and the baselines they are compared with."""
