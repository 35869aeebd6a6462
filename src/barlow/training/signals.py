"""Ctrl-C and SIGTERM as a flag that a loop reads between two steps, so that it stops with a checkpoint. No torch."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopFlag:
    """Whether somebody asked to stop: true from the first signal on, whose name, such as "SIGINT", it then has."""

    signal_name: str = ""

    def __bool__(self) -> bool:
        """Return whether a signal came."""
        return bool(self.signal_name)


@contextmanager
def graceful_stop() -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a flag; a second Ctrl-C raises KeyboardInterrupt at once.

    The former handlers come back at the end of the block. Python hands signals to the main thread only: in another
    thread nothing is installed and the flag stays down. Processes forked inside the block ignore Ctrl-C, which a
    terminal sends to them too and which is for the loop to handle, and die of SIGTERM as usual.
    """
    stop = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            _handle_in_child(number)
        elif stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            stop.signal_name = stop.signal_name or signal.Signals(number).name

    former = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            # None stands for a handler that was not set from Python and that Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does, so that a command ends in the same way after either.

    Inside `graceful_stop` that one's rule holds. Nothing is installed outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            _handle_in_child(number)
        else:
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if former is None else former)


def _handle_in_child(number: int) -> None:
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
