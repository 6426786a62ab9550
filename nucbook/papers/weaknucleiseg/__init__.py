"""Liu, He, He, 'Weakly supervised nuclei segmentation via instance learning', ISBI 2022."""

from nucbook.papers.weaknucleiseg.training import METHOD, train

__all__ = ["METHOD", "train"]
