"""What stands round the loop: devices, precision, several GPUs, frozen parts, learning rates, randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, broadcast_object_list, parse_flag_from_env, send_to_device
from torch import nn


class Models(dict):
    """The networks of a training by name, read as attributes too: `models.student(image)`.

    `models.step` and `models.steps` tell a loss how far the training is (ramps of consistency weights).
    """

    step: int = 0
    steps: int = 1

    def __getattr__(self, name: str) -> nn.Module:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no network {name!r}; there are {', '.join(self) or 'none'}.") from None


def device() -> torch.device:
    """Where training happens: this process's CUDA device, Apple's MPS, or the CPU."""
    return _processes().device


def first_process() -> bool:
    """Whether this process is the one that writes files; always, where there is only one."""
    return _processes().is_main_process


def agreed(value: Any) -> Any:
    """The first process's value, in all of them; each waits for the others."""
    shared = [value]
    if _processes().num_processes > 1:
        broadcast_object_list(shared)
    return shared[0]


def share(batch: int) -> int:
    """This process's part of a batch, so that a run means the same on one GPU and on several.

    Raises ValueError where the batch cannot be divided evenly.
    """
    processes = _processes().num_processes
    if batch % processes:
        raise ValueError(
            f"a batch of {batch} cannot be divided among {processes} processes; launch as many as divide it, "
            "or change the batch (`--set batch=`)."
        )
    return batch // processes


def _processes() -> PartialState:
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def accelerator_for(mixed_precision: str | None) -> Accelerator:
    """An Accelerator of `precision`; None takes that of `accelerate launch`, else float32."""
    # Accelerate fixes the precision for the whole process; two trainings in one notebook may want two.
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision(mixed_precision, device()))


def precision(asked: str | None, where: torch.device) -> str | None:
    """What a forward pass computes in on a device: "no" (float32), "bf16", "fp16", or None as it came.

    asked : one of those, or "auto": bfloat16 on CUDA, and float32 elsewhere. On a CPU without instructions
            for bfloat16 a step took eight times as long in it, on one with AMX half as long
            (`benchmarks/precision.py`). There three short trainings of HoVer-Net ended below those in
            float32, each of the three, so a CPU computes in float32 until more is known.

    A GPU that only emulates bfloat16 (before Ampere) gets "fp16" for "bf16", with loss scaling.
    """
    if asked == "auto":
        asked = "bf16" if where.type == "cuda" else "no"
    if asked == "bf16" and where.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return asked


@contextmanager
def prepared(
    models: Mapping[str, nn.Module], accelerator: Accelerator, still: Sequence[str]
) -> Iterator[Models]:
    """The networks on their device, convolutions channels-last, forward passes in mixed precision.

    still : dotted names of networks or parts ("teacher", "unet.encoder") that get no gradient.
    On leaving, what was changed for the training is undone, and all networks are in eval mode.

    The outputs of a forward pass are float32, so losses are computed in float32. Networks are not
    wrapped for several GPUs: that would forbid two forward passes a step and heads without a batch;
    `average_gradients` does it instead.
    """
    for name in models:
        if not name.isidentifier() or hasattr(Models, name):
            raise ValueError(f"no network can be called {name!r}; take a plain name, as 'unet' or 'student'.")
    trained_before = {p: p.requires_grad for net in models.values() for p in net.parameters()}
    try:
        for name in still:
            part(models, name).requires_grad_(False)
        for net in models.values():
            if any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in net.modules()):
                net.to(memory_format=torch.channels_last)
            accelerator.prepare_model(net, evaluation_mode=True)
            if accelerator.num_processes > 1:
                for tensor in net.state_dict().values():
                    tensor.copy_(broadcast(tensor))
        yield Models(models)
    finally:
        for net in models.values():
            accelerator.unwrap_model(net, keep_fp32_wrapper=False)
            net.__dict__.pop("forward", None)
            net.__dict__.pop("_is_accelerate_prepared", None)
            net.eval()
        for parameter, trained in trained_before.items():
            parameter.requires_grad_(trained)


def set_modes(models: Mapping[str, nn.Module], still: Sequence[str]):
    """Train mode for what learns; eval mode for what stands still, so its batch statistics do too."""
    for net in models.values():
        net.train()
    for name in still:
        part(models, name).eval()


def part(models: Mapping[str, nn.Module], name: str) -> nn.Module:
    """The network, or part of one, of a dotted name ("unet.encoder"); raises ValueError if there is none."""
    root, _, rest = name.partition(".")
    try:
        return models[root].get_submodule(rest)
    except (KeyError, AttributeError):
        raise ValueError(f"no part {name!r}; networks are {', '.join(models)}, parts dotted names.") from None


def parameter_groups(
    models: Mapping[str, nn.Module], learning_rate: float | Mapping[str, float]
) -> list[dict[str, Any]]:
    """Optimiser groups of all parameters that learn, one for each learning rate.

    learning_rate : one for all, or {dotted prefix: rate}; the longest matching prefix wins, "" is the rest.
    Raises ValueError for a prefix that matches nothing, and for a parameter without a rate.
    """
    rates = dict(learning_rate) if isinstance(learning_rate, Mapping) else {"": learning_rate}
    groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in rates}
    seen: set[nn.Parameter] = set()
    for root, net in models.items():
        for key, parameter in net.named_parameters():
            name = f"{root}.{key}"
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            fitting = [prefix for prefix in rates if not prefix or f"{name}.".startswith(f"{prefix}.")]
            if not fitting:
                raise ValueError(f"no learning rate for {name!r}; add '' for the rest, or freeze it.")
            groups[max(fitting, key=len)].append(parameter)
    empty = [prefix for prefix, parameters in groups.items() if not parameters]
    if empty:
        raise ValueError(
            f"learning rate for {empty[0]!r}, but nothing there learns; networks are {', '.join(models)}, "
            "and frozen or averaged ones do not learn."
        )
    return [{"params": parameters, "lr": rates[prefix]} for prefix, parameters in groups.items()]


def average_gradients(groups: Sequence[Mapping[str, Any]], accelerator: Accelerator):
    """The mean gradient over all processes, in one message; nothing to do for one process."""
    if accelerator.num_processes == 1:
        return
    parameters = [p for group in groups for p in group["params"]]
    for p in parameters:
        if p.grad is None:  # a head this process's batch did not reach
            p.grad = torch.zeros_like(p)
    flat = accelerator.reduce(torch.cat([p.grad.reshape(-1) for p in parameters]), "mean")
    for p, mean in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad.copy_(mean.view(p.shape))


def randomness(seed: int, stage: str, step: int, process: int = 0) -> torch.Generator:
    """The random numbers of one step: a CPU generator; torch's global ones (dropout) are set alike.

    They depend on the arguments alone, so step i of a resumed run draws what it would have drawn.
    """
    digest = hashlib.blake2b(f"{seed}/{stage}/{step}/{process}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big") >> 1
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def on_device(batch: Any, where: torch.device) -> Any:
    """A batch on its device: tensors, sequences, mappings, dataclasses, objects with `.to`."""
    if is_dataclass(batch) and not isinstance(batch, type) and not hasattr(batch, "to"):
        return replace(batch, **{f.name: on_device(getattr(batch, f.name), where) for f in fields(batch)})
    return send_to_device(batch, where, non_blocking=True)
