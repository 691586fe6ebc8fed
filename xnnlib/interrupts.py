"""Ctrl-C and SIGTERM as a wish that is granted between two steps, not in the middle of one."""

import signal
import threading
from types import FrameType

_STOP = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, the first SIGINT or SIGTERM is only remembered, in `received`; a second one ends.

    Weights that half of a step has changed are no state that a run could go on from. Outside the main
    thread, where Python lets nobody handle signals, nothing is remembered and all is as before.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before: dict = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in _STOP}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
