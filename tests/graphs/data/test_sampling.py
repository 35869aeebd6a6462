"""Sampled neighbours: real ones, each once, as many as asked for, the same whoever asks, and right on average."""

import pytest
import torch

from barlow.graphs.data.graph import Graph, Nodes
from barlow.graphs.data.sampling import Sampler, distinct_places, read_fanout, uniform
from barlow.graphs.data.source import NodeSource
from barlow.graphs.networks.encoders import encoder
from barlow.graphs.networks.network import GraphNetwork
from tests.graphs.small import graph


def original(sampler: Sampler, found: Nodes, seeds: torch.Tensor) -> dict[int, set[int]]:
    """Neighbours that were drawn, by node, in the numbers of the whole graph; features tell which node is which."""
    assert isinstance(found.graph.x, torch.Tensor)
    names = found.graph.x[:, 0].long()
    assert torch.equal(names[: len(seeds)], seeds)
    heard: dict[int, set[int]] = {}
    for source, target in names[found.graph.edges].T.tolist():
        assert source not in heard.setdefault(target, set())
        heard[target].add(source)
    return heard


def named_graph() -> Graph:
    g = graph(200)
    assert isinstance(g.x, torch.Tensor)
    x = g.x.clone()
    x[:, 0] = torch.arange(200)
    return g.changed(x=x)


def test_neighbours_are_real_different_and_as_many_as_asked_for() -> None:
    g = named_graph()
    real = {k: set(g.edges[0, g.edges[1] == k].tolist()) for k in range(200)}
    seeds = torch.tensor([5, 17, 3])
    found = Sampler(g, (4, 3)).neighbourhood(seeds, seed=1)
    heard = original(Sampler(g, (4, 3)), found, seeds)
    for node, others in heard.items():
        most = 4 if node in seeds.tolist() else 3
        assert others <= real[node]
        assert len(others) == min(most, len(real[node]))
    assert found.graph.hops[0] == 3
    assert found.graph.hops[-1] == found.graph.num_nodes
    targets = found.graph.edges[1]
    assert (targets.diff() >= 0).all()
    assert int(targets.max()) < found.graph.hops[1]


def test_what_is_drawn_for_a_node_does_not_depend_on_the_batch_and_changes_with_the_seed() -> None:
    g = named_graph()
    sampler = Sampler(g, (3,))
    together = original(sampler, sampler.neighbourhood(torch.tensor([8, 9, 50]), 4), torch.tensor([8, 9, 50]))
    alone = original(sampler, sampler.neighbourhood(torch.tensor([50]), 4), torch.tensor([50]))
    assert alone[50] == together[50]
    others = [original(sampler, sampler.neighbourhood(torch.tensor([50]), s), torch.tensor([50]))[50] for s in range(9)]
    assert len({frozenset(one) for one in others}) > 1


def test_every_neighbour_is_drawn_equally_often() -> None:
    degree = torch.full((30_000,), 5)
    places = distinct_places(degree, 2, torch.arange(30_000), seed=7)
    assert (places[:, 0] != places[:, 1]).all()
    shares = places.reshape(-1).bincount(minlength=5).double() / 60_000
    torch.testing.assert_close(shares, torch.full((5,), 0.2, dtype=torch.float64), rtol=0, atol=0.01)
    assert distinct_places(torch.tensor([0, 2]), 3, torch.tensor([0, 1]), 0).tolist() == [[-1, -1, -1], [0, 1, -1]]


def test_numbers_of_neighbouring_nodes_are_unrelated() -> None:
    drawn = uniform(torch.arange(100_000), 3)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(((drawn[1:] - 0.5) * (drawn[:-1] - 0.5)).mean()) == pytest.approx(0, abs=0.002)


def test_with_all_neighbours_a_sampled_batch_has_the_features_of_the_whole_graph() -> None:
    g = graph(60)
    torch.manual_seed(0)
    seeds = torch.tensor([4, 31, 7])
    for name in ("gcn2", "gat", "gin"):
        model = GraphNetwork(encoder(name, g.num_features, 8)).eval()
        depth = int(model.encoder.depth)  # type: ignore[arg-type]
        sampled = Sampler(g, (99,) * depth).neighbourhood(seeds, 0)
        with torch.no_grad():
            torch.testing.assert_close(model(sampled), model(Nodes(g, seeds)), rtol=1e-4, atol=1e-5)


def test_the_sum_over_sampled_neighbours_is_right_on_average() -> None:
    g = graph(60)
    layer = GraphNetwork(encoder("gcn1", g.num_features, 4)).eval()
    seeds = torch.tensor([11])
    with torch.no_grad():
        exact = layer(Nodes(g, seeds))
        draws = torch.cat([layer(Sampler(g, (2,)).neighbourhood(seeds, seed)) for seed in range(400)])
    error = draws.std(dim=0) / 400**0.5
    assert ((draws.mean(dim=0) - exact[0]).abs() < 4 * error + 1e-6).all()
    assert float(error.min()) > 0


def test_a_source_samples_what_is_learnt_from_and_looks_with_all_neighbours() -> None:
    source = NodeSource(graph(60), name="g", fanout=(2, 2))
    (batch,) = source.seeded_batches([3, 1], 2, seed=0)
    assert batch.indices.tolist() == [3, 1]
    assert batch.samples.graph.hops
    (again,) = source.seeded_batches([3, 1], 2, seed=0)
    assert torch.equal(again.samples.graph.edges, batch.samples.graph.edges)
    (whole,) = source.batches([3, 1], 2)
    assert whole.samples.graph is source.graph


def test_a_network_that_looks_farther_than_was_sampled_is_refused() -> None:
    g = graph(60)
    with pytest.raises(ValueError, match="looks farther than the 1 steps that neighbours were sampled for"):
        GraphNetwork(encoder("gcn2", g.num_features, 4))(Sampler(g, (3,)).neighbourhood(torch.tensor([0]), 0))


def test_fanouts_are_read_or_refused() -> None:
    assert read_fanout("10-5") == (10, 5)
    assert read_fanout("all") == read_fanout("") == ()
    assert read_fanout(7) == (7,)
    with pytest.raises(ValueError, match="fanout: got 'ten', wanted neighbours per layer such as 10-10"):
        read_fanout("ten")
