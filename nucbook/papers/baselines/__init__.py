"""What every paper is compared with: no labels at all, full supervision, and plain use of unlabelled images."""
