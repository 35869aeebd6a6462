"""Where a path or an object becomes a source of clips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from barlow.audio.data.clips import in_memory
from barlow.audio.data.decode import SUFFIXES, is_sound
from barlow.audio.data.folder import (
    Asked,
    files_source,
    folder_source,
    looks_like_sound,
    split_folders,
    stored_source,
    window_source,
)
from barlow.audio.front_end import FrontEnd, as_options, front_end, settled
from barlow.data.bad_samples import ANY, MOST_BAD
from barlow.data.labels import UNLABELLED, LabelChoice, choose_labels
from barlow.data.memory import Progress
from barlow.data.stored.contents import Wanted
from barlow.data.stored.formats import FORMATS, first_samples, format_of, open_stored, stored_splits
from barlow.data.stored.hub import is_dataset, of_dataset
from barlow.recipes import Recipe
from barlow.seams import Source

COLUMNS = ("audio", "speech", "wav", "flac", "bytes")
"""Columns in which a table may keep recordings, the first one that is there."""


def load_clips(
    data: Any,
    *,
    split: str = "train",
    labels: LabelChoice = "auto",
    recipe: Recipe | None = None,
    facts: Mapping[str, Any] | None = None,
    min_samples: int = 2,
    memory_budget: int | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
    download: bool = False,
    window: float | None = None,
    hop: float | None = None,
    **_: Any,
) -> Source:
    """Turn recordings into a source of clips, for training or for the network of a run.

    Args:
        data: a folder of recordings, one file (where `min_samples` is 1), a list of paths; shards, a table, a list or
            an address (`data/stored/formats.py`), or a map-style data set of Hugging Face; or clips in memory, (n, t)
            or n tensors (t,), mono at the sample rate of the front end.
        split: of a folder with train and test folders.
        labels: "auto", "required", "none", or one label per clip.
        recipe: its `modality_options` are the front end of a run that begins.
        facts: of the run whose network the clips are for: they are read as its own were.
        min_samples: fewer clips are an error.
        memory_budget: bytes up to which clips are kept in memory; None: what the machine allows.
        num_workers: worker processes where clips are read from disk; None: one per available core.
        progress: called as (clips read, clips in all) while they are read into memory.
        download: whether a data set of the hub may be fetched.
        window: seconds of the windows that are wanted of every recording, whatever its length, instead of clips.
        hop: seconds from one window to the next; None: as long as a window.

    Raises:
        ValueError: nothing there, no recordings, packages that are missing, or numbers that cannot be.
        BadDataError: more than 1% of the clips cannot be read, where a run learns from them.
    """
    front = _front(recipe, facts)
    most_bad = MOST_BAD if facts is None or "mean" not in facts else ANY
    asked = Asked(front, split, labels, min_samples, memory_budget, num_workers, progress, most_bad)
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, Path)) for one in data):
        return files_source(data, asked)
    if isinstance(data, (Tensor, np.ndarray, list)):
        return _of_arrays(data, asked)
    if is_dataset(data) or format_of(data):
        if window is not None or hop is not None:
            raise ValueError(f"window, hop: got one of them for {data}, wanted a folder of recordings or one of them")
        wanted = Wanted(split, SUFFIXES, COLUMNS, download)
        name = type(data).__name__
        return stored_source(of_dataset(data, name, wanted) if is_dataset(data) else open_stored(data, wanted), asked)
    path = Path(data).expanduser()
    if not path.exists():
        endings = ", ".join(name for name in FORMATS if name.startswith("."))
        raise ValueError(f"data: there is no {str(data)!r}, wanted a folder of recordings, or one of {endings}")
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"data: {path} is no recording, wanted the ending {', '.join(sorted(SUFFIXES))}")
    if path.is_file() and min_samples > 1:
        raise ValueError(f"data: {path} is one recording, wanted a folder of them")
    if window is not None or hop is not None:
        window = front.seconds if window is None else window
        hop = window if hop is None else hop
        for name, value in (("window", window), ("hop", hop)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: got {value}, wanted seconds above 0")
        return window_source(path, asked, window, hop)
    return folder_source(path, asked)


def accepts(data: Any) -> bool:
    """Whether data are recordings by the endings of files; arrays are images unless `modality` says otherwise."""
    if is_dataset(data):
        return any(type(feature).__name__ == "Audio" for feature in data.features.values())
    if not isinstance(data, (str, Path)):
        return False
    if format_of(data):
        return _stored_sound(data)
    path = Path(data).expanduser()
    return path.exists() and looks_like_sound(path)


def splits(data: Any) -> tuple[str, ...]:
    """Return the splits of a folder of recordings; ("train",) where there is nothing else."""
    if not isinstance(data, (str, Path)):
        return ("train",)
    if format_of(data):
        return stored_splits(data)
    return tuple(split_folders(Path(data).expanduser())) or ("train",)


def _stored_sound(data: str | Path) -> bool:
    try:
        return any(is_sound(*one) for one in first_samples(data, COLUMNS))
    except (ValueError, OSError):  # whoever loads them says what is wrong
        return False


def _front(recipe: Recipe | None, facts: Mapping[str, Any] | None) -> FrontEnd:
    if facts and "front_end" in facts:
        return front_end(facts["front_end"])
    return front_end({} if recipe is None else recipe.modality_options)


def _of_arrays(data: Any, asked: Asked) -> Source:
    clips = [np.asarray(clip, dtype=np.float32) for clip in data]
    if len(clips) < asked.min_samples or any(clip.ndim != 1 for clip in clips):
        raise ValueError(f"data: got {len(clips)} arrays, wanted at least {asked.min_samples} of one axis, mono")
    if not asked.front.sample_rate:
        raise ValueError("sample_rate: clips in memory do not say theirs, wanted modality_options={'sample_rate': ...}")
    front = settled(asked.front, asked.front.sample_rate)
    labels = choose_labels(asked.labels, UNLABELLED, "arrays carry none, give them as labels=", len(clips))
    tensors = [torch.from_numpy(clip) for clip in clips]
    return in_memory(tensors, front, name="array", labels=labels, reading={"front_end": as_options(front)})
