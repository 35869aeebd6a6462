"""Which samples go through a network together, and in what order their rows stand: errors are over what is independent.

Usually that is the sample: blocks are every 20th row. Where the parameters of a view belong to the whole batch
(`View.shared`: a mask of edges) all samples of a batch share one draw, so the batch is the block: samples are cut into
as many batches as there are blocks, and their rows are arranged so that every 20th row is of one batch. All that leaves
out blocks of rows then leaves out batches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from barlow.runs.evidence import spread
from barlow.seams import Source, View, is_shared

BATCHES = 20
"""Batches where the batch is the block; as many as blocks of samples elsewhere."""
SEED = 1
"""Of which samples come together: they are the same in every audit."""


@dataclass(frozen=True)
class Arrangement:
    """Samples in the order in which they are read, in batches.

    Attributes:
        order: positions in the source.
        batch_size: samples at once.
        by_batch: whether the batch is the block.
    """

    order: list[int]
    batch_size: int
    by_batch: bool

    def rows(self, found: Tensor, num_blocks: int = BATCHES) -> Tensor:
        """Return rows, one a sample as they were read; by batch, row i is then of block i mod `num_blocks`."""
        if not self.by_batch or len(found) != len(self.order):
            return found
        places = torch.arange(len(found)).view(BATCHES // num_blocks, num_blocks, self.batch_size)
        return found[places.transpose(1, 2).reshape(-1)]

    def blocks(self, usual: int) -> int:
        """Return how many blocks there are where otherwise there were `usual`: a divisor of the number of batches."""
        return next(k for k in (20, 10, 5, 4, 2) if k <= usual) if self.by_batch else usual


def arranged(source: Source, view: View, num_images: int, batch_size: int) -> Arrangement:
    """Arrange evenly spread samples for a view; ValueError for fewer than two a batch where the batch is the block."""
    order = spread(len(source), num_images)
    if not is_shared(view):
        return Arrangement(order, batch_size, False)
    good = torch.tensor([place for place in order if place not in source.bad])
    each = len(good) // BATCHES
    if each < 2:
        raise ValueError(
            f"num_images: got {len(good)}, wanted at least {2 * BATCHES}: {type(view).__name__} draws for a whole "
            f"batch, and errors take {BATCHES} batches"
        )
    mixed = good[torch.randperm(len(good), generator=torch.Generator().manual_seed(SEED))]
    return Arrangement(mixed[: each * BATCHES].tolist(), each, True)
