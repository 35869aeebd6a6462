"""The index of a view in the features is measured as it was put there, and is nothing where views are drawn alike."""

import torch

from barlow.theory.view_index import index_share, scale_ratio


def views(n: int = 400, k: int = 3, d: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, d, generator=generator) + torch.randn(n, k, d, generator=generator)


def test_views_that_are_drawn_alike_have_no_index_and_one_scale() -> None:
    share, (ratio, error) = index_share(views()), scale_ratio(views())
    assert abs(float(share.value)) <= 3 * float(share.standard_error) + 1e-4
    assert ratio - 2 * error <= 1.0 <= ratio < 1.1


def test_a_mean_of_its_own_is_the_share_that_it_makes() -> None:
    h, shift = views(k=2), 0.5
    h[:, 1] += shift
    share = index_share(h)  # means +-1/4 around their mean: 2 * 8 / 16 against 8 of noise
    truth = (8 * shift**2 / 2) / (8 * shift**2 / 2 + 8)
    assert abs(float(share.value) - truth) < 4 * float(share.standard_error)
    only = torch.arange(3.0).view(1, 3, 1).expand(50, 3, 2)
    assert float(index_share(only).value) == 1.0
    assert float(index_share(torch.ones(50, 3, 2)).value) == 0.0


def test_a_wider_view_is_told_by_how_much() -> None:
    h = views(k=2)
    h[:, 1] *= 2.0
    ratio, error = scale_ratio(h)
    assert abs(ratio - 2.0) < 3 * error < 0.4
    assert scale_ratio(torch.zeros(9, 2, 2)) == (1.0, 0.0)
