"""Tables and lists of files: a .csv with a column of names, or a .txt with a path in each line.

Paths are relative to the folder of the table, whole, or addresses.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from barlow.data.groups import as_groups
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.metadata import GROUP_COLUMNS, LABEL_COLUMNS
from barlow.data.packed_paths import PackedPaths
from barlow.data.stored.contents import FileContents, Stored, Wanted
from barlow.data.stored.labelled import chosen, of_column
from barlow.data.stored.places import absolute, read_whole
from barlow.data.stored.splits import split_of
from barlow.errors import unknown

NAME_COLUMNS = ("file_name", "filename", "path", "file", "filepath", "image", "audio")
"""Columns of names of files, the first one that is there."""
SPLIT_COLUMN = "split"


def manifest(place: str, wanted: Wanted) -> Stored:
    """Open a table: file_name beside label, group (or speaker, patient, ...) and split, where it has those."""
    table = _table(place)
    name = chosen(table.column_names, NAME_COLUMNS)
    if not name:
        raise ValueError(f"data: {place} has the columns {', '.join(table.column_names)}, wanted one called "
                         f"{NAME_COLUMNS[0]}")  # fmt: skip
    table = table.filter(pa.array(_of_split(table, wanted.split)))
    label, group = (chosen(table.column_names, names) for names in (LABEL_COLUMNS, GROUP_COLUMNS))
    root, file = _parts(place)
    return Stored(
        file,
        FileContents(root, _packed(table[name])),
        _numbers_or_words(table[label]) if label else UNLABELLED,
        as_groups([one or "" for one in table[group].to_pylist()]) if group else None,
        f"{place} has no column {' or '.join(LABEL_COLUMNS)} of classes",
    )


def manifest_splits(place: str) -> tuple[str, ...]:
    """Return the splits of a table, ("train",) where it has no column of them."""
    table = _table(place)
    if SPLIT_COLUMN not in table.column_names:
        return ("train",)
    found = {split_of(word) or word for word in table[SPLIT_COLUMN].unique().to_pylist() if word}
    found |= {"test"} if "val" in found else set()
    return tuple(sorted(found, key=("train", "val", "test").index)) if found <= {"train", "val", "test"} else (
        tuple(sorted(found)))  # fmt: skip


def file_list(place: str, wanted: Wanted) -> Stored:
    """Open a list: a path in each line, or a path and the number of its class, as lists of ImageNet have them."""
    lines = [line.strip() for line in read_whole(place).decode("utf-8-sig", "surrogateescape").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if wanted.split not in ("train", "labelled"):
        raise unknown("split", wanted.split, ("train",))
    pairs = [_with_number(line, wanted.endings) for line in lines]
    root, file = _parts(place)
    if lines and all(number >= 0 for _, number in pairs):
        values = np.fromiter((number for _, number in pairs), dtype=np.int64, count=len(pairs))
        names = tuple(map(str, range(int(values.max()) + 1)))
        contents = FileContents(root, PackedPaths(path for path, _ in pairs))
        return Stored(file, contents, Labels(torch.from_numpy(values), names))
    return Stored(file, FileContents(root, PackedPaths(lines)), reason=f"the lines of {place} are paths alone")


def first_name(place: str) -> str:
    """Return the first path of a table or a list, "" for none."""
    if place.lower().endswith(".csv"):
        table = _table(place)
        name = chosen(table.column_names, NAME_COLUMNS)
        return str(table[name][0].as_py() or "") if name and len(table) else ""
    lines = read_whole(place)[: 1 << 16].decode("utf-8-sig", "replace").splitlines()
    line = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
    before, _, last = line.rpartition(" ")
    return before if last.isdigit() and "." in before else line


def _with_number(line: str, endings: frozenset[str]) -> tuple[str, int]:
    before, space, last = line.rpartition(" ")
    dot = before.rpartition(".")[2].lower()
    if space and last.isascii() and last.isdigit() and f".{dot}" in endings:
        return before.rstrip(), int(last)
    return line, -1


def _table(place: str) -> Any:
    try:
        content = io.BytesIO(read_whole(place).removeprefix(b"\xef\xbb\xbf"))
        names = pa.csv.open_csv(content).schema.names
        content.seek(0)
        options = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        return pa.csv.read_csv(content, convert_options=options, parse_options=pa.csv.ParseOptions(
            newlines_in_values=True))  # fmt: skip
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"data: {place} cannot be read as a table: {error}") from error


def _of_split(table: Any, split: str) -> Sequence[bool]:
    if SPLIT_COLUMN not in table.column_names:
        if split not in ("train", "labelled"):
            raise unknown("split", split, ("train",))
        return [True] * len(table)
    split = "train" if split == "labelled" else split
    found = [split_of(word) or word for word in table[SPLIT_COLUMN].to_pylist()]
    if split == "test" and "test" not in found and "val" in found:
        split = "val"
    if split not in found:
        raise unknown("split", split, sorted(set(found)))
    return [one == split for one in found]


def _numbers_or_words(column: Any) -> Labels:
    try:
        numbers = pa.array([None if word == "" else int(word) for word in column.unique().to_pylist()])
    except ValueError:
        return of_column(column)
    if not len(numbers) or numbers.type == pa.null():
        return UNLABELLED
    return of_column(pa.array([None if word == "" else int(word) for word in column.to_pylist()], pa.int64()))


def _packed(column: Any) -> PackedPaths:
    """Names of Arrow as they lie there, without a string for each."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = pa.array(column.cast(pa.large_string())) if len(column) else pa.array([], pa.large_string())
    if column.null_count:
        column = column.fill_null("")
    column = pa.concat_arrays([column])
    ends = np.frombuffer(column.buffers()[1], dtype=np.int64, count=column.offset + len(column) + 1)[column.offset :]
    text = bytes(column.buffers()[2])[int(ends[0]) : int(ends[-1])] if column.buffers()[2] is not None else b""
    return PackedPaths.of(text, ends - ends[0])


def _parts(place: str) -> tuple[str, str]:
    root, _, file = absolute(place).rpartition("/")
    return root, file
