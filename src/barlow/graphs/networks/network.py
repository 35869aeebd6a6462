"""A graph network as a backbone: nodes, or whole graphs, to (n, d)."""

import weakref
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.graphs.data.graph import Graph, Graphs, Nodes
from barlow.graphs.networks.encoders import GAT, GCN, GIN

POOLS = ("sum", "mean", "max")
"""How the nodes of a graph become one row."""


class GraphNetwork(nn.Module):
    """An encoder and how its samples are read: nodes as they are, graphs as the sum, mean or largest of their nodes.

    In evaluation a whole graph goes through the network once: its features are kept until a weight or the graph is
    another one, so that 500 nodes at a time do not cost as many passes. They do not depend on which nodes are asked
    for.

    Example:
        network = barlow.GraphNetwork(torch_geometric.nn.GraphSAGE(1433, 256, 2))
        barlow.pretrain("cora", backbone=network)
    """

    def __init__(self, encoder: nn.Module, pool: str = "sum") -> None:
        """Take any module (x, edge_index) -> (m, d), x a dense tensor (m, F) and edge_index (2, E)."""
        super().__init__()
        if pool not in POOLS:
            raise unknown("pool", pool, POOLS)
        self.encoder, self.pool = encoder, pool
        self.num_features = 0
        """d, known once something has gone through."""
        self._last: tuple[Any, Any, Tensor] | None = None

    def forward(self, samples: Nodes | Graphs) -> Float[Tensor, "n d"]:
        """Return the features of the samples."""
        h = self._of_all(samples.graph)
        self.num_features = h.shape[1]
        if isinstance(samples, Graphs):
            return pooled(h, samples.owner, samples.number, self.pool)
        return h[samples.seeds]

    def _of_all(self, graph: Graph) -> Tensor:
        """Features of every node, from memory where it was just computed and nothing can have changed."""
        if self.training or torch.is_grad_enabled():
            return self._encode(graph)
        state = [*self.encoder.parameters(), *self.encoder.buffers()]
        key = [(one.data_ptr(), one._version) for one in state]
        if self._last is not None and self._last[0]() is graph and self._last[1] == key:
            return self._last[2]
        h = self._encode(graph)
        self._last = (weakref.ref(graph), key, h)
        return h

    def _encode(self, graph: Graph) -> Tensor:
        if isinstance(self.encoder, (GCN, GAT, GIN)):
            h: Tensor = self.encoder(graph)
            return h
        h = self.encoder(graph.dense_x(), graph.edges)
        return h

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was kept, which belongs to this network and this graph."""
        return {**self.__dict__, "_last": None}


def pooled(h: Float[Tensor, "m d"], owner: Tensor, number: int, pool: str) -> Float[Tensor, "n d"]:
    """Return the sum, mean or largest of the rows of each owner; 0 for a graph without nodes."""
    if pool == "max":
        index = owner[:, None].expand_as(h)
        return h.new_zeros(number, h.shape[1]).scatter_reduce(0, index, h, reduce="amax", include_self=False)
    total = h.new_zeros(number, h.shape[1]).index_add(0, owner, h)
    if pool == "sum":
        return total
    return total / torch.bincount(owner, minlength=number).clamp(min=1)[:, None]
