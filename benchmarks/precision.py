"""What a training step costs in bfloat16, beside the same step in float32: U-Net and HoVer-Net.

Forward pass in mixed precision as `fit` prepares it, losses, backward pass and optimiser, on one thread. The
line above the table tells whether the device has instructions for bfloat16, a CPU AVX512-BF16 or AMX.

    python benchmarks/precision.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch

from nucbook.data.batch import Batch
from nucbook.data.tissue import simulate
from nucbook.papers.baselines import hovernet, unet
from nucbook.training.crops import crops
from nucbook.training.prepare import Models, accelerator_for, device, prepared

STEPS = 2
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def main() -> dict[str, float]:
    """Print the table, return bfloat16 / float32 by network and profile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"{device()}, {native()}, one thread; best of {STEPS} steps")
    result = {}
    for name, network in {"U-Net": unet, "HoVer-Net": hovernet}.items():
        for profile, config in {
            "quick": network.Config.quick(),
            "short": network.Config.short("kumar"),
        }.items():
            seconds = measure(network, config)
            ratio = seconds["bf16"] / seconds["no"]
            print(
                f"| {name:<9} {profile} | {config.batch:2} crops of {config.crop}² "
                f"| float32 {seconds['no']:6.2f} s | bfloat16 {seconds['bf16']:6.2f} s, {ratio:5.2f} × that |"
            )
            result[f"{name} {profile}"] = ratio
    torch.set_num_threads(threads)
    return result


def native() -> str:
    """Whether this device computes in bfloat16 itself."""
    if device().type == "cuda":
        own = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        own = any(torch.cpu.get_capabilities().get(name) for name in INSTRUCTIONS)
    return f"{'with' if own else 'without'} bfloat16 instructions"


def measure(network, config) -> dict[str, float]:
    """Seconds of a step in each precision, on the same batch, taken in turns.

    Of this process on a CPU, so that what else runs there counts little.
    """
    samples = [simulate("breast", size=2 * config.crop, seed=seed) for seed in range(2)]
    batch = crops(samples, config.crop, config.batch)(torch.Generator().manual_seed(0))
    compute = partial(network.step, config=config) if network is unet else network.step
    clock = time.perf_counter if device().type == "cuda" else time.process_time
    times: dict[str, list[float]] = {"no": [], "bf16": []}
    with ExitStack() as training:
        steps = {
            precision: one_step(
                compute,
                training.enter_context(prepared(network.networks(config), accelerator_for(precision), ())),
                batch,
            )
            for precision in times
        }
        for round_ in range(STEPS + 1):
            for precision, step in steps.items():
                start = clock()
                step()
                if round_:  # the first warms up
                    times[precision].append(clock() - start)
    return {precision: min(values) for precision, values in times.items()}


def one_step(compute: Callable, models: Models, batch: Batch) -> Callable[[], None]:
    """A training step of AdamW on that batch."""
    optimiser = torch.optim.AdamW(p for net in models.values() for p in net.parameters())
    for net in models.values():
        net.train()

    def step() -> None:
        sum(compute(models, batch).values()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if device().type == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
