"""A split of the data's own: which samples are fitted on, chosen on and tested on, with labels that no fit is shown.

A source with such a split has it as `parts`. Its `labels` lack those of test samples; they stand here, where only the
scoring looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from barlow.data.labels import UNKNOWN, UNLABELLED, Labels


@dataclass(frozen=True)
class OwnSplit:
    """Positions to fit on, to choose hyper-parameters on, and to test on; what has no label is in none of them."""

    train: Int64[Tensor, " f"]
    validation: Int64[Tensor, " v"]
    test: Int64[Tensor, " t"]


@dataclass(frozen=True)
class Parts:
    """One split, or several that an evaluation is the mean of.

    Attributes:
        name: what the split is called: "public split".
        labels: of all samples, -1 where there is none.
        splits: at least one.
    """

    name: str
    labels: Labels
    splits: Sequence[OwnSplit]

    def __post_init__(self) -> None:
        """Refuse positions that are no samples, that are in two parts of a split, or parts that are empty."""
        assert self.labels.values is not None
        number = len(self.labels.values)
        for split in self.splits:
            for part in ("train", "validation", "test"):
                positions = getattr(split, part)
                if not len(positions):
                    raise ValueError(f"parts: the {part} part of the {self.name} is empty")
                if int(positions.min()) < 0 or int(positions.max()) >= number:
                    raise ValueError(
                        f"parts: the {part} part of the {self.name} has positions outside {number} samples"
                    )
            whole = torch.cat([split.train, split.validation, split.test])
            if len(whole.unique()) < len(whole):
                raise ValueError(f"parts: some samples are in two parts of the {self.name}, wanted each in one")

    @property
    def tested(self) -> Int64[Tensor, " t"]:
        """Samples that any of the splits tests on."""
        every: Tensor = torch.cat([split.test for split in self.splits]).unique()
        return every

    def shown(self) -> Labels:
        """Return the labels without those of samples that are tested on; none where nothing is left."""
        assert self.labels.values is not None
        values = self.labels.values.clone()
        values[self.tested] = UNKNOWN
        return Labels(values, self.labels.class_names) if bool((values != UNKNOWN).any()) else UNLABELLED

    def fitting_labels(self, split: OwnSplit) -> Int64[Tensor, " n"]:
        """Return labels of what a split fits and chooses on, and -1 for all other samples."""
        assert self.labels.values is not None
        values = torch.full_like(self.labels.values, UNKNOWN)
        for part in (split.train, split.validation):
            values[part] = self.labels.values[part]
        return values


def of_masks(name: str, labels: Labels, train: Any, validation: Any, test: Any) -> Parts | None:
    """Make parts of masks (n,) or (n, number of splits); None without labels. Unlabelled samples fall out."""
    if labels.values is None:
        return None
    known = labels.values != UNKNOWN
    columns = [torch.as_tensor(mask).bool().reshape(len(known), -1) for mask in (train, validation, test)]
    number = max(column.shape[1] for column in columns)
    splits = [
        OwnSplit(*((known & column[:, min(k, column.shape[1] - 1)]).nonzero()[:, 0] for column in columns))
        for k in range(number)
    ]
    return Parts(name, labels, splits)


def random_parts(
    labels: Labels, *, number: int = 20, train: float = 0.1, validation: float = 0.1, seed: int = 0
) -> Parts | None:
    """Split the labelled samples at random, several times: 10% to fit on, 10% to choose on and the rest to test on.

    The protocol of Bielak et al. (2022) and others for graphs without a split of their own. None without labels, and
    where they are too few for three parts.
    """
    if labels.values is None:
        return None
    known = (labels.values != UNKNOWN).nonzero()[:, 0]
    first, second = round(train * len(known)), round((train + validation) * len(known))
    if not 0 < first < second < len(known):
        return None
    splits = []
    for k in range(number):
        order = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed + k))]
        splits.append(OwnSplit(*(part.sort().values for part in (order[:first], order[first:second], order[second:]))))
    percent = f"{100 * train:g}/{100 * validation:g}/{100 * (1 - train - validation):g}"
    return Parts(f"{number} random splits of {percent}%", labels, splits)


def folds_of(labels: Labels, *, number: int = 10, seed: int = 0) -> Parts | None:
    """Split labelled samples into folds, class by class: each is tested on once and the next one is chosen on."""
    if labels.values is None:
        return None
    known = (labels.values != UNKNOWN).nonzero()[:, 0]
    order = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))]
    order = order[labels.values[order].argsort(stable=True)]
    number = min(number, len(order))
    if number < 3:
        return None
    fold = torch.arange(len(order)) % number
    splits = [
        OwnSplit(
            *(
                order[chosen].sort().values
                for chosen in ((fold != k) & (fold != (k + 1) % number), fold == (k + 1) % number, fold == k)
            )
        )
        for k in range(number)
    ]
    return Parts(f"{number} folds", labels, splits)


def of_source(source: Any) -> Parts | None:
    """Return the split that a source brings, None where it has none."""
    found = getattr(source, "parts", None)
    return found if isinstance(found, Parts) else None
