"""Parquet files with a column of images or recordings: bytes, or a struct of bytes and path as Hugging Face writes it.

A sample comes with the whole row group that it is in, and the last few of those are kept. In random order over more
than those hold, a sample costs its row group: a note says how many bytes that is.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from barlow.data.groups import Groups, as_groups
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.metadata import GROUP_COLUMNS
from barlow.data.stored.contents import Stored, Wanted
from barlow.data.stored.labelled import LABEL_COLUMNS, chosen, of_column
from barlow.data.stored.places import is_address, open_file
from barlow.data.stored.splits import name_of, of_split

KEPT_BYTES = 1 << 28
"""Bytes of row groups that a process keeps."""
LARGE_GROUP = 1 << 22
"""Bytes of a row group from which a note says what reading in random order costs."""


@dataclass(frozen=True)
class ParquetContents:
    """Rows of Parquet files.

    Attributes:
        files: the files.
        starts: (row groups + 1,) which row is the first of each row group of all files.
        groups: (row groups, 2) number of the file, and of the row group in it.
        column: the column of the samples.
    """

    files: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    column: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    def content(self, position: int) -> bytes:
        """Return the bytes of one row."""
        number, row = self._place(position)
        file, group = self.groups[number].tolist()
        return bytes_of(_row_group(self.files[file], group, self.column)[row].as_py())

    def describe(self, position: int) -> str:
        """Return the file of one row, and its number in it."""
        number, row = self._place(position)
        file = int(self.groups[number, 0])
        first = int(np.searchsorted(self.groups[:, 0], file))
        return f"{self.files[file]}#row={int(self.starts[number]) - int(self.starts[first]) + row}"

    def _place(self, position: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return number, position - int(self.starts[number])


def parquet(places: Sequence[str], wanted: Wanted) -> Stored:
    """Open Parquet files of one split, which have the same columns."""
    files = of_split(places, wanted.split)
    opened = [_open(file) for file in files]
    column = sample_column(opened[0].schema_arrow, wanted.columns, files[0])
    rows, groups = [], []
    for number, file in enumerate(opened):
        for group in range(file.num_row_groups):
            rows.append(file.metadata.row_group(group).num_rows)
            groups.append((number, group))
    contents = ParquetContents(
        tuple(files), np.cumsum([0, *rows]), np.array(groups, dtype=np.int64).reshape(-1, 2), column
    )
    schema = opened[0].schema_arrow
    labels, reason = _labels(opened, schema)
    largest = max((_size(file, column) for file in opened), default=0)
    notes = [] if largest < LARGE_GROUP else [
        f"{name_of(places)} has row groups of up to {largest / 1e6:,.0f} MB, and a sample in random order costs one: "
        "write smaller row groups, or shards by barlow.write_shards"
    ]  # fmt: skip
    return Stored(name_of(places), contents, labels, _groups(opened, schema), reason, notes)


def sample_column(schema: pa.Schema, wanted: Sequence[str], place: str) -> str:
    """Return the column that holds samples: of a type of Hugging Face, of a wanted name, or the only one of bytes."""
    kinds = features_of(schema)
    columns = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
    typed = [name for name in columns if kinds.get(name, {}).get("_type") in ("Image", "Audio")]
    found = chosen(typed, wanted) or chosen(columns, wanted) or (typed or columns or [""])[0]
    others = [name for name in columns if name != found]
    if not found or (others and not typed and found not in wanted):
        has = ", ".join(schema.names)
        raise ValueError(
            f"data: {place} has the columns {has}, wanted one of bytes, or of bytes and path, called "
            f"{' or '.join(wanted)}"
        )
    return found


def features_of(schema: pa.Schema) -> Mapping[str, Mapping[str, Any]]:
    """Return what Hugging Face's metadata say of the columns, by name."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        found = about["info"]["features"]
        return {name: one for name, one in found.items() if isinstance(one, Mapping)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def bytes_of(value: Any) -> bytes:
    """Return the bytes of a cell; ValueError for one that has none."""
    found = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(found, bytes):
        raise ValueError("the row has no bytes")
    return found


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(
            kind.field(at).name == "bytes" and _holds_bytes(kind.field(at).type) for at in range(kind.num_fields)
        )
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _labels(opened: Sequence[Any], schema: pa.Schema) -> tuple[Labels, str]:
    name = chosen(schema.names, LABEL_COLUMNS)
    if not name:
        return UNLABELLED, f"there is no column {' or '.join(LABEL_COLUMNS)}"
    column = pa.chunked_array([chunk for file in opened for chunk in file.read(columns=[name])[name].chunks])
    names = features_of(schema).get(name, {}).get("names") or ()
    return of_column(column, tuple(map(str, names))), f"the column {name} holds no classes"


def _groups(opened: Sequence[Any], schema: pa.Schema) -> Groups | None:
    name = chosen(schema.names, GROUP_COLUMNS)
    if not name:
        return None
    return as_groups([str(one) for file in opened for one in file.read(columns=[name])[name].to_pylist()])


def _size(file: Any, column: str) -> int:
    found = 0
    for group in range(min(file.num_row_groups, 8)):
        about = file.metadata.row_group(group)
        parts = [about.column(at) for at in range(about.num_columns)]
        found = max(found, sum(one.total_compressed_size for one in parts
                               if one.path_in_schema.partition(".")[0] == column))  # fmt: skip
    return found


def _open(place: str) -> Any:
    try:
        return pq.ParquetFile(open_file(place) if is_address(place) else place)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"data: {place} is no Parquet file that can be read: {error}") from error


_KEPT: "OrderedDict[tuple[str, int, str], Any]" = OrderedDict()


def _row_group(place: str, group: int, column: str) -> Any:
    key = (place, group, column)
    if key in _KEPT:
        _KEPT.move_to_end(key)
        return _KEPT[key]
    with _open(place) as file:
        found = file.read_row_group(group, columns=[column], use_threads=False)[column].combine_chunks()
    _KEPT[key] = found
    while len(_KEPT) > 1 and sum(one.nbytes for one in _KEPT.values()) > KEPT_BYTES:
        _KEPT.popitem(last=False)
    return found


def forget_kept() -> None:
    """Forget the row groups that are kept, before other files take their names."""
    _KEPT.clear()
