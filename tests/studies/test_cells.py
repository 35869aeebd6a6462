"""Cells: computed once, kept whole, gone on with, the same in several processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from barlow.studies.cells import Cell, Finished, Metrics, compute_cells, read_cell


def squared(work: Path, *, value: int) -> Metrics:
    """A cell that leaves a trace of every time that it is computed."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "times").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return {"square": value**2}


def squared_somewhere(work: Path, *, value: int, data_root: str) -> Metrics:
    return squared(work, value=value)


def broken(work: Path, *, value: int) -> Metrics:
    raise ValueError(f"no square of {value}")


def endless(work: Path, *, value: int) -> Metrics:
    """A cell that says which process computes it, and never ends by itself."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "process").write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def cells_of(*values: int) -> list[Cell]:
    return [Cell(f"cell-{value}", squared, {"value": value}) for value in values]


def computed(folder: Path, value: int) -> list[str]:
    return (folder / "work" / f"cell-{value}" / "times").read_text().split()


def test_only_what_is_missing_is_computed_again(tmp_path: Path) -> None:
    cells = cells_of(1, 2, 3)
    first = compute_cells(tmp_path, cells, jobs=1, quiet=True)
    assert [cell.metrics["square"] for cell in first] == [1, 4, 9]
    assert [cell.name for cell in first] == ["cell-1", "cell-2", "cell-3"]
    (tmp_path / "cells" / "cell-2.json").unlink()
    assert compute_cells(tmp_path, cells, jobs=2, quiet=True)[0] == first[0]
    # One missing cell needs no process of its own.
    assert [computed(tmp_path, value) for value in (1, 2, 3)] == [[str(os.getpid())] * times for times in (1, 2, 1)]


def test_processes_share_the_cells_and_one_that_breaks_keeps_the_finished_ones(tmp_path: Path) -> None:
    cells = [*cells_of(1, 2), Cell("broken", broken, {"value": 3})]
    with pytest.raises(RuntimeError, match="broke off with status 1"):
        compute_cells(tmp_path, cells, jobs=2, quiet=True)
    for cell in cells[:1]:
        kept = read_cell(tmp_path, cell)
        assert kept is not None
        assert kept.metrics["square"] == 1
    assert str(os.getpid()) not in computed(tmp_path, 1)
    assert read_cell(tmp_path, cells[2]) is None


def test_a_kill_leaves_no_process_behind(tmp_path: Path) -> None:
    program = """
import pathlib, sys
from barlow.studies.cells import Cell, compute_cells
from tests.studies.test_cells import endless
cells = [Cell(f"endless-{value}", endless, {"value": value}) for value in (1, 2)]
compute_cells(pathlib.Path(sys.argv[1]), cells, jobs=2, quiet=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[2]) as study:
        files = [tmp_path / "work" / f"endless-{value}" / "process" for value in (1, 2)]
        assert holds_soon(lambda: all(file.exists() and file.read_text() for file in files))
        study.kill()
    assert holds_soon(lambda: not any(runs(file.read_text()) for file in files))


def runs(process: str) -> bool:
    """A process that ended and that nobody has asked about is still listed, as a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def holds_soon(condition: Callable[[], bool]) -> bool:
    """Wait until it holds; a minute is enough for two processes to begin, and to end, on a busy machine."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_a_cell_of_other_arguments_is_computed_again(tmp_path: Path) -> None:
    compute_cells(tmp_path, [Cell("cell-2", squared, {"value": 2})], quiet=True)
    again = compute_cells(tmp_path, [Cell("cell-2", squared, {"value": 5})], quiet=True)
    assert again[0].metrics["square"] == 25


def test_a_cell_that_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    (cell,) = cells_of(2)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "cell-2.json").write_text(
        '{"name": "cell-2", "arguments": {"value": 2}, "figures": {"square": 5}, "seconds": 1.5, "version": "0.0.1"}'
    )
    assert compute_cells(tmp_path, [cell], quiet=True) == [Finished("cell-2", {"value": 2}, {"square": 5}, 1.5)]


def test_a_cell_whose_data_were_moved_is_read_again(tmp_path: Path) -> None:
    (cell,) = cells_of(2)
    here, there = (replace(cell, arguments={**cell.arguments, "data_root": root}) for root in ("here", "there"))
    compute_cells(tmp_path, [replace(here, compute=squared_somewhere)], quiet=True)
    found = read_cell(tmp_path, there)
    assert found is not None
    assert found.metrics["square"] == 4


def test_what_a_kill_leaves_beside_a_cell_is_no_cell(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "cell-2.json.partial").write_text('{"name": "cell-')
    (cell,) = cells_of(2)
    assert read_cell(tmp_path, cell) is None
    assert compute_cells(tmp_path, [cell], quiet=True)[0].metrics["square"] == 4


def test_a_cell_that_breaks_in_this_process_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no square of 3"):
        compute_cells(tmp_path, [*cells_of(1), Cell("broken", broken, {"value": 3})], jobs=1, quiet=True)
    assert read_cell(tmp_path, cells_of(1)[0]) is not None


def test_the_file_says_what_was_computed(tmp_path: Path) -> None:
    compute_cells(tmp_path, cells_of(3), quiet=True)
    content = json.loads((tmp_path / "cells" / "cell-3.json").read_text())
    assert content["arguments"] == {"value": 3}
    assert content["figures"] == {"square": 9}
    assert content["seconds"] >= 0
    assert content["version"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([*cells_of(1), *cells_of(1)], "twice"),
        ([Cell("../cell", squared, {"value": 1})], "no name for a file"),
        ([Cell("cell", squared, {"value": (1, 2)})], "JSON"),
    ],
)
def test_cells_that_could_not_be_found_again_are_refused(tmp_path: Path, cells: list[Cell], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_cells(tmp_path, cells, quiet=True)
