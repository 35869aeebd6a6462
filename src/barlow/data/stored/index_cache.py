"""What is known of files that take long to look through, kept from call to call while size and time are the same."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from barlow.files import durable_file

VERSION = 1
"""Of what is kept: a change of it lets all be read anew."""


def cache_folder() -> Path:
    """Return where indices are kept: $BARLOW_CACHE, else barlow in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("BARLOW_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barlow"


def kept(
    kind: str, files: Sequence[Any], asked: Sequence[Any], make: Callable[[], Mapping[str, npt.NDArray[Any]]]
) -> Mapping[str, npt.NDArray[Any]]:
    """Return the arrays that `make` gives for some files, from the cache where they were made before.

    `files` are (place, size, time); what else the arrays depend on is in `asked`. A cache that cannot be written or
    read takes nothing away.
    """
    name = hashlib.blake2b(repr((VERSION, list(files), list(asked))).encode(), digest_size=16).hexdigest()
    path = cache_folder() / kind / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError):
        pass
    made = make()
    try:
        with durable_file(path) as file:
            np.savez(file, allow_pickle=False, **made)
    except OSError:
        pass
    return made
