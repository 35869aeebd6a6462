"""Pieces cover the batch once, and leave torch's threads as they were."""

import threading
from collections.abc import Iterator

import pytest
import torch

from barlow.views.pieces import in_pieces


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("num_samples", [0, 1, 5, 6, 7, 100])
def test_pieces_cover_every_sample_once_and_are_never_too_long(threads: int, num_samples: int) -> None:
    seen: list[int] = []
    lengths: list[int] = []

    def work(rows: slice) -> None:
        seen.extend(range(num_samples)[rows])
        lengths.append(len(range(num_samples)[rows]))

    in_pieces(work, num_samples, 3)
    assert sorted(seen) == list(range(num_samples))
    assert max(lengths, default=0) <= 3


def test_torch_has_its_threads_afterwards_and_one_while_pieces_run_side_by_side(threads: int) -> None:
    during: list[int] = []
    in_pieces(lambda rows: during.append(torch.get_num_threads()), 4, 1)
    assert during == [1] * 4
    assert torch.get_num_threads() == threads
    born_later: list[int] = []
    thread = threading.Thread(target=lambda: born_later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert born_later == [threads]


def test_an_error_in_a_piece_is_not_lost(threads: int) -> None:
    def work(rows: slice) -> None:
        if rows.start == 3:
            raise ValueError("piece 3")

    with pytest.raises(ValueError, match="piece 3"):
        in_pieces(work, 5, 1)
    assert torch.get_num_threads() == threads
