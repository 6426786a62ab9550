"""Lin et al., 'Instance-aware robust consistency regularization' (IRCR-Net), 2025."""
