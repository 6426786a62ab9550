"""BASS: a student of pseudo labels that learns boundaries by contrast (Zhang et al. 2024)."""
