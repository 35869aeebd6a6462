"""The sum of squared covariances: both forms against loops, each other and float64, and who takes which."""

import pytest
import torch
from torch import Tensor

from barlow.statistics import covariance as batch_covariance
from barlow.statistics.collectives import MeanOver, identity
from barlow.statistics.correlation import Form
from barlow.statistics.covariance import bessel, off_diagonal_squares

FORMS: tuple[Form, Form] = ("direct", "gram")


def centred(s: int, n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(s, n, d, generator=generator, dtype=torch.float64)
    z = z @ (torch.eye(d, dtype=torch.float64) + 0.3 * torch.randn(d, d, generator=generator, dtype=torch.float64))
    return (z - z.mean(dim=1, keepdim=True)).requires_grad_()


def by_loops(z: Tensor) -> Tensor:
    s, n, d = z.shape
    sums = []
    for p in range(s):
        pairs = [(z[p, :, i] @ z[p, :, j] / (n - 1)) ** 2 for i in range(d) for j in range(d) if i != j]
        sums.append(torch.stack(pairs).sum())
    return torch.stack(sums)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("s", "n", "d"), [(1, 7, 3), (2, 3, 5), (3, 2, 2)])
def test_equals_the_loops_in_value_and_gradient(form: Form, s: int, n: int, d: int) -> None:
    z = centred(s, n, d)
    ours, expected = off_diagonal_squares(z, form=form), by_loops(z)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    weights = torch.arange(1.0, s + 1, dtype=torch.float64)
    (one,), (other,) = (torch.autograd.grad((weights * sums).sum(), z) for sums in (ours, expected))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(2, 7), (8, 32), (48, 32), (64, 8)])
def test_gram_equals_direct_to_1e_12(n: int, d: int) -> None:
    z = centred(2, n, d)
    direct, gram = (off_diagonal_squares(z, form=form).sum() for form in FORMS)
    assert abs(direct.item() - gram.item()) <= 1e-12 * max(1.0, abs(direct.item()))
    (one,), (other,) = torch.autograd.grad(direct, z), torch.autograd.grad(gram, z)
    assert (one - other).abs().max() <= 1e-12 * max(1.0, float(one.abs().max()))


@pytest.mark.parametrize(("n", "d", "expected"), [(7, 8, "gram"), (8, 8, "direct"), (9, 8, "direct")])
def test_auto_takes_gram_below_as_many_samples_as_features(
    n: int, d: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = {"gram": "_Moment", "direct": "_OffDiagonalSquaresByGram"}[expected]
    monkeypatch.delattr(batch_covariance, unused)
    off_diagonal_squares(centred(1, n, d))
    other = {"gram": "direct", "direct": "gram"}[expected]
    with pytest.raises(NameError, match=unused):
        off_diagonal_squares(centred(1, n, d), form=other)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_float32_is_as_exact_as_its_precision_allows(form: Form) -> None:
    """One float32 sum over the squares of 2048 x 2048 covariances would be wrong by 1e-4."""
    z = centred(1, 32, 2048).detach()
    expected = off_diagonal_squares(z, form=form)
    inexact = off_diagonal_squares(z.float(), form=form)
    torch.testing.assert_close(inexact.double(), expected, rtol=2e-6, atol=0)


def test_bessel_turns_the_mean_of_squares_into_the_unbiased_variance() -> None:
    z = centred(1, 5, 3)[0]
    own_mean = bessel(2, MeanOver(identity, 5))  # two here, three elsewhere
    for factor in (bessel(5, identity), own_mean):
        torch.testing.assert_close(z.square().mean(dim=0) * factor, z.var(dim=0))
