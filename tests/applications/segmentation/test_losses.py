"""The loss is what its formula says, over labelled pixels only."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from barlow.applications.segmentation.losses import segmentation_loss

IGNORED = 255


def drawn(outputs: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, outputs, 5, 4, generator=generator)
    return scores, torch.randint(classes, (3, 5, 4), generator=generator)


def test_two_classes_by_their_sums() -> None:
    scores, targets = drawn(1, 2)
    odds, truth = scores[:, 0].double(), targets.double()
    p = 1 / (1 + (-odds).exp())
    cross_entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    dice = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    found = segmentation_loss(scores, targets)
    assert float(found.total) == pytest.approx(float(cross_entropy + dice) / 2, rel=1e-6)
    assert float(found.parts["cross_entropy"]) == pytest.approx(float(cross_entropy) / 2, rel=1e-6)


def test_many_classes_by_their_sums_and_only_those_that_are_there() -> None:
    scores, targets = drawn(4, 3)
    p = scores.double().softmax(1)
    cross_entropy = -p.gather(1, targets[:, None]).log().mean()
    each = []
    for number in range(3):
        truth = (targets == number).double()
        each.append(1 - (2 * (p[:, number] * truth).sum() + 1) / (p[:, number].sum() + truth.sum() + 1))
    found = segmentation_loss(scores, targets)
    assert float(found.total) == pytest.approx(float(cross_entropy + sum(each) / 3) / 2, rel=1e-6)


@pytest.mark.parametrize(("outputs", "classes"), [(1, 2), (3, 3)])
def test_pixels_without_a_label_count_for_nothing(outputs: int, classes: int) -> None:
    scores, targets = drawn(outputs, classes)
    hidden = targets.clone()
    hidden[:, 3:] = IGNORED
    kept = segmentation_loss(scores[:, :, :3], targets[:, :3])
    scores.requires_grad_()
    found = segmentation_loss(scores, hidden)
    assert torch.allclose(found.total, kept.total)
    found.backward()
    assert scores.grad is not None
    assert float(scores.grad[:, :, 3:].abs().max()) == 0
    assert float(scores.grad[:, :, :3].abs().min()) > 0


def test_without_any_label_the_loss_is_zero_and_has_a_gradient() -> None:
    scores = torch.randn(1, 1, 2, 2, requires_grad=True)
    found = segmentation_loss(scores, torch.full((1, 2, 2), IGNORED))
    found.backward()
    assert float(found.total.detach()) == 0
    assert scores.grad is not None


@pytest.mark.parametrize(("outputs", "classes"), [(1, 2), (3, 3)])
def test_the_best_scores_have_no_loss_and_the_worst_the_most_dice(outputs: int, classes: int) -> None:
    _, targets = drawn(outputs, classes)
    right = torch.nn.functional.one_hot(targets, classes).movedim(-1, 1).float() * 100 - 50
    right = right[:, 1:] if outputs == 1 else right
    assert float(segmentation_loss(right, targets).total) < 1e-6
    assert float(segmentation_loss(-right, targets).parts["dice"]) > 0.4


@pytest.mark.parametrize(("outputs", "classes"), [(1, 2), (3, 3)])
def test_the_gradient_is_that_of_the_value(outputs: int, classes: int) -> None:
    scores, targets = drawn(outputs, classes)

    def total(given: Tensor) -> Tensor:
        return segmentation_loss(given, targets).total

    assert gradcheck(total, scores.double().requires_grad_(), eps=1e-3, atol=2e-3)
