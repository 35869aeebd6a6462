"""The eight files of a Planetoid data set (Cora, Citeseer, PubMed): ind.NAME.x, y, tx, ty, allx, ally, graph and index.

The rows of test nodes stand in the order of test.index; ids that are missing there (15 in Citeseer) are nodes with no
features and no label. The public split: the first rows to fit on, the next 500 to choose on, test.index to test on.
"""

from pathlib import Path
from typing import Any

import numpy as np

from barlow.data.labels import UNKNOWN
from barlow.graphs.data.pickled import Rows, read_pickle

PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph")
NUM_VALIDATION = 500
"""Nodes behind the training nodes that choices are made on, by convention."""


def planetoid_files(folder: Path) -> list[Path]:
    """Return the eight files in a folder, its `raw`, or none."""
    for where in (folder / "raw", folder):
        for index in sorted(where.glob("ind.*.test.index")):
            name = index.name.removesuffix(".test.index")
            found = [*(where / f"{name}.{part}" for part in PARTS), index]
            if all(path.is_file() for path in found):
                return found
    return []


def read_planetoid(files: list[Path]) -> dict[str, np.ndarray]:
    """Return the arrays of the graph: features by row pointer, column and value, edges, labels and the public split."""
    parts = {path.name.rsplit(".", 1)[-1]: path for path in files[:-1]}
    x, tx, allx = (_rows(parts[name]) for name in ("x", "tx", "allx"))
    y, ty, ally = (_one_hot(parts[name]) for name in ("y", "ty", "ally"))
    index = np.loadtxt(files[-1], dtype=np.int64, ndmin=1)
    links = read_pickle(parts["graph"])
    first = allx._shape[0]
    if len(index) != tx._shape[0] or len(index) == 0 or index.min() < first:
        raise ValueError(
            f"data: {files[-1]} has {len(index)} test nodes, wanted the {tx._shape[0]} rows of tx from {first}"
        )
    number = max(int(index.max()) + 1, max(map(int, links), default=0) + 1)
    labels = np.full(number, UNKNOWN, dtype=np.int64)
    labels[:first], labels[index] = _classes(ally), _classes(ty)
    counts = np.zeros(number, dtype=np.int64)
    counts[:first], counts[index] = np.diff(allx.indptr), np.diff(tx.indptr)
    pointers = np.concatenate([[0], counts.cumsum()])
    columns, values = np.empty(pointers[-1], dtype=np.int64), np.empty(pointers[-1], dtype=np.float32)
    for matrix, rows in ((allx, np.arange(first)), (tx, index)):
        for place, row in enumerate(rows.tolist()):
            part = slice(int(matrix.indptr[place]), int(matrix.indptr[place + 1]))
            columns[pointers[row] : pointers[row + 1]] = matrix.indices[part]
            values[pointers[row] : pointers[row + 1]] = matrix.data[part]
    ends = [(int(node), int(other)) for node, others in links.items() for other in others]
    train = np.arange(len(y))
    if x._shape[0] != len(y):
        raise ValueError(f"data: {parts['x']} has {x._shape[0]} rows and {parts['y']} {len(y)}, wanted as many")
    return {
        "x_pointers": pointers, "x_columns": columns, "x_values": values,
        "x_shape": np.array([number, allx._shape[1]]),
        "edge_index": np.array(ends, dtype=np.int64).reshape(-1, 2).T,
        "y": labels,
        "train": train,
        "validation": np.arange(len(y), min(len(y) + NUM_VALIDATION, first)),
        "test": np.sort(index),
    }  # fmt: skip


def _rows(path: Path) -> Any:
    found = read_pickle(path)
    if not isinstance(found, Rows):
        raise ValueError(f"data: {path} holds a {type(found).__name__}, wanted a sparse matrix")
    return found


def _one_hot(path: Path) -> Any:
    found = read_pickle(path)
    if not (isinstance(found, np.ndarray) and found.ndim == 2):
        raise ValueError(f"data: {path} holds a {type(found).__name__}, wanted labels as rows of 0 and one 1")
    return found


def _classes(one_hot: np.ndarray) -> np.ndarray:
    """Return the class of each row, -1 for one of zeros."""
    return np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), UNKNOWN)
