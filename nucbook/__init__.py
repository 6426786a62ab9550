"""nucbook: label-efficient segmentation of nuclei."""
