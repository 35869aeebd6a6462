"""Groups of samples that belong together: k-means on whitened features, k told by how well groups come back."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from barlow.features.space import HALF, Progress, fit_space

NUMBERS = (2, 3, 5, 7, 10, 15, 20, 30, 50)
"""Numbers of groups to choose from."""
SEEDS = 4
"""Halves of the samples that groups are made of, for each number."""
STABLE = 0.5
"""Agreement (adjusted Rand index) of groups from two halves from which they are the data's rather than chance."""
MOST = 10_000
"""Samples that are enough to find groups by; the others join the nearest."""
SMALLEST = 10
"""Samples a group has on average at least."""


@dataclass(frozen=True)
class Groups:
    """Groups, the largest first.

    Attributes:
        of_each: (n,) number of the group of every sample.
        typical: of each group, positions from the most typical sample on.
        names: what the group is called: its commonest class where samples have labels, else a number.
        stability: number of groups tried -> agreement of groups made of two halves of the samples, 0 to 1.
        chosen: why there are so many.
    """

    of_each: Int64[Tensor, " n"]
    typical: Sequence[Sequence[int]]
    names: Sequence[str]
    stability: dict[int, float]
    chosen: str


def find_groups(
    h: Float[Tensor, "n d"],
    *,
    number: int | None = None,
    labels: Int64[Tensor, " n"] | None = None,
    class_names: Sequence[str] = (),
    numbers: Sequence[int] = NUMBERS,
    progress: Progress | None = None,
) -> Groups:
    """Sort samples into groups.

    Without a `number` it is the largest of `numbers` whose groups come back when they are made of other samples
    (adjusted Rand index of two halves at least `STABLE`), and better than with a little fewer or more; where there is
    none, the one that comes back best.

    Args:
        h: (n, d) features, n at least 4.
        number: of groups; None: told by the data.
        labels: (n,) classes, -1 for none, to name groups by; they decide nothing.
        class_names: their names.
        numbers: of groups to choose from, where there are ten samples for each.
        progress: called with (numbers tried, numbers in all).

    Raises:
        ValueError: a number below 2 or above half of the samples.
    """
    if number is not None and not 2 <= number <= len(h) // 2:
        raise ValueError(f"number: got {number}, wanted 2 to {len(h) // 2} groups of {len(h)} samples")
    rows = fit_space(h, power=HALF).rows(h).numpy()
    seen = rows[:: max(1, len(rows) // MOST)]
    tried = (number,) if number else tuple(k for k in numbers if k * SMALLEST <= len(rows)) or (2,)
    stability = {}
    for done, k in enumerate(tried):
        stability[k] = _stability(seen, k)
        if progress is not None:
            progress(done + 1, len(tried))
    stable = _peaks(stability)
    k = number or (max(stable) if stable else max(tried, key=lambda one: stability[one]))
    centres = _fitted(seen, k, seed=0)
    return _sorted(rows, centres, labels, class_names, stability, _reason(k, number, stability, bool(stable)))


def _peaks(stability: dict[int, float]) -> list[int]:
    """Numbers of groups that come back, and better than with the next smaller and the next larger number."""
    tried = [0.0, *stability.values(), 0.0]
    return [
        k
        for place, k in enumerate(stability, start=1)
        if tried[place] >= STABLE and tried[place] >= max(tried[place - 1], tried[place + 1])
    ]


def _fitted(rows: np.ndarray, number: int, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different samples than groups: some stay empty
        found: np.ndarray = KMeans(number, n_init=3, random_state=seed).fit(rows).cluster_centers_
    return found


def _nearest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    closest: np.ndarray = (rows @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1)
    return closest


def _stability(rows: np.ndarray, number: int) -> float:
    """Mean agreement, over all samples, of the groups that are made of random halves of them."""
    draws = np.random.default_rng(0)
    halves = [draws.permutation(len(rows))[: max(number, len(rows) // 2)] for _ in range(SEEDS)]
    sorted_by = [_nearest(rows, _fitted(rows[half], number, seed)) for seed, half in enumerate(halves)]
    return float(np.mean([adjusted_rand_score(a, b) for a, b in combinations(sorted_by, 2)]))


def _reason(number: int, given: int | None, stability: dict[int, float], stable: bool) -> str:
    agreement = f"groups made of two halves of the samples agree to {stability[number]:.2f} (1: the same, 0: chance)"
    if given:
        return f"{number} groups, as asked for; {agreement}"
    if stable:
        return f"{number} groups: the largest number that comes back better than its neighbours; {agreement}"
    return (
        f"{number} groups: no number gives groups that come back well; of this one {agreement}. Take them as a way to "
        "look through the samples, not as kinds that are there"
    )


def _sorted(
    rows: np.ndarray,
    centres: np.ndarray,
    labels: Tensor | None,
    class_names: Sequence[str],
    stability: dict[int, float],
    chosen: str,
) -> Groups:
    nearest = _nearest(rows, centres)
    sizes = np.bincount(nearest, minlength=len(centres))
    order = [g for g in np.argsort(-sizes, kind="stable") if sizes[g]]
    place = {int(g): number for number, g in enumerate(order)}
    of_each = torch.tensor([place[int(g)] for g in nearest])
    typical, names = [], []
    for number, g in enumerate(order):
        members = np.flatnonzero(nearest == g)
        distance = ((rows[members] - centres[g]) ** 2).sum(axis=1)
        typical.append(tuple(members[np.argsort(distance, kind="stable")].tolist()))
        names.append(_name(number, members, labels, class_names))
    return Groups(of_each, tuple(typical), tuple(names), stability, chosen)


def _name(number: int, members: np.ndarray, labels: Tensor | None, class_names: Sequence[str]) -> str:
    if labels is None:
        return f"group {number + 1}"
    own = labels[torch.from_numpy(members)]
    own = own[own >= 0]
    if not len(own):
        return f"group {number + 1}"
    common = int(own.bincount().argmax())
    share = float((own == common).float().mean())
    return f"group {number + 1}: {class_names[common] if class_names else common} ({share:.0%})"
