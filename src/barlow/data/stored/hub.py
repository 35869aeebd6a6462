"""Data sets of Hugging Face: by name from the cache on this disk, a folder of `save_to_disk`, or an object.

An object that gives its samples one after the other (`IterableDataset`, streaming=True) has no order of ours and no
resume to the bit; it is refused with the call that keeps it as shards.
"""

import importlib
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barlow.data.groups import as_groups
from barlow.data.labels import UNLABELLED
from barlow.data.metadata import GROUP_COLUMNS
from barlow.data.stored.contents import Content, Stored, Wanted
from barlow.data.stored.labelled import LABEL_COLUMNS, chosen, of_column
from barlow.data.stored.parquet import sample_column
from barlow.errors import unknown

PREFIX = "hf:"
"""Before the name of a data set of the hub: hf:user/name, or hf:user/name:configuration."""
SAVED = ("dataset_dict.json", "state.json")
"""Files that tell a folder of `save_to_disk`: of several splits, and of one."""


@dataclass(frozen=True)
class HubContents:
    """Rows of a `datasets.Dataset` whose samples are not decoded; it maps its files, so a copy weighs little."""

    dataset: Any
    column: str
    name: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.dataset)

    def content(self, position: int) -> Content:
        """Return the bytes of one row, or the path of its file."""
        value = self.dataset[position][self.column]
        found = value if not isinstance(value, Mapping) else value.get("bytes") or value.get("path")
        if not isinstance(found, (bytes, str)):
            raise ValueError("the row has neither bytes nor a path")
        return found

    def describe(self, position: int) -> str:
        """Return the data set of one row, and its number in it."""
        return f"{self.name}#row={position}"


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in SAVED)


def hub(place: str, wanted: Wanted) -> Stored:
    """Open a data set by its name on the hub, "hf:user/name"; nothing is fetched unless that was asked for."""
    with _offline(not wanted.download):
        _datasets()
        try:
            found = _by_name(place)
        except Exception as error:  # of many classes, and all of them mean the same here
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            fetch = "" if wanted.download else "; --download fetches it"
            raise ValueError(f"data: {place!r} is not in the cache of this disk: {reason}{fetch}") from error
    return of_dataset(_of_split(found, wanted.split, place), place, wanted)


def saved(place: str, wanted: Wanted) -> Stored:
    """Open a folder that `save_to_disk` wrote."""
    try:
        found = _datasets().load_from_disk(place)
    except (FileNotFoundError, OSError, KeyError) as error:
        raise ValueError(f"data: {place} is no data set that can be read: {error}") from error
    return of_dataset(_of_split(found, wanted.split, place), place, wanted)


def _by_name(place: str) -> Any:
    """Load what a name stands for; where the library knows none of that name, from the files that were fetched.

    Files that `hf download` or `snapshot_download` fetched are in the cache as they are on the hub, which the library
    passes by without a network. A snapshot of which a part was fetched is read as far as it goes.
    """
    name, _, configuration = place.removeprefix(PREFIX).partition(":")
    try:
        return _datasets().load_dataset(name, configuration or None)
    except Exception:
        folder = _snapshot(name)
        if folder is None:
            raise
    return _datasets().load_dataset(str(folder), configuration or None)


def _snapshot(name: str) -> Path | None:
    """The folder of the files of a data set in the cache of the hub: those of its branch main; None: there is none."""
    cache = Path(importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE)
    folder = cache / f"datasets--{name.replace('/', '--')}"
    main = folder / "refs" / "main"
    found = folder / "snapshots" / main.read_text().strip() if main.is_file() else None
    return found if found is not None and found.is_dir() else None


def splits(place: str) -> tuple[str, ...]:
    """Return the splits of a folder of `save_to_disk`, or of a data set by name where that is in the cache."""
    if place.startswith(PREFIX):
        with _offline(True):
            try:
                found = _by_name(place)
            except ValueError as error:
                if "pip install" in str(error):
                    raise
                return ("train", "test")
            except Exception:  # not there yet; whoever loads it says so
                return ("train", "test")
    else:
        found = _datasets().load_from_disk(place)
    return tuple(_named(found))


def is_dataset(data: Any) -> bool:
    """Whether an object is a map-style data set of Hugging Face; the library is not loaded for it."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(data, library.Dataset)


def is_stream(data: Any) -> bool:
    """Whether an object is a data set of Hugging Face that gives its samples one after the other."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(data, (library.IterableDataset, library.IterableDatasetDict))


def of_dataset(dataset: Any, name: str, wanted: Wanted) -> Stored:
    """Return the samples of a map-style data set as they are stored; a transform that it has is left out."""
    plain = dataset.with_format(None)
    column = sample_column(plain.features.arrow_schema, wanted.columns, name)
    feature = plain.features[column]
    if hasattr(feature, "decode"):
        plain = plain.cast_column(column, type(feature)(decode=False))
    label, group = (chosen(plain.column_names, names) for names in (LABEL_COLUMNS, GROUP_COLUMNS))
    labels = UNLABELLED
    if label:
        names = getattr(plain.features[label], "names", None) or ()
        labels = of_column(_column(plain, label), tuple(names))
    groups = as_groups([str(one) for one in plain[group][:]]) if group else None
    shown = name.rstrip("/").rpartition("/")[2].removeprefix(PREFIX) or name
    return Stored(
        shown,
        HubContents(plain.select_columns([column]), column, name),
        labels,
        groups,
        f"there is no column {' or '.join(LABEL_COLUMNS)} of classes",
    )


def _column(dataset: Any, name: str) -> Any:
    """A column of Arrow, in the order of the rows."""
    return dataset.select_columns([name]).with_format("arrow")[:][name]


def _named(found: Any) -> dict[str, Any]:
    """Split -> data set; one without splits is "train", and a validation split is the test split too."""
    if not isinstance(found, Mapping):
        return {"train": found}
    named = {"val" if split == "validation" else split: one for split, one in found.items()}
    if "train" not in named and len(named) == 1:
        return {"train": next(iter(named.values()))}
    return named if "test" in named or "val" not in named else {**named, "test": named["val"]}


def _of_split(found: Any, split: str, place: str) -> Any:
    named = _named(found)
    split = "train" if split == "labelled" and split not in named else split
    if split not in named:
        raise unknown("split", split, named)
    return named[split]


@contextmanager
def _offline(yes: bool) -> Any:
    """Keep the library from the network while the block runs: its constants were read from the environment before."""
    settings = []
    for module, name in (("datasets.config", "HF_HUB_OFFLINE"), ("huggingface_hub.constants", "HF_HUB_OFFLINE")):
        if yes:
            _datasets()
            found = importlib.import_module(module)
            settings.append((found, name, getattr(found, name, False)))
            setattr(found, name, True)
    try:
        yield
    finally:
        for module_found, name, before in settings:
            setattr(module_found, name, before)


def _datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ValueError(
            'data: data sets of Hugging Face need its library; wanted: pip install "barlow[hub]"'
        ) from error
