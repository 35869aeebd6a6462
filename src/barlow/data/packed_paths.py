"""Many paths in two blocks of memory, so that a million of them are not copied into every worker process."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt


class PackedPaths:
    """Many paths in two blocks of memory.

    A list of a million strings would be copied into every worker process as soon as it counts references.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        each = paths if isinstance(paths, list) else list(paths)
        joined = os.fsencode("\0".join([*each, ""]))  # at once: no path has a NUL
        self._text = joined.replace(b"\0", b"")
        ends = np.flatnonzero(np.frombuffer(joined, dtype=np.uint8) == 0)[: len(each)]
        self._ends = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)

    @classmethod
    def of(cls, text: bytes, ends: npt.NDArray[np.int64]) -> "PackedPaths":
        """Return paths that lie one behind the other: path k is `text[ends[k] : ends[k + 1]]`."""
        made = cls.__new__(cls)
        made._text, made._ends = text, ends
        return made

    @classmethod
    def joined(cls, parts: Sequence["PackedPaths"]) -> "PackedPaths":
        """Return the paths of several, one after the other."""
        lengths = [np.diff(part._ends) for part in parts]
        ends = np.zeros(sum(map(len, lengths)) + 1, dtype=np.int64)
        if parts:
            np.cumsum(np.concatenate(lengths), out=ends[1:])
        return cls.of(b"".join(part._text for part in parts), ends)

    @property
    def text(self) -> bytes:
        """All paths, one behind the other."""
        return self._text

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """(n + 1,) where each path begins, and the end of the last."""
        return self._ends

    def __len__(self) -> int:
        """Return the number of paths."""
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """Return one path; IndexError behind the last."""
        if not 0 <= index < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        return os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[str]:
        """Yield all paths."""
        return (self[index] for index in range(len(self)))
