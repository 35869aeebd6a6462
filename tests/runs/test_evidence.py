"""What the page and the loop look at: collapse is a number, samples are spread, C has no diagonal in its histogram."""

import math

import torch
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.runs.evidence import EDGES, figures_during_training, gather_evidence, label_free_figures, spread
from barlow.seams import Params, Views


class Noise:
    """A view that adds noise to a vector."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["noise"]["value"]


VIEWS = Views((Noise(), Noise()))


def vectors(n: int = 4000, d: int = 4) -> ArraySource:
    generator = torch.Generator().manual_seed(0)
    return ArraySource(torch.randn(n, d, generator=generator), labels=torch.arange(n) % 2)


def test_noise_as_strong_as_the_signal_leaves_half_of_the_variance_between_samples() -> None:
    figures = label_free_figures(lambda view: view, vectors(), VIEWS)
    assert abs(figures["invariance_share"] - 0.5) < 0.05
    assert abs(figures["effective_rank"] - 4) < 0.1


def test_collapsed_features_give_zeros_and_no_nan() -> None:
    figures = label_free_figures(lambda view: torch.ones(len(view), 3), vectors(), VIEWS)
    names = ("effective_rank", "invariance_share", "mean_correlation", "directions_above_chance")
    assert figures == dict.fromkeys(names, 0.0)


def test_neighbours_are_counted_where_there_are_labels() -> None:
    def tell(view: Tensor) -> Tensor:
        return view

    figures = figures_during_training(tell, vectors(), VIEWS)(1)
    assert abs(figures["knn_accuracy"] - 0.5) < 0.1
    unlabelled = ArraySource(vectors().samples)
    assert "knn_accuracy" not in figures_during_training(tell, unlabelled, VIEWS)(1)


def test_positions_are_spread_distinct_and_the_same_each_time() -> None:
    some = spread(100, 10)
    assert some == sorted(set(some)) == spread(100, 10)
    assert len(some) == 10
    assert spread(5, 10) == [0, 1, 2, 3, 4]


def test_the_correlation_matrix_of_known_features() -> None:
    found = gather_evidence(lambda v: v, lambda h: h, lambda v: 0 * v, vectors(), vectors(), VIEWS, None)
    diagonal = found["correlation_diagonal"]
    assert abs(diagonal.mean() - 0.5) < 0.03
    assert int(found["offdiagonal_counts"].sum()) == 4 * 3
    near_zero = abs(EDGES[:-1] + 0.0025) < 5 / math.sqrt(4000)
    assert int(found["offdiagonal_counts"][near_zero].sum()) == 12
    assert "views_a" not in found
    assert (found["eigenvalues_untrained"] == 0).all()
