"""Parts of a source, and the split that gives a labelled source without test data some."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.data.groups import Groups, are_classes, choose_groups, groups_of, held_out
from barlow.data.labels import Labels
from barlow.data.lost import Lost
from barlow.data.name_pattern import told_by_names
from barlow.data.order import Computed, batches_of
from barlow.seams import Batch, Source, seeded_batches


class SubsetSource:
    """A `Source` that shows some samples of another one; nothing is copied.

    Attributes:
        name: name of the whole.
        labels: (len,) int64, or None.
        class_names: names of the classes.
        groups: (len,) int64 positions in `group_names`, or None.
        bad: reason by position in this subset, of every sample that could not be read so far.
        indices: (len,) int64 positions in the whole.
        notes: sentences for the user.
        lost: what was lost in reading samples of this subset so far.
        reading: facts about how the samples were read.
    """

    def __init__(
        self,
        whole: Source,
        indices: Int64[Tensor, " n"],
        labels: Labels | None = None,
        groups: Groups | None = None,
    ) -> None:
        """Look at `indices` of `whole`: different positions in it, in any order.

        `labels` and `groups`, of this subset; None: those of the whole.
        """
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(whole)):
            raise ValueError(f"indices: from {int(indices.min())} to {int(indices.max())} in {len(whole)} samples")
        self._place = torch.full((len(whole),), -1, dtype=torch.int64)
        self._place[indices] = torch.arange(len(indices))
        if int((self._place >= 0).sum()) != len(indices):
            raise ValueError("indices: wanted each position once")
        self.name = whole.name
        known = Labels(None if whole.labels is None else whole.labels[indices], tuple(whole.class_names))
        self.labels = (labels or known).values
        self.class_names: Sequence[str] = (labels or known).class_names
        of_whole = groups_of(whole)
        found = groups or (None if of_whole is None else Groups(of_whole.values[indices], of_whole.names))
        self.groups: Tensor | None = None if found is None else found.values
        self.group_names: Sequence[str] = () if found is None else found.names
        self.notes: tuple[str, ...] = tuple(getattr(whole, "notes", ()))
        self.reading: Mapping[str, Any] = getattr(whole, "reading", {})
        self.indices = indices
        self.bad: dict[int, str] = {}
        self._whole = whole
        self._take_over_bad()

    def __len__(self) -> int:
        """Return the number of samples, bad ones included."""
        return len(self.indices)

    @property
    def lost(self) -> Lost:
        """What was lost in reading samples of this subset so far."""
        counted: Lost = getattr(self._whole, "lost", {})
        here = {
            what: {int(self._place[one]): number for one, number in found.items()} for what, found in counted.items()
        }
        return {what: kept for what, found in here.items() if (kept := {p: n for p, n in found.items() if p >= 0})}

    def describe(self, index: int) -> str:
        """Return what the whole calls sample `index` of this subset."""
        return self._whole.describe(int(self.indices[index]))

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, the bad ones left out; positions are those in this subset."""
        return self._batches(self._whole.batches(self._in_whole(order, batch_size), batch_size))

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the same; what the whole draws at random follows from `seed` and the position in the whole."""
        return self._batches(seeded_batches(self._whole, self._in_whole(order, batch_size), batch_size, seed))

    def _in_whole(self, order: Sequence[int], batch_size: int) -> Sequence[int]:
        batches_of(order, batch_size, len(self))  # for its checks
        return Computed(
            len(order),
            (0, len(self._whole) - 1),
            lambda start, stop: self.indices[torch.tensor(order[start:stop], dtype=torch.int64)].numpy(),
        )

    def _batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._take_over_bad()
            yield Batch(batch.samples, self._place[batch.indices])
        self._take_over_bad()  # a last batch of which nothing could be read is not yielded

    def _take_over_bad(self) -> None:
        for position, reason in self._whole.bad.items():
            place = int(self._place[position])
            if place >= 0:
                self.bad[place] = reason


def subset(source: Source, indices: Sequence[int] | Tensor) -> SubsetSource:
    """Return a view of some samples of a source, with their labels, counted in the order of `indices`."""
    return SubsetSource(source, torch.as_tensor(indices, dtype=torch.int64).reshape(-1))


def without_held_out(source: Source, hold_out: str) -> Source:
    """Return a source without the groups that `hold_out` names ("group=george,lucas"); "": as it is."""
    return subset(source, (~held_out(source, hold_out)).nonzero()) if hold_out else source


def relabelled(source: Source, labels: Labels, groups: Groups | None = None) -> SubsetSource:
    """Return a source with other labels, one per sample; and with other groups unless those are None."""
    return SubsetSource(source, torch.arange(len(source)), labels, groups)


def labelled_by_names(source: Source, pattern: str) -> SubsetSource:
    """Return a source with the labels and the groups that the names of its samples tell, see `told_by_names`."""
    told = told_by_names([source.describe(position) for position in range(len(source))], pattern)
    found = relabelled(source, told.labels, told.groups)
    found.notes += (told.note,) if told.note else ()
    return found


def split_labelled(source: Source, fraction: float, seed: int) -> tuple[SubsetSource, SubsetSource]:
    """Split a labelled source into training and test part, class by class, both in the order of the source.

    `fraction` is the share of the test part; each class keeps at least one training sample. A seed gives the same split
    on every machine. Groups, such as speakers, go to one part as a whole, unless there is one only or they are the
    classes themselves.
    """
    if source.labels is None:
        raise ValueError(f"source: {source.name} has no labels to split it by")
    groups = groups_of(source)
    if groups is not None and not are_classes(groups.values, source.labels):
        away = choose_groups(groups.values, fraction=fraction, seed=seed)
        return subset(source, (~away).nonzero()), subset(source, away.nonzero())
    num_test = round(fraction * len(source))
    if not 0 < num_test < len(source):
        raise ValueError(f"fraction: {fraction} of {len(source)} samples leaves a part empty")
    test = torch.zeros(len(source), dtype=torch.bool)
    test[stratified_choice(source.labels, num_test, seed)] = True
    return subset(source, (~test).nonzero()), subset(source, test.nonzero())


def stratified_choice(labels: Int64[Tensor, " n"], num_chosen: int, seed: int) -> Int64[Tensor, " m"]:
    """Choose samples at random so that every class has its share; return their increasing positions.

    Each class gets the whole part of its share; what is left goes to the largest remainders. No class is used up, so at
    most n minus the number of classes can be chosen.
    """
    counts = labels.bincount()
    room = (counts - 1).clamp(min=0)
    if not 0 <= num_chosen <= int(room.sum()):
        raise ValueError(
            f"num_chosen: {num_chosen} of {len(labels)} samples, "
            f"wanted at most {int(room.sum())} so that every class keeps one"
        )
    share = counts * (num_chosen / len(labels))
    quota = torch.minimum(share.floor().to(torch.int64), room)
    while int(quota.sum()) < num_chosen:
        remainder = torch.where(quota < room, share - quota, -torch.inf)
        quota[remainder.argmax()] += 1
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for class_label, number in enumerate(quota.tolist()):
        members = (labels == class_label).nonzero()[:, 0]
        parts.append(members[torch.randperm(len(members), generator=generator)[:number]])
    return torch.cat(parts).sort().values
