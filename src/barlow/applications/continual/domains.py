"""The data sets of a sequence: each by its name, what is learned from, and what is held out to measure on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from barlow.data.order import hash_seed
from barlow.data.subsets import split_labelled, subset
from barlow.modalities import load_samples, place_to_keep, splits_of
from barlow.recipes import Recipe
from barlow.runs.build import fitted
from barlow.runs.folder import file_name_of
from barlow.runs.identity import digest_of, identity_of
from barlow.seams import Modality, Source

SPLIT_SEED = 0
"""What is held out is the same for every sequence of the same data."""
FEWEST = 4
"""Samples that have to be held out, and to be left to learn from."""


@dataclass(frozen=True)
class Domain:
    """One data set of a sequence.

    Attributes:
        name: for folders and the page, another one for each.
        place: where it lies, "" for objects.
        train: what is learned from.
        held_out: never learned from.
        note: how the two were told apart.
    """

    name: str
    place: str
    train: Source
    held_out: Source
    note: str

    def recorded(self) -> dict[str, Any]:
        """Return what tells it from other data, for a file."""
        identity = digest_of(identity_of(self.train), len(self.train))
        sizes = {"train": len(self.train), "held_out": len(self.held_out)}
        return {"name": self.name, "path": self.place, "identity": identity, **sizes}


def load_domains(
    given: Sequence[Any],
    modality: Modality,
    recipe: Recipe,
    *,
    hold_out: float,
    data_root: str | Path | None,
    reading: dict[str, Any],
) -> tuple[list[Domain], Recipe, dict[str, Any]]:
    """Load the data sets in their order, all in the form of the first; return also the recipe and the facts of that.

    Each is a name, a path or an object, or a pair of them: what is learned from, and what is held out. Else their own
    test split is held out, or a share, class by class where there are labels.
    """
    found: list[Domain] = []
    form: dict[str, Any] | None = None
    settled, facts = recipe, dict[str, Any]()
    for one in given:
        how = {"data_root": data_root, "recipe": recipe, "facts": form, **reading}
        parts = _parts(one, modality, hold_out, how)
        name = _name(file_name_of(parts[0].name), [domain.name for domain in found])
        place = place_to_keep(modality, one[0] if isinstance(one, tuple) else one)
        found.append(Domain(name, place, *parts))
        if form is None:
            settled, facts = fitted(modality, recipe, parts[0])
            form = {fact: value for fact, value in facts.items() if fact not in modality.reading}
    return found, settled, facts


def _parts(given: Any, modality: Modality, hold_out: float, how: dict[str, Any]) -> tuple[Source, Source, str]:
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ValueError(f"data: got {len(given)} in a tuple, wanted two: what is learned from, what is held out")
        train, held = (load_samples(modality, one, **how) for one in given)
        return _enough(train, held, "held out as given")
    if "test" in splits_of(modality, given):
        train, held = (load_samples(modality, given, split=split, **how) for split in ("train", "test"))
        return _enough(train, held, "its own test split is held out")
    return _enough(*_split(load_samples(modality, given, **how), hold_out), f"{hold_out:.0%} held out at random")


def _split(source: Source, share: float) -> tuple[Source, Source]:
    if source.labels is not None and bool((source.labels >= 0).all()):
        return split_labelled(source, share, SPLIT_SEED)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(hash_seed(SPLIT_SEED, len(source))))
    number = round(share * len(source))
    return subset(source, order[number:].sort().values), subset(source, order[:number].sort().values)


def _enough(train: Source, held: Source, note: str) -> tuple[Source, Source, str]:
    for what, source in (("to learn from", train), ("held out", held)):
        if len(source) < FEWEST:
            raise ValueError(
                f"data: {source.name} has {len(source)} samples {what}, wanted at least {FEWEST}; see hold_out"
            )
    return train, held, note


def _name(name: str, others: Sequence[str]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}-{number}") in others:
        number += 1
    return found
