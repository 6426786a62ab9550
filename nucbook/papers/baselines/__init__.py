"""What every paper is compared with: no labels, all labels, plain use of unlabelled images."""
