"""Views of a graph: some columns of the features are blank for all nodes, and some edges are not there.

Both are drawn once for the whole batch and so belong to it (`shared`), as in Bielak et al. (2022): features are not
rescaled, and the two directions of an edge fall independently. With `undirected` they fall together, which is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.errors import unknown
from barlow.graphs.data.graph import Graph, Graphs, Nodes
from barlow.graphs.data.sparse import SparseMatrix
from barlow.seams import Params

TRANSFORMS = ("columns", "edges")


@dataclass(frozen=True)
class GraphView:
    """One pipeline: columns are masked with probability p_x, edges dropped with p_e.

    Attributes:
        feature_mask: p_x.
        edge_drop: p_e.
        undirected: whether the two directions of an edge are kept or dropped together.
    """

    feature_mask: float = 0.1
    edge_drop: float = 0.4
    undirected: bool = False
    shared: ClassVar[bool] = True
    """Its parameters belong to the whole batch, not to one sample each."""
    parts: ClassVar[Mapping[str, Mapping[str, tuple[str, float]]]] = {}
    joined: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("feature_mask", "edge_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted a share from 0 to below 1")

    def sample(self, batch: Nodes | Graphs, generator: torch.Generator) -> Params:
        """Draw which columns (F,) and which edges (E,) are kept; a transform of probability 0 is left out."""
        graph = batch.graph
        columns = torch.rand(graph.num_features, generator=generator)
        edges = torch.rand(graph.edges.shape[1], generator=generator)
        if self.undirected:
            edges = edges[first_of_pair(graph).cpu()]
        drawn = {}
        if self.feature_mask:
            drawn["columns"] = {"kept": (columns >= self.feature_mask).to(graph.device)}
        if self.edge_drop:
            drawn["edges"] = {"kept": (edges >= self.edge_drop).to(graph.device)}
        return drawn

    def apply(self, batch: Any, params: Params) -> Any:
        """Make the view; without parameters it is the batch itself."""
        graph: Graph = batch.graph
        if "columns" in params:
            graph = graph.changed(x=masked(graph.x, params["columns"]["kept"]))
        if "edges" in params:
            kept = params["edges"]["kept"]
            degree = None if graph.degree is None else graph.degree * kept.float().mean()
            weight = None if graph.weight is None else graph.weight[kept]
            graph = graph.changed(edges=graph.edges[:, kept], weight=weight, degree=degree)
        return batch if graph is batch.graph else batch.with_graph(graph)

    def scaled(self, transform: str, magnitude: float) -> "GraphView":
        """Return the view with one of its probabilities multiplied."""
        name = {"columns": "feature_mask", "edges": "edge_drop"}.get(transform)
        if name is None:
            raise unknown("transform", transform, TRANSFORMS)
        return replace(self, **{name: min(magnitude * getattr(self, name), 0.99)})

    def drawn_by(self, transform: str) -> Any:
        """Return the numbers that a transform is drawn by."""
        return {"columns": self.feature_mask, "edges": (self.edge_drop, self.undirected)}.get(transform)


def masked(x: Tensor | SparseMatrix, kept: Tensor) -> Tensor | SparseMatrix:
    """Return features with the columns that are not kept set to 0."""
    if isinstance(x, SparseMatrix):
        return x.with_values(x.values * kept[x.columns])
    return x * kept


def first_of_pair(graph: Graph) -> Int64[Tensor, " e"]:
    """Return for each edge the place of the one that stands for it and its opposite; known once for a graph."""
    if "pairs" not in graph._known:
        low, high = graph.edges.min(dim=0).values, graph.edges.max(dim=0).values
        _, pair = torch.unique(low * graph.num_nodes + high, return_inverse=True)
        places = torch.arange(len(pair), device=pair.device)
        first = torch.full((int(pair.max()) + 1 if len(pair) else 0,), len(pair), device=pair.device)
        graph._known["pairs"] = first.scatter_reduce(0, pair, places, reduce="amin")[pair]
    found: Tensor = graph._known["pairs"]
    return found
