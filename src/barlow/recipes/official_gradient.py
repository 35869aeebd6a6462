"""The convention of official code that trains with 1/W of the gradient, W being its number of processes.

It adds up C outside autograd, so each process has the gradient of its own part only, and DDP then takes the mean over
processes instead of the sum: the direction is right, the length is 1/W. Learning rates were tuned under it.

With LARS the whole gradient g takes the same steps with other numbers, whatever the number of processes here:

    weights:            g/W + decay p   points where   g + (W decay) p   does, and LARS sets the length:   decay x W,
    biases and norms:   plain steps of g/W without decay:                                           bias rate / W.
"""

from dataclasses import replace

from barlow.recipes.recipe import Recipe


def tuned_under_one_part_of_the_gradient(recipe: Recipe, *, processes: int) -> Recipe:
    """Return a recipe for the whole gradient that takes the steps which `recipe` takes with 1/W of it.

    W are the processes under which the numbers of the official code were tuned: weight decay x W, bias learning rate /
    W. ValueError: an optimizer other than LARS (AdamW takes almost the same steps with any multiple of the gradient,
    SGD with other rates), or a bias learning rate that is not said.
    """
    if recipe.optimizer != "lars" or not recipe.bias_learning_rate:
        raise ValueError(
            f"recipe: got optimizer {recipe.optimizer!r} with bias_learning_rate {recipe.bias_learning_rate:g}, wanted "
            "'lars' with a bias_learning_rate: only there the factor 1/W turns into other numbers"
        )
    return replace(
        recipe,
        weight_decay=recipe.weight_decay * processes,
        bias_learning_rate=recipe.bias_learning_rate / processes,
    )
