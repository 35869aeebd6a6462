"""Distillation: what is added, what stands still, what is in a checkpoint."""

import copy

import pytest
import torch

from barlow.applications.continual.distill import Distillation
from barlow.applications.continual.keep import Distill
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.seams import Terms
from barlow.training.order import view_generator
from tests.applications.continual.tiny import VIEWS, method, source


def pair() -> tuple[Distillation, list[torch.Tensor]]:
    own, before = method(0), method(1)
    views = VIEWS.draw(source().samples, view_generator(0, 0))
    return Distillation(own, before, 3, Distill(weight=0.5)), views


def test_what_is_added_is_the_mean_over_views_of_the_loss_between_new_and_old_embeddings() -> None:
    around, views = pair()
    around.eval()
    found: Terms = around(views)
    before = method(1).eval()
    expected = [
        barlow_twins_loss(
            around.predictor(around.projector(around.represent(v))), before.projector(before.represent(v))
        )
        for v in views
    ]
    added = 0.5 * (expected[0].total + expected[1].total) / 2
    torch.testing.assert_close(found.parts["distill"], added)
    torch.testing.assert_close(found.total, around.method(views).total + added)


def test_the_network_before_stands_still_and_is_in_no_checkpoint() -> None:
    around, views = pair()
    around.train()
    (before,) = around._before
    old = copy.deepcopy(before.state_dict())
    around(views).backward()
    assert not any(part.training for part in before.modules())
    assert all(torch.equal(value, old[name]) for name, value in before.state_dict().items())
    assert all(weight.grad is None for weight in before.parameters())
    assert all(weight.grad is not None for weight in around.parameters()), "method and predictor learn"
    assert {name.split(".")[0] for name in around.state_dict()} == {"method", "predictor"}


def test_a_method_that_does_not_bring_every_view_through_its_projector_is_named() -> None:
    around, views = pair()
    with pytest.raises(ValueError, match="keep: got distill with TwoViews"):
        around._old([*views, views[0]], [torch.zeros(len(views[0]), 3)] * 2)
