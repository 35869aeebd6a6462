"""Masks of columns and edges: shared, replayable, as strong as they say, and left out where they are missing."""

import pytest
import torch
from torch import Tensor

from barlow.graphs.data.graph import Nodes
from barlow.graphs.data.sparse import SparseMatrix
from barlow.graphs.views.masking import GraphView
from barlow.seams import AdjustableView, View, is_shared
from tests.graphs.small import graph


def draw(view: GraphView, batch: Nodes, seed: int = 0) -> dict[str, Tensor]:
    params = view.sample(batch, torch.Generator().manual_seed(seed))
    return {name: part["kept"] for name, part in params.items()}


def test_columns_are_blank_for_all_nodes_and_the_features_are_not_rescaled() -> None:
    batch = Nodes(graph(), torch.arange(90))
    view = GraphView(0.5, 0.0)
    params = view.sample(batch, torch.Generator().manual_seed(0))
    made = view.apply(batch, params)
    kept = params["columns"]["kept"]
    assert isinstance(batch.graph.x, Tensor)
    assert 0 < int(kept.sum()) < 12
    assert torch.equal(made.graph.x, batch.graph.x * kept)
    assert torch.equal(made.graph.edges, batch.graph.edges)
    sparse = batch.with_graph(batch.graph.changed(x=SparseMatrix.of(batch.graph.x)))
    assert torch.equal(view.apply(sparse, params).graph.x.dense(), made.graph.x)


def test_the_two_directions_of_an_edge_fall_apart_unless_they_are_told_to_fall_together() -> None:
    batch = Nodes(graph(), torch.arange(90))
    number = batch.graph.num_nodes

    def pairs(view: GraphView) -> tuple[set[int], set[int]]:
        left = batch.graph.edges[:, draw(view, batch)["edges"]]
        return set((left[0] * number + left[1]).tolist()), set((left[1] * number + left[0]).tolist())

    there, back = pairs(GraphView(0.0, 0.5))
    assert there != back
    there, back = pairs(GraphView(0.0, 0.5, undirected=True))
    assert there == back


@pytest.mark.parametrize("undirected", [False, True])
def test_as_many_fall_as_the_probabilities_say(undirected: bool) -> None:
    batch = Nodes(graph(900, width=400), torch.arange(900))
    kept = draw(GraphView(0.3, 0.4, undirected), batch)
    assert float(kept["columns"].float().mean()) == pytest.approx(0.7, abs=0.08)
    assert float(kept["edges"].float().mean()) == pytest.approx(0.6, abs=0.04)


def test_a_view_is_replayed_bit_for_bit_and_without_parameters_it_is_the_batch() -> None:
    batch, view = Nodes(graph(), torch.arange(5)), GraphView()
    assert isinstance(view, View)
    assert isinstance(view, AdjustableView)
    assert is_shared(view)
    params = view.sample(batch, torch.Generator().manual_seed(3))
    first, second = view.apply(batch, params), view.apply(batch, params)
    assert torch.equal(first.graph.x, second.graph.x)
    assert torch.equal(first.graph.edges, second.graph.edges)
    assert view.apply(batch, {}) is batch
    alone = view.apply(batch, {"edges": params["edges"]})
    assert alone.graph.x is batch.graph.x
    assert len(first) == 5


def test_a_stronger_view_drops_what_a_weaker_one_drops_and_more() -> None:
    batch, view = Nodes(graph(), torch.arange(90)), GraphView(0.2, 0.2)
    weak, strong = draw(view, batch)["edges"], draw(view.scaled("edges", 2.0), batch)["edges"]
    assert (weak | ~strong).all()
    assert strong.sum() < weak.sum()
    assert "edges" not in draw(view.scaled("edges", 0.0), batch)
    assert torch.equal(draw(view.scaled("edges", 0.0), batch)["columns"], draw(view, batch)["columns"])
    with pytest.raises(ValueError, match="transform: got 'edge', wanted one of columns, edges; did you mean 'edges'"):
        view.scaled("edge", 2.0)


def test_a_probability_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"edge_drop: got 1.0, wanted a share from 0 to below 1"):
        GraphView(0.1, 1.0)
