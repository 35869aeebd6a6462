"""Which samples to label next: typical ones first, and no two alike."""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import Tensor

from barlow.features.space import HALF, fit_space, neighbours

NUM_NEIGHBOURS = 20
"""Neighbours by which a sample is told typical."""
MOST_GROUPS = 500
"""Groups that are made at most; more samples than that are taken from them by turns."""


def choose_to_label(
    h: Float[Tensor, "n d"], number: int, *, labelled: Collection[int] = (), seed: int = 0
) -> list[int]:
    """Return the positions of the samples to label next, the most useful first.

    The samples are sorted into as many groups (k-means) as there are labels, old and new; of each group without a
    label, the largest first, the sample with the nearest neighbours in it is taken: typical, and unlike the others.
    docs/features.md has how much better that is than chance.

    Args:
        h: (n, d) features.
        number: samples to choose.
        labelled: positions that have a label already.
        seed: of the groups.

    Raises:
        ValueError: a number below 1, or more than there are without a label.

    Source:
        The choice is TypiClust's (Hacohen, Dekel and Weinshall, "Active learning on a budget", ICML 2022); the space
        is ours.
    """
    left = len(h) - len(set(labelled))
    if not 1 <= number <= left:
        raise ValueError(f"number: got {number}, wanted 1 to {left}, the samples without a label")
    rows = fit_space(h, power=HALF).rows(h)
    typical = neighbours(rows, min(NUM_NEIGHBOURS, len(rows) - 1))[0].mean(dim=1)
    groups = min(len(set(labelled)) + number, MOST_GROUPS, len(rows))
    of_each = torch.from_numpy(KMeans(groups, n_init=3, random_state=seed).fit_predict(rows.numpy()).astype(np.int64))
    taken = torch.zeros(len(rows), dtype=torch.bool)
    taken[list(labelled)] = True
    found: list[int] = []
    while len(found) < number:
        has = torch.bincount(of_each[taken], minlength=groups)
        free = torch.bincount(of_each[~taken], minlength=groups)
        # fewest labels first, then the largest
        best = min((g for g in range(groups) if free[g]), key=lambda g: (int(has[g]), -int(free[g])))
        members = ((of_each == best) & ~taken).nonzero()[:, 0]
        chosen = int(members[typical[members].argmax()])
        taken[chosen] = True
        found.append(chosen)
    return found
