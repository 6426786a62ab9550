"""What earlier versions wrote, in today's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT_0_1 = "nucbook segmenter 1"

_HOVERNET = {"encoder", "patch", "crop", "batch", "epochs", "steps", "learning_rate", "milestones"}
_HOVERNET |= {"init", "precision"}


def current(method: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Method and configuration of a model that 0.1 saved, as they are named today.

    Then encoders were named by their depth (`layers` of a U-Net, `depth` of a HoVer-Net), `steps` 0 meant as
    many as the epochs are, and what stood on a HoVer-Net held its fields beside its own.
    """
    name, new = method.removeprefix("baselines."), dict(config)
    if "layers" in new:
        new["encoder"] = f"resnet{new.pop('layers')}"
        if "depth" in new:
            new["valley"] = new.pop("depth")
    elif "depth" in new:
        new["encoder"] = f"resnet{new.pop('depth')}"
        new["steps"] = new["steps"] or None
    if "mse" in new:
        new["consistency"] = new.pop("mse")
    if new.get("grouping") == "pieces":
        new["grouping"] = "components"
    if name in ("mean_teacher", "self_training", "ircr"):
        new["hovernet"] = {key: new.pop(key) for key in list(new) if key in _HOVERNET}
    return name, new
