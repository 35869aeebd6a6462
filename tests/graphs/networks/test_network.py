"""A network is a function of the node: permutations, batches and memory change nothing."""

import pytest
import torch
from torch import Tensor, nn

import barlow
from barlow.graphs.data.graph import Graph, Nodes, merged
from barlow.graphs.networks.encoders import encoder
from barlow.graphs.networks.network import GraphNetwork, pooled
from tests.graphs.small import graph


def network(name: str = "gcn2", g: Graph | None = None) -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(encoder(name, (g or graph()).num_features, 8)).eval()


def permuted(g: Graph, order: Tensor) -> Graph:
    """The graph whose node i is the old node order[i]."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    edges = place[g.edges]
    assert isinstance(g.x, Tensor)
    return Graph(g.x[order], edges[:, edges[1].argsort(stable=True)])


@pytest.mark.parametrize("name", ["gcn2", "gat", "gin"])
def test_a_permutation_of_the_nodes_permutes_their_features_and_nothing_else(name: str) -> None:
    g = graph()
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    every = torch.arange(90)
    model = network(name, g)
    with torch.no_grad():
        h = model(Nodes(g, every))
        torch.testing.assert_close(model(Nodes(permuted(g, order), every)), h[order], rtol=1e-4, atol=1e-5)


def test_features_do_not_depend_on_who_else_is_asked_for_and_a_graph_is_passed_once() -> None:
    g, model = graph(), network()
    passes: list[int] = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        whole = model(Nodes(g, torch.arange(90)))
        some = torch.cat([model(Nodes(g, part)) for part in torch.arange(90).split(7)])
    assert torch.equal(some, whole)
    assert len(passes) == 1


def test_what_is_remembered_is_forgotten_when_a_weight_a_statistic_or_the_graph_changes() -> None:
    g, model = graph(), network()
    every = torch.arange(90)
    with torch.no_grad():
        before = model(Nodes(g, every))
        next(model.parameters()).mul_(2)
        changed = model(Nodes(g, every))
        assert not torch.allclose(changed, before)
        assert isinstance(g.x, Tensor)
        assert not torch.allclose(model(Nodes(g.changed(x=g.x + 1), every)), changed)
        model.train()
        model(Nodes(g, every))  # moves the statistics of BatchNorm
        model.eval()
        assert not torch.allclose(model(Nodes(g, every)), changed)


def test_a_module_of_ones_own_takes_features_and_edges() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(12, 6)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            h: Tensor = self.linear(torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]]))
            return h

    g = graph()
    h = barlow.GraphNetwork(Mean()).eval()(Nodes(g, torch.tensor([3, 1])))
    assert h.shape == (2, 6)


@pytest.mark.parametrize(
    ("pool", "expected"), [("sum", [3.0, 0.0, 5.0]), ("mean", [1.5, 0.0, 5.0]), ("max", [2.0, 0.0, 5.0])]
)
def test_graphs_are_read_as_said_and_one_without_nodes_is_zero(pool: str, expected: list[float]) -> None:
    h = torch.tensor([[1.0], [2.0], [5.0]])
    found = pooled(h, torch.tensor([0, 0, 2]), 3, pool)
    assert found[:, 0].tolist() == expected


def test_graphs_of_a_batch_do_not_hear_each_other() -> None:
    graphs = [graph(12, seed=seed) for seed in range(3)]
    model = network("gin", graphs[0])
    with torch.no_grad():
        together = model(merged(graphs))
        alone = torch.cat([model(merged([one])) for one in graphs])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(merged(graphs)[1:]), together[1:], rtol=1e-4, atol=1e-4)
