"""Barlow Twins as a method: backbone, projector, loss, and what its builder refuses."""

import pytest
import torch
from torch import nn

from barlow.methods.barlow_twins import barlow_twins, barlow_twins_loss
from barlow.methods.heads import HeadSpec

LAMBDA = 0.05


def test_the_module_gives_the_loss_of_its_projections_and_represents_with_the_backbone() -> None:
    torch.manual_seed(0)
    method = barlow_twins(nn.Linear(6, 4), HeadSpec("3"), 4, redundancy_weight=LAMBDA, normalization="scalar")
    views = [torch.randn(8, 6), torch.randn(8, 6)]
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    expected = barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, normalization="scalar").total
    torch.testing.assert_close(method(views).total, expected)
    torch.testing.assert_close(method.represent(views[0]), method.backbone(views[0]))


def test_the_builder_hands_the_bias_to_the_loss_and_refuses_what_has_no_meaning() -> None:
    torch.manual_seed(0)
    head = HeadSpec("3")
    method = barlow_twins(nn.Linear(6, 4), head, 4, redundancy_weight=LAMBDA, normalization="raw", bias="removed")
    views = [torch.randn(8, 6), torch.randn(8, 6)]
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    expected = barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, normalization="raw", bias="removed").total
    torch.testing.assert_close(method(views).total, expected)
    assert expected < barlow_twins_loss(z_a, z_b, redundancy_weight=LAMBDA, normalization="raw").total
    with pytest.raises(ValueError, match="bias: got 'removed' with normalization='whiten'"):
        barlow_twins(nn.Identity(), head, 4, redundancy_weight=LAMBDA, normalization="whiten", bias="removed")


def test_the_module_wants_two_views() -> None:
    method = barlow_twins(nn.Identity(), HeadSpec("none"), 2)
    with pytest.raises(ValueError, match="views: got 3, wanted 2"):
        method([torch.zeros(4, 2)] * 3)
