"""Layers of graph networks: GCN, GAT and GIN, equal to those of PyG, on sparse products.

GCN   H' = D^-1/2 (A + I) D^-1/2 H W + b                                  (Kipf and Welling 2017)
GAT   h'_i = sum_j a_ij W h_j,  a_ij = softmax_j LeakyReLU(u . W h_i + v . W h_j), j in N(i) and i   (Velickovic 2018)
GIN   h'_i = MLP((1 + eps) h_i + sum_j h_j)                               (Xu et al. 2019)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from barlow.graphs.data.graph import Graph
from barlow.graphs.data.sparse import SparseMatrix

SLOPE = 0.2
"""Of the leaky ReLU in GAT."""


@torch.inference_mode(False)  # what is known of a graph is used in training too
def neighbours_and_self(graph: Graph, steps: int) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    """Return targets, sources and weights of the edges that count `steps` steps away, a loop a node, and a shape.

    Sorted by target, and a node's own loop is the last of its row.
    """
    found = graph._known.get(("loops", steps if graph.hops else 0))
    if found is None:
        targets, sources, count = graph.within(steps)
        source, target = graph.edges[:, :count]
        weight = torch.ones_like(source, dtype=torch.float32) if graph.weight is None else graph.weight[:count]
        if bool((other := source != target).all()):
            rest = (target, source, weight)
        else:
            rest = (target[other], source[other], weight[other])
        own = torch.arange(targets, device=graph.device)
        rows, columns = torch.cat([rest[0], own]), torch.cat([rest[1], own])
        order = rows.argsort(stable=True)
        values = torch.cat([rest[2], torch.ones(targets, device=graph.device)])[order]
        found = graph._known["loops", steps if graph.hops else 0] = (
            rows[order], columns[order], values, (targets, sources),
        )  # fmt: skip
    result: tuple[Tensor, Tensor, Tensor, tuple[int, int]] = found
    return result


@torch.inference_mode(False)
def smoothing(graph: Graph, steps: int = 0) -> SparseMatrix:
    """Return D^-1/2 (A + I) D^-1/2, D from the incoming edges and the loop; known for each graph once it was made."""
    key = "smoothing", steps if graph.hops else 0
    if key not in graph._known:
        rows, columns, values, shape = neighbours_and_self(graph, steps)
        degree = torch.zeros(shape[0], device=graph.device).index_add_(0, rows, values)
        if graph.degree is not None:  # of nodes whose neighbours were sampled, or not looked at
            degree = graph.degree[: shape[1]] + 1
        root = degree.rsqrt()
        graph._known[key] = SparseMatrix(rows, columns, root[rows] * values * root[columns], shape)
    matrix: SparseMatrix = graph._known[key]
    return matrix


def transformed(x: Tensor | SparseMatrix, weight: Float[Tensor, "o f"]) -> Float[Tensor, "m o"]:
    """Return x W^T."""
    return x @ weight.t() if isinstance(x, SparseMatrix) else functional.linear(x, weight)


class GCNLayer(nn.Module):
    """H' = D^-1/2 (A + I) D^-1/2 H W + b; weights start as Glorot says, biases at 0."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, steps: int) -> Tensor:
        """Return the features of the nodes that count `steps` steps away, whichever product is cheaper first."""
        matrix = smoothing(graph, steps)
        if isinstance(x, Tensor) and x.shape[1] < len(self.bias):
            return functional.linear(matrix @ x[: matrix.shape[1]], self.weight, self.bias)
        return matrix @ transformed(x, self.weight)[: matrix.shape[1]] + self.bias


class GATLayer(nn.Module):
    """Attention over neighbours and the node itself, several heads side by side or averaged."""

    def __init__(self, inputs: int, outputs: int, heads: int, *, concatenated: bool) -> None:
        super().__init__()
        self.heads, self.outputs, self.concatenated = heads, outputs, concatenated
        self.weight = nn.Parameter(torch.empty(heads * outputs, inputs))
        self.of_source = nn.Parameter(torch.empty(heads, outputs))
        self.of_target = nn.Parameter(torch.empty(heads, outputs))
        self.bias = nn.Parameter(torch.zeros(heads * outputs if concatenated else outputs))
        for part in (self.weight, self.of_source, self.of_target):
            nn.init.xavier_uniform_(part)

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, steps: int) -> Tensor:
        """Return the features of the nodes that count `steps` steps away."""
        rows, columns, _, shape = neighbours_and_self(graph, steps)
        h = transformed(x, self.weight)[: shape[1]].view(shape[1], self.heads, self.outputs)
        h = h.float()
        score = (h * self.of_source).sum(dim=2)[columns] + (h * self.of_target).sum(dim=2)[rows]
        attention = softmax_by_row(functional.leaky_relu(score, SLOPE), rows, shape[0])
        places = SparseMatrix(rows, columns, attention[:, 0], shape)
        heads = [places.with_values(attention[:, k]) @ h[:, k].contiguous() for k in range(self.heads)]
        together = torch.cat(heads, dim=1) if self.concatenated else torch.stack(heads).mean(dim=0)
        return together + self.bias


def softmax_by_row(score: Float[Tensor, "e k"], rows: Tensor, num_rows: int) -> Float[Tensor, "e k"]:
    """Return exp(score) as shares of its sum over the entries of each row."""
    index = rows[:, None].expand_as(score)
    largest = score.detach().new_full((num_rows, score.shape[1]), -torch.inf)
    largest = largest.scatter_reduce(0, index, score.detach(), reduce="amax")
    shares = (score - largest[rows]).exp()
    return shares / torch.zeros_like(largest).index_add(0, rows, shares)[rows]


class GINLayer(nn.Module):
    """MLP((1 + eps) h_i + sum_j h_j), with eps fixed."""

    def __init__(self, mlp: nn.Module, eps: float = 0.0) -> None:
        super().__init__()
        self.mlp, self.eps = mlp, eps

    def forward(self, x: Tensor | SparseMatrix, graph: Graph, steps: int) -> Tensor:
        """Return the features of the nodes that count `steps` steps away."""
        x = x.dense() if isinstance(x, SparseMatrix) else x
        targets, sources, count = graph.within(steps)
        source, target = graph.edges[:, :count]
        weight = x.new_ones(count) if graph.weight is None else graph.weight[:count]
        heard = SparseMatrix(target, source, weight, (targets, sources)) @ x[:sources]
        out: Tensor = self.mlp((1 + self.eps) * x[:targets] + heard)
        return out
