"""SimCLR against a double loop over its 2N anchors, its exact values, its invariances, and itself in shards."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from barlow.methods.heads import HeadSpec
from barlow.methods.simclr import SimCLR, simclr, simclr_loss
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, Gather
from tests.methods.in_lockstep import in_lockstep

SIZES = (3, 6, 2)


def embeddings(n: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two related float64 views."""
    generator = torch.Generator().manual_seed(seed)
    shared, a, b = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    return (shared + 0.7 * a).requires_grad_(), (shared + 0.7 * b).requires_grad_()


def naive_loss(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """Algorithm 1 of the paper: rows 2k and 2k+1 are partners, one scalar at a time."""
    rows = [row for pair in zip(z_a, z_b, strict=True) for row in pair]
    total = torch.zeros((), dtype=z_a.dtype)
    for i, z_i in enumerate(rows):
        partner = i + 1 if i % 2 == 0 else i - 1
        exps = {}
        for j, z_j in enumerate(rows):
            cosine = (z_i * z_j).sum() / ((z_i**2).sum().sqrt() * (z_j**2).sum().sqrt())
            if j != i:
                exps[j] = torch.exp(cosine / temperature)
        total = total - torch.log(exps[partner] / sum(exps.values()))
    return total / len(rows)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (7, 4), (5, 16)])
def test_equals_the_double_loop_of_the_paper_in_value_and_gradient(n: int, d: int, temperature: float) -> None:
    z_a, z_b = embeddings(n, d)
    terms = simclr_loss(z_a, z_b, temperature=temperature)
    expected = naive_loss(z_a, z_b, temperature)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, (z_a, z_b))
    theirs = torch.autograd.grad(expected, (z_a, z_b))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_gradcheck() -> None:
    z_a, z_b = embeddings(5, 4)
    assert torch.autograd.gradcheck(lambda a, b: simclr_loss(a, b, temperature=0.3).total, (z_a, z_b))


def test_parts_are_the_positive_logit_and_the_log_sum_and_add_up() -> None:
    z_a, z_b = embeddings(6, 4)
    terms = simclr_loss(z_a, z_b, temperature=0.5)
    assert list(terms.parts) == ["alignment", "uniformity"]
    cosine = torch.cosine_similarity(z_a, z_b).mean()
    torch.testing.assert_close(terms.parts["alignment"], -cosine / 0.5)
    torch.testing.assert_close(terms.parts["alignment"] + terms.parts["uniformity"], terms.total)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("n", [2, 9])
def test_collapse_costs_log_of_two_n_minus_one_at_any_temperature(n: int, temperature: float) -> None:
    z = torch.ones(n, 3, dtype=torch.float64)
    loss = simclr_loss(z, z * 2, temperature=temperature).total
    assert math.isclose(loss.item(), math.log(2 * n - 1), rel_tol=1e-12)


def test_orthogonal_pairs_cost_their_closed_form() -> None:
    """Equal views, all samples at right angles: log(1 + (2N - 2) exp(-1/tau))."""
    z = torch.eye(4, dtype=torch.float64)
    loss = simclr_loss(z, z, temperature=0.25).total
    assert math.isclose(loss.item(), math.log(1 + 6 * math.exp(-4)), rel_tol=1e-12)


def test_is_half_of_the_official_sum_over_the_two_views() -> None:
    """objective.py adds the mean over the anchors of view a and that of view b."""
    z_a, z_b = embeddings(6, 4)
    u_a, u_b = (z / z.norm(dim=1, keepdim=True) for z in (z_a, z_b))
    big = 1e9 * torch.eye(6, dtype=torch.float64)
    logits_a = torch.cat([u_a @ u_b.T, u_a @ u_a.T - big], dim=1) / 0.5
    logits_b = torch.cat([u_b @ u_a.T, u_b @ u_b.T - big], dim=1) / 0.5
    labels = torch.arange(6)
    official = nn.functional.cross_entropy(logits_a, labels) + nn.functional.cross_entropy(logits_b, labels)
    torch.testing.assert_close(2 * simclr_loss(z_a, z_b, temperature=0.5).total, official)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(2, 12), d=st.integers(2, 8))
def test_rotation_lengths_order_and_the_names_of_the_views_change_nothing(seed: int, n: int, d: int) -> None:
    z_a, z_b = embeddings(n, d, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    order = torch.randperm(n, generator=generator)
    lengths = 0.1 + 10 * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    before = simclr_loss(z_a, z_b, temperature=0.5).total
    after = simclr_loss((z_b * lengths)[order] @ rotation, z_a[order] @ rotation, temperature=0.5).total
    torch.testing.assert_close(before, after)


def test_mixing_up_partners_costs_more() -> None:
    z_a, z_b = embeddings(8, 6)
    assert simclr_loss(z_a, z_b.roll(1, 0)).total > simclr_loss(z_a, z_b).total + 0.5


@pytest.mark.parametrize("collapse", ["zero sample", "zero", "constant"])
def test_collapse_gives_finite_values_and_gradients(collapse: str) -> None:
    z_a, z_b = (z.detach().float() for z in embeddings(6, 5))
    for z in (z_a, z_b):
        if collapse == "zero sample":
            z[2] = 0.0
        else:
            z[:] = 0.0 if collapse == "zero" else 3.0
    z_a.requires_grad_(), z_b.requires_grad_()
    total = simclr_loss(z_a, z_b).total
    gradients = torch.autograd.grad(total, (z_a, z_b))
    assert torch.isfinite(total)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_half_precision_embeddings_are_compared_in_float32_also_under_autocast() -> None:
    z_a, z_b = (z.detach().to(torch.bfloat16) for z in embeddings(32, 16))
    expected = simclr_loss(z_a.float(), z_b.float()).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = simclr_loss(z_a, z_b).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


def sharded_losses(z_a: Tensor, z_b: Tensor, *, keys_with_gradient: bool = True) -> list[Terms]:
    """Run the loss on shards of SIZES; the rows that meet carry their gradient unless told otherwise."""
    shards = list(zip(z_a.split(SIZES), z_b.split(SIZES), strict=True))

    def work(rank: int, all_mean: AllMean, gather: Gather) -> Terms:
        def keys(rows: Tensor) -> Tensor:
            everyone = gather(rows)
            return everyone if keys_with_gradient else everyone.detach()

        return simclr_loss(*shards[rank], temperature=0.5, rank=rank, gather=keys, all_mean=all_mean)

    return in_lockstep(len(SIZES), work)


def test_unequal_shards_equal_the_whole_batch_in_value_parts_and_gradient() -> None:
    z_a, z_b = embeddings(sum(SIZES), 5)
    whole = simclr_loss(z_a, z_b, temperature=0.5)
    expected = torch.autograd.grad(whole.total, (z_a, z_b))
    for terms in sharded_losses(z_a, z_b):
        torch.testing.assert_close(terms.total, whole.total, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(dict(terms.parts), dict(whole.parts), rtol=1e-12, atol=1e-12)
        gradient = torch.autograd.grad(terms.total, (z_a, z_b), retain_graph=True)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_keys_without_gradient_give_another_gradient() -> None:
    """What a gather without gradient would do; the test above can fail."""
    z_a, z_b = embeddings(sum(SIZES), 5)
    expected = torch.autograd.grad(simclr_loss(z_a, z_b, temperature=0.5).total, z_a)[0]
    gradient = torch.autograd.grad(sharded_losses(z_a, z_b, keys_with_gradient=False)[0].total, z_a)[0]
    assert (gradient - expected).abs().max() > 0.01 * expected.abs().max()


def linear_method() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(nn.Linear(6, 5).double(), nn.Linear(5, 4).double())


def gradient_of(method: SimCLR, views: list[Tensor]) -> tuple[Tensor, Tensor]:
    terms = method(views)
    gradients = torch.autograd.grad(terms.total, list(method.parameters()))
    return terms.total.detach(), torch.cat([g.flatten() for g in gradients])


def one_process(rank: int, folder: str) -> None:
    """One of two processes with rows of its own; gradients averaged as DDP averages them."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    loss, gradient = gradient_of(linear_method(), [z.detach().split((3, 6))[rank] for z in embeddings(9, 6)])
    dist.all_reduce(gradient)
    torch.save((loss, gradient / 2), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_real_processes_with_unequal_numbers_of_samples_equal_one_with_all_of_them(tmp_path: Path) -> None:
    spawn(one_process, args=(str(tmp_path),), nprocs=2)
    expected = gradient_of(linear_method(), [z.detach() for z in embeddings(9, 6)])
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_module_puts_both_views_through_the_network_at_once_and_lets_gradients_reach_all_of_it() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5))
    method = simclr(backbone, HeadSpec("4-3"), 5, temperature=0.5)
    views = [torch.randn(8, 6), torch.randn(8, 6) + 1]
    terms = method(views)
    z_a, z_b = method.projector(method.backbone(torch.cat(views))).chunk(2)
    torch.testing.assert_close(terms.total, simclr_loss(z_a, z_b, temperature=0.5).total)
    terms.total.backward()
    trainable = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert {name for name, p in method.named_parameters() if not p.requires_grad} == {"projector.4.bias"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trainable.values())


def test_the_head_ends_with_a_scaled_norm_without_offset() -> None:
    last = list(simclr(nn.Identity(), HeadSpec("4-3"), 5).projector.children())[-1]
    assert isinstance(last, nn.BatchNorm1d)
    assert last.weight.requires_grad
    assert not last.bias.requires_grad


def test_views_that_cannot_be_put_together_go_through_the_backbone_one_by_one() -> None:
    class Widths(nn.Module):
        def forward(self, rows: list[Tensor]) -> Tensor:
            return torch.stack([row.mean() * torch.ones(3) for row in rows]) + torch.arange(3)

    ragged = [[torch.full((length,), float(i)) for i, length in enumerate((2, 5, 3))] for _ in range(2)]
    method = SimCLR(Widths(), nn.Identity())
    assert torch.isfinite(method(ragged).total)
    # the backbone sees two views of one size at once, and two of different sizes one after the other
    calls: list[int] = []
    flat = nn.Flatten()
    flat.register_forward_hook(lambda _module, _args, out: calls.append(len(out)))
    pooled = nn.Sequential(nn.AdaptiveAvgPool1d(4), flat)
    SimCLR(pooled, nn.Identity())([torch.randn(3, 2, 8), torch.randn(3, 2, 8)])
    SimCLR(pooled, nn.Identity())([torch.randn(3, 2, 8), torch.randn(3, 2, 6)])
    assert calls == [6, 3, 3]


@pytest.mark.parametrize("views", [1, 3])
def test_the_module_wants_two_views(views: int) -> None:
    with pytest.raises(ValueError, match=f"views: got {views}, wanted 2"):
        SimCLR(nn.Identity(), nn.Identity())([torch.zeros(4, 2)] * views)


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    z = torch.randn(4, 3)
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"temperature: got {temperature}, wanted a positive number"):
            simclr_loss(z, z, temperature=temperature)
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(5, 3\)"):
        simclr_loss(z, torch.randn(5, 3))
    with pytest.raises(ValueError, match="got 1 sample, wanted at least 2"):
        simclr_loss(z[:1], z[:1])
