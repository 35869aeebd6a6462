import pytest
import torch

from barlow.data import memory
from barlow.data.arrays import ArraySource
from barlow.data.memory import MEMORY_BUDGET, FillingSource, memory_budget, read_all
from barlow.data.streaming import StreamSource


class Sized:
    """Tensors of the widths given, filled with their position."""

    def __init__(self, widths: list[int]) -> None:
        self._widths = widths

    def __len__(self) -> int:
        return len(self._widths)

    def read(self, position: int) -> torch.Tensor:
        if self._widths[position] == 0:
            raise ValueError("nothing here")
        return torch.full((1, 2, self._widths[position]), position, dtype=torch.uint8)

    def describe(self, position: int) -> str:
        return f"number {position}"


def stream(widths: list[int]) -> StreamSource:
    return StreamSource(Sized(widths), name="sized", num_workers=0)


def test_the_budget_is_at_most_two_gibibytes() -> None:
    assert 0 < memory_budget() <= MEMORY_BUDGET


def test_equal_samples_share_one_tensor() -> None:
    source = read_all(stream([3] * 5))
    assert isinstance(source.samples, torch.Tensor)
    assert source.samples[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert source.describe(2) == "number 2"


def test_samples_that_differ_late_are_all_kept() -> None:
    source = read_all(stream([3] * 70 + [4] + [3] * 3))
    assert isinstance(source.samples, list)
    assert [int(sample[0, 0, 0]) for sample in source.samples] == list(range(74))
    assert [sample.shape[-1] for sample in source.samples] == [3] * 70 + [4] + [3] * 3
    # Own memory: what workers send is shared between processes, and a whole batch of it would be kept for each.
    assert source.samples[72].untyped_storage().nbytes() == source.samples[72].numel()


def test_a_first_sample_far_larger_than_the_others_does_not_set_the_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "MEMORY_BUDGET", 1000)
    source = read_all(stream([400] + [2] * 9))
    assert isinstance(source.samples, list)
    assert [sample.shape[-1] for sample in source.samples] == [400] + [2] * 9
    assert source.samples[0].untyped_storage().nbytes() == 800


def test_bad_samples_keep_their_positions() -> None:
    source = read_all(stream([0] + [3] * 100 + [0] + [3] * 98))
    assert source.bad == {0: "nothing here", 101: "nothing here"}
    (batch,) = source.batches([100, 101, 102], 3)
    assert batch.samples[:, 0, 0, 0].tolist() == batch.indices.tolist() == [100, 102]


ORDER = [5, 0, 3, 3, 7, 1, 6, 2, 4, 5]


def in_order(source: ArraySource | FillingSource) -> list[tuple[list[int], list[int]]]:
    return [(b.indices.tolist(), [int(sample[0, 0, 0]) for sample in b.samples]) for b in source.batches(ORDER, 4)]


def test_a_source_that_is_still_read_gives_the_batches_of_one_that_is_whole() -> None:
    """Whatever was read before the time was over; sizes differ, and sample 3 is bad."""
    widths = [3, 3, 3, 0, 4, 3, 3, 3]
    whole = read_all(stream(widths), seconds=60.0)
    filling = FillingSource(stream(widths))
    assert isinstance(whole, ArraySource)
    for _ in range(2):
        assert in_order(filling) == in_order(whole)
    assert filling.bad == whole.bad == {3: "nothing here"}
    assert filling.share_read == 7 / 8


def test_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def reading(_: Sized, position: int) -> torch.Tensor:
        read.append(position)
        return torch.zeros(1, 2, 3)

    monkeypatch.setattr(Sized, "read", reading)
    filling = FillingSource(stream([3] * 8))
    for _ in range(2):
        list(filling.batches(ORDER, 4))
    assert sorted(read) == list(range(8))
    assert filling.share_read == 1.0


def test_training_begins_when_the_time_for_reading_is_over() -> None:
    seen: list[tuple[int, int]] = []
    source = read_all(stream([3] * 200), lambda done, total: seen.append((done, total)), seconds=0.0)
    assert isinstance(source, FillingSource)
    assert seen == [(64, 200)]
    assert source.notes == ("64 of 200 files are in memory; the others join them as training reads them",)
    assert [int(sample[0, 0, 0]) for batch in source.batches(range(200), 64) for sample in batch.samples] == list(
        range(200)
    )


def test_an_iteration_that_is_left_early_keeps_what_it_read() -> None:
    filling = FillingSource(stream([3] * 200))
    next(filling.batches(range(200), 4))
    assert 0 < filling.share_read < 1
    assert sum(len(batch.indices) for batch in filling.batches(range(200), 50)) == 200
