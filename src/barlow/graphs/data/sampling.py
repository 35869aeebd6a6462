"""Neighbours of some nodes, a few of each at every step, at a cost that does not depend on the graph's size.

What is drawn for a node follows from the seed and the node alone, so it does not matter which batch, process or resumed
run asks for it. A sampled edge stands for degree / sampled ones, which makes the sum over neighbours right on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.data.order import hash_seed
from barlow.graphs.data.graph import Graph, Nodes
from barlow.graphs.data.sparse import SparseMatrix


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws neighbourhoods in a graph.

    Attributes:
        graph: the whole one.
        fanout: most neighbours of a node, for each step away from the samples.
    """

    graph: Graph
    fanout: tuple[int, ...]

    @cached_property
    def pointers(self) -> Int64[Tensor, " m_plus_1"]:
        """Where the incoming edges of each node begin."""
        counts = torch.bincount(self.graph.edges[1], minlength=self.graph.num_nodes)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    @cached_property
    def _place(self) -> Tensor:
        """Places of the nodes of one batch; -1 between batches."""
        return torch.full((self.graph.num_nodes,), -1, dtype=torch.int64)

    def neighbourhood(self, seeds: Int64[Tensor, " n"], seed: int) -> Nodes:
        """Return some nodes (each once) with neighbours to as many steps as `fanout` has numbers."""
        nodes, hops, parts = seeds, [len(seeds)], []
        self._place[seeds] = torch.arange(len(seeds))
        begin = 0
        for step, most in enumerate(self.fanout):
            new = nodes[begin:]
            targets, sources, weight = self._drawn(new, most, hash_seed(seed, step))
            unknown = torch.unique(sources[self._place[sources] < 0])
            self._place[unknown] = torch.arange(len(nodes), len(nodes) + len(unknown))
            parts.append((self._place[sources], targets + begin, weight))
            begin, nodes = len(nodes), torch.cat([nodes, unknown])
            hops.append(len(nodes))
        self._place[nodes] = -1
        sources, targets, weights = (torch.cat(column) for column in zip(*parts, strict=True))
        x = self.graph.x.take(nodes) if isinstance(self.graph.x, SparseMatrix) else self.graph.x[nodes]
        degree = (self.pointers[nodes + 1] - self.pointers[nodes]).float()
        graph = Graph(x, torch.stack([sources, targets]), weights, degree, tuple(hops))
        return Nodes(graph, torch.arange(len(seeds)))

    def _drawn(self, nodes: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (row of the node in `nodes`, neighbour, weight) of at most `most` different neighbours of each."""
        first = self.pointers[nodes]
        degree = self.pointers[nodes + 1] - first
        places = distinct_places(degree, most, nodes, seed)
        kept = places >= 0
        rows = torch.arange(len(nodes))[:, None].expand_as(places)[kept]
        sources = self.graph.edges[0, (first[:, None] + places)[kept]]
        weight = (degree / degree.clamp(min=1, max=most)).float()[rows]
        return rows, sources, weight


def distinct_places(degree: Tensor, most: int, names: Tensor, seed: int) -> Int64[Tensor, "n most"]:
    """Return `most` different numbers below each degree, all of them where there are no more; -1 fills the row.

    Floyd's algorithm, all rows at once: the j-th draw is below degree - most + j + 1, and where it was drawn before it
    is replaced by degree - most + j itself.
    """
    drawn = torch.empty(len(degree), most, dtype=torch.int64)
    for j in range(most):
        top = degree - most + j
        value = (uniform(names, hash_seed(seed, j)) * (top + 1).clamp(min=1)).long().minimum(top.clamp(min=0))
        before = (drawn[:, :j] == value[:, None]).any(dim=1)
        drawn[:, j] = torch.where(before, top, value)
    few = degree <= most
    in_turn = torch.arange(most).expand(len(degree), most)
    return torch.where(few[:, None], torch.where(in_turn < degree[:, None], in_turn, -1), drawn)


def uniform(names: Int64[Tensor, " n"], seed: int) -> Tensor:
    """Return numbers in [0, 1) that follow from each name and the seed alone (the mixing of splitmix64)."""
    mixed = names * -7046029254386353131 + (seed & (2**63 - 1))
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * factor
    mixed = mixed ^ ((mixed >> 31) & ((1 << 33) - 1))
    return ((mixed >> 11) & ((1 << 53) - 1)).double() / (1 << 53)


def read_fanout(fanout: str | int) -> tuple[int, ...]:
    """Return "10-10" as numbers; "" and "all" as none: the whole graph. ValueError for anything else."""
    words: Sequence[str] = str(fanout).split("-")
    if str(fanout) in ("", "all"):
        return ()
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"fanout: got {fanout!r}, wanted neighbours per layer such as 10-10, or all")
    return tuple(map(int, words))
