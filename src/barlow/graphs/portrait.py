"""A graph for the page: its numbers, and where its nodes lie when neighbours pull and others push."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barlow.graphs.data.graph import Graph
from barlow.graphs.data.source import GraphSource, NodeSource

MOST_DRAWN = 5000
"""Nodes of a graph that is drawn; a larger one is told by its numbers alone."""
ROUNDS, PUSHED = 150, 8
"""Rounds of the layout, and random nodes that each node is pushed from in a round."""


def portrait(source: Any) -> Mapping[str, NDArray[Any]]:
    """Return the arrays of the page: degrees, homophily, and of a small graph places, edges and classes.

    Homophily is the share of edges between nodes of one class, of those whose ends both have a label.
    """
    if isinstance(source, GraphSource):
        sizes = np.array([graph.num_nodes for graph in source.graphs])
        return {"graph_sizes": sizes}
    if not isinstance(source, NodeSource):
        return {}
    graph = source.graph
    degree = torch.bincount(graph.edges[1], minlength=graph.num_nodes)
    labels = source.parts.labels.values if source.parts is not None else source.labels
    found = {
        "graph_degrees": degree.numpy(),
        "graph_counts": np.array([graph.num_nodes, graph.edges.shape[1], graph.num_features]),
    }
    if labels is not None:
        ends = labels[graph.edges]
        known = (ends >= 0).all(dim=0)
        if bool(known.any()):
            found["graph_homophily"] = np.array(float((ends[0] == ends[1])[known].double().mean()))
    if graph.num_nodes <= MOST_DRAWN:
        found["graph_layout"] = layout(graph).numpy()
        found["graph_edges"] = graph.edges[:, graph.edges[0] < graph.edges[1]].numpy()
        found["graph_classes"] = (torch.full((graph.num_nodes,), -1) if labels is None else labels).numpy()
    return found


def layout(graph: Graph, seed: int = 0) -> Tensor:
    """Return places (m, 2) in [0, 1]: every edge pulls its ends together, random pairs push each other apart."""
    generator = torch.Generator().manual_seed(seed)
    number, (source, target) = graph.num_nodes, graph.edges
    place = torch.randn(number, 2, generator=generator)
    degree = torch.bincount(target, minlength=number).clamp(min=1)[:, None]
    for turn in range(ROUNDS):
        pull = torch.zeros_like(place).index_add_(0, target, place[source] - place[target]) / degree
        others = torch.randint(number, (PUSHED, number), generator=generator)
        away = place[None] - place[others]
        push = (away / (away.square().sum(dim=2, keepdim=True) + 0.05)).mean(dim=0)
        move = 0.6 * pull + 0.6 * push - 0.02 * place
        place = place + (1 - turn / ROUNDS) * move.clamp(-1, 1)
    low, high = (torch.quantile(place, share, dim=0) for share in (0.005, 0.995))
    return ((place - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
