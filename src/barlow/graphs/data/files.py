"""Graphs in files, read into plain arrays: .npz, WikiCS, ogbn-arxiv, and folders of many graphs (TUDataset)."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

SPARSE_KEYS = ("data", "indices", "indptr", "shape")
MOST_DEGREES = 32
"""Columns of one-hot degrees, for graphs whose nodes have no features; larger degrees share the last one."""


def is_graph_archive(path: Path) -> bool:
    """Whether an .npz file holds edges; only the names in it are looked at."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "edge_index" in archive.files or "adj_indptr" in archive.files
    except (OSError, ValueError):
        return False


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz with a graph.

    `x` (n, F) or its CSR parts x_data, x_indices, x_indptr and x_shape; `edge_index` (2, E); and where they are there
    `y` (n,) and train_mask, val_mask, test_mask, (n,) or (n, number of splits). Also the form of the Amazon and
    Coauthor files: adj_* and attr_* as CSR parts, `labels`.
    """
    with np.load(path, allow_pickle=False) as archive:
        names = set(archive.files)

        def take(name: str, wanted: str) -> np.ndarray:
            if name not in names:
                raise ValueError(f"data: {path} has no {name!r}, wanted {wanted}; it has {', '.join(sorted(names))}")
            try:
                return np.asarray(archive[name])
            except ValueError as error:
                raise ValueError(f"data: {name!r} in {path} is an array of objects, wanted numbers") from error

        found: dict[str, np.ndarray] = {}
        attributes = "x" if "x_indptr" in names else "attr"
        if "x" in names:
            found["x"] = take("x", "features (n, F)")
        elif f"{attributes}_indptr" in names:
            parts = {key: take(f"{attributes}_{key}", "the CSR parts of the features") for key in SPARSE_KEYS}
            found |= {"x_pointers": parts["indptr"], "x_columns": parts["indices"], "x_values": parts["data"]}
            found["x_shape"] = parts["shape"]
        elif "attr_matrix" in names:
            found["x"] = take("attr_matrix", "features")
        else:
            take("x", "features (n, F), or their CSR parts")
        if "edge_index" in names:
            found["edge_index"] = take("edge_index", "edges (2, E)")
        else:
            pointers, ends = take("adj_indptr", "edges"), take("adj_indices", "edges")
            found["edge_index"] = np.stack([np.repeat(np.arange(len(pointers) - 1), np.diff(pointers)), ends])
        for name, ours in (("y", "y"), ("labels", "y"), ("train_mask", "train_mask"), ("val_mask", "val_mask"),
                           ("validation_mask", "val_mask"), ("test_mask", "test_mask")):  # fmt: skip
            if name in names and ours not in found:
                found[ours] = take(name, "an array")
    return found


def read_wikics(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of WikiCS's data.json: 20 splits to fit and choose on, and one test part."""
    with path.open(encoding="utf-8") as file:
        content = json.load(file)
    ends = [(source, target) for source, targets in enumerate(content["links"]) for target in targets]
    stopping = np.array(content["stopping_masks"]).T | np.array(content["val_masks"]).T
    return {
        "x": np.array(content["features"], dtype=np.float32),
        "edge_index": np.array(ends, dtype=np.int64).T,
        "y": np.array(content["labels"]),
        "train_mask": np.array(content["train_masks"]).T,
        "val_mask": stopping,
        "test_mask": np.array(content["test_mask"]),
    }


def read_arxiv(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of ogbn-arxiv as its authors publish them: gzipped tables in raw/, its split by year."""
    raw, split = folder / "raw", folder / "split" / "time"
    found: dict[str, np.ndarray] = {
        "x": _table(raw / "node-feat.csv.gz", np.float32),
        "edge_index": _table(raw / "edge.csv.gz", np.int64).T,
        "y": _table(raw / "node-label.csv.gz", np.int64)[:, 0],
    }
    for name, ours in (("train", "train"), ("valid", "validation"), ("test", "test")):
        found[ours] = _table(split / f"{name}.csv.gz", np.int64)[:, 0]
    return found


def _table(path: Path, kind: Any) -> np.ndarray:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return np.loadtxt(file, delimiter=",", dtype=kind, ndmin=2)


def tu_name(folder: Path) -> tuple[Path, str] | None:
    """Return where the files of a TUDataset folder lie and how they begin: NAME_A.txt; None where there are none."""
    for where in (folder / "raw", folder):
        for path in sorted(where.glob("*_A.txt")):
            name = path.name.removesuffix("_A.txt")
            if (where / f"{name}_graph_indicator.txt").is_file():
                return where, name
    return None


def read_tu(where: Path, name: str) -> tuple[list[dict[str, np.ndarray]], np.ndarray | None]:
    """Return each graph's `x` and `edge_index`, and the classes of the graphs.

    Features are the attributes beside one-hot node labels; without either, one-hot degrees.
    """

    def lines(part: str, kind: Any) -> np.ndarray | None:
        path = where / f"{name}_{part}.txt"
        return np.loadtxt(path, delimiter=",", dtype=kind, ndmin=2) if path.is_file() else None

    edges, owners = lines("A", np.int64), lines("graph_indicator", np.int64)
    assert edges is not None
    assert owners is not None
    owner, edges = owners[:, 0] - 1, edges.reshape(-1, 2) - 1
    number = len(owner)
    if edges.size and (edges.min() < 0 or edges.max() >= number):
        raise ValueError(f"data: {name}_A.txt names node {int(edges.max()) + 1}, but there are {number} nodes")
    if (np.diff(owner) < 0).any():
        raise ValueError(f"data: {name}_graph_indicator.txt is not in order, wanted the nodes of each graph together")
    columns = []
    if (attributes := lines("node_attributes", np.float32)) is not None:
        columns.append(attributes)
    if (kinds := lines("node_labels", np.int64)) is not None:
        _, place = np.unique(kinds[:, 0], return_inverse=True)
        columns.append(np.eye(int(place.max()) + 1, dtype=np.float32)[place])
    if not columns:
        degree = np.minimum(np.bincount(edges[:, 1], minlength=number), MOST_DEGREES - 1)
        columns.append(np.eye(MOST_DEGREES, dtype=np.float32)[degree])
    x = np.concatenate(columns, axis=1)
    starts = np.searchsorted(owner, np.arange(int(owner.max()) + 2))
    by_graph = owner[edges[:, 1]].argsort(kind="stable") if edges.size else np.array([], dtype=np.int64)
    bounds = np.searchsorted(owner[edges[by_graph, 1]], np.arange(len(starts)))
    graphs = []
    for k in range(len(starts) - 1):
        own = edges[by_graph[bounds[k] : bounds[k + 1]]] - starts[k]
        graphs.append({"x": x[starts[k] : starts[k + 1]], "edge_index": own.T})
    classes = lines("graph_labels", np.int64)
    return graphs, None if classes is None else np.unique(classes[:, 0], return_inverse=True)[1]
