"""The complete cross-correlation: equal to the double sum over pairs of views, and what holds only for i.i.d. views."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.barlow_twins import Normalization as OfTheLoss, normalize
from barlow.theory.cross_correlation import (
    Normalization,
    complete_cross_correlation,
    cross_correlation_of,
    sampled_cross_correlation,
    two_pipeline_cross_correlation,
)
from barlow.theory.moments import Moments

NAMES: tuple[Normalization, ...] = get_args(Normalization)
N, K, D = 23, 5, 4


def views(n: int = N, k: int = K, d: int = D, seed: int = 0) -> Tensor:
    """Float64 features with unequal scales, correlations and a mean."""
    g = torch.Generator().manual_seed(seed)
    image = torch.randn(n, 1, d, generator=g) @ torch.randn(d, d, generator=g)
    return (image + 0.8 * torch.randn(n, k, d, generator=g) + 1.5).double()


def normalized(z: Tensor, name: Normalization) -> Tensor:
    """All views of all images with the statistics of all of them, as the loss does it for a batch."""
    return normalize(z.flatten(0, 1), name, eps=0.0).reshape(z.shape)


def double_sum(z_a: Tensor, z_b: Tensor, keep: Callable[[int, int], bool] = lambda a, b: True) -> Tensor:
    """Mean of z_A z_B^T over images and pairs of views, triple by triple."""
    found, count = torch.zeros(z_a.shape[2], z_b.shape[2], dtype=torch.float64), 0
    for rows_a, rows_b in zip(z_a, z_b, strict=True):
        for a, row_a in enumerate(rows_a):
            for b, row_b in enumerate(rows_b):
                if keep(a, b):
                    found += torch.outer(row_a, row_b)
                    count += 1
    return found / count


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-12) -> None:
    assert float((found - wanted).abs().max()) <= tolerance * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("projector", [None, torch.randn(3, D, generator=torch.Generator().manual_seed(7))])
def test_it_equals_the_double_sum_over_all_pairs_of_views(name: Normalization, projector: Tensor | None) -> None:
    h = views()
    z = h if projector is None else h @ projector.double().T
    close(complete_cross_correlation(h, projector, name), double_sum(normalized(z, name), normalized(z, name)))


@pytest.mark.parametrize("name", NAMES)
def test_distinct_pairs_are_the_double_sum_without_equal_views(name: Normalization) -> None:
    h = views()
    wanted = double_sum(normalized(h, name), normalized(h, name), lambda a, b: a != b)
    close(complete_cross_correlation(h, None, name, pairs="distinct"), wanted)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 8),
    k=st.integers(2, 6),
    d=st.integers(1, 6),
    seed=st.integers(0, 99),
    name=st.sampled_from([name for name in NAMES if name != "whiten"]),
)
def test_it_is_symmetric_and_positive_semi_definite_for_any_features(
    n: int, k: int, d: int, seed: int, name: Normalization
) -> None:
    found = complete_cross_correlation(views(n, k, d, seed), None, name)
    assert torch.equal(found, found.T)
    assert float(torch.linalg.eigvalsh(found)[0]) >= -1e-12 * max(1.0, float(found.trace()))


def test_the_complete_diagonal_of_pearson_is_an_intraclass_correlation_in_0_to_1() -> None:
    diagonal = complete_cross_correlation(views(), None, "pearson").diagonal()
    assert float(diagonal.min()) > 0
    assert float(diagonal.max()) < 1
    population = moments_of(views()).population()
    close(diagonal, population.between.diagonal() / population.total.diagonal())


def test_pairs_without_replacement_take_w_over_m_minus_1_away_and_may_be_indefinite() -> None:
    h = views()
    population = moments_of(h).population()
    found = complete_cross_correlation(h, None, "covariance", pairs="distinct")
    close(found, population.between - population.within / (K - 1))
    opposite = torch.tensor([[[1.0], [-1.0]], [[2.0], [-2.0]]]).double()  # ybar = 0: only t_A != t_B counts
    assert complete_cross_correlation(opposite, pairs="distinct").item() == -2.5
    assert complete_cross_correlation(opposite).item() == 0.0


def test_distinct_pairs_of_sampled_views_are_unbiased_and_all_pairs_are_too_large_by_w_over_k() -> None:
    h = views()
    draws = [h[:, [a, b]] for a in range(K) for b in range(K)]  # all that two independent draws can give
    exact, within = complete_cross_correlation(h), moments_of(h).population().within
    close(sum((complete_cross_correlation(few, pairs="distinct") for few in draws), 0 * exact) / K**2, exact)
    close(sum((complete_cross_correlation(few) for few in draws), 0 * exact) / K**2, exact + within / 2)


@pytest.mark.parametrize("name", NAMES)
def test_two_pipelines_give_the_mean_over_their_pairs_which_is_not_symmetric(name: Normalization) -> None:
    h_a = views()
    h_b = (h_a[:, :3] + 0.5 * h_a[:, :3].roll(1, dims=2)).abs()
    found = two_pipeline_cross_correlation(h_a, h_b, None, name)
    close(found, double_sum(normalized(h_a, name), normalized(h_b, name)))
    assert float((found - found.T).norm() / found.norm()) > 0.05
    close(two_pipeline_cross_correlation(h_b, h_a, None, name), found.T)


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_with_itself_is_the_complete_matrix(name: Normalization) -> None:
    h, projector = views(), torch.eye(D)[1:]
    wanted = complete_cross_correlation(h, projector, name)
    close(two_pipeline_cross_correlation(h, h, projector, name), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_one_pair_per_image_is_the_matrix_of_the_loss(name: Normalization) -> None:
    h_a, h_b = views(60, 2).unbind(1)
    wanted = normalize(h_a, name, eps=0.0).T @ normalize(h_b, name, eps=0.0) / 60
    close(sampled_cross_correlation(h_a, h_b, None, name), wanted)


def test_names_are_those_of_the_loss() -> None:
    assert get_args(Normalization) == get_args(OfTheLoss)


@pytest.mark.parametrize("name", ["raw", "pearson"])
def test_sampled_pairs_tend_to_the_complete_matrix(name: Normalization) -> None:
    h, g = views(50, 4), torch.Generator().manual_seed(0)
    image = torch.randint(50, (100_000,), generator=g)
    t_a, t_b = torch.randint(4, (2, 100_000), generator=g)
    wanted = complete_cross_correlation(h, None, name)
    found = sampled_cross_correlation(h[image, t_a], h[image, t_b], None, name)
    assert float((found - wanted).abs().max()) < 0.02 * float(wanted.abs().max())


def test_one_minus_its_diagonal_is_half_the_squared_distance_of_two_views_in_units_of_t() -> None:
    z = views()
    squares = (z[:, :, None] - z[:, None]).square().mean(dim=(0, 1, 2))  # all ordered pairs, equal ones included
    variance = z.flatten(0, 1).var(dim=0, correction=0)
    close(1 - complete_cross_correlation(z, None, "pearson").diagonal(), squares / (2 * variance))


def test_two_pipelines_may_reach_one_without_invariance() -> None:
    z = views()[:, :1]
    diagonal = two_pipeline_cross_correlation(z, 2 * z + 3, None, "pearson").diagonal()
    close(diagonal, torch.ones(D, dtype=torch.float64))


def equation_7_as_printed(z: Tensor) -> Tensor:
    """Sums over T, means over x, no centring."""
    pairs = torch.einsum("nai,nbj->ij", z, z) / len(z)
    sigma = (z.square().sum(dim=(0, 1)) / len(z)).sqrt()
    return pairs / sigma[:, None] / sigma


def test_equation_7_as_printed_gives_an_invariant_feature_the_number_of_augmentations() -> None:
    invariant = views()[:, :1].repeat(1, 5, 1)
    close(equation_7_as_printed(invariant).diagonal(), torch.full((D,), 5.0).double())
    close(complete_cross_correlation(invariant, None, "pearson").diagonal(), torch.ones(D).double())
    close(equation_7_as_printed(views()), 5 * complete_cross_correlation(views(), None, "feature_cosine"))


def test_equation_7_as_printed_takes_a_mean_for_correlation() -> None:
    z = views() - views().mean(dim=(0, 1))
    far = z + 1000.0
    assert float(complete_cross_correlation(far, None, "feature_cosine").min()) > 0.99
    close(complete_cross_correlation(far, None, "pearson"), complete_cross_correlation(z, None, "pearson"), 1e-9)


def test_equation_6_is_the_number_of_pairs_times_ours() -> None:
    h = views()
    y = h.sum(dim=1)  # the paper's y(x)
    close(K**2 * complete_cross_correlation(h), y.T @ y / N)


def test_a_linear_projector_makes_the_raw_matrix_the_identity_for_any_backbone() -> None:
    h = views()
    values, vectors = torch.linalg.eigh(complete_cross_correlation(h))
    projector = (vectors / values.sqrt()).T
    close(complete_cross_correlation(h, projector), torch.eye(D).double(), 1e-10)
    other = complete_cross_correlation(views(seed=1), projector)
    assert float((other - torch.eye(D)).abs().max()) > 0.1  # of that backbone, not of any other


def moments_of(h: Tensor) -> Moments:
    moments = Moments(h.shape[-1], num_blocks=3)
    moments.add(h)
    return moments


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sample_cosine"])
def test_moments_give_the_same_matrix_without_the_features(name: Normalization) -> None:
    h, projector = views(), torch.randn(6 if name != "whiten" else 3, D, generator=torch.Generator().manual_seed(7))
    wanted = complete_cross_correlation(h, projector, name)
    close(cross_correlation_of(moments_of(h).population(), projector, name), wanted)


def test_from_sampled_views_moments_estimate_the_centred_matrix_without_bias() -> None:
    g = torch.Generator().manual_seed(0)
    reps = 400
    mean = torch.zeros(2, 2, dtype=torch.float64)
    for _ in range(reps):
        image = torch.randn(10, 1, 2, generator=g) * torch.tensor([2.0, 0.5])
        moments = Moments(2, num_blocks=1)
        moments.add(image + torch.randn(10, 2, 2, generator=g))
        mean += cross_correlation_of(moments.covariances()) / reps
    close(mean, torch.diag(torch.tensor([4.0, 0.25])).double(), 0.1)


@pytest.mark.parametrize("name", ["pearson", "feature_cosine", "scalar", "sample_cosine", "covariance", "raw"])
def test_dead_features_correlate_with_nothing(name: Normalization) -> None:
    h = views()
    h[:, :, 0] = 0.0
    found = complete_cross_correlation(h, None, name)
    assert float(found[0].abs().max()) == 0.0
    assert bool(found.isfinite().all())
    close(complete_cross_correlation(torch.zeros(3, 2, 2), None, name), torch.zeros(2, 2).double())


def test_one_constant_feature_is_free_without_centring_and_costs_one_with_it() -> None:
    h = views()
    h[:, :, 0] = 0.1
    assert complete_cross_correlation(h, None, "feature_cosine")[0, 0].item() == pytest.approx(1.0)
    assert float(complete_cross_correlation(h, None, "pearson")[0].abs().max()) == 0.0


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: complete_cross_correlation(views(), None, "person"), "did you mean 'pearson'"),  # type: ignore[arg-type]
        (lambda: complete_cross_correlation(views(), pairs="some"), "pairs: got 'some'"),  # type: ignore[arg-type]
        (lambda: complete_cross_correlation(views(k=1)), "K at least 2"),
        (lambda: complete_cross_correlation(views(), torch.zeros(3, 5)), r"projector: got shape \(3, 5\), wanted"),
        (lambda: complete_cross_correlation(views() / 0), "h: view 0 of sample 0"),
        (lambda: complete_cross_correlation(views()[:, :, [0, 1, 0]], None, "whiten"), "3 features where feature 2"),
        (lambda: complete_cross_correlation(0 * views(), None, "whiten"), "4 features where feature 0"),
        (lambda: sampled_cross_correlation(views()[0], views()[0, :3]), r"h_b: got shape \(3, 4\) beside h_a \(5, 4\)"),
        (lambda: two_pipeline_cross_correlation(views(), views(7)), r"h_b: got shape \(7, 5, 4\)"),
        (
            lambda: cross_correlation_of(moments_of(views()).population(), None, "sample_cosine"),
            "normalization: got 'sample_cosine', wanted one of",
        ),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
