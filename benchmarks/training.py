"""What augmentation and targets cost, beside the U-Net step they feed.

python benchmarks/training.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from nucbook.data.augment import Colour
from nucbook.data.tissue import simulate
from nucbook.papers.baselines import unet
from nucbook.targets import normalised_distance_maps
from nucbook.training.crops import crops
from nucbook.training.prepare import Models, device, precision

ROUNDS = 15


def main() -> dict[str, float]:
    """Print the table, return milliseconds and the share of a step by name."""
    result = {}
    for name, config in {"quick": unet.Config.quick(), "short": unet.Config.short("kumar")}.items():
        result |= {f"{name}: {key}": value for key, value in measure(name, config).items()}
    return result


def measure(name: str, config: unet.Config) -> dict[str, float]:
    """Milliseconds of the parts of one step, median of `ROUNDS`, measured in turns."""
    where, generator = device(), torch.Generator().manual_seed(0)
    samples = [simulate("breast", size=256, seed=seed) for seed in range(4)]
    draw = crops(samples, config.crop, config.batch, colour=Colour())
    models = Models(
        {key: net.to(where, memory_format=torch.channels_last) for key, net in unet.networks(config).items()}
    )
    optimiser = torch.optim.AdamW(models.unet.parameters())
    enabled = precision(config.precision, where) == "bf16"

    batch = draw(generator)

    def step():
        with torch.autocast(where.type, torch.bfloat16, enabled=enabled):
            losses = unet.step(models, batch, config)
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()

    times = median_times(
        {
            "augmentation": lambda: draw(generator),
            "targets": lambda: batch.target(normalised_distance_maps),
            "step with targets": step,
        }
    )
    share = (times["augmentation"] + times["targets"]) / (times["augmentation"] + times["step with targets"])
    print(
        f"profile {name}: {config.batch} crops of {config.crop}², {where}, {torch.get_num_threads()} threads"
    )
    for part, milliseconds in times.items():
        print(f"| {part:<18} | {milliseconds:7.1f} ms |")
    print(f"augmentation and targets are {100 * share:.1f} % of the whole step")
    return {**times, "share": share}


def median_times(parts: dict[str, Callable]) -> dict[str, float]:
    """Median time of each part, milliseconds; parts take turns so that a busy machine slows all alike."""
    times = {name: [] for name in parts}
    for round_ in range(ROUNDS + 3):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_ >= 3:  # the first rounds warm up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


if __name__ == "__main__":
    main()
