"""From what a network says of each pixel to nuclei: watershed, mean shift, block-wise stitching."""
