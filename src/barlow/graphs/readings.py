"""What else the features of nodes are good for: clusters, and edges that the network has not seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from barlow.graphs.data.graph import Graph
from barlow.graphs.data.source import NodeSource

STARTS = 3
"""Starts of k-means, of which the tightest counts."""
MOST_CLUSTERED, MOST_PAIRS = 20_000, 50_000
"""Nodes and edges that are looked at, at most."""


def readings(source: Any, features: Any) -> Mapping[str, float]:
    """Return the readings of features of nodes: those that the source has labels or hidden edges for."""
    if not isinstance(source, NodeSource):
        return {}
    found: dict[str, float] = {}
    if source.parts is not None and source.parts.labels.values is not None:
        labels = source.parts.labels.values[features.indices]
        found["clusters, NMI"] = clustering(features.h, labels)
    if source.hidden.shape[1] and len(features) == len(source):
        found["hidden edges, AUC"] = link_prediction(features.h, source.hidden, source.graph)
    return found


def clustering(h: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], seed: int = 0) -> float:
    """Return the normalised mutual information of k-means clusters and classes, k being the number of classes.

        NMI = 2 I(clusters; classes) / (H(clusters) + H(classes))

    Rows have length 1. Labels score alone; unlabelled nodes (-1) are left out.
    """
    known = (labels >= 0).nonzero()[:, 0][:MOST_CLUSTERED]
    rows, classes = normalize(h[known], dim=1).double().numpy(), labels[known].numpy()
    found = KMeans(len(np.unique(classes)), n_init=STARTS, random_state=seed).fit_predict(rows)
    return float(normalized_mutual_info_score(classes, found))


def link_prediction(h: Float[Tensor, "n d"], hidden: Int64[Tensor, "2 p"], graph: Graph, seed: int = 0) -> float:
    """Return how often an edge that was hidden has more similar ends than a pair without an edge (AUC).

    Similarity is the cosine of the centred features. The pairs are as many, drawn at random, and no edges of either
    kind. What was hidden from the network has to be hidden from the graph that the features come from.
    """
    rows = normalize(h - h.mean(dim=0), dim=1)
    hidden = hidden[:, :MOST_PAIRS]
    number = len(rows)
    known = torch.cat([graph.edges, hidden, hidden.flip(0)], dim=1)
    taken = set((known[0] * number + known[1]).tolist())
    generator, others = torch.Generator().manual_seed(seed), list[int]()
    while len(others) < hidden.shape[1]:
        pairs = torch.randint(number, (2, hidden.shape[1]), generator=generator)
        drawn = (pairs[0] * number + pairs[1])[pairs[0] != pairs[1]].tolist()
        others += [pair for pair in drawn if pair not in taken]
    absent = torch.tensor(others[: hidden.shape[1]])
    scores = [(rows[a] * rows[b]).sum(dim=1) for a, b in (hidden, (absent // number, absent % number))]
    truth = np.repeat([1, 0], hidden.shape[1])
    return float(roc_auc_score(truth, torch.cat(scores).numpy()))
