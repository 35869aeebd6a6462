"""WebDataset shards: tar archives in which the files of one sample stand together and share the name before the dot.

Their headers are read once and kept in a cache (`index_cache.py`); from then on any sample is one read at its place, so
shards are read in any order, and a run goes on as with a folder.
"""

import json
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from barlow.data.labels import UNKNOWN, UNLABELLED, Labels, as_labels
from barlow.data.name_pattern import labels_by_name
from barlow.data.packed_paths import PackedPaths
from barlow.data.stored.contents import Stored, Wanted
from barlow.data.stored.index_cache import kept
from barlow.data.stored.labelled import LABEL_COLUMNS, by_folder
from barlow.data.stored.places import forget_open, is_address, open_file, read_part, read_whole, size_and_time
from barlow.data.stored.splits import name_of, of_split
from barlow.data.stored.tar import Member, members

CLASS_NAMES = ("classnames.txt", "classes.txt")
"""Files beside shards with the name of a class in each line, in the order of their numbers."""


@dataclass(frozen=True)
class TarContents:
    """Samples in tar archives.

    Attributes:
        shards: the archives.
        starts: (shards + 1,) which sample is the first of each.
        names: of the members, within their archives.
        offsets, sizes: (n,) where each begins, and its bytes.
    """

    shards: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    names: PackedPaths
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[Any]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.offsets)

    def content(self, position: int) -> bytes:
        """Return the bytes of one sample."""
        return read_part(self._shard(position), int(self.offsets[position]), int(self.sizes[position]))

    def describe(self, position: int) -> str:
        """Return archive and member of one sample, as a path through the archive."""
        return f"{self._shard(position)}/{self.names[position]}"

    def _shard(self, position: int) -> str:
        return self.shards[int(np.searchsorted(self.starts, position, side="right")) - 1]


def shards(places: Sequence[str], wanted: Wanted) -> Stored:
    """Open tar archives of one split; classes come from .cls or .json members, else from the folders inside."""
    chosen = of_split(places, wanted.split)
    forget_open()  # an archive may have been written anew
    index = kept(
        "shards",
        [(place, *size_and_time(place)) for place in chosen],
        [sorted(wanted.endings)],
        partial(_index, chosen, wanted.endings),
    )
    names = PackedPaths.of(index["names"].tobytes(), index["ends"])
    contents = TarContents(tuple(chosen), index["starts"], names, index["offsets"], index["sizes"])
    labels, reason = _labels(index, names, chosen)
    broken = [f"{chosen[number]} breaks off: what lies behind is left out" for number in index["broken"].tolist()]
    return Stored(name_of(places), contents, labels, reason=reason, notes=broken)


def first_sample(places: Sequence[str]) -> str:
    """Return the name of the first file in the first archive that is no label; "" where there is none."""
    with _reading(places[0]) as read:
        for member in members(read):
            if not member.name.endswith((".cls", ".json", ".txt")) and not _is_hidden(member.name):
                return member.name
    return ""


def _index(places: Sequence[str], endings: frozenset[str]) -> dict[str, npt.NDArray[Any]]:
    """Read the headers of all archives, by this process alone: others would take longer to start, up to millions."""
    found = [_index_one(place, tuple(sorted(endings))) for place in places]
    names = PackedPaths.joined([PackedPaths.of(each["names"].tobytes(), each["ends"]) for each in found])
    arrays = {key: np.concatenate([each.pop(key) for each in found]) for key in ("offsets", "sizes", "numbers")}
    labels = PackedPaths.joined([PackedPaths.of(each["words"].tobytes(), each["word_ends"]) for each in found])
    return arrays | {
        "starts": np.cumsum([0, *(len(each["ends"]) - 1 for each in found)]),
        "names": np.frombuffer(names.text, dtype=np.uint8),
        "ends": names.ends,
        "broken": np.array([number for number, each in enumerate(found) if each["broken"]], dtype=np.int64),
        "words": np.frombuffer(labels.text, dtype=np.uint8),
        "word_ends": labels.ends,
    }


NO_NUMBER = -2
"""In the place of a label that is no number: its word stands beside."""


def _index_one(place: str, endings: tuple[str, ...]) -> dict[str, Any]:
    names, offsets, sizes, numbers, words = [], [], [], [], []
    broken = False
    with _reading(place) as read:
        try:
            for name, start, size, label in _samples(read, endings):
                number = int(label) if label.isascii() and label.isdigit() else UNKNOWN if not label else NO_NUMBER
                names.append(name)
                offsets.append(start)
                sizes.append(size)
                numbers.append(number)
                words += [label] if number == NO_NUMBER else []
        except ValueError:
            broken = True
    if broken and not names:
        raise ValueError(f"data: {place} is no tar archive that can be read")
    packed, said = PackedPaths(names), PackedPaths(words)
    large = max(sizes, default=0) >= 1 << 32
    return {
        "offsets": np.array(offsets, dtype=np.int64),
        "sizes": np.array(sizes, dtype=np.int64 if large else np.uint32),
        "numbers": np.array(numbers, dtype=np.int64 if max(numbers, default=0) >= 1 << 31 else np.int32),
        "names": np.frombuffer(packed.text, dtype=np.uint8),
        "ends": packed.ends,
        "words": np.frombuffer(said.text, dtype=np.uint8),
        "word_ends": said.ends,
        "broken": broken,
    }


def _samples(read: Callable[[int, int], bytes], endings: tuple[str, ...]) -> Iterator[tuple[str, int, int, str]]:
    """Yield (name, start, size, label) of each sample: neighbours that share the name before its first dot.

    ValueError, behind what came before, where an archive breaks off.
    """
    wanted, of_sample, key = frozenset(endings), list[Member](), ""
    broken: ValueError | None = None
    try:
        for member in members(read):
            folder, slash, file = member.name.rpartition("/")
            stem = file.partition(".")[0]
            if not stem or _is_hidden(member.name):
                continue
            if (this := folder + slash + stem) != key:
                yield from _sample(of_sample, read, wanted)
                key, of_sample = this, []
            of_sample.append(member)
    except ValueError as error:
        broken = error
    yield from _sample(of_sample, read, wanted)
    if broken is not None:
        raise broken


def _sample(
    of_sample: Sequence[Member], read: Callable[[int, int], bytes], wanted: frozenset[str]
) -> Iterator[tuple[str, int, int, str]]:
    """The sample of some neighbours, if they hold one: "a.jpg" rather than "a.mask.jpg", wherever it stands."""
    found, plain, label = None, False, ""
    for member in of_sample:
        _, dot, ending = member.name.rpartition("/")[2].partition(".")
        ending = (dot + ending).lower()
        if ending in wanted:
            found, plain = (found, plain) if plain else (member, True)
        elif ending == ".cls":
            label = read(member.start, member.size).decode("utf-8", "replace").strip()
        elif ending == ".json":
            label = label or _of_json(read(member.start, member.size))
        elif found is None and dot + ending.rpartition(".")[2] in wanted:
            found = member
    if found is not None:
        yield found.name, found.start, found.size, label


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".") or name.startswith("__MACOSX/")


def _of_json(content: bytes) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    label = next((found[key] for key in LABEL_COLUMNS if key in found), "") if isinstance(found, dict) else ""
    return str(label) if isinstance(label, (str, int)) and not isinstance(label, bool) else ""


def _labels(index: Mapping[str, npt.NDArray[Any]], names: PackedPaths, places: Sequence[str]) -> tuple[Labels, str]:
    numbers = index["numbers"]
    if len(index["word_ends"]) > 1:
        words = iter(PackedPaths.of(index["words"].tobytes(), index["word_ends"]))
        text = [next(words) if number == NO_NUMBER else "" if number == UNKNOWN else str(number)
                for number in numbers.tolist()]  # fmt: skip
        return labels_by_name(text), ""
    if bool((numbers != UNKNOWN).any()):
        called = _class_names(places[0])
        return as_labels(numbers, len(numbers), called if len(called) > int(numbers.max()) else ()), ""
    found = by_folder(names)
    return (UNLABELLED, f"{name_of(places)} has no .cls members, and no folders of classes") if found is None else (
        found, "")  # fmt: skip


def _class_names(place: str) -> list[str]:
    folder = place.rpartition("/")[0]
    for name in CLASS_NAMES if not is_address(place) else ():
        if (path := Path(folder) / name).is_file():
            return read_whole(str(path)).decode("utf-8", "replace").split("\n")[:-1]
    return []


@contextmanager
def _reading(place: str) -> Iterator[Callable[[int, int], bytes]]:
    """Give (start, size) -> bytes of an archive that is gone through from its beginning."""
    with open_file(place) as file:
        if not is_address(place) and size_and_time(place)[0]:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield lambda start, size: mapped[start : start + size]
            return

        def read(start: int, size: int) -> bytes:
            file.seek(start)
            content: bytes = file.read(size)
            return content

        yield read
