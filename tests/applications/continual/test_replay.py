"""Replay: what is kept, and how often it comes again."""

from pathlib import Path

import pytest
import torch

from barlow.applications.continual.keep import Replay
from barlow.applications.continual.replay import read_buffer, with_replay, write_buffer
from barlow.data.joined import JoinedSource
from tests.applications.continual.tiny import pictures


def test_kept_samples_come_again_in_their_share_each_as_often_as_any_other(tmp_path: Path) -> None:
    keep = Replay(samples=7, share=0.25)
    write_buffer(tmp_path, pictures(0), keep)
    kept = read_buffer(tmp_path)
    assert len(kept) == 7
    assert all(any(torch.equal(one, old) for old in pictures(0).samples) for one in kept)
    mixed = with_replay(pictures(1), [tmp_path], keep)
    assert len(mixed) == 80
    (batch,) = mixed.batches(range(80), 80)
    old = batch.samples[60:]
    counts = [sum(torch.equal(one, sample) for sample in old) for one in kept]
    assert sum(counts) == 20
    assert max(counts) - min(counts) <= 1
    (again,) = with_replay(pictures(1), [tmp_path], keep).batches(range(80), 80)
    assert torch.equal(batch.samples, again.samples)


def test_without_earlier_stages_a_source_stays_itself() -> None:
    source = pictures(1)
    assert with_replay(source, [], Replay()) is source


@pytest.mark.usefixtures("as_users_call_it")
def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="share: got 1"):
        Replay(share=1.0)
    with pytest.raises(ValueError, match="samples: got 0"):
        Replay(samples=0)


def test_a_buffer_of_another_size_is_mixed_in_one_by_one(tmp_path: Path) -> None:
    write_buffer(tmp_path, pictures(0), Replay(samples=4))
    larger = pictures(1, 12)
    larger.samples = torch.nn.functional.pad(larger.samples, (0, 2))  # type: ignore[arg-type]
    mixed = with_replay(larger, [tmp_path], Replay(samples=4, share=0.25))
    assert isinstance(mixed, JoinedSource)
    (batch,) = mixed.batches([0, 12], 2)
    assert [tuple(one.shape) for one in batch.samples] == [(3, 12, 14), (3, 12, 12)]
