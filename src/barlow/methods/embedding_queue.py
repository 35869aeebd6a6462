"""SwAV's queue: embeddings of earlier batches, so that a small batch is assigned to prototypes among many samples."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from barlow.collectives import num_processes


class EmbeddingQueue(nn.Module):
    """The last embeddings of every view that gets codes, newest first, kept in the state dict.

    Every process holds the queue of all processes, so that one state dict resumes them all and another number of
    processes goes on with the same queue; each then works on its share. (The official code keeps a queue per
    process, outside the model.) Only whole batches count: a length of 3840 means 3840 rows with batches of 256,
    3500 with batches of 500, as in the official code.

    Attributes:
        rows: (views with codes, length, D).
        filled: how many rows were pushed so far, at most `length`.
    """

    rows: Tensor
    filled: Tensor

    def __init__(self, length: int, num_features: int, *, num_views: int = 2) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_views, length, num_features))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def share(self, batch_size: int) -> Float[Tensor, "a m d"]:
        """Return the rows that this process works on: every W-th, or none while the queue is not full.

        Args:
            batch_size: N, the samples of one step on all processes.

        Raises:
            ValueError: a batch larger than the queue.
        """
        length = self.rows.shape[1]
        if batch_size > length:
            raise ValueError(
                f"queue_length: got {length} with batches of {batch_size} samples, wanted at least one batch, or 0 "
                "for no queue"
            )
        whole_batches = length - length % batch_size
        if int(self.filled) < whole_batches:
            return self.rows[:, :0]
        rank = dist.get_rank() if num_processes() > 1 else 0
        return self.rows[:, rank : whole_batches : num_processes()]

    @torch.no_grad()
    def push(self, newest: Float[Tensor, "a n d"]) -> None:
        """Put the embeddings of one step, of all processes, in front; the oldest fall out at the end."""
        length = self.rows.shape[1]
        self.rows.copy_(torch.cat([newest.to(self.rows.dtype), self.rows], dim=1)[:, :length])
        self.filled.add_(newest.shape[1]).clamp_(max=length)
