"""A graph, and what a batch holds of it: some of its nodes, or whole graphs of many."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from barlow.graphs.data.sparse import SparseMatrix

SPARSE_BELOW = 0.2
"""Share of entries that are not 0 below which features are kept sparse: bags of words are, measurements are not."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with features and directed edges between them; an undirected edge is two.

    Attributes:
        x: (m, F) features, a tensor or sparse.
        edges: (2, E) int64, source above target, sorted by target: the source is what the target hears.
        weight: (E,) how many edges of the whole graph an edge stands for; None: 1.
        degree: (m,) incoming edges of each node in the whole graph; None: those that are here.
        hops: of sampled neighbourhoods, how many nodes are within 0, 1, ... steps of the samples; empty: all count.
    """

    x: Tensor | SparseMatrix
    edges: Int64[Tensor, "2 e"]
    weight: Float[Tensor, " e"] | None = None
    degree: Float[Tensor, " m"] | None = None
    hops: tuple[int, ...] = ()
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def num_nodes(self) -> int:
        """Number of nodes m."""
        return len(self.x)

    @property
    def num_features(self) -> int:
        """Width F."""
        return int(self.x.shape[1])

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.edges.device

    def dense_x(self) -> Float[Tensor, "m f"]:
        """Return the features as a tensor."""
        return self.x.dense() if isinstance(self.x, SparseMatrix) else self.x

    def to(self, device: torch.device | str) -> "Graph":
        """Return the graph on a device; a graph is moved once, not with every batch."""
        where = torch.device(device)
        if where == self.device or (where.type == self.device.type and where.index is None):
            return self
        if ("on", where) not in self._known:
            parts = {
                name: one.to(where)
                for name in ("x", "edges", "weight", "degree")
                if (one := getattr(self, name)) is not None
            }
            self._known["on", where] = replace(self, **parts, _known={})
        moved: Graph = self._known["on", where]
        return moved

    def changed(self, **parts: Any) -> "Graph":
        """Return a graph with other parts, of which nothing is known yet."""
        return replace(self, **parts, _known={})

    def within(self, steps: int) -> tuple[int, int, int]:
        """Return how many targets, sources and edges count for features that are needed `steps` steps away.

        Of a whole graph all. In a sampled one, nodes farther away have no neighbours of their own.
        """
        if not self.hops:
            return self.num_nodes, self.num_nodes, self.edges.shape[1]
        if steps + 1 >= len(self.hops):
            raise ValueError(
                f"backbone: looks farther than the {len(self.hops) - 1} steps that neighbours were sampled for; wanted "
                "as many numbers in fanout as it has layers"
            )
        if not (counts := self._known.get("counts")):
            ends = torch.tensor(self.hops[:-1], device=self.device)
            counts = self._known["counts"] = torch.searchsorted(self.edges[1].contiguous(), ends).tolist()
        return self.hops[steps], self.hops[steps + 1], counts[steps]


class Nodes:
    """Some nodes of a graph, beside all of it that their features depend on.

    No dataclass: mixed precision would copy all tensors of one in every step.

    Attributes:
        graph: the whole graph, or sampled neighbourhoods.
        seeds: (n,) which nodes of it are the samples.
    """

    def __init__(self, graph: Graph, seeds: Int64[Tensor, " n"]) -> None:
        self.graph, self.seeds = graph, seeds

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, positions: Any) -> "Nodes":
        return Nodes(self.graph, self.seeds[positions])

    def to(self, device: torch.device | str) -> "Nodes":
        """Return the same nodes on a device."""
        return Nodes(self.graph.to(device), self.seeds.to(device))

    def with_graph(self, graph: Graph) -> "Nodes":
        """Return the same nodes in a view of their graph."""
        return Nodes(graph, self.seeds)


class Graphs:
    """Whole graphs, one a sample, as one graph without edges between them.

    Attributes:
        graph: all of them.
        owner: (m,) increasing: which graph each node belongs to.
        number: of graphs.
    """

    def __init__(self, graph: Graph, owner: Int64[Tensor, " m"], number: int) -> None:
        self.graph, self.owner, self.number = graph, owner, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, positions: Any) -> "Graphs":
        wanted = torch.arange(self.number, device=self.owner.device)[positions].reshape(-1)
        parts = [self._one(int(one)) for one in wanted]
        return merged(parts)

    def _one(self, number: int) -> Graph:
        nodes = (self.owner == number).nonzero()[:, 0]
        first, last = (int(nodes[0]), int(nodes[-1]) + 1) if len(nodes) else (0, 0)
        inside = (self.graph.edges[1] >= first) & (self.graph.edges[1] < last)
        x = self.graph.x.take(nodes) if isinstance(self.graph.x, SparseMatrix) else self.graph.x[nodes]
        return Graph(x, self.graph.edges[:, inside] - first)

    def to(self, device: torch.device | str) -> "Graphs":
        """Return the same graphs on a device."""
        return Graphs(self.graph.to(device), self.owner.to(device), self.number)

    def with_graph(self, graph: Graph) -> "Graphs":
        """Return views of the same graphs."""
        return Graphs(graph, self.owner, self.number)


def merged(graphs: Sequence[Graph]) -> Graphs:
    """Put graphs beside each other; they have dense features of one width."""
    sizes = torch.tensor([graph.num_nodes for graph in graphs])
    starts = (sizes.cumsum(0) - sizes).tolist()
    x = torch.cat([graph.dense_x() for graph in graphs])
    edges = torch.cat([graph.edges + start for graph, start in zip(graphs, starts, strict=True)], dim=1)
    owner = torch.repeat_interleave(torch.arange(len(graphs)), sizes).to(x.device)
    return Graphs(Graph(x, edges), owner, len(graphs))


@dataclass(frozen=True)
class Tidied:
    """Edges as networks take them, and what was done to them, in words."""

    edges: Int64[Tensor, "2 e"]
    notes: tuple[str, ...] = ()


def tidy(edges: Int64[Tensor, "2 e"], num_nodes: int, *, undirected: bool = True) -> Tidied:
    """Sort edges by target, each once, without self-loops (networks add their own), both ways unless told otherwise.

    ValueError: ends outside the graph.
    """
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(f"edge_index: got shape {tuple(edges.shape)}, wanted (2, E): sources above targets")
    if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= num_nodes):
        wrong = int(edges.min()) if int(edges.min()) < 0 else int(edges.max())
        raise ValueError(f"edge_index: node {wrong} is not among the {num_nodes} nodes that have features")
    notes = []
    loops = edges[0] == edges[1]
    if count := int(loops.sum()):
        notes.append(f"{count} self-loops of the data are left out: a network adds one to each node")
    edges = edges[:, ~loops]
    once = torch.unique(edges[1] * num_nodes + edges[0])
    if count := edges.shape[1] - len(once):
        notes.append(f"{count} edges came more than once and count once")
    if undirected:
        back = torch.unique((once % num_nodes) * num_nodes + once // num_nodes)
        both = torch.unique(torch.cat([once, back]))
        if count := len(both) - len(once):
            notes.append(
                f"{count} edges had one direction only and have both now; --modality-options direction kept leaves them"
            )
        once = both
    return Tidied(torch.stack([once % num_nodes, once // num_nodes]), tuple(notes))


def features_of(x: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
    """Return float32 features, sparse where most of them are 0."""
    if isinstance(x, SparseMatrix):
        return x if len(x.values) < SPARSE_BELOW * x.shape[0] * x.shape[1] else x.dense()
    x = x.float()
    share = float((x != 0).float().mean()) if x.numel() else 1.0
    return SparseMatrix.of(x) if share < SPARSE_BELOW and x.shape[1] > 64 else x


def normalised_rows(x: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
    """Return features divided by the sum of each row, as the papers preprocess bags of words; a row of 0 stays."""
    if isinstance(x, SparseMatrix):
        sums = x.values.new_zeros(x.shape[0]).index_add_(0, x.rows, x.values)
        return x.with_values(x.values / torch.where(sums == 0, 1.0, sums)[x.rows])
    sums = x.sum(dim=1, keepdim=True)
    return x / torch.where(sums == 0, 1.0, sums)


def hide_edges(graph: Graph, share: float, seed: int = 0) -> tuple[Graph, Int64[Tensor, "2 p"]]:
    """Return a graph without some of its edges, both directions of each, and those edges."""
    low, high = graph.edges.min(dim=0).values, graph.edges.max(dim=0).values
    pairs, place = torch.unique(low * graph.num_nodes + high, return_inverse=True)
    gone = torch.rand(len(pairs), generator=torch.Generator().manual_seed(seed)) < share
    away = pairs[gone]
    return graph.changed(edges=graph.edges[:, ~gone[place]]), torch.stack(
        [away // graph.num_nodes, away % graph.num_nodes]
    )
