"""CCA-SSG against the double sum of its paper, its invariances, itself in shards, and at collapse."""

import pytest
import torch
from torch import Tensor, nn

import barlow
from barlow.methods.cca_ssg import cca_ssg, cca_ssg_loss
from barlow.methods.heads import HeadSpec
from barlow.statistics.correlation import EPS
from tests.methods.in_lockstep import AllMean, in_lockstep

WEIGHT = 0.3
SHARDS = (3, 7)


def embeddings(n: int, d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n + d)
    shared = (
        torch.randn(n, d, generator=generator, dtype=torch.float64) @ torch.randn(d, d, generator=generator).double()
    )
    noise = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return (shared + noise[0] + 1).requires_grad_(), (shared + noise[1] - 2).requires_grad_()


def naive_loss(z_a: Tensor, z_b: Tensor) -> Tensor:
    """The sums over scalars: correlations of equal features, and squares within each view."""
    n, d = z_a.shape

    def standard(z: Tensor) -> list[list[Tensor]]:
        columns = []
        for j in range(d):
            mean = z[:, j].sum() / n
            spread = torch.sqrt(((z[:, j] - mean) ** 2).sum() / n + EPS)
            columns.append([(z[i, j] - mean) / spread for i in range(n)])
        return columns

    a, b = standard(z_a), standard(z_b)
    total = torch.zeros((), dtype=z_a.dtype)
    for j in range(d):
        total = total + 1 - sum(a[j][i] * b[j][i] for i in range(n)) / n
        for k in range(d):
            for one in (a, b):
                c = sum(one[j][i] * one[k][i] for i in range(n)) / n
                total = total + WEIGHT * (c - float(j == k)) ** 2
    return total


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize(("n", "d"), [(6, 3), (4, 6)])
def test_equals_the_sums_of_the_paper_in_value_and_gradient(n: int, d: int, form: str) -> None:
    z_a, z_b = embeddings(n, d)
    terms = cca_ssg_loss(z_a, z_b, decorrelation_weight=WEIGHT, form=form)  # type: ignore[arg-type]
    expected = naive_loss(z_a, z_b)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, (z_a, z_b))
    torch.testing.assert_close(ours, torch.autograd.grad(expected, (z_a, z_b)), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


def test_exact_values_of_two_samples() -> None:
    """Standardised columns are +1, -1 or its opposite: every correlation is 1 or -1, but for eps."""
    z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    same = cca_ssg_loss(z, z, decorrelation_weight=1.0)
    assert float(same.parts["invariance"]) == pytest.approx(0.0, abs=4 * EPS)
    assert float(same.parts["decorrelation"]) == pytest.approx(4.0, abs=16 * EPS)  # two entries of 1 in each view
    opposite = cca_ssg_loss(z, -z, decorrelation_weight=1.0)
    assert float(opposite.parts["invariance"]) == pytest.approx(4.0, abs=4 * EPS)


def test_scale_and_offset_of_a_feature_and_the_order_of_samples_change_nothing() -> None:
    z_a, z_b = (z.detach() * 100 for z in embeddings(9, 4))
    before = cca_ssg_loss(z_a, z_b).total
    moved = cca_ssg_loss(z_a * torch.tensor([2.0, 3.0, 5.0, 7.0]) + 11, z_b).total
    torch.testing.assert_close(moved, before, rtol=1e-6, atol=1e-6)
    order = torch.randperm(9)
    torch.testing.assert_close(cca_ssg_loss(z_a[order], z_b[order]).total, before)
    torch.testing.assert_close(cca_ssg_loss(z_b, z_a).total, before)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(
        lambda a, b: cca_ssg_loss(a, b, decorrelation_weight=WEIGHT).total, embeddings(5, 3)
    )


def test_shards_equal_the_whole_batch_in_value_and_gradient() -> None:
    z_a, z_b = embeddings(sum(SHARDS), 4)
    whole = cca_ssg_loss(z_a, z_b, decorrelation_weight=WEIGHT).total
    gradient = torch.autograd.grad(whole, z_a)[0]
    parts_a, parts_b = z_a.split(list(SHARDS)), z_b.split(list(SHARDS))

    def work(rank: int, all_mean: AllMean, gather: object) -> Tensor:
        mean = barlow.MeanOver(all_mean, sum(SHARDS))
        return cca_ssg_loss(
            parts_a[rank], parts_b[rank], decorrelation_weight=WEIGHT, form="direct", all_mean=mean
        ).total

    losses = in_lockstep(2, work)
    torch.testing.assert_close(losses[0], whole)
    torch.testing.assert_close(torch.autograd.grad(losses[0], z_a)[0], gradient)


def test_collapse_is_finite() -> None:
    z = torch.ones(6, 3, requires_grad=True)
    terms = cca_ssg_loss(z, z)
    terms.total.backward()
    assert terms.total.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_wrong_arguments_are_named(as_users_call_it: None) -> None:
    z = torch.randn(4, 3)
    with pytest.raises(ValueError, match="decorrelation_weight: got -1"):
        cca_ssg_loss(z, z, decorrelation_weight=-1)
    with pytest.raises(ValueError, match="form: got 'x', wanted one of"):
        cca_ssg_loss(z, z, form="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 1 sample, wanted at least 2"):
        cca_ssg_loss(z[:1], z[:1])


def test_the_method_has_the_number_of_its_recipe() -> None:
    method = cca_ssg(nn.Linear(5, 4), HeadSpec("none"), 4, decorrelation_weight=0.5)
    views = [torch.randn(8, 5), torch.randn(8, 5)]
    expected = cca_ssg_loss(*(method.represent(view) for view in views), decorrelation_weight=0.5).total
    torch.testing.assert_close(method(views).total, expected)
