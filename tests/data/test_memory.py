import pytest
import torch

from barlow.data import memory
from barlow.data.memory import MEMORY_BUDGET, memory_budget, read_all
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
