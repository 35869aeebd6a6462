"""Ctrl-C and SIGTERM as a flag that a loop reads between two steps, so that it stops with a checkpoint. No torch."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
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
def graceful_stop(acknowledge: Callable[[], None] = lambda: None) -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a flag; a second Ctrl-C raises KeyboardInterrupt at once.

    `acknowledge` is called once, at the first signal, from a thread: Python's own handlers wait for the end of the call
    into torch that is under way, which may be seconds.

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
        with _told_at_once(acknowledge):
            yield stop
    finally:
        for number, handler in former.items():
            # None stands for a handler that was not set from Python and that Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


_LISTENING: set[int] = set()
"""Ends of pipes into which the interpreter writes the number of each signal as it comes."""


@contextmanager
def _told_at_once(acknowledge: Callable[[], None]) -> Iterator[None]:
    """Call `acknowledge` from a thread as soon as the first of `SIGNALS` comes to this process."""
    if not hasattr(os, "register_at_fork"):  # Windows, where a pipe cannot be written to without waiting
        yield
        return
    _children_are_deaf()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while (number := os.read(reader, 1)[0]) and number not in SIGNALS:
            pass
        if number:
            acknowledge()

    thread = threading.Thread(target=listen, daemon=True, name="acknowledge-stop")
    thread.start()
    _LISTENING.add(writer)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        _LISTENING.discard(writer)
        os.write(writer, b"\0")  # not closed alone: forked processes may hold the same end
        thread.join()
        os.close(writer)
        os.close(reader)


@cache
def _children_are_deaf() -> None:
    """Keep signals to forked processes, such as workers that are told to end, from being taken for the parent's."""

    def forget() -> None:
        if _LISTENING:
            signal.set_wakeup_fd(-1)

    os.register_at_fork(after_in_child=forget)


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
