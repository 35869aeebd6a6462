"""Barlow Twins against the double sum of its paper, its invariances, its exact values, and itself in shards."""

import math
import threading
from functools import partial
from typing import get_args

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.barlow_twins import Normalization, barlow_twins_loss, normalize
from barlow.theory.floors import batch_floor

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
LAMBDA = 0.05


def embeddings(n: int, d: int, *, seed: int = 0, correlated: bool = True) -> tuple[Tensor, Tensor]:
    """Two float64 views with different means and scales per feature."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2.0, d, dtype=torch.float64)
    mix = 0.5 if correlated else 1.0
    z_a = ((1 - mix) * shared + mix * noise[0]) * scale + scale
    z_b = ((1 - mix) * shared + mix * noise[1]) * scale.flip(0) - scale
    return z_a.requires_grad_(), z_b.requires_grad_()


def naive_loss(z_a: Tensor, z_b: Tensor, weight: float, normalization: Normalization) -> Tensor:
    """Equation 2 of the paper as a double sum over scalars, statistics written out feature by feature."""
    n, d = z_a.shape
    eps = 1e-5

    def columns(z: Tensor) -> list[Tensor]:
        mean = [z[:, i].sum() / n for i in range(d)]
        var = [((z[:, i] - mean[i]) ** 2).sum() / n for i in range(d)]
        match normalization:
            case "pearson":
                return [(z[:, i] - mean[i]) / torch.sqrt(var[i] + eps) for i in range(d)]
            case "feature_cosine":
                return [z[:, i] / torch.sqrt((z[:, i] ** 2).sum() / n + eps) for i in range(d)]
            case "sample_cosine":
                rows = torch.stack([row / torch.sqrt((row**2).sum() / d + eps) for row in z])
                return [rows[:, i] for i in range(d)]
            case "scalar":
                one = torch.sqrt(sum(var, torch.zeros((), dtype=z.dtype)) / d + eps)
                return [(z[:, i] - mean[i]) / one for i in range(d)]
            case "covariance":
                return [z[:, i] - mean[i] for i in range(d)]
            case "raw":
                return [z[:, i] for i in range(d)]
            case "whiten":
                centred = torch.stack([z[:, i] - mean[i] for i in range(d)], dim=1)
                cov = centred.T @ centred / n
                cov = cov + eps * cov.diagonal().mean() * torch.eye(d, dtype=z.dtype)
                white = centred @ torch.linalg.inv(torch.linalg.cholesky(cov)).T
                return [white[:, i] for i in range(d)]

    a, b = columns(z_a), columns(z_b)
    loss = torch.zeros((), dtype=z_a.dtype)
    for i in range(d):
        for j in range(d):
            c = (a[i] * b[j]).sum() / n
            loss = loss + ((1 - c) ** 2 if i == j else weight * c**2)
    return loss


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize(("n", "d"), [(9, 4), (5, 9), (2, 3)])
def test_equals_the_double_sum_of_the_paper_in_value_and_gradient(
    normalization: Normalization, form: str, n: int, d: int
) -> None:
    if normalization == "whiten" and n <= d:
        pytest.skip("whitening needs more samples than features")
    z_a, z_b = embeddings(n, d)
    terms = barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, normalization=normalization, form=form)  # type: ignore[arg-type]
    expected = naive_loss(z_a, z_b, LAMBDA, normalization)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, (z_a, z_b))
    theirs = torch.autograd.grad(expected, (z_a, z_b))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("n", "d"), [(2, 7), (8, 32), (48, 32), (64, 8)])
def test_gram_equals_direct_to_1e_12(normalization: Normalization, n: int, d: int) -> None:
    if normalization == "whiten" and n <= d:
        pytest.skip("whitening needs more samples than features")
    z_a, z_b = embeddings(n, d)
    loss = partial(barlow_twins_loss, z_a, z_b, redundancy_weight=LAMBDA, normalization=normalization)
    direct, gram = loss(form="direct").total, loss(form="gram").total
    assert abs(direct.item() - gram.item()) <= 1e-12 * max(1.0, abs(direct.item()))
    for one, other in zip(torch.autograd.grad(direct, (z_a, z_b)), torch.autograd.grad(gram, (z_a, z_b)), strict=True):
        assert (one - other).abs().max() <= 1e-12 * max(1.0, float(one.abs().max()))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", ["direct", "gram"])
def test_gradcheck(normalization: Normalization, form: str) -> None:
    z_a, z_b = embeddings(6, 4)

    def total(a: Tensor, b: Tensor) -> Tensor:
        return barlow_twins_loss(a, b, redundancy_weight=LAMBDA, normalization=normalization, form=form).total  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(total, (z_a, z_b))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(4, 20), d=st.integers(2, 12), shift=st.floats(-5, 5))
def test_pearson_is_unchanged_by_scale_and_shift_of_a_feature_of_one_view(
    seed: int, n: int, d: int, shift: float
) -> None:
    z_a, z_b = embeddings(n, d, seed=seed)
    scale = torch.linspace(10, 30, d, dtype=torch.float64)
    before = normalize(z_b.detach(), "pearson", eps=0.0)
    after = normalize(z_b.detach() * scale + shift, "pearson", eps=0.0)
    torch.testing.assert_close(before, after)
    # and with the eps of the loss, for features of ordinary size, to the size of eps
    plain = barlow_twins_loss(z_a, z_b * 100, redundancy_weight=LAMBDA).total
    moved = barlow_twins_loss(z_a, z_b * 100 * scale + shift, redundancy_weight=LAMBDA).total
    torch.testing.assert_close(plain, moved, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(3, 20), d=st.integers(2, 12))
def test_reordering_samples_features_and_flipping_signs_in_both_views_changes_nothing(
    seed: int, n: int, d: int
) -> None:
    z_a, z_b = embeddings(n, d, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rows, cols = torch.randperm(n, generator=generator), torch.randperm(d, generator=generator)
    signs = torch.randint(0, 2, (d,), generator=generator).double() * 2 - 1
    before = barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA).total
    after = barlow_twins_loss(z_a[rows][:, cols] * signs, z_b[rows][:, cols] * signs, redundancy_weight=LAMBDA).total
    torch.testing.assert_close(before, after)


def test_feature_cosine_as_printed_in_equation_1_changes_with_a_shift() -> None:
    z_a, z_b = embeddings(12, 4)
    before = barlow_twins_loss(z_a, z_b, normalization="feature_cosine").total
    after = barlow_twins_loss(z_a + 3, z_b + 3, normalization="feature_cosine").total
    assert abs(before - after) > 0.1


def test_is_zero_for_identical_orthogonal_standardised_views() -> None:
    z = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * 1e3
    assert barlow_twins_loss(z, z).total < 1e-9


def test_reaches_four_per_feature_when_one_view_is_negated() -> None:
    z = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * 1e3
    torch.testing.assert_close(barlow_twins_loss(z, -z).total, torch.tensor(8.0, dtype=torch.float64))


def test_diagonal_of_equal_views_is_one_already_at_four_samples() -> None:
    """With the unbiased standard deviation it would be (N-1)/N = 0.75."""
    z, _ = embeddings(4, 3)
    torch.testing.assert_close((normalize(z * 1e3, "pearson").square().mean(0)), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("weight", [0.0, 0.0051, 1.0])
@pytest.mark.parametrize("n", [256, 1024])
def test_independent_views_cost_d_plus_lambda_d_squared_over_n(n: int, weight: float) -> None:
    """Each C_ij has mean 0 and variance 1/(N-1): the sums of squares of 256 and of 65,280 of them are that sharp."""
    d = 256
    z_a, z_b = embeddings(n, d, correlated=False)
    parts = barlow_twins_loss(z_a, z_b, redundancy_weight=weight).parts
    assert parts["off_diagonal"].item() == pytest.approx(weight * d * (d - 1) / (n - 1), rel=0.03)
    assert parts["on_diagonal"].item() == pytest.approx(d * (1 + 1 / (n - 1)), rel=0.03)


def test_no_batch_goes_below_the_floor_and_optimisation_reaches_it() -> None:
    """Section 9.2 of the notes: N=6, D=12, lambda=.05 gives .7850467290 with every C_ii = .93458."""
    torch.manual_seed(0)
    z = [torch.randn(6, 12, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.LBFGS(z, lr=1.0, max_iter=400, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = barlow_twins_loss(z[0] * 1e3, z[1] * 1e3, redundancy_weight=0.05).total
        loss.backward()
        return loss

    optimizer.step(closure)
    floor = batch_floor(6, 12, 0.05)
    assert math.isclose(floor, 0.7850467290, abs_tol=1e-9)
    reached = closure().item()
    assert floor - 1e-9 <= reached <= floor + 1e-5
    diagonal = (normalize(z[0] * 1e3, "pearson") * normalize(z[1] * 1e3, "pearson")).mean(0)
    torch.testing.assert_close(diagonal, torch.full((12,), 0.93458, dtype=torch.float64), atol=1e-2, rtol=0)


@pytest.mark.parametrize("normalization", [n for n in NORMALIZATIONS if n != "whiten"])
@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("collapse", ["one feature", "one sample", "everything", "zero"])
def test_collapse_gives_finite_values_and_gradients(normalization: Normalization, form: str, collapse: str) -> None:
    z_a, z_b = (z.detach().float() for z in embeddings(6, 5))
    for z in (z_a, z_b):
        if collapse == "one feature":
            z[:, 1] = 2.0
        elif collapse == "one sample":
            z[2] = 0.0
        else:
            z[:] = 3.0 if collapse == "everything" else 0.0
    z_a.requires_grad_(), z_b.requires_grad_()
    terms = barlow_twins_loss(z_a, z_b, normalization=normalization, form=form)  # type: ignore[arg-type]
    gradients = torch.autograd.grad(terms.total, (z_a, z_b))
    assert torch.isfinite(terms.total)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_a_constant_feature_costs_exactly_one() -> None:
    z = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * 1e3
    z[:, 1] = 7.0
    assert abs(barlow_twins_loss(z, z).total.item() - 1.0) < 1e-9


def test_half_precision_embeddings_are_reduced_in_float32_also_under_autocast() -> None:
    z_a, z_b = (z.detach().to(torch.bfloat16) for z in embeddings(64, 16))
    expected = barlow_twins_loss(z_a.float(), z_b.float()).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = barlow_twins_loss(z_a, z_b).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("sizes", [(8, 8), (6, 10)])
def test_shards_equal_the_whole_batch_in_value_and_gradient(
    normalization: Normalization, sizes: tuple[int, int]
) -> None:
    """`all_mean` replaced by an average over two shards held in one process, in lockstep through two threads."""
    z_a, z_b = embeddings(16, 5)
    whole = barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, normalization=normalization).total
    expected = torch.autograd.grad(whole, (z_a, z_b))
    totals = sharded_losses(z_a, z_b, sizes, normalization)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.autograd.grad(totals[0], (z_a, z_b)), expected, rtol=1e-9, atol=1e-11)


def sharded_losses(z_a: Tensor, z_b: Tensor, sizes: tuple[int, int], normalization: Normalization) -> list[Tensor]:
    """Run the loss on two shards at once; each `all_mean` waits for the other shard and averages by size."""
    barrier = threading.Barrier(2)
    slots: list[tuple[Tensor, int] | None] = [None, None]
    totals: list[Tensor | None] = [None, None]
    shards = list(zip(z_a.split(list(sizes)), z_b.split(list(sizes)), strict=True))

    def work(rank: int) -> None:
        def all_mean(local: Tensor, count: int) -> Tensor:
            slots[rank] = (local, count)
            barrier.wait(timeout=30)
            pairs = [slot for slot in slots if slot is not None]
            mean = sum((x * c for x, c in pairs), torch.zeros_like(local)) / sum(c for _, c in pairs)
            barrier.wait(timeout=30)
            return mean

        totals[rank] = barlow_twins_loss(
            *shards[rank], redundancy_weight=LAMBDA, normalization=normalization, all_mean=all_mean
        ).total

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [total for total in totals if total is not None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization": "pearsn"}, "normalization: got 'pearsn'.*did you mean 'pearson'"),
        ({"form": "gramm"}, "form: got 'gramm'.*did you mean 'gram'"),
        ({"bias": "remove"}, "bias: got 'remove', wanted one of kept, removed; did you mean 'removed'"),
        ({"bias": "removed", "normalization": "whiten"}, "bias: got 'removed' with normalization='whiten'"),
        ({"redundancy_weight": -1.0}, "redundancy_weight: got -1.0, wanted 0 or more"),
        ({"normalization": "whiten"}, "needs more samples than features: got 4 samples with 6 features"),
    ],
)
@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted(arguments: dict[str, object], message: str) -> None:
    z = torch.randn(4, 6)
    with pytest.raises(ValueError, match=message):
        barlow_twins_loss(z, z, **arguments)  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_users_call_it")
def test_one_sample_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted at least 2"):
        barlow_twins_loss(torch.randn(1, 4), torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(5, 4\)"):
        barlow_twins_loss(torch.randn(4, 4), torch.randn(5, 4))


def test_whitening_of_features_that_do_not_vary_is_finite() -> None:
    z = torch.zeros(8, 3, requires_grad=True)
    terms = barlow_twins_loss(z, z, normalization="whiten")
    assert terms.total.item() == pytest.approx(3.0)  # C = 0
    (gradient,) = torch.autograd.grad(terms.total, z)
    assert gradient.isfinite().all()
    assert not barlow_twins_loss(z * float("nan"), z, normalization="whiten").total.isfinite()
