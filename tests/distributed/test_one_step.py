"""W processes with different and unequal shards take the step that one process takes with all samples."""

import math
import multiprocessing

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from tests.distributed.cases import CASES, OFFICIAL_CODE, SIZES
from tests.distributed.one_step import BROKEN, DTYPES, Found, alone, work

pytestmark = pytest.mark.dist

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

Everything = dict[int, list[dict[str, dict[str, Found]]]]
"""Number of processes -> process -> case -> float32, float64 or a broken variant -> what was found."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    # All processes are forked off one that has torch loaded: imports took most of the time.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.distributed.one_step"])
    everything = {}
    for world in SIZES:
        folder = tmp_path_factory.mktemp(f"gloo-{world}")
        start_processes(work, args=(world, str(folder)), nprocs=world, start_method="forkserver")
        everything[world] = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]
    return everything


def relative_difference(ours: Found, expected: Found, start: str) -> float:
    """|ours - expected| / |expected| over all tensors whose name starts so, as one long vector."""
    names = [name for name in expected if name.startswith(start)]
    assert names == [name for name in ours if name.startswith(start)]
    difference = math.hypot(*(float((ours[n].double() - expected[n].double()).norm()) for n in names))
    return difference / math.hypot(*(float(expected[n].double().norm()) for n in names))


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_loss_gradients_and_running_statistics_are_those_of_one_process(
    found: Everything, name: str, kind: str, world: int
) -> None:
    exact = alone(CASES[name], torch.float64, world)  # not in float32, which has a rounding of its own
    for process in found[world]:
        ours = process[name][kind]
        for what in ("loss", "gradient", "buffer"):
            assert relative_difference(ours, exact, what) < TOLERANCE[kind], what


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", CASES)
def test_statistics_of_each_process_alone_would_break_the_test_above(
    found: Everything, name: str, broken: str, world: int
) -> None:
    expected = alone(CASES[name], torch.float64, world)
    for process in found[world]:
        assert relative_difference(process[name][broken], expected, "gradient") > 1e-2


@pytest.mark.parametrize("world", SIZES)
def test_the_official_code_trains_with_the_gradient_divided_by_the_number_of_processes(
    found: Everything, world: int
) -> None:
    """Its loss and direction are right. That is what `recipes/official_gradient.py` makes good for."""
    expected = alone(OFFICIAL_CODE, torch.float64, world)
    for process in found[world]:
        ours = process["official code"]["float64"]
        assert relative_difference(ours, expected, "loss") < TOLERANCE["float64"]
        scaled = {name: world * value for name, value in ours.items()}
        assert relative_difference(scaled, expected, "gradient") < TOLERANCE["float64"]
