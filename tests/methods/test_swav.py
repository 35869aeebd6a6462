"""SwAV against the loops of its paper, its exact values, itself in shards, and the timing of its prototypes."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.images.views.published import VIEWS
from barlow.methods.heads import HeadSpec
from barlow.methods.swav import effective_prototypes, sinkhorn, swav, swav_loss
from barlow.recipes import Recipe, swav as recipes
from barlow.seams import Terms
from tests.methods.in_lockstep import AllMean, GatherRows, in_lockstep
from tests.methods.tiny_swav import method_of, views_of

TAU = 0.1


def scores_of(num_views: int, n: int, k: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(num_views, n, 6, generator=generator, dtype=torch.float64)
    c = torch.randn(k, 6, generator=generator, dtype=torch.float64)
    return (nn.functional.normalize(z, dim=-1) @ nn.functional.normalize(c, dim=-1).T).requires_grad_()


def codes_of(scores: Tensor, num_coded: int = 2) -> Tensor:
    return torch.stack([sinkhorn(rows) for rows in scores[:num_coded]])


def naive_loss(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the paper over views, samples and prototypes, one scalar at a time."""
    num_views, n, k = scores.shape
    loss = torch.zeros((), dtype=scores.dtype)
    for i in range(len(codes)):
        for v in range(num_views):
            if v == i:
                continue
            for b in range(n):
                logits = [scores[v, b, m] / temperature for m in range(k)]
                log_sum = torch.log(torch.stack([torch.exp(x) for x in logits]).sum())
                for m in range(k):
                    loss = loss - codes[i, b, m] * (logits[m] - log_sum) / (len(codes) * (num_views - 1) * n)
    return loss


@pytest.mark.parametrize(("num_views", "num_coded"), [(2, 2), (5, 2), (3, 1), (3, 3)])
def test_equals_the_loops_of_the_paper_in_value_and_gradient(num_views: int, num_coded: int) -> None:
    scores = scores_of(num_views, 5, 4)
    codes = codes_of(scores, num_coded)
    terms = swav_loss(scores, codes, temperature=TAU)
    expected = naive_loss(scores, codes, TAU)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, scores)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, scores), rtol=1e-10, atol=1e-13)


def test_gradcheck() -> None:
    scores = scores_of(3, 4, 5)
    codes = codes_of(scores)
    assert torch.autograd.gradcheck(lambda s: swav_loss(s, codes, temperature=TAU).total, (scores,))


def test_divergence_and_code_entropy_add_up_and_the_divergence_vanishes_for_perfect_predictions() -> None:
    scores = scores_of(4, 6, 5)
    terms = swav_loss(scores, codes_of(scores))
    torch.testing.assert_close(terms.parts["divergence"] + terms.parts["code_entropy"], terms.total)
    code = torch.softmax(scores[0] / TAU, dim=1).detach()
    perfect = swav_loss(scores[:1].expand(3, -1, -1), code.expand(2, -1, -1), temperature=TAU)
    assert abs(perfect.parts["divergence"].item()) < 1e-12
    entropy = -(code * code.log()).sum(1).mean()
    torch.testing.assert_close(perfect.parts["code_entropy"], entropy)


def test_collapse_costs_the_logarithm_of_the_number_of_prototypes_and_stays_finite() -> None:
    scores = torch.full((8, 16, 3000), 0.3, requires_grad=True)
    terms = swav_loss(scores, codes_of(scores))
    assert terms.total.item() == pytest.approx(math.log(3000), rel=1e-5)
    assert terms.total.item() == pytest.approx(8.006, abs=1e-3)
    assert terms.parts["code_entropy"].item() == pytest.approx(math.log(3000), rel=1e-5)
    (gradient,) = torch.autograd.grad(terms.total, scores)
    assert gradient.isfinite().all()
    one = torch.zeros(2, 16, 3000)
    one[..., 7] = 1.0
    assert swav_loss(scores, one).parts["prototypes_in_use"].item() == pytest.approx(1.0)
    assert terms.parts["prototypes_in_use"].item() == pytest.approx(3000.0, rel=1e-4)


def test_monitors_and_codes_carry_no_gradient() -> None:
    scores = scores_of(3, 4, 5)
    codes = codes_of(scores).requires_grad_()
    terms = swav_loss(scores, codes)
    assert not terms.parts["code_entropy"].requires_grad
    assert not terms.parts["prototypes_in_use"].requires_grad
    terms.total.backward()
    assert codes.grad is None
    assert scores.grad is not None


def test_half_precision_scores_are_reduced_in_float32_also_under_autocast() -> None:
    scores = scores_of(3, 8, 5).detach().to(torch.bfloat16)
    codes = codes_of(scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = swav_loss(scores, codes).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, swav_loss(scores.float(), codes).total, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 8), (1, 5, 6)])
def test_shards_of_any_sizes_equal_the_whole_batch_in_codes_value_and_gradient(sizes: tuple[int, ...]) -> None:
    scores = scores_of(5, 12, 7)
    codes = codes_of(scores)
    whole = swav_loss(scores, codes)
    shards = scores.split(sizes, dim=1)

    def work(rank: int, all_mean: AllMean, gather: GatherRows) -> tuple[Tensor, Terms]:
        own = torch.stack([sinkhorn(rows, gather=gather) for rows in shards[rank][:2]])
        return own, swav_loss(shards[rank], own, all_mean=all_mean)

    found = in_lockstep(len(sizes), work)
    torch.testing.assert_close(torch.cat([own for own, _ in found], dim=1), codes, rtol=1e-12, atol=1e-15)
    for _, terms in found:
        torch.testing.assert_close(terms.total, whole.total, rtol=1e-12, atol=0)
        torch.testing.assert_close(terms.parts, whole.parts, rtol=1e-12, atol=0)
    ours = torch.autograd.grad(found[0][1].total, scores)
    torch.testing.assert_close(ours, torch.autograd.grad(whole.total, scores), rtol=1e-9, atol=1e-13)
    unweighted = torch.stack([swav_loss(s, codes_of(s)).total for s in shards]).mean()
    assert abs(unweighted - whole.total) > 1e-3  # each with its own codes is another loss


def test_the_backbone_runs_once_per_size_and_the_head_once_over_all_views() -> None:
    method = method_of()
    heads: list[tuple[int, ...]] = []
    method.projector.register_forward_hook(lambda module, inputs, output: heads.append(tuple(output.shape)))
    method(views_of())
    assert method.backbone.shapes == [(16, 3, 8, 8), (24, 3, 4, 4)]
    assert heads == [(40, 6)]


def test_the_module_gives_the_loss_of_unit_embeddings_and_unit_prototypes() -> None:
    method = method_of(temperature=0.2, epsilon=0.1)
    views = views_of()
    terms = method(views)
    pooled = torch.cat([method.backbone.linear(v.mean(dim=(2, 3))) for v in views])  # type: ignore[operator]
    z = nn.functional.normalize(method.projector(pooled), dim=1)
    scores = (z @ method.prototypes.weight.T).unflatten(0, (5, 8))
    codes = torch.stack([sinkhorn(rows, epsilon=0.1) for rows in scores[:2]])
    torch.testing.assert_close(terms.total, swav_loss(scores, codes, temperature=0.2).total)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(10))


def test_prototypes_are_brought_back_to_length_one_before_every_forward_pass() -> None:
    method = method_of()
    with torch.no_grad():
        method.prototypes.weight.mul_(3.0)
    before = copy.deepcopy(method)
    with torch.no_grad():
        before.prototypes.weight.div_(3.0)
    torch.testing.assert_close(method(views_of()).total, before(views_of()).total)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(10))


def test_small_views_move_the_predictions_but_never_the_codes() -> None:
    method = method_of()
    views = views_of()
    before = method(views)
    after = method([*views[:2], *(view.flip(0) for view in views[2:])])
    # The head's BatchNorm sees the same rows in another order, so the large views are embedded alike.
    torch.testing.assert_close(after.parts["code_entropy"], before.parts["code_entropy"])
    assert abs(after.total - before.total) > 1e-3


def test_gradients_reach_backbone_head_and_prototypes() -> None:
    method = method_of()
    method(views_of()).total.backward()
    method.after_backward()
    for name, parameter in method.named_parameters():
        if name != "projector.0.bias":
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_prototypes_stay_where_they_are_for_the_first_epochs_also_under_weight_decay_and_momentum() -> None:
    method = method_of(freeze_prototypes=1.0)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    method(views_of())  # normalises once
    start = method.prototypes.weight.detach().clone()
    for step in range(6):
        method.start_step(step / 4, 10)
        method(views_of(seed=step)).total.backward()
        method.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        assert bool((method.prototypes.weight - start).abs().max() > 1e-6) == (step >= 4), step


def test_the_module_represents_with_the_backbone_and_runs_under_autocast() -> None:
    method = method_of(queue_length=16, queue_start=0.0)
    view = views_of()[0]
    torch.testing.assert_close(method.represent(view), method.backbone(view))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for step in range(3):
            terms = method(views_of(seed=step))
    assert terms.total.dtype == torch.float32
    assert terms.total.isfinite()


@pytest.mark.parametrize("recipe", [recipes.imagenet, recipes.imagenet_256, recipes.cifar, recipes.small_grey])
def test_recipes_name_views_that_exist_and_options_that_the_method_has(recipe: Callable[[], Recipe]) -> None:
    numbers = recipe()
    assert len(VIEWS[numbers.views]) in (2, 8)
    head = HeadSpec(numbers.projector, bias=numbers.projector_bias)
    method = swav(nn.Identity(), head, 32, **numbers.options)  # type: ignore[arg-type]
    assert method.prototypes.weight.shape == (numbers.options["num_prototypes"], 128)
    assert (method.queue is None) == (not numbers.options["queue_length"])


@pytest.mark.usefixtures("as_users_call_it")
def test_mistakes_are_named() -> None:
    scores = torch.zeros(3, 4, 5)
    with pytest.raises(ValueError, match="views: got 1, wanted at least 2 for SwAV"):
        method_of()(views_of()[:1])
    with pytest.raises(ValueError, match=r"got shapes \(3, 4, 5\) and \(2, 4, 6\)"):
        swav_loss(scores, torch.zeros(2, 4, 6))
    with pytest.raises(ValueError, match="codes: got 4 views, wanted 1 to 3"):
        swav_loss(scores, torch.zeros(4, 4, 5))
    with pytest.raises(ValueError, match=r"temperature: got 0.0, wanted a positive number"):
        swav_loss(scores, scores[:2], temperature=0.0)
    with pytest.raises(ValueError, match="num_prototypes, queue_length: got 1 and 0, wanted at least 2 and 0"):
        method_of(num_prototypes=1)


# --- Sinkhorn against the official order of operations written out, its fixed points, and itself in shards.


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
def test_mistakes_are_named_sinkhorn() -> None:
    with pytest.raises(ValueError, match=r"epsilon: got 0.0, wanted a positive number"):
        sinkhorn(torch.zeros(2, 2), epsilon=0.0)
    with pytest.raises(ValueError, match=r"num_iterations: got -1, wanted 0 or more"):
        sinkhorn(torch.zeros(2, 2), num_iterations=-1)
