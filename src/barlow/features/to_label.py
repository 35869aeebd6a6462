"""Which samples to label next: no two alike, and each one typical of those around it."""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from torch import Tensor

from barlow.evaluation.knn import nearest
from barlow.features.space import HALF, fit_space

NEAREST = 20
"""Neighbours of its own group, whose mean distance tells how typical a sample is."""
MOST_GROUPS = 500
"""Groups that are made at most; more samples than that are taken from them by turns."""


def choose_to_label(
    h: Float[Tensor, "n d"], number: int, *, labelled: Collection[int] = (), seed: int = 0
) -> list[int]:
    """Return the positions of the samples to label next, the most useful first.

    The samples are sorted into as many groups (k-means) as there are labels, old and new; of each group without a
    label, the largest first, the sample with the nearest neighbours is taken. Measured, it was better than chance on
    Fashion-MNIST, most for ten labels, and no better on photographs of which a network had learnt little
    (docs/features.md).

    Args:
        h: (n, d) features.
        number: samples to choose.
        labelled: positions that have a label already.
        seed: of the groups.

    Raises:
        ValueError: a number below 1, or more than there are without a label.

    Source:
        TypiClust (Hacohen, Dekel and Weinshall, "Active learning on a budget", ICML 2022), on half whitened features.
    """
    known = set(labelled)
    left = len(h) - len(known)
    if not 1 <= number <= left:
        raise ValueError(f"number: got {number}, wanted 1 to {left}, the samples without a label")
    rows = fit_space(h, power=HALF).rows(h)
    groups = min(len(known) + number, MOST_GROUPS, len(rows))
    made = KMeans(groups, n_init=3, random_state=seed).fit(rows.numpy())
    of_each = torch.from_numpy(made.labels_.astype(np.int64))
    priority = _distances_to_near(rows, of_each)
    taken = torch.zeros(len(rows), dtype=torch.bool)
    taken[list(known)] = True
    found: list[int] = []
    while len(found) < number:
        has = torch.bincount(of_each[taken], minlength=groups)
        free = torch.bincount(of_each[~taken], minlength=groups)
        # fewest labels first, then the largest
        best = min((g for g in range(groups) if free[g]), key=lambda g: (int(has[g]), -int(free[g])))
        members = ((of_each == best) & ~taken).nonzero()[:, 0]
        chosen = int(members[priority[members].argmin()])
        taken[chosen] = True
        found.append(chosen)
    return found


def _distances_to_near(rows: Float[Tensor, "n r"], of_each: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The mean distance of every unit vector to the nearest ones of its group: small where it is typical."""
    found = torch.zeros(len(rows))
    for group in of_each.unique().tolist():
        members = (of_each == group).nonzero()[:, 0]
        similarities = nearest(rows[members], rows[members], min(NEAREST + 1, len(members)))[0]
        found[members] = (2 - 2 * similarities).clamp(min=0).sqrt().mean(dim=1)
    return found
