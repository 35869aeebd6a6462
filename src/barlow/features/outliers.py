"""Samples that fit nowhere: far from all others, unlike their class, or with broken looks; ranked, with errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from barlow.features.space import HALF, Progress, fit_space, neighbours

NUM_NEIGHBOURS = 10
"""Neighbours whose mean distance says how far a sample is from all others."""
HALVES = 20
"""Random halves of the other samples, by which the error of a rank is told."""
SEED = 0
FAR = 4.0
"""Spreads above the middle from which a distance is out of the ordinary."""
OF_OTHER_CLASS = 0.9
"""Share of the neighbours that are of other classes from which a sample is unlike its own."""
FLAT = 0.1
"""Contrast beside that of the middle sample below which one is nearly constant."""


@dataclass(frozen=True)
class Outlier:
    """One sample that fits nowhere.

    Attributes:
        position: in the data.
        score: 1 - mean similarity to its nearest others, 0 to 2.
        rank: from 1.
        low: the least rank that random halves of the other samples give it, of 9 halves in 10.
        high: the largest.
        reasons: why, in words; empty where it is only further away than most.
    """

    position: int
    score: float
    rank: int
    low: int
    high: int
    reasons: Sequence[str]


@dataclass(frozen=True)
class Outliers:
    """The samples that fit least, and the score of every one.

    Attributes:
        ranked: the first of them, the one that fits least first.
        scores: (n,) of all samples.
        ordinary: score above which a sample is out of the ordinary.
    """

    ranked: Sequence[Outlier]
    scores: Float[Tensor, " n"]
    ordinary: float


def find_outliers(
    h: Float[Tensor, "n d"],
    *,
    labels: Int64[Tensor, " n"] | None = None,
    class_names: Sequence[str] = (),
    contrasts: Float[Tensor, " n"] | None = None,
    most: int = 50,
    progress: Progress | None = None,
) -> Outliers:
    """Rank the samples that fit nowhere.

    Args:
        h: (n, d) features, n at least 4.
        labels: (n,) classes, -1 for none.
        class_names: their names.
        contrasts: (n,) how much the values of each sample differ among themselves, to find nearly constant ones.
        most: how many to rank.
        progress: called with (samples done, samples in all).

    Example:
        found = find_outliers(run.features().h)
        [names[one.position] for one in found.ranked]
    """
    rows = fit_space(h, power=HALF).rows(h)
    similarities, positions = neighbours(rows, min(NUM_NEIGHBOURS, len(rows) - 1), progress)
    scores = 1 - similarities.mean(dim=1)
    ordinary = float(scores.median() + FAR * (scores.median() - scores.quantile(0.25)).clamp(min=1e-6) / 0.6745)
    unlike = _unlike_their_class(labels, positions, class_names)
    flat = _flat(contrasts)
    oddness = scores + 2.0 * torch.tensor([place in flat for place in range(len(scores))]).float()
    order = oddness.argsort(descending=True, stable=True)[:most]
    low, high = _errors_of_ranks(rows, order)
    ranked = []
    for place, position in enumerate(order.tolist()):
        reasons = [flat[position]] if position in flat else []
        reasons += ["far from all others"] if float(scores[position]) > ordinary else []
        reasons += [unlike[position]] if position in unlike else []
        score = float(scores[position])
        ranked.append(Outlier(position, score, place + 1, low[place], high[place], tuple(reasons)))
    listed = set(order.tolist())
    for position in [one for one in unlike if one not in listed][:most]:
        ranked.append(_of_wrong_class(position, float(scores[position]), scores, unlike[position]))
    return Outliers(tuple(ranked), scores, ordinary)


def _of_wrong_class(position: int, score: float, scores: Tensor, reason: str) -> Outlier:
    rank = int((scores > score).sum()) + 1
    return Outlier(position, score, rank, rank, rank, (reason,))


def _unlike_their_class(labels: Tensor | None, positions: Tensor, names: Sequence[str]) -> dict[int, str]:
    """What is said of samples whose neighbours are nearly all of one other class."""
    if labels is None:
        return {}
    found = {}
    others = labels[positions]
    for place, own in enumerate(labels.tolist()):
        near = others[place][others[place] >= 0]
        if own < 0 or not len(near) or float((near != own).float().mean()) < OF_OTHER_CLASS:
            continue
        common = int(near.bincount().argmax())
        share = float((near == common).float().mean())
        if common != own and share >= OF_OTHER_CLASS:
            called, here = (names[c] if names else f"class {c}" for c in (own, common))
            found[place] = f"labelled {called}, and {share:.0%} of its neighbours are {here}"
    return found


def _flat(contrasts: Tensor | None) -> dict[int, str]:
    if contrasts is None or not float(contrasts.median()) > 0:
        return {}
    beside = contrasts / contrasts.median()
    return {int(p): f"nearly constant: {beside[p]:.0%} of the usual contrast" for p in (beside < FLAT).nonzero()[:, 0]}


def _errors_of_ranks(rows: Tensor, order: Tensor) -> tuple[list[int], list[int]]:
    """The ranks of some samples by their distances to random halves of the others: the middle 9 in 10 of them."""
    generator = torch.Generator().manual_seed(SEED)
    similar, ranks = rows[order] @ rows.T, []
    similar[torch.arange(len(order)), order] = -1.0
    for _ in range(HALVES):
        half = torch.randperm(len(rows), generator=generator)[: max(2, len(rows) // 2)]
        nearest = similar[:, half].topk(min(NUM_NEIGHBOURS // 2, len(half) - 1), dim=1).values.mean(dim=1)
        ranks.append(nearest.argsort(stable=True).argsort() + 1)
    together = torch.stack(ranks).double()
    low, high = (together.quantile(share, dim=0).round().long().tolist() for share in (0.05, 0.95))
    return low, high
