"""A GCN that learns from the labels, from scratch: the bar of every claim that pretraining spares labels."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, relu

from barlow.graphs.data.graph import Graph
from barlow.graphs.data.source import NodeSource
from barlow.graphs.data.sparse import SparseMatrix
from barlow.graphs.networks.layers import GCNLayer

HIDDEN, DROPOUT, RATE, DECAY, EPOCHS = 16, 0.5, 0.01, 5e-4, 200
"""Of Kipf and Welling (2017), section 5.2; the decay is that of the first layer."""


class SupervisedGCN(nn.Module):
    """Two layers with dropout before each."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = GCNLayer(inputs, HIDDEN), GCNLayer(HIDDEN, classes)

    def forward(self, graph: Graph) -> Tensor:
        """Return the logits of every node."""
        h = relu(self.first(self._dropped(graph.x), graph, 0))
        logits: Tensor = self.second(self._dropped(h), graph, 0)
        return logits

    def _dropped(self, x: Tensor | SparseMatrix) -> Any:
        if isinstance(x, SparseMatrix):
            return x.with_values(dropout(x.values, DROPOUT, self.training)) if self.training else x
        return dropout(x, DROPOUT, self.training)


def supervised_gcn(source: Any, labels: Tensor, train: Tensor, validation: Tensor, seed: int) -> Tensor:
    """Train on some nodes, keep the epoch that is best on others, and return a class for every node.

    `labels` are -1 for all nodes that are in neither part. The caller's random numbers stay as they were.
    """
    graph: Graph = source.graph
    if not isinstance(source, NodeSource):
        raise ValueError("source: wanted nodes of a graph")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SupervisedGCN(graph.num_features, int(labels.max()) + 1)
        groups: list[dict[str, Any]] = [
            {"params": network.first.parameters(), "weight_decay": DECAY},
            {"params": network.second.parameters()},
        ]
        optimizer = torch.optim.Adam(groups, lr=RATE)
        best, found = -1.0, torch.zeros_like(labels)
        for _ in range(EPOCHS):
            network.train()
            loss = cross_entropy(network(graph)[train], labels[train])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            network.eval()
            with torch.no_grad():
                predicted = network(graph).argmax(dim=1)
            hit = float((predicted[validation] == labels[validation]).double().mean())
            if hit > best:
                best, found = hit, predicted
    return found
