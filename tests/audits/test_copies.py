"""Copies among samples are counted, also with rounding between them, and errors are told to be too small."""

import pytest
import torch

from barlow.audits.copies import copies

ROWS = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))


def test_samples_that_differ_are_no_copies() -> None:
    assert (copies(ROWS).share, copies(ROWS).error_factor) == (0.0, 1.0)
    assert copies(torch.ones(10, 3)).share == 0.0  # a constant network is another matter


def test_every_sample_twice_is_half_of_them_and_errors_are_the_root_of_two_too_small() -> None:
    twice = torch.cat([ROWS, ROWS * (1 + 1e-7)])
    found = copies(twice)
    assert found.share == 0.5
    assert found.error_factor == pytest.approx(2**0.5)
    assert copies(torch.cat([ROWS, ROWS[:30]])).share == pytest.approx(30 / 330)


def test_neighbours_on_the_border_of_a_piece_are_compared() -> None:
    many = torch.randn(4100, 2, generator=torch.Generator().manual_seed(1)).repeat(2, 1)
    assert copies(many).share == 0.5
