"""Encoders by name: the graph networks of the papers. Each maps a graph to features of its nodes.

| name      | layers                                                                     | from                 |
|-----------|----------------------------------------------------------------------------|----------------------|
| gcn1      | F -> d                                                                     | CCA-SSG, Citeseer    |
| gcn2      | F -> 2d, BatchNorm, PReLU, -> d                                            | G-BT                 |
| gcn2-flat | F -> d, BatchNorm, PReLU, -> d                                             | CCA-SSG, Cora        |
| gcn3      | F -> d, BatchNorm, PReLU, -> d, BatchNorm, PReLU, -> d                     | G-BT, ogbn-arxiv     |
| gat       | 4 x 256, 4 x 256, mean of 6 x d heads; a linear skip each, ELU between     | G-BT, PPI            |
| gin       | three GIN layers of d with ReLU and BatchNorm, side by side: 3 d features  | InfoGraph, GraphCL   |
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.graphs.data.graph import Graph
from barlow.graphs.data.sparse import SparseMatrix
from barlow.graphs.networks.layers import GATLayer, GCNLayer, GINLayer, transformed

BATCH_NORM_MOMENTUM = 0.01
"""Of the statistics that evaluation uses, as in the official code."""
GAT_HIDDEN, GAT_HEADS, GAT_LAST_HEADS = 256, 4, 6
"""Widths and heads of the published network for PPI (Bielak et al. 2022)."""


class GCN(nn.Module):
    """Layers of widths in turn, BatchNorm and PReLU between them and nothing after the last."""

    def __init__(self, inputs: int, widths: tuple[int, ...], momentum: float = BATCH_NORM_MOMENTUM) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GCNLayer(a, b) for a, b in zip((inputs, *widths), widths, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, momentum=momentum) for width in widths[:-1])
        self.activations = nn.ModuleList(nn.PReLU() for _ in widths[:-1])

    @property
    def depth(self) -> int:
        """Steps that it looks away from a node."""
        return len(self.layers)

    def forward(self, graph: Graph) -> Tensor:
        """Return (m, d), of the nodes that are samples where neighbours were sampled."""
        h: Tensor | SparseMatrix = graph.x
        for number, layer in enumerate(self.layers):
            h = layer(h, graph, self.depth - 1 - number)
            if number < len(self.norms):
                h = self.activations[number](self.norms[number](h))
        assert isinstance(h, Tensor)
        return h


class GAT(nn.Module):
    """Three attention layers, each with a linear skip."""

    def __init__(self, inputs: int, width: int, *, hidden: int = GAT_HIDDEN) -> None:
        super().__init__()
        wide = hidden * GAT_HEADS
        self.layers = nn.ModuleList(
            [
                GATLayer(inputs, hidden, GAT_HEADS, concatenated=True),
                GATLayer(wide, hidden, GAT_HEADS, concatenated=True),
                GATLayer(wide, width, GAT_LAST_HEADS, concatenated=False),
            ]
        )
        self.skips = nn.ModuleList([nn.Linear(inputs, wide), nn.Linear(wide, wide), nn.Linear(wide, width)])

    @property
    def depth(self) -> int:
        """Steps that it looks away from a node."""
        return len(self.layers)

    def forward(self, graph: Graph) -> Tensor:
        """Return (m, d)."""
        h: Tensor | SparseMatrix = graph.x
        for number, (layer, skip) in enumerate(zip(self.layers, self.skips, strict=True)):
            steps = self.depth - 1 - number
            assert isinstance(skip, nn.Linear)
            beside = transformed(h, skip.weight)[: graph.within(steps)[0]] + skip.bias
            heard: Tensor = layer(h, graph, steps) + beside
            h = nn.functional.elu(heard) if steps else heard
        assert isinstance(h, Tensor)
        return h


class GIN(nn.Module):
    """Three GIN layers; their outputs stand side by side, as graphs are read at every depth."""

    def __init__(self, inputs: int, width: int, depth: int = 3) -> None:
        super().__init__()
        widths = [inputs] + [width] * depth
        self.layers = nn.ModuleList(
            GINLayer(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Linear(b, b)))
            for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth))

    @property
    def depth(self) -> int:
        """Steps that it looks away from a node."""
        return len(self.layers)

    def forward(self, graph: Graph) -> Tensor:
        """Return (m, depth d)."""
        h: Tensor | SparseMatrix = graph.x
        found: list[Tensor] = []
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            heard: Tensor = norm(nn.functional.relu(layer(h, graph, self.depth - 1 - number)))
            h = heard
            found.append(heard)
        return torch.cat([one[: len(found[-1])] for one in found], dim=1)


ENCODERS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcn1": lambda inputs, width: GCN(inputs, (width,)),
    "gcn2": lambda inputs, width: GCN(inputs, (2 * width, width)),
    "gcn2-flat": lambda inputs, width: GCN(inputs, (width, width)),
    "gcn3": lambda inputs, width: GCN(inputs, (width, width, width)),
    "gat": lambda inputs, width: GAT(inputs, width),
    "gin": lambda inputs, width: GIN(inputs, width),
}
"""Name -> (F, width d) -> the network."""
LAYERS = {
    "gcn1": "one layer of d; CCA-SSG on Citeseer",
    "gcn2": "2 d, then d, BatchNorm and PReLU between; Graph Barlow Twins",
    "gcn2-flat": "d, then d; CCA-SSG on Cora",
    "gcn3": "three layers of d; Graph Barlow Twins on ogbn-arxiv",
    "gat": "three layers of attention with linear skips; Graph Barlow Twins on PPI",
    "gin": "three GIN layers side by side, 3 d features; many graphs",
}
"""Name -> its layers and where they are from."""


def encoder(name: str, inputs: int, width: int) -> nn.Module:
    """Build an encoder by name; its weights follow from torch's generator."""
    if name not in ENCODERS:
        raise unknown("backbone", name, ENCODERS)
    return ENCODERS[name](inputs, width)
