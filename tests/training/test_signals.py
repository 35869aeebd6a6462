"""Ctrl-C and SIGTERM: a flag first, an exception if somebody insists."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from barlow.training.signals import graceful_stop

CHILD_IN_THE_BLOCK = """
import os, signal, sys, time
from barlow.training.signals import graceful_stop
with graceful_stop() as stop:
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        print("still here", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM, status
    assert not stop
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_a_flag_and_nothing_else(number: signal.Signals) -> None:
    with graceful_stop() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop
        assert stop.signal_name == number.name


def test_a_second_ctrl_c_raises_keyboard_interrupt_at_once() -> None:
    with graceful_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop


def test_ctrl_c_after_sigterm_raises_and_a_second_sigterm_does_not() -> None:
    with graceful_stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_first_of_two_signals_is_the_one_that_is_named() -> None:
    with graceful_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGINT"


def test_the_former_handlers_come_back_even_after_an_error() -> None:
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with suppress(ZeroDivisionError), graceful_stop():
        assert signal.getsignal(signal.SIGINT) is not former[0]
        _ = 1 / 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == former


def test_in_another_thread_the_flag_stays_down_and_no_handler_is_touched() -> None:
    former = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with graceful_stop() as stop:
            seen.append((bool(stop), signal.getsignal(signal.SIGINT) is former))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


LONG_CALL = """
import hashlib, os, signal, threading, time
from barlow.training.signals import graceful_stop
told = []
with graceful_stop(lambda: told.append(time.monotonic())) as stop:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    # one call that runs no Python code and holds no lock, as a step's backward is: the handler has to wait for its end
    started, _ = time.monotonic(), hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)
    ended = time.monotonic()
    assert stop
assert len(told) == 1
print("at once" if told[0] < ended - 0.1 else f"late: {told[0] - started}, {ended - started}")
"""

CHILD_IS_TOLD_TO_END = """
import os, signal, time
from barlow.training.signals import graceful_stop
told = []
with graceful_stop(lambda: told.append(1)) as stop:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    time.sleep(0.1)
assert not told and not stop
"""


def test_a_stop_is_acknowledged_once() -> None:
    told: list[int] = []
    with graceful_stop(lambda: told.append(1)):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert told == [1]
    with graceful_stop(lambda: told.append(1)):
        pass
    assert told == [1]


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="forks")
@pytest.mark.parametrize(("code", "said"), [(LONG_CALL, "at once\n"), (CHILD_IS_TOLD_TO_END, "")])
def test_a_stop_is_acknowledged_before_the_call_that_is_under_way_ends_and_a_workers_end_is_none(
    code: str, said: str
) -> None:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (finished.returncode, finished.stdout) == (0, said), finished.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_forked_in_the_block_ignores_ctrl_c_and_dies_of_sigterm() -> None:
    command = [sys.executable, "-c", CHILD_IN_THE_BLOCK]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (finished.returncode, finished.stdout) == (0, "still here\n"), finished.stderr
