"""Sinkhorn against the official order of operations written out, its fixed points, and itself in shards."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.sinkhorn import effective_prototypes, sinkhorn
from tests.methods.in_lockstep import AllMean, GatherRows, in_lockstep


def cosines(num_samples: int, num_prototypes: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(num_samples, num_prototypes, generator=generator, dtype=torch.float64) - 1


def naive_sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The algorithm of the paper's appendix A, entry by entry: K x B, total 1, rows to 1/K, columns to 1/B."""
    num_samples, num_prototypes = scores.shape
    q = [[math.exp(float(scores[b, k]) / epsilon) for b in range(num_samples)] for k in range(num_prototypes)]
    total = sum(map(sum, q))
    q = [[entry / total for entry in row] for row in q]
    for _ in range(iterations):
        q = [[entry / sum(row) / num_prototypes for entry in row] for row in q]
        columns = [sum(row[b] for row in q) for b in range(num_samples)]
        q = [[row[b] / columns[b] / num_samples for b in range(num_samples)] for row in q]
    columns = [sum(row[b] for row in q) for b in range(num_samples)]
    return torch.tensor([[row[b] / columns[b] for row in q] for b in range(num_samples)], dtype=torch.float64)


@pytest.mark.parametrize(("n", "k"), [(7, 4), (4, 9), (1, 3), (5, 2)])
@pytest.mark.parametrize("iterations", [0, 1, 3])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_equals_the_algorithm_of_the_paper_entry_by_entry(n: int, k: int, iterations: int, epsilon: float) -> None:
    scores = cosines(n, k)
    codes = sinkhorn(scores, epsilon=epsilon, num_iterations=iterations)
    torch.testing.assert_close(codes, naive_sinkhorn(scores, epsilon, iterations), rtol=1e-10, atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(1, 12), k=st.integers(2, 12), shift=st.floats(-50, 50))
def test_codes_sum_to_one_and_do_not_change_with_a_shift_of_the_scores(seed: int, n: int, k: int, shift: float) -> None:
    scores = cosines(n, k, seed=seed)
    codes = sinkhorn(scores)
    torch.testing.assert_close(codes.sum(1), torch.ones(n, dtype=torch.float64))
    torch.testing.assert_close(codes, sinkhorn(scores + shift), rtol=1e-9, atol=1e-12)


def test_many_iterations_use_every_prototype_equally() -> None:
    codes = sinkhorn(cosines(30, 6), num_iterations=500)
    torch.testing.assert_close(codes.sum(0), torch.full((6,), 5.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert (sinkhorn(cosines(30, 6)).sum(0) - 5.0).abs().max() > 1e-3  # three do not


def test_constant_scores_give_uniform_codes() -> None:
    codes = sinkhorn(torch.full((5, 8), 0.7, dtype=torch.float64))
    torch.testing.assert_close(codes, torch.full((5, 8), 1 / 8, dtype=torch.float64))


def test_the_most_wanted_prototype_is_shared_out() -> None:
    """Every sample likes prototype 0 best; the codes spread over all, in the order of the second choices."""
    scores = torch.zeros(4, 4, dtype=torch.float64) + 0.5 * torch.eye(4, dtype=torch.float64)
    scores[:, 0] += 1.0
    assert (scores.argmax(1) == 0).all()
    assert torch.equal(sinkhorn(scores, num_iterations=50).argmax(1), torch.arange(4))


@pytest.mark.parametrize("epsilon", [1e-3, 1e-30])
def test_a_tiny_epsilon_does_not_overflow(epsilon: float) -> None:
    """exp(1 / 0.001) does, in float64 too."""
    codes = sinkhorn(cosines(6, 4).float(), epsilon=epsilon)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(6))


def test_half_precision_scores_are_iterated_in_float32_also_under_autocast_and_without_gradient() -> None:
    scores = cosines(6, 4).to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = sinkhorn(scores)
    assert codes.dtype == torch.float32
    assert not codes.requires_grad
    torch.testing.assert_close(codes, sinkhorn(scores.float()), rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [(6, 6), (3, 9), (1, 4, 7)])
def test_shards_of_any_sizes_get_the_codes_of_the_whole_batch(sizes: tuple[int, ...]) -> None:
    scores = cosines(12, 5)

    def work(rank: int, all_mean: AllMean, gather: GatherRows) -> Tensor:
        return sinkhorn(scores.split(sizes)[rank], gather=gather)

    codes = torch.cat(in_lockstep(len(sizes), work))
    torch.testing.assert_close(codes, sinkhorn(scores), rtol=1e-12, atol=1e-15)
    alone = torch.cat([sinkhorn(shard) for shard in scores.split(sizes)])
    assert (alone - codes).abs().max() > 1e-2  # each for itself is something else


def test_effective_prototypes_counts_those_in_use() -> None:
    assert effective_prototypes(torch.tensor([0.25, 0.25, 0.0, 0.25, 0.25])).item() == pytest.approx(4.0)
    assert effective_prototypes(torch.tensor([0.0, 1.0, 0.0])).item() == pytest.approx(1.0)


@pytest.mark.usefixtures("as_users_call_it")
def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"epsilon: got 0.0, wanted a positive number"):
        sinkhorn(torch.zeros(2, 2), epsilon=0.0)
    with pytest.raises(ValueError, match=r"num_iterations: got -1, wanted 0 or more"):
        sinkhorn(torch.zeros(2, 2), num_iterations=-1)
