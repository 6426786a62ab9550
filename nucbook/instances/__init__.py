"""From a network's output for each pixel to nuclei: watershed, mean shift, block-wise stitching."""
