"""Layers equal those of PyG, and what is sparse equals what is dense."""

import pytest
import torch
from torch import Tensor, nn

from barlow.graphs.data.graph import Graph
from barlow.graphs.data.sparse import SparseMatrix
from barlow.graphs.networks.encoders import ENCODERS, encoder
from barlow.graphs.networks.layers import GATLayer, GCNLayer, GINLayer, smoothing
from tests.graphs.small import graph

pyg = pytest.importorskip("torch_geometric.nn", reason="PyG, which is compared with, is not installed")


def odd() -> Graph:
    """Directed, with a self-loop, an edge that comes twice, and a node without neighbours."""
    edges = torch.tensor([[0, 1, 2, 2, 3, 3, 1, 4], [1, 2, 0, 2, 1, 1, 3, 0]])
    order = edges[1].argsort(stable=True)
    return Graph(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), edges[:, order])


@pytest.mark.parametrize("make", [odd, graph])
@pytest.mark.parametrize("outputs", [3, 20])  # the product with the weight comes first, or last
def test_gcn_equals_that_of_pyg_in_value_and_gradient(make: object, outputs: int) -> None:
    g: Graph = make()  # type: ignore[operator]
    ours, theirs = GCNLayer(g.num_features, outputs), pyg.GCNConv(g.num_features, outputs)
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.weight)
        theirs.bias.copy_(torch.randn(outputs))
        ours.bias.copy_(theirs.bias)
    h, expected = ours(g.x, g, 0), theirs(g.x, g.edges)
    torch.testing.assert_close(h, expected, rtol=1e-5, atol=1e-6)
    h.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.lin.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [odd, graph])
@pytest.mark.parametrize("concatenated", [True, False])
def test_gat_equals_that_of_pyg_in_value_and_gradient(make: object, concatenated: bool) -> None:
    g: Graph = make()  # type: ignore[operator]
    if not concatenated and make is odd:
        pytest.skip("one of the two is enough")
    ours = GATLayer(g.num_features, 4, 3, concatenated=concatenated)
    theirs = pyg.GATConv(g.num_features, 4, heads=3, concat=concatenated)
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.weight)
        theirs.att_src.copy_(ours.of_source[None])
        theirs.att_dst.copy_(ours.of_target[None])
    h, expected = ours(g.x, g, 0), theirs(g.x, g.edges)
    torch.testing.assert_close(h, expected, rtol=1e-5, atol=1e-6)
    h.square().sum().backward()
    expected.square().sum().backward()
    for one, other in (
        (ours.weight, theirs.lin.weight),
        (ours.of_source, theirs.att_src),
        (ours.of_target, theirs.att_dst),
    ):
        torch.testing.assert_close(one.grad, other.grad.view_as(one), rtol=1e-4, atol=1e-4)


def test_gin_equals_that_of_pyg() -> None:
    g = odd()
    mlp = nn.Linear(g.num_features, 3)
    theirs = pyg.GINConv(mlp, eps=0.3)  # which draws the weights anew
    torch.testing.assert_close(GINLayer(mlp, 0.3)(g.x, g, 0), theirs(g.x, g.edges))


def sparse_twin(g: Graph) -> Graph:
    assert isinstance(g.x, Tensor)
    return g.changed(x=SparseMatrix.of(g.x))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_says_the_same_of_sparse_features_and_has_gradients_everywhere(name: str) -> None:
    g = graph(30)
    torch.manual_seed(0)
    network = encoder(name, g.num_features, 8)
    h = network.eval()(sparse_twin(g))
    torch.testing.assert_close(h, network(g), rtol=1e-4, atol=1e-5)
    h.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_smoothing_is_the_matrix_of_the_paper() -> None:
    g = graph(20)
    adjacency = torch.zeros(20, 20).index_put_((g.edges[1], g.edges[0]), torch.ones(g.edges.shape[1])) + torch.eye(20)
    root = adjacency.sum(dim=1).rsqrt()
    torch.testing.assert_close(smoothing(g).dense(), root[:, None] * adjacency * root)


def test_a_node_without_neighbours_hears_itself_alone_and_everything_stays_finite() -> None:
    g = odd()
    assert isinstance(g.x, Tensor)
    layer = GCNLayer(5, 4)
    h = layer(g.x, g, 0)
    torch.testing.assert_close(h[5], g.x[5] @ layer.weight.T)
    assert h.isfinite().all()
