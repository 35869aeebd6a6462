"""What tells the data of a run from others: how many samples, and size and hash of some of them, wherever they lie."""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from barlow.data.order import evenly_spaced, generators_restored
from barlow.seams import Source

NUM_LOOKED_AT = 32
"""Samples that are looked at, evenly spaced: reading them takes less than a second."""
MOST_READ = 1 << 20
"""Bytes of one file that are read; its size counts too."""
ENOUGH_FOR_ONE = 16
"""Of so many samples one may be another, for a file may have broken since."""


def identity_of(source: Source) -> dict[str, list[Any]]:
    """Return sizes in bytes and hashes of evenly spaced samples: of their files where they are files.

    A sample has the hash "" where it cannot be read, is no tensor, or is another one each time it is read.
    """
    positions = evenly_spaced(len(source), NUM_LOOKED_AT)
    files = [_of_file(source.describe(position)) for position in positions]
    if any(size for size, _ in files):
        seen = files
    else:
        with generators_restored():
            once, again = (_of_samples(source, positions) for _ in range(2))
        seen = [first if first == second else (0, "") for first, second in zip(once, again, strict=True)]
    return {"sizes": [size for size, _ in seen], "hashes": [value for _, value in seen]}


def digest_of(identity: Mapping[str, Sequence[Any]], num_samples: int) -> str:
    """Return one short name of an identity, "" where nothing is known of it."""
    hashes = identity.get("hashes") or ()
    return _hash(repr((num_samples, list(hashes))).encode()) if any(hashes) else ""


def samples_differ(old: Mapping[str, Any], new: Mapping[str, Any], key: str = "identity") -> str:
    """Say how many of the samples looked at differ between the facts of two data sets; "" where they are the same.

    They are also where nothing is known of one of them, or one sample of many is another.
    """
    before, now = (_seen(facts.get(key)) for facts in (old, new))
    if len(before) != len(now):
        return "" if not before or not now else f"{len(before)} samples were looked at, now {len(now)}"
    pairs = [(a, b) for a, b in zip(before, now, strict=True) if a[1] and b[1]]
    others = [(a, b) for a, b in pairs if a != b]
    if len(others) <= (len(pairs) >= ENOUGH_FOR_ONE):
        return ""
    (size, _), (size_now, _) = others[0]
    sizes = f", the first of {size:,} bytes is now one of {size_now:,}" if size != size_now else ""
    return f"{len(others)} of the {len(pairs)} samples looked at are others{sizes}"


def is_known(facts: Mapping[str, Any], key: str = "identity") -> bool:
    """Whether the facts of some data tell them from others by their samples."""
    return any(value for _, value in _seen(facts.get(key)))


def _seen(identity: Any) -> list[tuple[int, str]]:
    found = identity if isinstance(identity, Mapping) else {}
    return list(zip(found.get("sizes", ()), found.get("hashes", ()), strict=False))


def _of_file(name: str) -> tuple[int, str]:
    """Size and hash of a file; 0 and "" where a name is that of no regular file (or of an empty one)."""
    try:
        if not stat.S_ISREG(Path(name).stat().st_mode):  # a pipe would be waited for
            return 0, ""
        with Path(name).open("rb") as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(MOST_READ)
            return (size, _hash(start)) if size else (0, "")
    except (OSError, ValueError):
        return 0, ""


def _of_samples(source: Source, positions: Sequence[int]) -> list[tuple[int, str]]:
    found: dict[int, tuple[int, str]] = {}
    for batch in source.batches(positions, 1):
        (position,) = batch.indices.tolist()
        sample = batch.samples[0] if isinstance(batch.samples, (Tensor, list)) else None
        if isinstance(sample, (Tensor, np.ndarray)):
            values = torch.as_tensor(sample).detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            found[position] = len(values), _hash(values.tobytes())
    return [found.get(position, (0, "")) for position in positions]


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
