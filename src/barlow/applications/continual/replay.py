"""Replay: a few samples of every stage, kept in its folder, are mixed into what later stages learn from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from barlow.applications.continual.keep import Replay
from barlow.data.arrays import ArraySource
from barlow.data.joined import JoinedSource
from barlow.data.order import generators_restored, hash_seed
from barlow.data.subsets import subset
from barlow.files import durable_file
from barlow.seams import Source, seeded_batches

BUFFER = "replay.safetensors"
"""File in the run folder of a stage."""
BUFFER_SEED = 20230502
_BATCH = 64


def write_buffer(folder: Path, source: Source, keep: Replay) -> None:
    """Keep a random choice of the samples of a stage in its folder; ValueError for samples that are no tensors."""
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(BUFFER_SEED))[: keep.samples]
    found: list[Tensor] = []
    with generators_restored():
        for batch in seeded_batches(source, order.tolist(), _BATCH, BUFFER_SEED):
            if not all(isinstance(sample, Tensor) for sample in batch.samples):
                raise ValueError(f"keep: got replay, but {source.name} has samples that are no tensors; wanted ewc")
            found += [sample.cpu().contiguous() for sample in batch.samples]
    with durable_file(folder / BUFFER) as file:
        file.write(save({f"{number:06}": sample.clone() for number, sample in enumerate(found)}))


def read_buffer(folder: Path) -> list[Tensor]:
    """Return the samples that `write_buffer` kept."""
    kept = load_file(folder / BUFFER)
    return [kept[name] for name in sorted(kept)]


def with_replay(source: Source, stages: Sequence[Path], keep: Replay) -> Source:
    """Return the samples of a stage with those kept of the stages before, as a share of the whole; the same each time.

    Every kept sample comes as often as any other, give or take one.
    """
    kept = [sample for folder in stages for sample in read_buffer(folder)]
    if not kept:
        return source
    wanted = round(len(source) * keep.share / (1 - keep.share))
    buffer = ArraySource(kept, name="replay")
    whole = [buffer] * (wanted // len(buffer))
    order = torch.randperm(len(buffer), generator=torch.Generator().manual_seed(hash_seed(BUFFER_SEED, len(stages))))
    rest = order[: wanted % len(buffer)].sort().values
    parts: list[Source] = [source, *whole, *([subset(buffer, rest)] if len(rest) else [])]
    return JoinedSource(parts, source.name)
