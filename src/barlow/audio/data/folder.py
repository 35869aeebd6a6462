"""A folder of recordings as a source: clips in memory where they fit, read by seeking in worker processes where not."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from barlow.audio.data.clips import ClipReader, Clips, ClipSource, cut_files, whole_files, windows_of
from barlow.audio.data.decode import SUFFIXES, Header, check_packages, length_at, read_header
from barlow.audio.front_end import LARGEST_AUTOMATIC_RATE, FrontEnd, as_options, settled
from barlow.data.bad_samples import ANY, MOST_BAD
from barlow.data.groups import Groups, as_groups
from barlow.data.labels import LabelChoice, Labels, choose_labels
from barlow.data.memory import Progress, memory_budget, read_all
from barlow.data.metadata import FILE, told_by_metadata
from barlow.data.name_pattern import Told, labels_by_name
from barlow.data.order import evenly_spaced
from barlow.data.packed_paths import PackedPaths
from barlow.data.stored.contents import Contents, FileContents, Stored, with_groups
from barlow.data.streaming import StreamSource
from barlow.errors import unknown

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
"""Names of first-level folders that are splits where a training folder stands beside another one of them."""
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"))
LOOKED_AT = 500
"""Files by whose endings a folder is told to be one of recordings."""
HEADER_THREADS = 8
MOST_HEADERS = 20_000
"""Stored recordings of which every header is read: most formats give it with the whole recording."""
SOME_HEADERS = 1000
"""Headers that are read of more."""


@dataclass(frozen=True)
class Asked:
    """What `folder_source` was asked for."""

    front: FrontEnd
    split: str = "train"
    labels: LabelChoice = "auto"
    min_samples: int = 2
    memory_budget: int | None = None
    num_workers: int | None = None
    progress: Progress | None = None
    most_bad: float = MOST_BAD


@dataclass(frozen=True)
class Found:
    """Recordings under a folder: their paths from `root`, sorted, and how many other files there are by ending."""

    root: Path
    paths: tuple[str, ...]
    others: Mapping[str, int] = field(default_factory=dict)

    def contents(self) -> FileContents:
        """Return the recordings as what can be decoded."""
        return FileContents(str(self.root), PackedPaths(self.paths))

    @property
    def name(self) -> str:
        """What to call them."""
        return self.root.resolve().name or str(self.root)


def looks_like_sound(place: Path) -> bool:
    """Whether a file is a recording by its ending, or a folder has some, and more of them than pictures."""
    if place.is_file():
        return place.suffix.lower() in SUFFIXES
    endings: Counter[str] = Counter()
    for _, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        endings.update(PurePosixPath(name).suffix.lower() for name in files if not name.startswith("."))
        if endings.total() >= LOOKED_AT:
            break
    sound = sum(number for ending, number in endings.items() if ending in SUFFIXES)
    return sound > sum(number for ending, number in endings.items() if ending in PICTURES)


def split_folders(root: Path) -> dict[str, str]:
    """Return split -> folder, where a training folder stands beside a test or a validation folder; else nothing."""
    if not root.is_dir():
        return {}
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    found = {split: name for split, spellings in SPLITS.items() for name in folders if name.lower() in spellings}
    if "train" not in found or len(found) < 2:
        return {}
    return found if "test" in found else {**found, "test": found["val"]}


def folder_source(root: Path, asked: Asked) -> "ClipSource | _Stream":
    """Make a source of all recordings under a folder, or of one file.

    Labels and groups come from a metadata.csv, or first-level folders are classes. Files longer than a clip are cut,
    and are then groups where there are no others.
    """
    check_packages()
    place = _place(root, asked.split)
    found = _walk(place)
    headers = read_headers(found.contents())
    clips = cut_files(headers, asked.front.longest)
    if len(clips) < asked.min_samples:
        endings = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"data: {len(clips) or 'no'} recording{'s' * (len(clips) != 1)} in {place}, wanted at least "
            f"{asked.min_samples} with the ending {endings}"
        )
    front = settled(asked.front, _usual_rate(headers))
    told, reason = _told(found, place)
    labels, groups = _of_clips(told, clips, found.contents())
    notes = [*_notes(headers, clips, front), *_others_note(found), *filter(None, [told.note if told else ""])]
    labels = choose_labels(asked.labels, labels, reason, len(clips))
    source = _opened(found.contents(), found.name, clips, front, labels, notes, headers, asked)
    return with_groups(source, groups)


def files_source(paths: Sequence[str | Path], asked: Asked) -> "ClipSource | _Stream":
    """Make a source of recordings by their paths, in that order; no classes are told from them."""
    check_packages()
    files = [Path(path).expanduser().absolute() for path in paths]
    if len(files) < max(1, asked.min_samples):
        raise ValueError(f"data: got {len(files)} paths, wanted at least {max(1, asked.min_samples)} recordings")
    root = Path(os.path.commonpath([file.parent for file in files]))
    found = Found(root, tuple(file.relative_to(root).as_posix() for file in files))
    headers = read_headers(found.contents())
    front = settled(asked.front, _usual_rate(headers))
    clips = cut_files(headers, front.longest)
    labels, groups = _of_clips(None, clips, found.contents())
    labels = choose_labels(asked.labels, labels, "a list of paths carries none, give labels=", len(clips))
    notes = [*_notes(headers, clips, front), *_others_note(found)]
    source = _opened(found.contents(), found.name, clips, front, labels, notes, headers, asked)
    return with_groups(source, groups)


def window_source(place: Path, asked: Asked, window: float, hop: float) -> "_Stream":
    """Make a source of every window of the recordings in a folder, or of one, read by seeking when it is asked for."""
    check_packages()
    found = _walk(_place(place, asked.split))
    headers = read_headers(found.contents())
    front = settled(
        replace(asked.front, seconds=window, longest=max(window, asked.front.longest)), _usual_rate(headers)
    )
    clips = windows_of(headers, window, hop)
    if not len(clips):
        raise ValueError(f"data: no recordings in {place}, wanted one with the ending {', '.join(sorted(SUFFIXES))}")
    rates = np.maximum(clips.rates, 1)
    source = _Stream(
        ClipReader(found.contents(), clips, front),
        name=found.root.resolve().name,
        notes=[f"windows of {window:g} s, one every {hop:g} s"],
        num_workers=asked.num_workers,
        most_bad=ANY,
    )
    source.columns = {"start": clips.first / rates, "end": (clips.first + clips.frames) / rates}
    return source


def stored_source(stored: Stored, asked: Asked) -> "ClipSource | _Stream":
    """Make a source of recordings in a store: cut, resampled and mixed down as those of a folder are.

    Of more than `MOST_HEADERS` only some are looked at before they are read: each is then one clip, of whatever length.
    """
    check_packages()
    number = len(stored.contents)
    if number < asked.min_samples:
        raise ValueError(
            f"data: {number or 'no'} recordings in {stored.name}, wanted at least {asked.min_samples} with the ending "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    looked_at = range(number) if number <= MOST_HEADERS else evenly_spaced(number, SOME_HEADERS)
    headers = read_headers(stored.contents, looked_at)
    front = settled(asked.front, _usual_rate(headers))
    clips = cut_files(headers, front.longest) if number <= MOST_HEADERS else whole_files(number)
    labels, groups = _of_clips(Told(stored.labels, stored.groups), clips, stored.contents)
    labels = choose_labels(asked.labels, labels, stored.reason, len(clips))
    notes = [*stored.notes, *_notes(headers, clips, front)]
    if number > MOST_HEADERS:
        notes.append(f"{SOME_HEADERS:,} of {number:,} recordings were looked at; none is cut, whatever its length")
    source = _opened(stored.contents, stored.name, clips, front, labels, notes, headers, asked)
    return with_groups(source, groups)


def read_headers(contents: Contents, positions: Sequence[int] | None = None) -> list[Header | None]:
    """Read the headers of recordings, None for one that cannot be read: it is counted as bad when its clip is read."""

    def header(position: int) -> Header | None:
        try:
            return read_header(contents.content(position))
        except Exception:  # of any kind: whoever reads the clip says which
            return None

    chosen = range(len(contents)) if positions is None else positions
    with ThreadPoolExecutor(HEADER_THREADS) as threads:
        return list(threads.map(header, chosen, chunksize=64))


def _place(root: Path, split: str) -> Path:
    splits = split_folders(root)
    if splits and split not in splits:
        raise unknown("split", split, splits)
    if not splits and split not in ("train", "labelled"):
        raise ValueError(f"split: got {split!r}, but {root} has no folders named train and test")
    return root / splits[split] if splits else root


def _walk(place: Path) -> Found:
    if place.is_file():
        return Found(place.parent, (place.name,))
    paths: list[str] = []
    others: Counter[str] = Counter()
    for folder, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(folder).relative_to(place).as_posix()
        for name in files:
            ending = PurePosixPath(name).suffix.lower()
            if name.startswith("."):
                continue
            if ending in SUFFIXES:
                paths.append(name if within == "." else f"{within}/{name}")
            elif name != FILE:
                others[ending or "no ending"] += 1
    return Found(place, tuple(sorted(paths)), others)


def _usual_rate(headers: Sequence[Header | None]) -> int:
    rates = Counter(header.rate for header in headers if header is not None)
    return max(rates, key=lambda rate: (rates[rate], rate)) if rates else LARGEST_AUTOMATIC_RATE


def _told(found: Found, place: Path) -> tuple[Told | None, str]:
    """What a table or the folders say of the files, and why nothing does."""
    if (told := told_by_metadata(found.root, found.paths)) is not None:
        return told, f"{FILE} has no column of labels"
    folders = [path.partition("/")[0] if "/" in path else "" for path in found.paths]
    names = set(folders)
    if "" in names:
        return None, f"recordings lie in {place} itself, not in folders named after classes; there is no {FILE}"
    if len(names) < 2 or len(folders) < 2 * len(names):
        return None, f"{place} has no first-level folders of two recordings and more that could be classes"
    return Told(labels_by_name(folders), None), ""


def _of_clips(told: Told | None, clips: Clips, contents: Contents) -> tuple[Labels, Groups | None]:
    files = torch.from_numpy(clips.files)
    labels = Labels() if told is None else told.labels
    if labels.values is not None:
        labels = Labels(labels.values[files], labels.class_names)
    if told is not None and told.groups is not None:
        return labels, Groups(told.groups.values[files], told.groups.names)
    if bool(clips.cut.any()):
        whole = as_groups([contents.describe(number) for number in range(len(contents))])
        return labels, Groups(whole.values[files], whole.names)
    return labels, None


def _opened(
    contents: Contents,
    name: str,
    clips: Clips,
    front: FrontEnd,
    labels: Labels,
    notes: Sequence[str],
    headers: Sequence[Header | None],
    asked: Asked,
) -> "ClipSource | _Stream":
    """Read all clips into memory where they fit, else each when it is asked for."""
    budget = memory_budget() if asked.memory_budget is None else asked.memory_budget
    samples = sum(length_at(one.frames, one.rate, front.sample_rate) for one in headers if one is not None)
    fits = 4 * samples * len(contents) <= budget * max(1, len(headers))  # all, or as some of them say
    stream = _Stream(
        ClipReader(contents, clips, front, whole=fits),
        name=name,
        labels=labels,
        notes=notes,
        reading={"front_end": as_options(front)},
        num_workers=asked.num_workers,
        most_bad=asked.most_bad,
    )
    return ClipSource(read_all(stream, asked.progress), front.window) if fits else stream


class _Stream(StreamSource):
    """A stream whose samples have groups."""

    groups: Tensor | None = None
    group_names: Sequence[str] = ()
    columns: Mapping[str, Any] = MappingProxyType({})


def _notes(headers: Sequence[Header | None], clips: Clips, front: FrontEnd) -> list[str]:
    """One sentence each on what is resampled, mixed down, cut and left out."""
    known = [header for header in headers if header is not None]
    notes = []
    rates = Counter(header.rate for header in known if header.rate != front.sample_rate)
    if rates:
        listed = ", ".join(f"{rate:,} Hz: {number:,}" for rate, number in rates.most_common(4))
        notes.append(
            f"{rates.total():,} of {len(headers):,} recordings are resampled to {front.sample_rate:,} Hz ({listed})"
        )
    if several := sum(header.channels > 1 for header in known):
        notes.append(f"{several:,} of {len(headers):,} recordings have several channels, which are averaged")
    if cut := len(set(clips.files[clips.cut].tolist())):
        notes.append(
            f"{cut:,} recordings longer than {front.longest:g} s are cut into equal parts: {len(clips):,} clips in all"
        )
    seconds = sorted(header.frames / header.rate for header in known)
    longer = sum(length > 1.02 * front.seconds for length in seconds)
    if longer:
        notes.append(
            f"{longer:,} of {len(headers):,} recordings are longer than the {front.seconds:g} s that the network sees: "
            "training takes any part of them, features and evaluation the middle; --modality-options seconds "
            f"{seconds[len(seconds) // 2]:.2g} is their median"
        )
    return notes


def _others_note(found: Found) -> list[str]:
    if not found.others:
        return []
    listed = ", ".join(f"{ending} ({number})" for ending, number in sorted(found.others.items()))
    return [f"files in {found.root} that are no recordings, left out, by ending: {listed}"]
