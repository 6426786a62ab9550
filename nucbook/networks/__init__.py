"""Networks: encoders, and what stands on them."""

from nucbook.networks.encoder import Encoder, build_encoder, initialise
from nucbook.networks.hovernet import HoVerNet
from nucbook.networks.lite import LiteEncoder
from nucbook.networks.maskrcnn import MaskRCNN
from nucbook.networks.unet import UNet

__all__ = ["Encoder", "HoVerNet", "LiteEncoder", "MaskRCNN", "UNet", "build_encoder", "initialise"]
