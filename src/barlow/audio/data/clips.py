"""Clips as samples: of each what the network sees at once, from files that are read by seeking or from memory.

For looking at (`batches`) that is the middle of a clip, so an embedding does not depend on the batch or the call; for
training (`seeded_batches`) a part that follows from the seed and the position. A shorter clip stands in the middle of
silence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import pad

from barlow.audio.data.decode import (
    SHORT_CLIPS,
    SILENT_CLIPS,
    Header,
    is_silent,
    length_at,
    read_header,
    read_part,
)
from barlow.audio.front_end import FrontEnd
from barlow.data.arrays import ArraySource
from barlow.data.labels import Labels
from barlow.data.lost import count
from barlow.data.memory import FillingSource
from barlow.data.name_pattern import PART
from barlow.data.order import hash_seed
from barlow.data.stored.contents import Contents
from barlow.seams import Batch


@dataclass(frozen=True)
class Clips:
    """Where the clips of some files are.

    Attributes:
        files: number of the file of each clip.
        first: its first frame in the file, at the rate of the file.
        frames: how many frames it has; 0 for a file whose header could not be read.
        cut: whether its file is longer than a clip.
        rates: hertz of its file, 0 for one whose header could not be read.
    """

    files: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]
    rates: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.files)


def cut_files(headers: Sequence[Header | None], longest: float) -> Clips:
    """Return the clips of files: each whole, or cut into equal parts of at most `longest` seconds."""
    files, first, frames, cut = [], [], [], []
    for number, header in enumerate(headers):
        total = 0 if header is None else header.frames
        parts = 1 if header is None else -(-total // max(1, round(longest * header.rate)))
        ends = [total * part // max(1, parts) for part in range(max(1, parts) + 1)]
        for begin, end in pairwise(ends):
            files.append(number)
            first.append(begin)
            frames.append(end - begin)
            cut.append(parts > 1)
    return _clips(headers, files, first, frames, np.array(cut, dtype=np.bool_))


def whole_files(number: int) -> Clips:
    """Return the clips of files that were not looked at: each whole."""
    zeros = np.zeros(number, dtype=np.int64)
    return Clips(np.arange(number, dtype=np.int64), zeros, zeros, np.zeros(number, dtype=np.bool_), zeros)


def windows_of(headers: Sequence[Header | None], window: float, hop: float) -> Clips:
    """Return every window of so many seconds that fits into a file, one every `hop` seconds; of a shorter file all."""
    files, first, frames = [], [], []
    for number, header in enumerate(headers):
        if header is None:  # whoever reads it says why
            begins, length = [0], 0
        else:
            length = min(header.frames, round(window * header.rate))
            count = int((header.frames - length) / (hop * header.rate) + 1e-6) + 1
            begins = [min(round(place * hop * header.rate), header.frames - length) for place in range(count)]
        files += [number] * len(begins)
        first += begins
        frames += [length] * len(begins)
    return _clips(headers, files, first, frames, np.ones(len(files), dtype=np.bool_))


def _clips(
    headers: Sequence[Header | None],
    files: Sequence[int],
    first: Sequence[int],
    frames: Sequence[int],
    cut: npt.NDArray[np.bool_],
) -> Clips:
    rates = [0 if header is None else header.rate for header in headers]
    columns = (np.array(values, dtype=np.int64) for values in (files, first, frames, [rates[file] for file in files]))
    files_of, first_of, frames_of, rates_of = columns
    return Clips(files_of, first_of, frames_of, cut, rates_of)


@dataclass(frozen=True)
class ClipReader:
    """Reads clips: a `DrawingReader` of `data/streaming.py`.

    Attributes:
        files: the recordings.
        clips: where they are.
        front: numbers of the front end.
        whole: whether `read` gives all of a clip rather than what the network sees of it.
    """

    files: Contents
    clips: Clips
    front: FrontEnd
    whole: bool = False

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def read(self, position: int) -> Float32[Tensor, " t"]:
        """Return the middle of a clip, or all of it."""
        return self._part(position, None)

    def draw(self, position: int) -> Float32[Tensor, " t"]:
        """Return a part of a clip, anywhere with the same probability."""
        return self._part(position, float(torch.rand(())))

    def describe(self, position: int) -> str:
        """Return the path of a clip, with its seconds where the file has several."""
        path = self.files.describe(int(self.clips.files[position]))
        rate = int(self.clips.rates[position])
        if not (self.clips.cut[position] and rate):
            return path
        first, frames = int(self.clips.first[position]), int(self.clips.frames[position])
        return f"{path}{PART}{first / rate:.2f},{(first + frames) / rate:.2f}"

    def _part(self, position: int, share: float | None) -> Tensor:
        content = self.files.content(int(self.clips.files[position]))
        header = read_header(content)
        first, frames = int(self.clips.first[position]), int(self.clips.frames[position])
        frames = frames or header.frames  # it could not be read before
        if first + frames > header.frames:
            raise ValueError(f"has {header.frames:,} samples, {first + frames:,} when it was found")
        rate = self.front.sample_rate
        if self.whole:
            found = read_part(content, header, first, frames, rate)
        else:
            start = part_start(length_at(frames, header.rate, rate), self.front.window, share)
            at = first + length_at(start, rate, header.rate) * (start > 0)
            num = min(length_at(self.front.window, rate, header.rate), first + frames - at)
            found = read_part(content, header, at, num, rate)[: self.front.window]
        counted(found, self.front)
        return torch.from_numpy(found) if self.whole else placed(torch.from_numpy(found), self.front.window)


def counted(samples: npt.NDArray[np.float32], front: FrontEnd) -> None:
    """Count a clip apart that is silent or shorter than one frame; it stays a sample."""
    count(SILENT_CLIPS, int(is_silent(samples)))
    count(SHORT_CLIPS, int(len(samples) < front.n_fft))


def part_start(length: int, window: int, share: float | None) -> int:
    """Return where a part of `window` samples begins in `length`: at a share of the places there are, or the middle."""
    room = max(0, length - window)
    return room // 2 if share is None else min(room, int(share * (room + 1)))


def placed(samples: Float32[Tensor, " t"], window: int) -> Float32[Tensor, " w"]:
    """Return samples in the middle of silence, as many as the network sees."""
    missing = window - len(samples)
    return pad(samples, (missing // 2, missing - missing // 2)) if missing else samples


class ClipSource:
    """A `RandomSource` over whole clips in memory: the same samples as a `StreamSource` over a `ClipReader`.

    Attributes:
        name, labels, class_names, bad, notes, lost, reading: those of the clips.
        groups: (len,) int64 positions in `group_names`, or None.
    """

    def __init__(self, clips: ArraySource | FillingSource, window: int) -> None:
        self.name, self.labels, self.class_names = clips.name, clips.labels, clips.class_names
        self.bad, self.notes, self.lost, self.reading = clips.bad, clips.notes, clips.lost, clips.reading
        self.groups: Tensor | None = None
        self.group_names: Sequence[str] = ()
        self._clips, self._window = clips, window

    def __len__(self) -> int:
        """Return the number of clips, bad ones included."""
        return len(self._clips)

    @property
    def share_read(self) -> float:
        """Share of the clips that are in memory."""
        return float(getattr(self._clips, "share_read", 1.0))

    def describe(self, index: int) -> str:
        """Return what a person would call clip `index`."""
        return self._clips.describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the middles of clips (N, window), in the order asked for, the bad ones left out."""
        return self._batches(order, batch_size, lambda position: None)

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield parts of clips that follow from `seed` and their positions."""

        def share(position: int) -> float:  # as `read_packed` seeds the generator that a reader draws from
            generator = torch.Generator().manual_seed(hash_seed(seed, position))
            return float(torch.rand((), generator=generator))

        return self._batches(order, batch_size, share)

    def _batches(self, order: Sequence[int], batch_size: int, share: Callable[[int], float | None]) -> Iterator[Batch]:
        for batch in self._clips.batches(order, batch_size):
            windows = torch.zeros(len(batch.indices), self._window)
            for row, clip, position in zip(windows, batch.samples, batch.indices.tolist(), strict=True):
                begin = part_start(len(clip), self._window, share(position)) if len(clip) > self._window else 0
                part = clip[begin : begin + self._window]
                left = (self._window - len(part)) // 2
                row[left : left + len(part)] = part
            yield Batch(windows, batch.indices)


def in_memory(
    clips: Sequence[Tensor] | Tensor, front: FrontEnd, *, name: str, labels: Labels, reading: Mapping[str, Any]
) -> ClipSource:
    """Return clips that are in memory at the rate of the front end, (n, t) or n tensors (t,), as a source."""
    found = [torch.as_tensor(clip, dtype=torch.float32) for clip in clips]
    return ClipSource(ArraySource(found, name=name, labels=labels, reading=reading), front.window)
