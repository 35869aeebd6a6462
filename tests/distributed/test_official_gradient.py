"""The official recipe's numbers for the whole gradient take the steps of the official numbers with 1/W of it."""

import pytest
import torch
from torch import nn

from barlow.recipes import Recipe
from barlow.recipes.official_gradient import tuned_under_one_part_of_the_gradient
from barlow.training.optimizers import build_optimizer

PROCESSES = 32
OFFICIAL = Recipe(optimizer="lars", learning_rate=1.6, bias_learning_rate=0.0384, weight_decay=1e-2)
"""With a large weight decay, so that its share of the step shows."""


def trained(recipe: Recipe, share: float) -> nn.Module:
    """A few steps with that share of the gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3)).double()
    x, y = torch.randn(16, 5, dtype=torch.float64), torch.randn(16, 3, dtype=torch.float64)
    optimizer = build_optimizer(
        net,
        name=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        bias_learning_rate=recipe.bias_learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    for _ in range(10):
        optimizer.zero_grad()
        (share * (net(x) - y).square().mean()).backward()
        optimizer.step()
    return net


def test_the_same_steps_are_taken() -> None:
    theirs = trained(OFFICIAL, 1 / PROCESSES)
    ours = trained(tuned_under_one_part_of_the_gradient(OFFICIAL, processes=PROCESSES), 1.0)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_either_number_left_alone_would_break_the_test_above() -> None:
    theirs = trained(OFFICIAL, 1 / PROCESSES)
    for wrong in (
        Recipe(optimizer="lars", learning_rate=1.6, bias_learning_rate=0.0384 / PROCESSES, weight_decay=1e-2),
        Recipe(optimizer="lars", learning_rate=1.6, bias_learning_rate=0.0384, weight_decay=1e-2 * PROCESSES),
    ):
        pairs = zip(trained(wrong, 1.0).parameters(), theirs.parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) > 1e-3


@pytest.mark.parametrize("recipe", [Recipe(bias_learning_rate=0.1), Recipe(optimizer="lars")])
def test_only_lars_with_a_bias_rate_turns_the_factor_into_numbers(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="wanted 'lars' with a bias_learning_rate"):
        tuned_under_one_part_of_the_gradient(recipe, processes=2)
