"""SimSiam against a loop over samples, where its gradient may and may not go, and its figure for collapse."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.methods.heads import HeadSpec
from barlow.methods.simsiam import SimSiam, embedding_std, simsiam, simsiam_loss
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, Gather
from tests.methods.in_lockstep import in_lockstep

SIZES = (3, 6, 2)


def outputs(n: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p_a, z_b, p_b, z_a in float64."""
    generator = torch.Generator().manual_seed(seed)
    p_a, z_b, p_b, z_a = torch.randn(4, n, d, generator=generator, dtype=torch.float64) + 0.3
    return p_a.requires_grad_(), z_b.requires_grad_(), p_b.requires_grad_(), z_a.requires_grad_()


def naive_loss(p_a: Tensor, z_b: Tensor, p_b: Tensor, z_a: Tensor) -> Tensor:
    total = torch.zeros((), dtype=p_a.dtype)
    for k in range(p_a.shape[0]):
        for p, z in ((p_a[k], z_b[k].detach()), (p_b[k], z_a[k].detach())):
            total = total - (p * z).sum() / ((p**2).sum().sqrt() * (z**2).sum().sqrt()) / 2
    return total / p_a.shape[0]


@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (4, 16)])
def test_equals_the_loop_over_samples_in_value_and_gradient(n: int, d: int) -> None:
    p_a, z_b, p_b, z_a = outputs(n, d)
    terms = simsiam_loss(p_a, z_b, p_b, z_a)
    expected = naive_loss(p_a, z_b, p_b, z_a)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = torch.autograd.grad(terms.total, (p_a, p_b)), torch.autograd.grad(expected, (p_a, p_b))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.parts["a_to_b"] + terms.parts["b_to_a"], terms.total)


def test_gradcheck() -> None:
    p_a, z_b, p_b, z_a = outputs(5, 4)
    assert torch.autograd.gradcheck(lambda a, b: simsiam_loss(a, z_b.detach(), b, z_a.detach()).total, (p_a, p_b))


def test_no_gradient_goes_into_what_is_predicted() -> None:
    p_a, z_b, p_b, z_a = outputs(5, 4)
    terms = simsiam_loss(p_a, z_b, p_b, z_a)
    assert not any(torch.is_tensor(g) for g in torch.autograd.grad(terms.total, (z_a, z_b), allow_unused=True))
    assert not terms.parts["embedding_std"].requires_grad


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(1, 12), d=st.integers(2, 8))
def test_lies_between_minus_one_and_one_and_knows_only_directions(seed: int, n: int, d: int) -> None:
    p_a, z_b, p_b, z_a = outputs(n, d, seed=seed)
    lengths = torch.linspace(0.2, 9.0, n, dtype=torch.float64)[:, None]
    before = simsiam_loss(p_a, z_b, p_b, z_a).total
    assert -1 <= before <= 1
    torch.testing.assert_close(simsiam_loss(p_a * lengths, z_b * 3, p_b, z_a * lengths).total, before)
    torch.testing.assert_close(simsiam_loss(p_b, z_a, p_a, z_b).total, before)


def test_is_minus_one_where_all_predictions_are_right_and_one_where_all_are_opposite() -> None:
    _, z_b, _, z_a = outputs(5, 4)
    torch.testing.assert_close(simsiam_loss(z_b * 2, z_b, z_a, z_a).total.item(), -1.0)
    torch.testing.assert_close(simsiam_loss(-z_b, z_b, -z_a, z_a).total.item(), 1.0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapse_gives_finite_values_and_gradients_and_a_std_of_zero(value: float) -> None:
    p = torch.full((4, 3), value, requires_grad=True)
    terms = simsiam_loss(p, p * 1, p, p * 1)
    (gradient,) = torch.autograd.grad(terms.total, p)
    assert torch.isfinite(terms.total)
    assert torch.isfinite(gradient).all()
    assert terms.parts["embedding_std"] < 1e-6


def test_the_std_is_one_when_embeddings_are_spread_over_the_sphere() -> None:
    z = torch.randn(4096, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert 0.99 < embedding_std(z, z.flip(0)).item() <= 1
    exact = torch.cat([torch.eye(3), -torch.eye(3)]).double() * 7
    assert math.isclose(embedding_std(exact, exact).item(), 1.0, rel_tol=1e-12)


def test_the_std_is_the_papers_figure_times_the_root_of_d_averaged_over_views() -> None:
    _, z_b, _, z_a = outputs(9, 4)
    figures = [(z / z.norm(dim=1, keepdim=True)).std(dim=0, correction=0).mean() for z in (z_a, z_b)]
    torch.testing.assert_close(embedding_std(z_a, z_b), (sum(figures) * 2 / 2).detach())  # sqrt(4) = 2


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(2, 12), d=st.integers(2, 8))
def test_the_std_never_exceeds_one(seed: int, n: int, d: int) -> None:
    _, z_b, _, z_a = outputs(n, d, seed=seed)
    assert 0 <= embedding_std(z_a, z_b) <= 1 + 1e-12


def test_half_precision_is_compared_in_float32_also_under_autocast() -> None:
    args = tuple(x.detach().to(torch.bfloat16) for x in outputs(16, 8))
    expected = simsiam_loss(*(x.float() for x in args))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = simsiam_loss(*args)
    for one, other in zip(
        (inside.total, *inside.parts.values()), (expected.total, *expected.parts.values()), strict=True
    ):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def sharded_losses(args: tuple[Tensor, ...], *, by_size: bool) -> list[Terms]:
    """Run the loss on shards of SIZES; a process counts by its samples, or as one."""
    shards = list(zip(*(x.split(SIZES) for x in args), strict=True))

    def work(rank: int, all_mean: AllMean, _gather: Gather) -> Terms:
        def mean(local: Tensor, count: int) -> Tensor:
            return all_mean(local, count if by_size else 1)

        return simsiam_loss(*shards[rank], all_mean=mean)

    return in_lockstep(len(SIZES), work)


def test_unequal_shards_equal_the_whole_batch_in_value_parts_and_gradient() -> None:
    args = outputs(sum(SIZES), 5)
    whole = simsiam_loss(*args)
    expected = torch.autograd.grad(whole.total, (args[0], args[2]))
    for terms in sharded_losses(args, by_size=True):
        torch.testing.assert_close(terms.total, whole.total, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(dict(terms.parts), dict(whole.parts), rtol=1e-12, atol=1e-12)
        gradient = torch.autograd.grad(terms.total, (args[0], args[2]), retain_graph=True)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_mean_of_local_means_is_not_the_loss_of_the_whole_batch() -> None:
    args = outputs(sum(SIZES), 5)
    shards = sharded_losses(args, by_size=False)
    assert abs(shards[0].total - simsiam_loss(*args).total) > 1e-3


def method_of(width: int = 8, **options: int) -> SimSiam:
    torch.manual_seed(0)
    return simsiam(nn.Linear(6, 5), HeadSpec(f"4-{width}", bias=True), 5, **options)


def test_the_heads_are_those_of_the_official_code() -> None:
    method = method_of(width=8)
    projector, predictor = list(method.projector.children()), list(method.predictor.children())
    assert [type(layer) for layer in projector[-2:]] == [nn.Linear, nn.BatchNorm1d]
    assert projector[-2].bias is None
    assert not projector[-1].affine
    assert [type(layer) for layer in predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert (predictor[0].in_features, predictor[0].out_features, predictor[3].out_features) == (8, 2, 8)
    assert predictor[0].bias is None
    assert predictor[3].bias is not None
    assert next(method_of(bottleneck=3).predictor.parameters()).shape == (3, 8)


def test_the_module_gives_the_loss_of_its_outputs_and_lets_gradients_reach_every_part() -> None:
    method = method_of()
    views = [torch.randn(8, 6), torch.randn(8, 6)]
    terms = method(views)
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    torch.testing.assert_close(terms.total, simsiam_loss(method.predictor(z_a), z_b, method.predictor(z_b), z_a).total)
    assert list(terms.parts) == ["a_to_b", "b_to_a", "embedding_std"]
    terms.total.backward()
    for part in (method.backbone, method.projector, method.predictor):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)
    torch.testing.assert_close(method.represent(views[0]), method.backbone(views[0]))


def test_without_the_stop_gradient_the_backbone_would_get_another_gradient() -> None:
    method = method_of()
    views = [torch.randn(8, 6), torch.randn(8, 6)]
    weight = next(method.backbone.parameters())
    (ours,) = torch.autograd.grad(method(views).total, weight)
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    both = torch.cosine_similarity(method.predictor(z_a), z_b) + torch.cosine_similarity(method.predictor(z_b), z_a)
    (other,) = torch.autograd.grad(-both.mean() / 2, weight)
    assert (ours - other).abs().max() > 0.01 * ours.abs().max()


@pytest.mark.parametrize("views", [1, 3])
def test_the_module_wants_two_views(views: int) -> None:
    with pytest.raises(ValueError, match=f"views: got {views}, wanted 2"):
        method_of()([torch.zeros(4, 6)] * views)


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    z = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\), \(5, 3\), \(4, 3\), \(4, 3\), wanted"):
        simsiam_loss(z, torch.randn(5, 3), z, z)
    with pytest.raises(ValueError, match="bottleneck: got -1, wanted a width"):
        method_of(bottleneck=-1)
