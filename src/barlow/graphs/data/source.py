"""Nodes of one graph, or many graphs, as a `Source`."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from barlow.data.bad_samples import MOST_BAD, NOT_FINITE, BadSamples
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.order import batches_of
from barlow.data.parts import Parts
from barlow.graphs.data.graph import Graph, Graphs, Nodes, hide_edges, merged
from barlow.graphs.data.sampling import Sampler
from barlow.graphs.data.sparse import SparseMatrix
from barlow.seams import Batch


class NodeSource:
    """A `Source` whose samples are the nodes of one graph.

    Attributes:
        graph: all of it.
        parts: its own split, with the labels of all nodes; `labels` lack those of test nodes.
        fanout: neighbours per step in batches that are learnt from; empty: the whole graph.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        name: str,
        labels: Labels = UNLABELLED,
        parts: Parts | None = None,
        fanout: tuple[int, ...] = (),
        notes: Sequence[str] = (),
        most_bad: float = MOST_BAD,
        describe: Callable[[int], str] = "node {}".format,
    ) -> None:
        """Blank out nodes with features that are no numbers: their neighbours would have none either."""
        self.name, self.parts, self.notes, self._describe = name, parts, tuple(notes), describe
        shown = labels if parts is None else parts.shown()
        self.labels = shown.values
        self.class_names: Sequence[str] = shown.class_names
        wrong = _not_finite(graph.x)
        judged = BadSamples(graph.num_nodes, describe, most_bad)
        judged.record(dict.fromkeys(wrong.tolist(), NOT_FINITE).items())
        self.bad: dict[int, str] = judged.reasons
        if self.bad:
            graph = graph.changed(x=_blanked(graph.x, wrong))
            self.notes += (f"{len(self.bad)} nodes with features that are not finite are blank to their neighbours",)
        self.graph = graph
        self.hidden = torch.empty(2, 0, dtype=torch.int64)
        self.reading: Mapping[str, Any] = {}
        self.fanout = fanout
        self._sampler = Sampler(graph, fanout)

    def sampled(self, fanout: tuple[int, ...]) -> "NodeSource":
        """Return the same source with neighbours drawn in batches that are learnt from; none: the whole graph."""
        other = copy.copy(self)
        other.fanout, other._sampler = fanout, Sampler(self.graph, fanout)
        return other

    def without(self, share: float) -> "NodeSource":
        """Return the same source with a share of its edges hidden, the same ones every time."""
        other = copy.copy(self)
        other.reading = {**self.reading, "hidden_edges": share}
        if share:
            other.graph, other.hidden = hide_edges(self.graph, share)
            other.notes += (f"{other.hidden.shape[1]} edges are hidden, to be predicted",)
            other._sampler = Sampler(other.graph, other.fanout)
        return other

    def __len__(self) -> int:
        """Return the number of nodes."""
        return self.graph.num_nodes

    def describe(self, index: int) -> str:
        """Return what a node is called."""
        return self._describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the nodes of `order`, each batch with the whole graph."""
        for positions in self._positions(order, batch_size):
            yield Batch(Nodes(self.graph, positions), positions)

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the same nodes, with neighbours drawn where there is a fanout."""
        if not self.fanout:
            yield from self.batches(order, batch_size)
            return
        for positions in self._positions(order, batch_size):
            yield Batch(self._sampler.neighbourhood(positions, seed), positions)

    def _positions(self, order: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        for chunk in batches_of(order, batch_size, len(self)):
            good = [position for position in chunk if position not in self.bad] if self.bad else chunk
            if good:
                yield torch.tensor(good, dtype=torch.int64)


class GraphSource:
    """A `Source` whose samples are whole graphs."""

    def __init__(
        self,
        graphs: Sequence[Graph],
        *,
        name: str,
        labels: Labels = UNLABELLED,
        notes: Sequence[str] = (),
        most_bad: float = MOST_BAD,
        parts: Parts | None = None,
    ) -> None:
        """Leave out graphs without a node, or with features that are no numbers."""
        self.name, self.notes, self.graphs, self.parts = name, tuple(notes), list(graphs), parts
        shown = labels if parts is None else parts.shown()
        self.labels = shown.values
        self.class_names: Sequence[str] = shown.class_names
        judged = BadSamples(len(self.graphs), self.describe, most_bad)
        judged.record(
            (place, "no nodes" if not graph.num_nodes else NOT_FINITE)
            for place, graph in enumerate(self.graphs)
            if not graph.num_nodes or len(_not_finite(graph.x))
        )
        self.bad: dict[int, str] = judged.reasons
        self.reading: Mapping[str, Any] = {}

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self.graphs)

    def describe(self, index: int) -> str:
        """Return what a graph is called."""
        return f"graph {index}"

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the graphs of `order`, those of a batch beside each other."""
        for chunk in batches_of(order, batch_size, len(self)):
            good = [position for position in chunk if position not in self.bad]
            if good:
                yield Batch(self.together(good), torch.tensor(good, dtype=torch.int64))

    def together(self, positions: Sequence[int]) -> Graphs:
        """Return some graphs as a batch holds them."""
        return merged([self.graphs[position] for position in positions])


def digest_of_graphs(graphs: Sequence[Graph]) -> str:
    """Return a short name that only graphs with the same features and edges share."""
    mixed = hashlib.blake2b(digest_size=8)
    for graph in graphs:
        x = graph.x
        values = [x.rows, x.columns, x.values] if isinstance(x, SparseMatrix) else [x]
        for tensor in (*values, graph.edges):
            mixed.update(f"{tuple(tensor.shape)}".encode())
            mixed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return mixed.hexdigest()


def facts_of(source: Any) -> Mapping[str, Any]:
    """Return what `recipe.json` says of nodes or graphs."""
    graphs = source.graphs if isinstance(source, GraphSource) else [source.graph]
    return {
        "num_nodes": sum(graph.num_nodes for graph in graphs),
        "num_edges": sum(graph.edges.shape[1] for graph in graphs),
        "num_features": graphs[0].num_features,
        "graph_digest": digest_of_graphs(graphs),
    }


def _not_finite(x: Tensor | SparseMatrix) -> Tensor:
    if isinstance(x, SparseMatrix):
        wrong: Tensor = x.rows[~x.values.isfinite()].unique()
        return wrong
    return (~x.isfinite().all(dim=1)).nonzero()[:, 0]


def _blanked(x: Tensor | SparseMatrix, rows: Tensor) -> Tensor | SparseMatrix:
    if isinstance(x, SparseMatrix):
        return x.with_values(torch.where(torch.isin(x.rows, rows), 0.0, x.values))
    return x.index_fill(0, rows, 0.0)
