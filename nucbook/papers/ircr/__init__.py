"""Lin et al., 'Instance-aware robust consistency regularization' (IRCR-Net), 2025."""

from nucbook.papers.ircr.training import METHOD, train

__all__ = ["METHOD", "train"]
