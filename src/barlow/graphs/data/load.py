"""Where a name, a path or an object becomes nodes of a graph, or many graphs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from barlow.data import parts as own_parts
from barlow.data.bad_samples import MOST_BAD
from barlow.data.labels import UNLABELLED, LabelChoice, Labels, as_labels, choose_labels
from barlow.errors import did_you_mean
from barlow.graphs.data.files import is_graph_archive, read_archive, read_arxiv, read_tu, read_wikics, tu_name
from barlow.graphs.data.graph import Graph, features_of, normalised_rows, tidy
from barlow.graphs.data.planetoid import planetoid_files, read_planetoid
from barlow.graphs.data.source import GraphSource, NodeSource
from barlow.graphs.data.sparse import SparseMatrix
from barlow.seams import Source

PLACES: Mapping[str, tuple[str, ...]] = {
    "cora": ("Planetoid/Cora", "Cora", "cora"),
    "citeseer": ("Planetoid/CiteSeer", "Planetoid/Citeseer", "CiteSeer", "Citeseer", "citeseer"),
    "pubmed": ("Planetoid/PubMed", "Planetoid/Pubmed", "PubMed", "Pubmed", "pubmed"),
    "wikics": ("WikiCS/raw/data.json", "wikics/raw/data.json", "raw/data.json"),
    "amazon-computers": ("Amazon/Computers/raw/amazon_electronics_computers.npz",
                         "Computers/raw/amazon_electronics_computers.npz", "amazon_electronics_computers.npz"),
    "amazon-photo": ("Amazon/Photo/raw/amazon_electronics_photo.npz", "Photo/raw/amazon_electronics_photo.npz",
                     "amazon_electronics_photo.npz"),
    "coauthor-cs": ("Coauthor/CS/raw/ms_academic_cs.npz", "CS/raw/ms_academic_cs.npz", "ms_academic_cs.npz"),
    "coauthor-physics": ("Coauthor/Physics/raw/ms_academic_phy.npz", "Physics/raw/ms_academic_phy.npz",
                         "ms_academic_phy.npz"),
    "ogbn-arxiv": ("ogbn_arxiv", "ogbn-arxiv", "arxiv"),
}  # fmt: skip
"""Data sets by name, and where below `data_root` their files may lie: as their authors or PyG keep them."""
DIRECTIONS = ("both", "kept")
NORMALISATIONS = ("rows", "none")
SAMPLED_FROM = 30_000
"""Nodes from which neighbours are sampled where nobody says otherwise; below, a step takes the whole graph."""


@dataclass(frozen=True)
class Reading:
    """How graphs are read; kept with the run, whose other graphs are read so again.

    Attributes:
        normalise: "rows" divides the features of a node by their sum, "none" leaves them.
        direction: "both" adds the opposite of every edge, "kept" leaves directed ones.
    """

    normalise: str = "rows"
    direction: str = "both"


def load_graph(
    data: Any,
    *,
    labels: LabelChoice = "auto",
    data_root: str | Path | None = None,
    normalise: str = "rows",
    direction: str = "both",
    fanout: tuple[int, ...] = (),
    most_bad: float = MOST_BAD,
) -> NodeSource | GraphSource:
    """Turn a name, a path or an object into nodes of a graph, or many graphs.

    Args:
        data: a name of `PLACES`; a folder with the raw files of Planetoid or of a TUDataset; an .npz with `edge_index`
            and `x`; PyG's `Data` or several; (x, edge_index), a tensor or array (n, F) and one (2, E).
        labels: "auto" (what the data carry), "required", "none", or one per sample, -1 for none.
        data_root: folder with the data sets of `PLACES`.
        normalise: "rows" (the papers) divides features by the sum of their row, "none" leaves them.
        direction: "both" adds the opposite of every edge (the papers), "kept" leaves directed ones.
        fanout: neighbours of a node at each step, in batches that are learnt from; empty: the whole graph.
        most_bad: share of samples whose features may be NaN or infinite.

    Returns:
        The source; `notes` say what was done to it, `parts` is its own split.

    Raises:
        ValueError: no data of that name, or no graph; says what came and what was wanted.
    """
    for name, value, choices in (("normalise", normalise, NORMALISATIONS), ("direction", direction, DIRECTIONS)):
        if value not in choices:
            raise ValueError(f"{name}: got {value!r}, wanted {' or '.join(choices)}{did_you_mean(value, choices)}")
    how = Reading(normalise, direction)
    if isinstance(data, (str, Path)):
        found, name = _from_place(_place(data, data_root)), _title(data)
    else:
        found, name = _from_object(data), type(data).__name__.lower()
    if isinstance(found, list):
        source: NodeSource | GraphSource = _graph_source(found, name, labels, how, most_bad)
    else:
        source = _node_source(found, name, labels, how, fanout, most_bad)
    source.reading = {"normalise": normalise, "direction": direction}
    return source


def looks_like_graph(data: Any) -> bool:
    """Whether this is one graph, whose nodes are the samples."""
    if isinstance(data, (str, Path)):
        return str(data) in PLACES or (
            not isinstance(kind := _kind(Path(data).expanduser()), type(None)) and kind != "tu"
        )
    if isinstance(data, NodeSource):
        return True
    if (
        isinstance(data, (tuple, list))
        and len(data) == 2
        and all(isinstance(one, (Tensor, np.ndarray)) for one in data)
    ):
        x, edges = data
        return x.ndim == 2 and edges.ndim == 2 and edges.shape[0] == 2 and "int" in str(edges.dtype)
    return _is_data(data) or (_is_pyg_dataset(data) and len(data) == 1)


def looks_like_graphs(data: Any) -> bool:
    """Whether these are many graphs, each a sample."""
    if isinstance(data, (str, Path)):
        return str(data) not in PLACES and _kind(Path(data).expanduser()) == "tu"
    if isinstance(data, GraphSource):
        return True
    if isinstance(data, (tuple, list)):
        return len(data) > 0 and all(_is_data(one) for one in data)
    return _is_pyg_dataset(data) and len(data) > 1


def _is_data(one: Any) -> bool:
    """Whether this is PyG's `Data`, or anything with its two attributes."""
    return not isinstance(one, (Source, type)) and hasattr(one, "edge_index") and hasattr(one, "x")


def _is_pyg_dataset(data: Any) -> bool:
    names = {kind.__module__.split(".")[0] for kind in type(data).__mro__}
    return (
        "torch_geometric" in names and hasattr(data, "__len__") and hasattr(data, "__getitem__") and not _is_data(data)
    )


def _kind(path: Path) -> str | None:
    """Return which kind of file or folder this is; None for one that holds no graph."""
    if path.is_file():
        if path.suffix.lower() == ".npz" and is_graph_archive(path):
            return "archive"
        return "wikics" if path.name == "data.json" else None
    if not path.is_dir():
        return None
    if planetoid_files(path):
        return "planetoid"
    if tu_name(path):
        return "tu"
    return "arxiv" if (path / "raw" / "node-feat.csv.gz").is_file() else None


def _place(data: str | Path, data_root: str | Path | None) -> Path:
    """Return the path of a name, or of what is none."""
    if str(data) not in PLACES:
        path = Path(data).expanduser()
        if _kind(path) is None:
            hint = did_you_mean(str(data).lower().replace("_", "-"), PLACES)
            what = "holds no graph" if path.exists() else "is not there"
            raise ValueError(
                f"data: {path} {what}, wanted the raw files of Planetoid or of a TUDataset, an .npz with edge_index "
                f"and x, or one of the names {', '.join(PLACES)}{hint}"
            )
        return path
    if data_root is None:
        raise ValueError(
            f"data_root: {data} is read from a folder, wanted --data-root FOLDER with {PLACES[str(data)][0]}"
        )
    root = Path(data_root).expanduser()
    candidates = [root / place for place in PLACES[str(data)]]
    for path in candidates:
        if _kind(path) is not None:
            return path
    raise ValueError(
        f"data_root: {root} has no {data}; looked for {', '.join(PLACES[str(data)])}, as PyG or its authors keep it"
    )


def _title(data: str | Path) -> str:
    path = Path(data).expanduser()
    return str(data) if str(data) in PLACES else (path.parent.name if path.name == "raw" else path.name)


def _from_place(path: Path) -> dict[str, Any] | list[dict[str, Any]]:
    match _kind(path):
        case "archive":
            return read_archive(path)
        case "wikics":
            return read_wikics(path)
        case "planetoid":
            return read_planetoid(planetoid_files(path))
        case "arxiv":
            return read_arxiv(path)
    where = tu_name(path)
    assert where is not None
    graphs, classes = read_tu(*where)
    return [graph | ({} if classes is None else {"y": classes[k]}) for k, graph in enumerate(graphs)]


def _from_object(data: Any) -> dict[str, Any] | list[dict[str, Any]]:
    if isinstance(data, (tuple, list)) and len(data) == 2 and not _is_data(data[0]):
        return {"x": torch.as_tensor(data[0]), "edge_index": torch.as_tensor(data[1])}
    if _is_data(data):
        return _of_data(data)
    graphs = [_of_data(one) for one in data]
    return graphs[0] if _is_pyg_dataset(data) and len(graphs) == 1 else graphs


def _of_data(data: Any) -> dict[str, Any]:
    """Return what PyG's `Data` holds that is of use; kinds of nodes are refused."""
    if data.x is None:
        raise ValueError("data: a graph without x, wanted features (n, F) of its nodes; one-hot degrees are some")
    names = ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask")
    return {name: value for name in names if (value := getattr(data, name, None)) is not None}


def _features(found: Mapping[str, Any], how: Reading) -> Tensor | SparseMatrix:
    x: Tensor | SparseMatrix
    if "x" in found:
        given = found["x"]
        dense = given.detach().cpu() if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
        dense = dense if dense.layout == torch.strided else dense.to_dense()
        if dense.ndim != 2 or not dense.shape[1]:
            raise ValueError(f"x: got shape {tuple(dense.shape)}, wanted (n, F)")
        x = dense
    else:
        pointers = torch.as_tensor(np.asarray(found["x_pointers"])).long()
        rows = torch.repeat_interleave(torch.arange(len(pointers) - 1), pointers.diff())
        columns = torch.as_tensor(np.asarray(found["x_columns"])).long()
        shape = tuple(int(size) for size in found["x_shape"])
        if len(shape) != 2 or len(pointers) - 1 != shape[0] or (len(columns) and int(columns.max()) >= shape[1]):
            raise ValueError(f"x: its CSR parts do not make a matrix of {shape}")
        x = SparseMatrix(rows, columns, torch.as_tensor(np.asarray(found["x_values"])).float(), (shape[0], shape[1]))
    x = features_of(x)
    return normalised_rows(x) if how.normalise == "rows" else x


def _graph(found: Mapping[str, Any], how: Reading) -> tuple[Graph, tuple[str, ...]]:
    x = _features(found, how)
    given = found["edge_index"]
    edges = given.detach().cpu() if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    if edges.is_floating_point() or edges.dtype == torch.bool:
        raise ValueError(f"edge_index: got {edges.dtype}, wanted whole numbers of nodes")
    tidied = tidy(edges.long(), len(x), undirected=how.direction == "both")
    return Graph(x, tidied.edges), tidied.notes


def _node_source(
    found: Mapping[str, Any], name: str, choice: LabelChoice, how: Reading, fanout: tuple[int, ...], most_bad: float
) -> NodeSource:
    graph, notes = _graph(found, how)
    labels, multi = _labels(found.get("y"), graph.num_nodes)
    labels = choose_labels(choice, labels, "the graph carries none", graph.num_nodes)
    parts, unusable = None, list[str]()
    if labels.values is not None:
        try:
            parts = _own_parts(found, labels)
        except ValueError as error:  # labels are optional, and those of no use end no run
            unusable = [f"{str(error).removeprefix('parts: ')}, so nodes are split at random"]
        parts = parts or own_parts.random_parts(labels)
    alone = graph.num_nodes - len(graph.edges.unique())
    more = [*unusable, *([f"{alone} nodes have no neighbours: their features are their own alone"] if alone else [])]
    more += [f"labels of {multi} columns are left out: a probe here takes one class a node"] if multi else []
    more += [f"evaluated on: {parts.name}"] if parts else []
    return NodeSource(
        graph, name=name, labels=labels, parts=parts, fanout=fanout, notes=[*notes, *more], most_bad=most_bad
    )


def _own_parts(found: Mapping[str, Any], labels: Labels) -> own_parts.Parts | None:
    """Return the split that the data bring, by masks or by positions; None where they bring none, or half of one."""
    assert labels.values is not None
    if all(name in found for name in ("train_mask", "val_mask", "test_mask")):
        masks = [found[name] for name in ("train_mask", "val_mask", "test_mask")]
    elif all(name in found for name in ("train", "validation", "test")):
        masks = [np.isin(np.arange(len(labels.values)), found[name]) for name in ("train", "validation", "test")]
    else:
        return None
    masks = [mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask) for mask in masks]
    return own_parts.of_masks("split of the data", labels, *masks)


def _labels(y: Any, number: int) -> tuple[Labels, int]:
    """Return labels of nodes, and the number of columns of labels that are more than one class a node."""
    if y is None:
        return UNLABELLED, 0
    values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if values.ndim == 2 and values.shape[1] > 1:
        return UNLABELLED, values.shape[1]
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, -1)
    return as_labels(values.reshape(-1), number), 0


def _graph_source(
    found: Sequence[Mapping[str, Any]], name: str, choice: LabelChoice, how: Reading, most_bad: float
) -> GraphSource:
    made = [_graph(one, how) for one in found]
    widths = {graph.num_features for graph, _ in made}
    if len(widths) > 1:
        raise ValueError(f"x: graphs with {', '.join(map(str, sorted(widths)))} features, wanted one width for all")
    given = [one.get("y") for one in found]
    labels = UNLABELLED
    if all(y is not None and np.asarray(y).size == 1 for y in given):
        labels, _ = _labels(np.array([int(np.asarray(y).reshape(-1)[0]) for y in given]), len(found))
    labels = choose_labels(choice, labels, "the graphs carry none", len(found))
    graphs = [Graph(graph.dense_x(), graph.edges) for graph, _ in made]
    parts = own_parts.folds_of(labels)
    more = [f"evaluated on: {parts.name}"] if parts else []
    counted = sum(bool(notes) for _, notes in made)
    more += [
        f"{counted} graphs have self-loops, edges that come twice or in one direction only; all are tidied"
    ] * bool(counted)
    return GraphSource(graphs, name=name, labels=labels, parts=parts, notes=more, most_bad=most_bad)
