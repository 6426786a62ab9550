"""Networks: encoders, and what stands on them."""

from nucbook.networks.encoder import Encoder, initialise
from nucbook.networks.unet import UNet

__all__ = ["Encoder", "UNet", "initialise"]
