"""Networks: encoders, and what stands on them."""

from nucbook.networks.encoder import Encoder, initialise
from nucbook.networks.hovernet import HoVerNet
from nucbook.networks.unet import UNet

__all__ = ["Encoder", "HoVerNet", "UNet", "initialise"]
