"""The seam between storage and the loop: a Source gives batches of samples in any order it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples that could be read, and which ones they are.

    Attributes:
        samples: a tensor whose first axis is the sample, or a list of one tensor per sample when sizes differ
            (pictures of a folder); other modalities put here what their views understand.
        indices: (N,) int64, the position of each sample in its source. Bad samples are missing from both.
    """

    samples: Any
    indices: Tensor


@runtime_checkable
class Source(Protocol):
    """Samples by position, labels optional.

    Attributes:
        name: what to call the data in the journal and on the page.
        labels: (len,) int64, or None: the normal case.
        class_names: names of the classes, empty without labels.
        bad: reason by position for every sample that was asked for and could not be read.
    """

    name: str
    labels: Tensor | None
    class_names: Sequence[str]
    bad: dict[int, str]

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def describe(self, index: int) -> str:
        """Return what a person would call sample `index`: its path, or its number."""
        ...

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, `batch_size` positions at a time, without the bad ones.

        A batch of which nothing could be read is not yielded: no consumer has a use for an empty one.
        """
        ...


@runtime_checkable
class RandomSource(Source, Protocol):
    """A `Source` whose samples may be random, as those of a dataset with transforms are."""

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield what `batches` does; what is random in a sample follows from `seed` and its position alone."""
        ...


def seeded_batches(source: Source, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of any source, seeded where its samples may be random.

    Args:
        source: where the samples come from.
        order: positions in it, in any order.
        batch_size: positions per batch.
        seed: any whole number; sources whose samples are what they are have no use for it.

    Returns:
        An iterator over batches, as `Source.batches` returns it.
    """
    if isinstance(source, RandomSource):
        return source.seeded_batches(order, batch_size, seed)
    return source.batches(order, batch_size)
