"""When a training stops before its end: the user asks for it, or its time is up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator


@contextmanager
def interrupts(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Whether the user has asked to stop, as a function; the second request is KeyboardInterrupt at once.

    Only where one process trains, in the main thread, and interrupts are not ignored (`nohup`).
    """
    asked, before = threading.Event(), signal.getsignal(signal.SIGINT)
    alone = accelerator.num_processes == 1 and threading.current_thread() is threading.main_thread()
    if not alone or before in (signal.SIG_IGN, None):
        yield asked.is_set
        return

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def out_of_time(started: float, minutes: float | None, accelerator: Accelerator) -> bool:
    """Whether so many minutes have passed since `started` (of `time.monotonic`), for all processes alike."""
    if minutes is None:
        return False
    late = time.monotonic() - started >= 60 * minutes
    if accelerator.num_processes > 1:  # all stop together, or none
        late = bool(accelerator.reduce(torch.tensor(float(late), device=accelerator.device), "max"))
    return late
