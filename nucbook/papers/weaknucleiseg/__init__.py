"""Liu, He, He, 'Weakly supervised nuclei segmentation via instance learning', ISBI 2022."""
