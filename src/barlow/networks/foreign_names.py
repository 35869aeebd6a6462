"""Where in a state dict a network stands: its own names behind a prefix, or its children numbered."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

WRAPPERS = frozenset({"module", "_orig_mod"})
"""What DistributedDataParallel and torch.compile put into names, at any depth."""
USUAL = ("", "backbone.network", "backbone", "encoder", "network", "model", "model.backbone")
"""Prefixes by preference, where the same network stands in a state dict twice (with a momentum copy beside it)."""


@dataclass(frozen=True)
class Reading:
    """One way to read a state dict.

    Attributes:
        place: of the state dict in its file.
        prefix: what precedes the names of the network, without the last dot.
        numbered: whether the children of the network have numbers in place of names.
        names: names of the network -> names in the state dict.
        fitting: how many of these weights have the shape that the network wants.
    """

    place: str
    prefix: str
    numbered: bool
    names: Mapping[str, str]
    fitting: int

    @property
    def full(self) -> str:
        """The place and the prefix."""
        return joined(self.place, self.prefix)

    @property
    def rank(self) -> tuple[int, int, int]:
        """The more weights of the right shape the better, then the more names; of equal ones the usual prefix."""
        unusual = USUAL.index(self.prefix) if self.prefix in USUAL else len(USUAL)
        return self.fitting, len(self.names), -unusual


def readings(
    place: str, state: Mapping[str, Tensor], target: nn.Module, wanted: Mapping[str, Tensor]
) -> Iterator[Reading]:
    """Yield every way to read a state dict that gives a network any weights.

    Args:
        place: of the state dict in its file.
        state: the state dict.
        target: the network.
        wanted: its weights by name.
    """
    ours = {unwrapped(name): name for name in wanted}
    children = [name for name, _ in target.named_children()]
    theirs = {unwrapped(name): name for name in state}
    named, numbered = _by_prefix(theirs, ours), {}
    if not any(child.isdecimal() for child in children):
        numbered = _by_numbers(theirs, ours, children)
    for by_number, by_prefix in ((False, named), (True, numbered)):
        for prefix, names in by_prefix.items():
            fitting = sum(state[there].shape == wanted[here].shape for here, there in names.items())
            yield Reading(place, prefix, by_number, names, fitting)


def _by_prefix(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Our names -> theirs, for each prefix under which they have any of ours."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for plain, name in theirs.items():
        parts = plain.split(".")
        for cut in range(len(parts)):
            end = ".".join(parts[cut:])
            if end in ours:
                found[".".join(parts[:cut])][ours[end]] = name
    return found


def _by_numbers(
    theirs: Mapping[str, str], ours: Mapping[str, str], children: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The same where each child of the network goes by its place among all of them, from 0.

    Those without weights count: a gap for the activation and the pooling of a ResNet says that they are there.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for plain, name in theirs.items():
        parts = plain.split(".")
        for cut, part in enumerate(parts):
            if part.isdecimal() and int(part) < len(children):
                end = ".".join([children[int(part)], *parts[cut + 1 :]])
                if end in ours:
                    found[".".join(parts[:cut])][ours[end]] = name
    return found


def unwrapped(name: str) -> str:
    """Return a name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def joined(place: str, name: str) -> str:
    """Return two parts of a name with a dot between them, where both are there."""
    return f"{place}.{name}" if place and name else place or name


def below(name: str, prefix: str) -> str:
    """Return what of a name follows a prefix, nothing where it does not begin with it."""
    if not prefix:
        return name
    return name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else ""
