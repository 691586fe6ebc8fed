"""The most memory that something takes: of a GPU, or of this process's own on the host.

On the host it is private memory (RssAnon and VmSwap of /proc/self/status, read every 10 ms; Linux only):
the page cache, which the system takes back at need, is not in it.
"""

import threading

import torch


class PeakMemory:
    """The largest private memory of this process, in bytes, while the context lasts."""

    def __enter__(self) -> "PeakMemory":
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, private_memory())
            if self._done.wait(0.01):
                return


class PeakDeviceMemory:
    """The most bytes that tensors took on the current GPU while the context lasts."""

    def __enter__(self) -> "PeakDeviceMemory":
        torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *exception) -> None:
        torch.cuda.synchronize()
        self.peak = torch.cuda.max_memory_allocated()


def private_memory() -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        kibibytes = [int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:"))]
    return 1024 * sum(kibibytes)
