"""Which samples are used for what: validation parts, folds and few-label draws, class by class and seeded.

They look at labels only, never at features, so every arm of a comparison gets the same ones.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.data.groups import are_classes, choose_groups


@dataclass(frozen=True)
class Split:
    """Two parts of the training data: increasing positions to fit on, and to choose on."""

    fit: Int64[Tensor, " f"]
    validation: Int64[Tensor, " v"]


def validation_split(
    labels: Int64[Tensor, " n"],
    *,
    fraction: float,
    most: int,
    seed: int,
    groups: Int64[Tensor, " n"] | None = None,
) -> Split:
    """Set a part of the training data aside for choosing hyper-parameters, the same share of every class.

    `fraction` of each class, rounded, at least one where a class has two (a class with one stays in `fit`), and no more
    than about `most` in all. Where there are groups, such as speakers, whole ones of them are set aside, about as many
    samples: the choice is then one for groups that were not seen. ValueError: a fraction outside (0, 1), or no class
    with two samples.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: got {fraction}, wanted a number between 0 and 1")
    if groups is not None and not are_classes(groups, labels):
        away = choose_groups(groups, fraction=fraction, seed=seed)
        return Split((~away).nonzero()[:, 0], away.nonzero()[:, 0])
    _, rank, size = _ranks(labels, seed)
    share = min(fraction, most / max(len(labels), 1))
    number = (size * share).round().clamp(min=1).minimum(size - 1)
    aside = rank < number
    if not aside.any():
        raise ValueError(f"labels: {len(labels)} samples, no two of the same class: nothing to choose on")
    return Split((~aside).nonzero()[:, 0], aside.nonzero()[:, 0])


def folds(
    labels: Int64[Tensor, " n"], *, num_folds: int, seed: int, groups: Int64[Tensor, " n"] | None = None
) -> Int64[Tensor, " n"]:
    """Number the samples for cross-validation, from 0, each class spread evenly over the (at least 2) folds.

    Where there are groups, such as speakers, those of one are in one fold.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds: got {num_folds}, wanted at least 2")
    if groups is not None and not are_classes(groups, labels):
        places: Tensor = groups.unique(return_inverse=True)[1]
        return places % num_folds
    position, rank, _ = _ranks(labels, seed)
    return (rank + position) % num_folds


def few_label_draws(labels: Int64[Tensor, " n"], *, per_class: int, draws: int, seed: int) -> list[Int64[Tensor, " m"]]:
    """Draw a few labelled samples of every class, once or more often; returns increasing positions per draw.

    A class with fewer than `per_class` gives all it has; fewer than 2 leave nothing to choose on (ValueError). Draws
    are independent and may share samples; draw i is the same for every number of draws.
    """
    if per_class < 2:
        raise ValueError(f"per_class: got {per_class}, wanted at least 2, or nothing can be cross-validated")
    return few_of_each(labels, per_class=per_class, draws=draws, seed=seed)


def few_of_each(labels: Int64[Tensor, " n"], *, per_class: int, draws: int, seed: int = 0) -> list[Int64[Tensor, " m"]]:
    """Draw as `few_label_draws` does, also one sample of every class: for what is chosen on other samples."""
    if per_class < 1:
        raise ValueError(f"per_class: got {per_class}, wanted at least 1")
    if draws < 1:
        raise ValueError(f"draws: got {draws}, wanted at least 1")
    generator = torch.Generator().manual_seed(seed)
    seeds = [int(torch.randint(2**62, (), generator=generator)) for _ in range(draws)]
    return [(_ranks(labels, each)[1] < per_class).nonzero()[:, 0] for each in seeds]


def spread_over_classes(labels: Int64[Tensor, " n"], *, most: int, seed: int) -> Int64[Tensor, " m"]:
    """Choose at most `most` samples, every class in its share: increasing positions, all of them where they suffice.

    What is chosen for a smaller number is a part of what is chosen for a larger one.
    """
    if most >= len(labels):
        return torch.arange(len(labels))
    _, rank, size = _ranks(labels, seed)
    return ((rank + 0.5) / size).argsort(stable=True)[:most].sort().values


def _ranks(labels: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each sample: position of its class, its place in a random order of that class, size of that class."""
    generator = torch.Generator().manual_seed(seed)
    _, position, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[position[shuffled].argsort(stable=True)]
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[position[by_class]]
    return position, rank, counts[position]
