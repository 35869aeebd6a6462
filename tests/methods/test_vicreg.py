"""VICReg against the sums of its paper, its exact values, itself in shards and over two processes."""

import math
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from barlow.methods.heads import HeadSpec
from barlow.methods.vicreg import Convention, covariance, invariance, variance, vicreg, vicreg_loss
from barlow.statistics.collectives import MeanOver, all_mean, identity
from tests.methods.in_lockstep import AllMean, in_lockstep

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
WEIGHTS = {"invariance_weight": 3.0, "variance_weight": 2.0, "covariance_weight": 0.7}
SHARDS = (3, 7)


def embeddings(n: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two float64 views, correlated features, some with less and some with more than unit spread."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.2, 1.6, d, dtype=torch.float64)
    shared = draw(n, d) @ (torch.eye(d, dtype=torch.float64) + 0.3 * draw(d, d)) * scale
    return (shared + 0.2 * draw(n, d) + 1).requires_grad_(), (shared + 0.2 * draw(n, d) - 2).requires_grad_()


def naive_loss(z_a: Tensor, z_b: Tensor, convention: Convention) -> Tensor:
    """Equations 1 to 6 of the paper as sums over scalars; the official factors where they differ."""
    n, d = z_a.shape
    s = torch.zeros((), dtype=z_a.dtype)
    for row in range(n):
        for j in range(d):
            s = s + (z_a[row, j] - z_b[row, j]) ** 2 / n
    v, c = torch.zeros_like(s), torch.zeros_like(s)
    for z in (z_a, z_b):
        mean = [z[:, j].sum() / n for j in range(d)]
        for i in range(d):
            for j in range(d):
                cov = ((z[:, i] - mean[i]) * (z[:, j] - mean[j])).sum() / (n - 1)
                if i == j:
                    v = v + torch.clamp(1 - torch.sqrt(cov + 1e-4), min=0) / d
                else:
                    c = c + cov**2 / d
    if convention == "official":
        s, v = s / d, v / 2
    return WEIGHTS["invariance_weight"] * s + WEIGHTS["variance_weight"] * v + WEIGHTS["covariance_weight"] * c


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize(("n", "d"), [(9, 4), (5, 8), (2, 3)])
def test_equals_the_sums_of_the_paper_in_value_and_gradient(convention: Convention, form: str, n: int, d: int) -> None:
    z_a, z_b = embeddings(n, d)
    terms = vicreg_loss(z_a, z_b, convention=convention, form=form, **WEIGHTS)  # type: ignore[arg-type]
    expected = naive_loss(z_a, z_b, convention)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, (z_a, z_b))
    theirs = torch.autograd.grad(expected, (z_a, z_b))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert list(terms.parts) == ["invariance", "variance", "covariance"]
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


def test_defaults_are_25_25_1_in_the_official_convention() -> None:
    z_a, z_b = embeddings(7, 4)
    s, v = invariance(z_a, z_b), (variance(z_a) + variance(z_b)) / 2
    expected = 25 * s + 25 * v + covariance(z_a) + covariance(z_b)
    torch.testing.assert_close(vicreg_loss(z_a, z_b).total, expected, rtol=1e-14, atol=0)


def test_the_paper_counts_invariance_d_times_and_variance_twice() -> None:
    z_a, z_b = embeddings(7, 4)
    official, paper = (vicreg_loss(z_a, z_b, convention=name).parts for name in CONVENTIONS)
    torch.testing.assert_close(paper["invariance"], 4 * official["invariance"])
    torch.testing.assert_close(paper["variance"], 2 * official["variance"])
    torch.testing.assert_close(paper["covariance"], official["covariance"])


@pytest.mark.parametrize("form", ["direct", "gram"])
def test_positions_have_statistics_of_their_own_and_are_averaged(form: str) -> None:
    z = torch.stack([embeddings(6, 4, seed=seed)[0].detach() for seed in range(3)], dim=1).requires_grad_()
    slots = [z[:, p] for p in range(3)]
    pairs = [
        (variance(z), [variance(slot) for slot in slots]),
        (covariance(z, form=form), [covariance(slot, form=form) for slot in slots]),  # type: ignore[arg-type]
        (invariance(z, z.flip(0)), [invariance(slot, slot.flip(0)) for slot in slots]),
    ]
    for together, alone in pairs:
        mean = torch.stack(alone).mean()
        torch.testing.assert_close(together, mean)
        (one,), (other,) = torch.autograd.grad(together, z), torch.autograd.grad(mean, z)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("form", ["direct", "gram"])
def test_gradcheck(convention: Convention, form: str) -> None:
    z_a, z_b = embeddings(6, 4)

    def total(a: Tensor, b: Tensor) -> Tensor:
        return vicreg_loss(a, b, convention=convention, form=form, **WEIGHTS).total  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(total, (z_a, z_b))


@pytest.mark.parametrize(("convention", "expected"), [("official", 24.75), ("paper", 49.5)])
def test_zero_embeddings_cost_what_the_hinge_says(convention: Convention, expected: float) -> None:
    """Here s = 0, c = 0, and v = 1 - sqrt(1e-4) = .99 per view."""
    z = torch.zeros(6, 5, dtype=torch.float64)
    assert math.isclose(vicreg_loss(z, z, convention=convention).total.item(), expected, rel_tol=1e-12)


def test_white_features_cost_two_d_over_n_in_covariance() -> None:
    n, d = 512, 64
    z_a, z_b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0))
    expected = 2 * (d - 1) / (n - 1)
    assert math.isclose(vicreg_loss(z_a, z_b).parts["covariance"].item(), expected, rel_tol=0.05)


def test_orthogonal_features_of_unit_spread_in_equal_views_cost_nothing() -> None:
    z = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # variance 4/3 with N - 1
    assert vicreg_loss(z, z + 0).total == 0


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(3, 12), d=st.integers(2, 12), shift=st.floats(-5, 5))
def test_moving_or_reordering_both_views_alike_changes_nothing(seed: int, n: int, d: int, shift: float) -> None:
    z_a, z_b = embeddings(n, d, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rows, cols = torch.randperm(n, generator=generator), torch.randperm(d, generator=generator)
    signs = torch.randint(0, 2, (d,), generator=generator).double() * 2 - 1
    before = vicreg_loss(z_a, z_b).total
    after = vicreg_loss(z_a[rows][:, cols] * signs + shift, z_b[rows][:, cols] * signs + shift).total
    torch.testing.assert_close(before, after)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 4.0))
def test_covariance_grows_with_the_fourth_power_of_the_scale(seed: int, scale: float) -> None:
    z, _ = embeddings(6, 9, seed=seed)
    torch.testing.assert_close(covariance(z * scale), covariance(z) * scale**4)


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("collapse", ["one feature", "everything", "zero"])
def test_collapse_gives_finite_values_and_gradients(form: str, collapse: str) -> None:
    z_a, z_b = (z.detach().float() for z in embeddings(6, 5))
    for z in (z_a, z_b):
        if collapse == "one feature":
            z[:, 1] = 2.0
        else:
            z[:] = 3.0 if collapse == "everything" else 0.0
    z_a.requires_grad_(), z_b.requires_grad_()
    terms = vicreg_loss(z_a, z_b, form=form)  # type: ignore[arg-type]
    gradients = torch.autograd.grad(terms.total, (z_a, z_b))
    assert torch.isfinite(terms.total)
    assert all(torch.isfinite(g).all() for g in gradients)
    if collapse != "one feature":  # constant embeddings are a stationary point
        assert all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("form", ["direct", "gram"])
def test_half_precision_embeddings_are_reduced_in_float32_also_under_autocast(form: str) -> None:
    z_a, z_b = (z.detach().to(torch.bfloat16) for z in embeddings(24, 16))
    expected = vicreg_loss(z_a.float(), z_b.float(), form=form).total  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicreg_loss(z_a, z_b, form=form).total  # type: ignore[arg-type]
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


def sharded_losses(z_a: Tensor, z_b: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Run the loss on shards at once."""
    shards = list(zip(z_a.split(list(sizes)), z_b.split(list(sizes)), strict=True))

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        return vicreg_loss(*shards[rank], all_mean=MeanOver(mean, sum(sizes)), **WEIGHTS).total  # type: ignore[arg-type]

    return in_lockstep(len(sizes), loss)


@pytest.mark.parametrize("sizes", [(8, 8), (6, 10), (1, 15), (3, 6, 7)])
def test_shards_equal_the_whole_batch_in_value_and_gradient(sizes: tuple[int, ...]) -> None:
    z_a, z_b = embeddings(16, 5)
    whole = vicreg_loss(z_a, z_b, **WEIGHTS).total  # type: ignore[arg-type]
    expected = torch.autograd.grad(whole, (z_a, z_b))
    totals = sharded_losses(z_a, z_b, sizes)
    assert len(totals) == len(sizes)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(totals[0], (z_a, z_b)), expected, rtol=1e-10, atol=1e-12)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def process(rank: int, folder: str) -> None:
    """One process: its shard's loss, gradients averaged as DDP averages them, and the same with own statistics."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARDS))
    shard = [z.detach().split(list(SHARDS))[rank] for z in embeddings(sum(SHARDS), 6)]
    found: dict[str, Tensor] = {}
    for name, form, reduce in (("direct", "direct", all_mean), ("gram", "gram", all_mean), ("local", "auto", identity)):
        net = network()
        loss = vicreg_loss(*(net(z) for z in shard), form=form, all_mean=reduce).total  # type: ignore[arg-type]
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        dist.all_reduce(gradient)
        found |= {f"{name} loss": loss.detach(), f"{name} gradient": gradient / len(SHARDS)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_data_give_the_gradient_of_one_and_own_statistics_do_not(tmp_path: Path) -> None:
    start_processes(process, args=(str(tmp_path),), nprocs=len(SHARDS), start_method="forkserver")
    net = network()
    loss = vicreg_loss(*(net(z.detach()) for z in embeddings(sum(SHARDS), 6))).total
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    for rank in range(len(SHARDS)):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for form in ("direct", "gram"):
            torch.testing.assert_close(found[f"{form} loss"], loss.detach(), rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found[f"{form} gradient"], expected, rtol=1e-9, atol=1e-12)
        assert (found["local gradient"] - expected).abs().max() > 1e-3


def test_the_module_gives_the_loss_of_its_projections_and_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    method = vicreg(nn.Linear(6, 4), HeadSpec("5-3", bias=True), 4, convention="paper", **WEIGHTS)
    views = [torch.randn(8, 6), torch.randn(8, 6)]
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    terms = method(views)
    expected = vicreg_loss(z_a, z_b, convention="paper", **WEIGHTS).total  # type: ignore[arg-type]
    torch.testing.assert_close(terms.total, expected)
    torch.testing.assert_close(method.represent(views[0]), method.backbone(views[0]))
    terms.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_expander_has_biases_except_in_its_last_layer() -> None:
    method = vicreg(nn.Identity(), HeadSpec("5-5-3", bias=True), 4)
    linear = [layer for layer in method.projector.modules() if isinstance(layer, nn.Linear)]
    assert [layer.bias is not None for layer in linear] == [True, True, False]


def test_the_module_wants_two_views() -> None:
    with pytest.raises(ValueError, match="views: got 3, wanted 2"):
        vicreg(nn.Identity(), HeadSpec("none"), 2)([torch.zeros(4, 2)] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"convention": "oficial"}, "convention: got 'oficial'.*did you mean 'official'"),
        ({"form": "gramm"}, "form: got 'gramm'.*did you mean 'gram'"),
        ({"covariance_weight": -1.0}, "covariance_weight: got -1.0, wanted 0 or more"),
        ({"form": "gram", "all_mean": MeanOver(identity, 4)}, "form='gram' gathers rows: got an all_mean of your own"),
    ],
)
@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted(arguments: dict[str, object], message: str) -> None:
    z = torch.randn(4, 6)
    with pytest.raises(ValueError, match=message):
        vicreg_loss(z, z, **arguments)  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_users_call_it")
def test_one_sample_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 sample, wanted at least 2"):
        vicreg_loss(torch.randn(1, 4), torch.randn(1, 4))
    with pytest.raises(ValueError, match="got 1 sample, wanted at least 2"):
        covariance(torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(5, 4\)"):
        vicreg_loss(torch.randn(4, 4), torch.randn(5, 4))
