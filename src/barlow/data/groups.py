"""Groups of samples that belong together, such as the clips of one speaker: never on both sides of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.errors import did_you_mean
from barlow.seams import Source

GROUP = "group"
"""What stands before the names in `hold_out`: "group=george,lucas"; alone, every group is held out in its turn."""


@dataclass(frozen=True)
class Groups:
    """The group of every sample.

    Attributes:
        values: (num_samples,) int64 positions in `names`.
        names: of the groups.
    """

    values: Int64[Tensor, " n"]
    names: tuple[str, ...]


def as_groups(names: Sequence[str]) -> Groups:
    """Return groups of samples by name, numbered in the order of their sorted names."""
    known = sorted(set(names))
    place = {name: number for number, name in enumerate(known)}
    return Groups(torch.tensor([place[name] for name in names], dtype=torch.int64), tuple(known))


def groups_of(source: Source) -> Groups | None:
    """Return the groups of a source, None where it has none or all samples are of one."""
    values = getattr(source, "groups", None)
    if values is None:
        return None
    return Groups(values, tuple(getattr(source, "group_names", ())))


def held_out_groups(hold_out: str) -> tuple[str, ...]:
    """Return the names in "group=george,lucas"; none in "group". ValueError for anything else."""
    word, equals, names = hold_out.partition("=")
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    if word.strip() != GROUP or bool(equals) != bool(found):
        raise ValueError(
            f"hold_out: got {hold_out!r}, wanted group=NAME,NAME, or group alone to leave out one after another"
        )
    return found


def held_out(source: Source, hold_out: str) -> Tensor:
    """Return which samples of a source are held out, (n,) bool; ValueError for groups that it does not have."""
    groups, wanted = groups_of(source), held_out_groups(hold_out)
    if groups is None:
        raise ValueError(
            f"hold_out: got {hold_out!r}, but the samples of {source.name} have no groups; wanted them from file names "
            "(--labels '{label}_{group}_*') or from a column of metadata.csv"
        )
    for name in wanted:
        if name not in groups.names:
            raise ValueError(
                f"hold_out: there is no group {name!r} in {source.name}, wanted one of "
                f"{', '.join(groups.names[:20])}{did_you_mean(name, groups.names)}"
            )
    places = torch.tensor([groups.names.index(name) for name in wanted], dtype=torch.int64)
    away = torch.isin(groups.values, places)
    if bool(away.all()):
        raise ValueError(f"hold_out: got {hold_out!r}, which leaves nothing of {source.name} to learn from")
    return away


def known_groups(source: Source) -> tuple[str, ...]:
    """Return the names of the groups that a source has samples of; ValueError where it has less than two."""
    groups = groups_of(source)
    names = () if groups is None else tuple(groups.names[place] for place in groups.values.unique().tolist())
    if len(names) < 2:
        raise ValueError(f"hold_out: got {GROUP!r}, but {source.name} has {len(names)} groups, wanted 2 or more")
    return names


def are_classes(groups: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> bool:
    """Whether a split by groups says nothing of labels: there is one group, or the labels are names of groups."""
    pairs = torch.stack([groups, labels], dim=1).unique(dim=0)
    return len(groups.unique()) < 2 or len(pairs) == len(groups.unique()) == len(labels.unique())


def choose_groups(groups: Int64[Tensor, " n"], *, fraction: float, seed: int) -> Tensor:
    """Return which samples are those of some whole groups, (n,) bool: about a fraction of all, at least one group.

    Groups come in an order that a seed shuffles; one is taken as long as that brings the share nearer to the fraction.
    """
    numbers, counts = groups.unique(return_counts=True)
    if len(numbers) < 2:
        raise ValueError(f"groups: got {len(numbers)}, wanted at least 2 to hold one out")
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed)).tolist()
    wanted, taken = fraction * len(groups), 0
    chosen: list[int] = []
    for place in order[:-1]:
        size = int(counts[place])
        if not chosen or abs(taken + size - wanted) < abs(taken - wanted):
            chosen.append(int(numbers[place]))
            taken += size
    return torch.isin(groups, torch.tensor(chosen))
