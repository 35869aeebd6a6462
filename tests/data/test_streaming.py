import errno
import multiprocessing
import os
import random
from collections.abc import Iterator

import pytest
import torch

from barlow.data import streaming
from barlow.data.bad_samples import BadDataError
from barlow.data.streaming import StreamSource, available_cores
from barlow.seams import Batch, Source

# Both warnings are about the machine, not about this code: fork with threads, and fewer cores than workers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


class Ramps:
    """Position p is a uint8 tensor of 1 x 2 x (3 + p % widths) with the value p % 251; some positions are broken."""

    def __init__(self, count: int = 300, widths: int = 1, broken: tuple[int, ...] = ()) -> None:
        self._count = count
        self._widths = widths
        self._broken = broken

    def __len__(self) -> int:
        return self._count

    def read(self, position: int) -> torch.Tensor:
        if position in self._broken:
            raise KeyError("broken on purpose")
        return torch.full((1, 2, 3 + position % self._widths), position % 251, dtype=torch.uint8)

    def describe(self, position: int) -> str:
        return f"ramp {position}"


class WithoutDescriptors(Ramps):
    def read(self, position: int) -> torch.Tensor:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Infinite(Ramps):
    def read(self, position: int) -> torch.Tensor:
        return torch.tensor([1.0, float("inf") if position == 3 else 0.0])


def source_of(reader: Ramps, num_workers: int) -> StreamSource:
    return StreamSource(reader, name="ramps", num_workers=num_workers)


def same(batches: Iterator[Batch], others: Iterator[Batch]) -> bool:
    for ours, theirs in zip(batches, others, strict=True):
        assert type(ours.samples) is type(theirs.samples)
        assert ours.indices.tolist() == theirs.indices.tolist()
        assert all(torch.equal(one, other) for one, other in zip(ours.samples, theirs.samples, strict=True))
    return True


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(0).shuffle(order)
    return order


@pytest.mark.parametrize("widths", [1, 3])
@pytest.mark.parametrize("scarce", [False, True])
def test_workers_change_nothing_but_the_speed(widths: int, scarce: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SHARED_MEMORY_WANTED", 1 << 62 if scarce else 0)
    reader = Ramps(widths=widths, broken=(7, 8))
    parallel, here = source_of(reader, 2), source_of(reader, 0)
    for _ in range(2):
        assert same(parallel.batches(shuffled(300), 16), here.batches(shuffled(300), 16))
    assert parallel.bad == here.bad == {7: "KeyError: 'broken on purpose'", 8: "KeyError: 'broken on purpose'"}


def test_an_order_left_in_the_middle_does_not_disturb_the_next() -> None:
    source = source_of(Ramps(), 2)
    for batch in source.batches(range(300), 10):
        if int(batch.indices[0]) >= 50:
            break
    order = shuffled(300)
    found = [index for batch in source.batches(order, 10) for index in batch.indices.tolist()]
    assert found == order


def test_an_order_may_be_read_in_the_middle_of_another() -> None:
    source = source_of(Ramps(), 2)
    found = []
    for batch in source.batches(range(100), 50):
        inner = [index for part in source.batches(range(200, 300), 20) for index in part.indices.tolist()]
        assert inner == list(range(200, 300))
        found += batch.indices.tolist()
    assert found == list(range(100))
    assert len(multiprocessing.active_children()) == 2  # the lasting ones; those of the inner orders are gone


def test_workers_do_not_touch_the_global_random_generator() -> None:
    source = source_of(Ramps(), 2)
    before = torch.random.get_rng_state()
    list(source.batches(range(100), 50))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_mixed_batch_shares_one_block_of_memory_so_file_descriptors_do_not_run_out() -> None:
    (batch,) = source_of(Ramps(widths=3), 0).batches(range(60), 60)
    assert isinstance(batch.samples, list)
    assert len({sample.untyped_storage().data_ptr() for sample in batch.samples}) == 1


def test_too_many_open_files_are_no_fault_of_the_sample() -> None:
    source = source_of(WithoutDescriptors(), 0)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        list(source.batches(range(5), 5))
    assert source.bad == {}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_more_than_one_percent_stops_in_the_middle_and_names_them(num_workers: int) -> None:
    source = source_of(Ramps(broken=(3, 4, 5, 6)), num_workers)
    batches = source.batches(range(300), 4)
    assert next(batches).indices.tolist() == [0, 1, 2]
    with pytest.raises(BadDataError, match=r"ramp 3 \(KeyError"):
        next(batches)


def test_samples_that_are_not_finite_are_bad() -> None:
    source = source_of(Infinite(), 0)
    (batch,) = source.batches(range(5), 5)
    assert batch.indices.tolist() == [0, 1, 2, 4]
    assert source.bad == {3: "NaN or infinite values"}


class ProcessIds(Ramps):
    def read(self, position: int) -> torch.Tensor:
        return torch.tensor([os.getpid()])


@pytest.mark.parametrize(
    ("method", "count", "elsewhere"),
    [("fork", 64, False), ("fork", 65, True), ("spawn", 65, False), ("spawn", 512, False)],
)
def test_short_orders_are_read_here_and_longer_ones_where_workers_start_slowly(
    method: str, count: int, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: method)
    source = source_of(ProcessIds(600), 1)
    processes = {int(sample) for batch in source.batches(range(count), count) for sample in batch.samples}
    assert (processes == {os.getpid()}) is not elsewhere


def test_wrong_orders_are_refused_before_anything_is_read() -> None:
    source = source_of(Ramps(), 0)
    with pytest.raises(ValueError, match="position 300"):
        source.batches([300], 5)
    with pytest.raises(ValueError, match="num_workers: got -1"):
        source_of(Ramps(), -1)


def test_workers_are_sized_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert available_cores() == 12
    monkeypatch.setattr(streaming, "num_processes", lambda: 5)
    assert available_cores() == 2
    monkeypatch.setattr(streaming, "num_processes", lambda: 50)
    assert available_cores() == 1
    monkeypatch.setattr(streaming, "num_processes", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(1200)), raising=False)
    assert StreamSource(Ramps(), name="many").num_workers == streaming.MOST_WORKERS


def test_a_stream_is_a_source() -> None:
    source = source_of(Ramps(), 0)
    assert isinstance(source, Source)
    assert len(source) == 300
    assert source.describe(4) == "ramp 4"
