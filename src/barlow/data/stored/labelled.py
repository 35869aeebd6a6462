"""Labels of stored samples: from a column of a table, or from the folders in their names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from barlow.data.labels import UNKNOWN, UNLABELLED, Labels, as_labels
from barlow.data.metadata import LABEL_COLUMNS as LABEL_COLUMNS
from barlow.data.packed_paths import PackedPaths


def by_folder(names: PackedPaths) -> Labels | None:
    """Return the first folder in which names differ as a class; None where some are in none, or classes are single."""
    if not len(names):
        return None
    depth, first = 0, names[0].split("/")[:-1]
    last = names[len(names) - 1].split("/")[:-1]
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    places: dict[str, int] = {}
    values = np.empty(len(names), dtype=np.int64)
    for position, name in enumerate(names):
        parts = name.split("/", depth + 1)
        if len(parts) <= depth + 1:
            return None
        values[position] = places.setdefault(parts[depth], len(places))
    if len(places) < 2 or len(names) < 2 * len(places):
        return None
    ordered = sorted(places)
    number = np.empty(len(places), dtype=np.int64)
    number[[places[name] for name in ordered]] = np.arange(len(ordered))
    return Labels(torch.from_numpy(number[values]), tuple(ordered))


def of_column(column: Any, class_names: Sequence[str] = ()) -> Labels:
    """Return the labels of a column of Arrow, numbers or text; what is missing has none, and what can be no label too.

    Text that says nothing (as many values as rows) gives none.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_integer(column.type):
        values = column.cast(pa.int64()).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        try:
            return as_labels(values, len(values), class_names)
        except ValueError:
            return UNLABELLED
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return UNLABELLED
    encoded = column.dictionary_encode()
    words = [str(word) for word in encoded.dictionary.to_pylist()]
    known = sorted(word for word in words if word)
    if not known or (len(known) > 1 and len(known) == len(column)):
        return UNLABELLED
    place = {word: number for number, word in enumerate(known)}
    codes = np.array([place.get(word, UNKNOWN) for word in words] + [UNKNOWN], dtype=np.int64)
    indices = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    return Labels(torch.from_numpy(codes[indices]), tuple(known))


def chosen(columns: Sequence[str], wanted: Sequence[str]) -> str:
    """Return the first of the wanted columns that is there, "" for none."""
    return next((name for name in wanted if name in columns), "")
