"""Which pixel to annotate: chosen patches, images made from them, pseudo labels (Lou et al. 2022)."""
