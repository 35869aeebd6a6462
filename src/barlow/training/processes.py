"""Several processes in step with one another, and what happens when one of them is gone.

With one process everything here does nothing. The mathematics over processes is in `statistics/collectives.py`.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from lightning_fabric import Fabric

from barlow.statistics.collectives import numbers_of_all
from barlow.training.journal import Journal

PATIENCE = timedelta(days=7)
"""How long the others wait for the first process, which evaluates alone; far beyond torch's half hour."""

GRACE_SECONDS = 15.0
"""Time in which a process should notice by itself, in its next exchange, that another one is gone."""

SIGNS_OF_LOSS = ("gloo", "NCCL", "TCPStore")
"""What errors say that come from an exchange, beside those of torch's class for them: gloo's have none. A broken pipe
or a closed connection alone is not one: it may be a worker's, a viewer's or a disk's."""


def agreed(fabric: Fabric, *flags: bool) -> list[bool]:
    """Return for each flag whether it is raised on any process: all of them then do the same."""
    if fabric.world_size == 1:
        return list(flags)
    return [any(raised) for raised in zip(*numbers_of_all(*flags), strict=True)]


@contextmanager
def first_process_alone(fabric: Fabric) -> Iterator[bool]:
    """Let the first process (it gets True) work while the others wait at the end of the block, for days if need be."""
    if fabric.world_size == 1:
        yield True
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)  # one of its own, for the sake of its patience
    try:
        yield fabric.is_global_zero
        dist.barrier(group)  # type: ignore[arg-type]  # torch's hint also names a process outside the group
    finally:  # also after an error of the first: the others' wait then ends with an error too
        dist.destroy_process_group(group)


@contextmanager
def naming_a_loss(fabric: Fabric, journal: Journal) -> Iterator[None]:
    """Raise ConnectionError, one sentence that another process is gone, instead of what torch says of its sockets."""
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not _of_an_exchange(error):
            raise
        message = _loss(fabric)
        journal.write("error", message=message)
        raise ConnectionError(message) from error


def _of_an_exchange(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in SIGNS_OF_LOSS)


def guard_children(fabric: Fabric) -> None:
    """Watch the processes that this one has started; end this one too, with a word, when one of them fails.

    In the place of Fabric's own guard, which ends this process with SIGKILL, and so without a word.
    """
    started: list[subprocess.Popen[bytes]] = getattr(fabric.strategy.launcher, "procs", [])
    if started:
        children = list(started)
        started.clear()  # Fabric's guard finds nothing to do and leaves
        threading.Thread(target=_watch, args=(children, fabric), daemon=True, name="guard-children").start()


def _watch(children: list[subprocess.Popen[bytes]], fabric: Fabric) -> None:
    while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
        time.sleep(0.5)
    if not any(child.poll() for child in children):
        return
    time.sleep(GRACE_SECONDS)  # the main thread says the same and ends the process, if it comes to an exchange
    for child in children:
        child.kill()
    sys.stderr.write(f"barlow: {_loss(fabric)}\n")
    sys.stderr.flush()
    os._exit(2)


def _loss(fabric: Fabric) -> str:
    return (
        f"process {fabric.global_rank} (of {fabric.world_size}) has lost another one, which failed (see what it said) "
        "or was killed (out of memory, for one). The same command goes on from the last checkpoint"
    )
