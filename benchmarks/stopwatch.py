"""Time a training loop from outside: steps to warm up, repeats that are timed, one step for the memory."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import torch
from peak_memory import PeakDeviceMemory, PeakMemory

# On a CPU the first three steps are dominated by page faults; on a GPU cuDNN tries its algorithms.
WARM_UP = {"cpu": 4, "cuda": 10}
# Seconds that a repeat lasts at least: on a GPU steps are only queued, and a wait around each would be timed.
SHORTEST = {"cpu": 0.0, "cuda": 0.2}


@dataclass
class Timing:
    """Seconds of a step, one number for each repeat; of the very first step; and the peak memory in bytes."""

    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def median(self) -> float:
        """Seconds of a step."""
        return median(self.seconds)

    def images_per_second(self, batch_size: int) -> dict[str, float]:
        """Median, lowest and highest over the repeats."""
        rates = [batch_size / seconds for seconds in self.seconds]
        return {
            "images_per_second": round(median(rates), 1),
            "lowest": round(min(rates), 1),
            "highest": round(max(rates), 1),
        }

    def excess_of_first(self) -> float:
        """What the first step took longer than a later one: where it compiled, mostly that."""
        return max(0.0, self.first - self.median())


class _Enough(Exception):
    """The loop has been timed."""


def timed(loop: Callable[[Callable[..., None]], None], device: torch.device, repeats: int) -> Timing:
    """Time `loop`, which trains without end and calls its argument after each step.

    A repeat is one step on a CPU and so many on CUDA that they last SHORTEST; the device is waited for
    around a repeat only. The memory is watched during one more step, whose time does not count.
    """
    timing = Timing()
    phases = _phases(timing, device, repeats)
    next(phases)

    def on_step(*_: object) -> None:
        try:
            next(phases)
        except StopIteration:
            raise _Enough from None

    try:
        loop(on_step)
    except _Enough:
        return timing
    raise ValueError("the loop ended before it was timed")


def _phases(timing: Timing, device: torch.device, repeats: int) -> Iterator[None]:
    """Goes on from its `yield` after each step."""
    start = _now(device)
    yield
    timing.first = _now(device) - start
    warm_up = WARM_UP[device.type]
    for _ in range(warm_up // 2):
        yield
    start, rest = _now(device), warm_up - warm_up // 2
    for _ in range(rest):
        yield
    end = _now(device)
    steps = max(1, math.ceil(SHORTEST[device.type] * rest / (end - start)))
    for _ in range(repeats):
        start = _now(device)
        for _ in range(steps):
            yield
        timing.seconds.append((_now(device) - start) / steps)
    with PeakMemory() if device.type == "cpu" else PeakDeviceMemory() as memory:
        yield
    timing.peak_bytes = memory.peak


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
