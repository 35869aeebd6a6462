"""Cells: the parts of a study, each computed once and kept as one JSON file, so that a killed study goes on.

    <folder>/cells/<name>.json      arguments, figures, seconds, version of barlow; whole or not there
    <folder>/work/<name>/           what a cell keeps for itself while it is computed (a run folder); made by the cell

A cell that was computed from other arguments is computed again; where the data lie does not count. Several processes
take cells from one list, one thread each: on small networks that is faster than one process with as many threads, and
no number depends on it.
"""

import json
import math
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from barlow.files import read_json, write_json
from barlow.training.progress import Progress

Metrics = dict[str, Any]
"""What a cell measured: names to numbers, texts, lists and dictionaries of those, as JSON holds them."""

DATA_ROOT = "data_root"
"""The argument that says where data lie: it may differ from one day to the next, and decides no number."""

POLL_SECONDS = 0.2
"""Time between two looks at the processes: nothing beside a cell, which takes seconds."""


@dataclass(frozen=True)
class Cell:
    """One measurement of a study.

    Attributes:
        name: of its file, such as "resnet-32-seed0"; letters, digits, and . _ - only.
        compute: (work, **arguments) -> metrics, a function of a module (other processes find it by its name). `work`
            is the folder of the cell's own files, not made yet. Same arguments, same metrics.
        arguments: what JSON holds, unchanged by a way through it (lists, not tuples).
    """

    name: str
    compute: Callable[..., Metrics]
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A cell with what it measured, and the seconds that it took."""

    name: str
    arguments: Mapping[str, Any]
    metrics: Mapping[str, Any]
    seconds: float


def compute_cells(
    folder: Path, cells: Sequence[Cell], *, jobs: int = 0, quiet: bool = False, work: str = "study"
) -> list[Finished]:
    """Compute the cells that the folder does not have, and return all of them in order; `work` is what it is called.

    `jobs` is processes at once; 0: one per core that this process may use. Where a process broke off (RuntimeError),
    its reason is on stderr, and what is finished is kept.
    """
    _check(cells, jobs)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in cells if read_cell(folder, cell) is None]
    count = min(jobs or _cores(), len(missing))
    with Progress(work, len(cells), unit="cells", quiet=quiet, start=len(cells) - len(missing)) as progress:
        if count > 1:
            _in_processes(folder, missing, count, progress, done=len(cells) - len(missing))
        else:
            for place, cell in enumerate(missing):
                progress.update(len(cells) - len(missing) + place, cell.name)
                _compute(folder, cell)
        progress.update(len(cells))
    return read_cells(folder, cells)


def read_cells(folder: Path, cells: Sequence[Cell]) -> list[Finished]:
    """Return those of the cells that the folder has, in order."""
    return [found for cell in cells if (found := read_cell(folder, cell)) is not None]


def read_cell(folder: Path, cell: Cell) -> Finished | None:
    """Return a cell as it was computed earlier from the same arguments, None where it was not."""
    path = _path(folder, cell)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        before, now = ({**arguments, DATA_ROOT: ""} for arguments in (content["arguments"], cell.arguments))
        found = Finished(cell.name, content["arguments"], content["figures"], content["seconds"])
    except (ValueError, KeyError, TypeError):  # no cell of ours: computed anew
        return None
    return found if before == now else None


def _compute(folder: Path, cell: Cell) -> None:
    """Compute a cell and write its file."""
    started = time.perf_counter()
    metrics = cell.compute(folder / "work" / cell.name, **cell.arguments)
    content = {
        "name": cell.name,
        "arguments": dict(cell.arguments),
        "figures": metrics,
        "seconds": time.perf_counter() - started,
        "version": version("barlow"),
    }
    write_json(_path(folder, cell), content)


def _in_processes(folder: Path, missing: Sequence[Cell], count: int, progress: Progress, *, done: int) -> None:
    """Let processes take the missing cells one after the other; they end with this process."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    taken = context.Value("i", 0)
    workers: list[SpawnProcess] = [
        context.Process(target=_work, args=(folder, list(missing), taken), daemon=True) for _ in range(count)
    ]
    with _ignoring_interrupts():
        for worker in workers:
            worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            if any(worker.exitcode for worker in workers):
                break
            progress.update(done + sum(_path(folder, cell).exists() for cell in missing), f"{count} processes")
            time.sleep(POLL_SECONDS)
    finally:
        broken = [worker.exitcode for worker in workers if worker.exitcode]
        for worker in workers:
            worker.terminate()
            worker.join()
    if broken:
        raise RuntimeError(f"study: a process broke off with status {broken[0]}; what is finished is kept")


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes started here ignore Ctrl-C, which a terminal sends to all: the one that started them ends them."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(folder: Path, cells: Sequence[Cell], taken: Any) -> None:
    """Take cells until none is left; end at once when the process that started this one is gone."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        with taken.get_lock():
            place = taken.value
            taken.value += 1
        if place >= len(cells):
            return
        try:
            _compute(folder, cells[place])
        except KeyboardInterrupt:  # a training in the cell was told to stop and has left its checkpoint
            return


def _end_with_parent() -> None:
    """End this process when its parent does: a killed parent tells it nothing, and a cell may take minutes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _cores() -> int:
    """Cores that this process may use, fewer than the machine has in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check(cells: Sequence[Cell], jobs: int) -> None:
    names = [cell.name for cell in cells]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or names.count(name) > 1:
            raise ValueError(f"cells: {name!r} is there twice or is no name for a file")
    for cell in cells:
        if json.loads(json.dumps(dict(cell.arguments))) != dict(cell.arguments):
            raise ValueError(f"cells: the arguments of {cell.name!r} do not come back from JSON as they are")
    if jobs < 0 or not math.isfinite(jobs):
        raise ValueError(f"jobs: got {jobs}, wanted 0 (one per core) or more")


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.name}.json"
