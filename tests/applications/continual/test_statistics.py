"""BatchNorm statistics of each data set are kept, and put back while they are wanted."""

from pathlib import Path

import torch

from barlow.applications.continual.statistics import read_statistics, statistics_of, with_statistics, write_statistics
from tests.applications.continual.tiny import method


def test_statistics_are_put_back_while_the_block_runs_and_are_the_old_ones_afterwards(tmp_path: Path) -> None:
    first, second = method(0), method(0)
    first.backbone(torch.randn(64, 6) * 3 + 1)
    write_statistics(tmp_path, first)
    kept = read_statistics(tmp_path)
    assert kept.keys() == statistics_of(first).keys()
    assert len(kept) == 4, "two BatchNorms, mean and variance each"
    x = torch.randn(8, 6)
    fresh = second.eval().represent(x)
    with with_statistics(second, kept):
        assert torch.equal(second.represent(x), first.eval().represent(x))
    assert torch.equal(second.represent(x), fresh)
    assert not torch.equal(fresh, first.represent(x))


def test_weights_in_a_graph_take_part_with_other_statistics_too() -> None:
    own = method().eval()
    other = {name: value + 1 for name, value in statistics_of(own).items()}
    with torch.inference_mode(), with_statistics(own, other):
        own.represent(torch.randn(4, 6))
    own.represent(torch.randn(4, 6)).sum().backward()
    assert all(
        torch.equal(a, b) for a, b in zip(statistics_of(own).values(), statistics_of(method()).values(), strict=True)
    )
