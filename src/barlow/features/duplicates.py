"""Samples that are there twice or more: exact copies, and near ones by a threshold that the data tell.

Two mild views of one sample (a small crop, a little light) show how alike a copy and its original are; the nearest
other samples show how alike different samples are. Pairs at least as alike as 19 of 20 samples are to a mild view of
themselves, and more than strangers are by chance, are duplicates. Where the two kinds overlap, as with a network that
has learnt little, only the surest are given, and this is said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from barlow.features.space import WHOLE, Progress, Space, fit_space, neighbours
from barlow.seams import AdjustableView, View

MILD = 0.2
"""Strength of a mild view beside that of the views the network was trained on; what happens or not, is left out."""
MISSED = 0.05
"""Share of mild views that the threshold leaves out."""
ENOUGH = 0.9
"""Share of mild views above the threshold, below which it is said that copies are missed."""
MOST_PARTNERS = 20
"""Duplicates of one sample that are looked for at first; groups may be larger, for they are joined by chains."""
SAME = 1 - 1e-6
"""Similarity from which two samples have the same features but for rounding."""
DIGITS = 6
"""Of a similarity: the rest is rounding."""
STRANGERS = 0.5
"""Samples, of all, that may have a stranger for a duplicate by chance: the threshold is raised to keep to it."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of samples that are the same but for a little, the closest group first.

    Attributes:
        groups: positions of the samples of each group, ascending.
        similarities: the largest similarity within each group.
        threshold: similarity from which two samples count as the same.
        of_views: similarities of samples to a mild view of themselves, ascending; empty where there are no such views.
        of_others: (n,) similarity of each sample to the nearest other one.
        note: what a reader has to know about the threshold.
    """

    groups: Sequence[Sequence[int]]
    similarities: Sequence[float]
    threshold: float
    of_views: Float[Tensor, " m"]
    of_others: Float[Tensor, " n"]
    note: str

    @property
    def to_remove(self) -> list[int]:
        """All samples of every group but its first: what to leave out so that each is there once."""
        return sorted(place for group in self.groups for place in group[1:])

    @property
    def group_of_each(self) -> Int64[Tensor, " n"]:
        """(n,) number of the group of every sample, -1 for one that is there once."""
        found = torch.full((len(self.of_others),), -1)
        for number, group in enumerate(self.groups):
            found[list(group)] = number
        return found


def find_duplicates(
    h: Float[Tensor, "n d"],
    *,
    mild: Float[Tensor, "m d"] | None = None,
    of: Int64[Tensor, " m"] | None = None,
    threshold: float | None = None,
    progress: Progress | None = None,
) -> Duplicates:
    """Find groups of samples that are the same but for a little.

    Args:
        h: (n, d) features of the samples.
        mild: (m, d) features of a mild view (`mild_view`) of some of them; None: only equal features are duplicates.
        of: (m,) which samples those are views of.
        threshold: similarity from -1 to 1 to take instead of the one that the views tell.
        progress: called with (samples done, samples in all).

    Raises:
        ValueError: fewer than 2 samples, or views without their samples.
    """
    if (mild is None) != (of is None):
        raise ValueError("mild, of: got one of them, wanted both or neither")
    space = fit_space(h, power=WHOLE)
    rows = space.rows(h)
    similarities, positions = neighbours(rows, min(MOST_PARTNERS, len(rows) - 1), progress)
    of_views = _similarities_of_views(space, rows, mild, of)
    settled, note = _threshold(of_views, similarities[:, 0], threshold)
    groups = _joined(similarities, positions, settled)
    closest = [round(max(float(similarities[place, 0]) for place in group), DIGITS) for group in groups]
    order = sorted(range(len(groups)), key=lambda g: (-closest[g], groups[g]))
    return Duplicates(
        tuple(tuple(groups[g]) for g in order),
        tuple(closest[g] for g in order),
        settled,
        of_views,
        similarities[:, 0],
        note,
    )


def _similarities_of_views(space: Space, rows: Tensor, mild: Tensor | None, of: Tensor | None) -> Tensor:
    if mild is None or of is None:
        return torch.zeros(0)
    return (space.rows(mild) * rows[of]).sum(dim=1).sort().values


def _threshold(of_views: Tensor, of_others: Tensor, given: float | None) -> tuple[float, str]:
    if given is not None:
        return given, f"similarity of at least {given:g}, as asked for"
    if not len(of_views):
        return SAME, "no mild views of these data are known, so only samples with equal features are given"
    settled = min(max(float(of_views.quantile(MISSED)), _reach_of_strangers(of_others)), SAME)
    found, middle = float((of_views >= settled).float().mean()), float(of_others.median())
    said = (
        f"similarity of at least {settled:.2f}: {found:.0%} of samples are as alike to a mild view of their own, and "
        f"half of all samples have no other one closer than {round(middle, 2) + 0.0:.2f}"
    )
    if found < ENOUGH:
        said += (
            f". Different samples are nearly as alike here as two views of one: only about {found:.0%} of near copies "
            "are found; a network that learnt longer tells more"
        )
    return settled, said


def _reach_of_strangers(of_others: Tensor) -> float:
    """Similarity that the nearest other sample exceeds by chance in `STRANGERS` of all samples.

    As of a normal distribution with the median and the lower quartile of the similarities: copies, even of a quarter of
    the samples, are above both.
    """
    quartile, median = (float(of_others.quantile(share)) for share in (0.25, 0.5))
    normal = NormalDist()
    spread = (median - quartile) / normal.inv_cdf(0.75)
    return median + spread * normal.inv_cdf(1 - STRANGERS / len(of_others))


def _joined(similarities: Tensor, positions: Tensor, threshold: float) -> list[list[int]]:
    """Groups of samples that are linked by similarities above the threshold."""
    parent = list(range(len(similarities)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for place, column in (similarities >= threshold).nonzero().tolist():
        a, b = root(place), root(int(positions[place, column]))
        parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for place in range(len(parent)):
        groups.setdefault(root(place), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def mild_view(view: View, *, magnitude: float = MILD) -> Callable[[Any, torch.Generator], Any] | None:
    """Return (samples, generator) -> a view that hardly changes them; None where a view has no magnitudes.

    Transforms that happen or do not, such as a flip, are left out.
    """
    if not isinstance(view, AdjustableView):
        return None

    def apply(samples: Any, generator: torch.Generator) -> Any:
        weaker: Any = view
        kept = list(view.joined[:1])  # what switches others has no strength of its own
        for transform in view.sample(samples, torch.Generator().manual_seed(0)):
            try:
                weaker = weaker.scaled(transform, magnitude)
            except ValueError:
                continue
            kept.append(transform)
        drawn = weaker.sample(samples, generator)
        return weaker.apply(samples, {name: drawn[name] for name in kept if name in drawn})

    return apply
