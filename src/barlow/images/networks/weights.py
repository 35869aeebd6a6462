"""Weights from files of any project: never unpickled, found under whatever names, put into a network whole.

A file holds one or several state dicts. In one of them the names of a network stand behind a prefix, such as
"module.backbone." in the official Barlow Twins checkpoint, or its children are numbered, as lightly's
`nn.Sequential(*list(resnet.children())[:-1])` numbers them. Every prefix that the file offers is tried, and the one
under which most weights of the network are found, in its shapes, is taken.
"""

import pickle
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from barlow.errors import did_you_mean

State = dict[str, Tensor]

CONTAINERS = ("state_dict", "model", "backbone")
"""Entries under which training scripts keep the weights, by preference where a file has the network several times."""
WRAPPERS = frozenset({"module", "_orig_mod"})
"""What DistributedDataParallel and torch.compile put into names, at any depth."""
USUAL_PREFIXES = ("", "backbone.network", "backbone", "encoder", "network", "model", "model.backbone")
"""Prefixes by preference, where the same network stands in a state dict twice (with a momentum copy beside it)."""
HEADS = ("fc", "classifier", "head", "heads", "projector")
"""Names whose weights a backbone has no use for, so that leaving them out is not worth a warning."""

_MAX_DEPTH = 3
"""Levels of dicts that are looked into: {"state_dict": {"teacher": {name: tensor}}} is as deep as scripts go."""
_OPTIMIZERS = "optim"
"""What entries with the state of an optimizer begin with; their tensors are no weights."""
_REFUSED = re.compile(r"GLOBAL (\S+)")
"""How torch names the class or function that it refuses to import."""


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file; every parameter of the network has to be found in it.

    A first convolution for three channels is adapted to another number. Weights in the file that the network does not
    have are left out, with a warning unless they belong to a head. Missing weights, or weights of another shape, are an
    error that lists them.
    """
    require_weights(path)
    states = read_states(path, "pretrained")
    wanted = network.state_dict()
    match = _usual_match(path, matches(states, network, wanted))
    found = states.get(match.place, {})
    state = {name: _to_channels(found[there], wanted[name]) for name, there in match.names.items()}
    # Checkpoints of before 2018 have no such counter, and nothing reads it.
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(
            f"pretrained: {str(path)!r} lacks {len(missing)} of the {len(wanted)} weights of "
            f"{type(network).__name__}: {listed(missing)}; the file has {listed(names_in(states))}"
        )
    wrong = [name for name, value in state.items() if value.shape != wanted[name].shape]
    if wrong:
        shapes = [f"{n}: {tuple(state[n].shape)} in the file, {tuple(wanted[n].shape)} wanted" for n in wrong]
        raise ValueError(
            f"pretrained: {str(path)!r} has other shapes (another stem, width or image size?): {listed(shapes)}"
        )
    network.load_state_dict(state, strict=False)
    if unused := _unused(match, found):
        warnings.warn(f"pretrained: {len(unused)} weights of {path.name} were left out: {listed(unused)}", stacklevel=2)


def require_weights(path: Path) -> None:
    """Refuse a path of weights at which nothing is."""
    if not path.exists():
        hint = did_you_mean(path, ["default"])
        raise ValueError(f"pretrained: got {str(path)!r}, wanted '', 'default' or the path of a file of weights{hint}")


def read_states(path: Path, argument: str = "path") -> dict[str, State]:
    """Read every state dict of a file: safetensors, or what `torch.load(weights_only=True)` reads.

    Tensors on the CPU by name, as they are called in the file, by the place of their dict in the file: "" at the top,
    "state_dict", "model", "student.backbone". Optimizer states are left out. A pickle of more than tensors and plain
    values, which could run code, is refused; the error says how to save its weights alone, and calls the path
    `argument`.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise ValueError(f"{argument}: got {str(path)!r}, which is {found}, wanted a file of weights")
    try:
        if path.suffix == ".safetensors":
            return {"": load_file(path)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unusual pickle protocol: it reads it, or raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _refusal(f"{argument}: {str(path)!r}", path.name, error) from error
    states: dict[str, State] = {}
    _collect(content, "", states)
    if not states:
        raise ValueError(f"{argument}: {str(path)!r} holds no tensors by name, but a {type(content).__name__}")
    return states


def _collect(content: Any, place: str, states: dict[str, State]) -> None:
    """Add the tensors of a dict, and of the dicts inside, to `states`."""
    if not isinstance(content, Mapping) or place.count(".") >= _MAX_DEPTH:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        states[place] = tensors
    for name, value in content.items():
        if isinstance(name, str) and not name.startswith(_OPTIMIZERS):
            _collect(value, joined(place, name), states)


def _refusal(what: str, name: str, error: Exception) -> ValueError:
    """Say why a file is not read, and what to do where it holds objects."""
    refused = _REFUSED.search(str(error))
    if refused is None:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return ValueError(
            f"{what} is neither safetensors nor a torch file of plain tensors (foreign files are never unpickled): "
            f"{reason}"
        )
    return ValueError(
        f"{what} holds more than tensors and plain values: {refused[1]}. To read that could run code, so "
        "nothing of it was read. If you trust its origin, save its weights alone, in the environment that wrote it: "
        f"c = torch.load({name!r}, map_location='cpu', weights_only=False); "
        "torch.save({'state_dict': c['state_dict']}, 'weights.pth') (for a whole module: c.state_dict())"
    )


@dataclass(frozen=True)
class Match:
    """One place in a file where a network may stand.

    Attributes:
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
        known = self.prefix in USUAL_PREFIXES
        unusual = USUAL_PREFIXES.index(self.prefix) if known else len(USUAL_PREFIXES)
        return self.fitting, len(self.names), -unusual


def matches(states: Mapping[str, State], network: nn.Module, wanted: Mapping[str, Tensor]) -> list[Match]:
    """Return every place in a file that has any weights of a network, the best of them first.

    `wanted` are the weights of the network by name.
    """
    ours = {unwrapped(name): name for name in wanted}
    children = [name for name, _ in network.named_children()]
    found: list[Match] = []
    for place, state in states.items():
        theirs = {unwrapped(name): name for name in state}
        named, numbered = _by_prefix(theirs, ours), {}
        if not any(child.isdecimal() for child in children):
            numbered = _by_numbers(theirs, ours, children)
        for by_number, by_prefix in ((False, named), (True, numbered)):
            for prefix, names in by_prefix.items():
                fitting = sum(state[there].shape == wanted[here].shape for here, there in names.items())
                found.append(Match(place, prefix, by_number, names, fitting))
    return sorted(found, key=lambda match: match.rank, reverse=True)


def _by_prefix(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Our names -> theirs, for each prefix under which they have any of ours."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for plain, name in theirs.items():
        for prefix, end in _cuts(plain):
            if end in ours:
                found[prefix][ours[end]] = name
    return found


def _by_numbers(
    theirs: Mapping[str, str], ours: Mapping[str, str], children: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The same where the children of the network are numbered from 0.

    Those without weights count: a gap for the activation and the pooling of a ResNet says that they are there.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for plain, name in theirs.items():
        for prefix, end in _cuts(plain):
            number, _, rest = end.partition(".")
            if number.isdecimal() and int(number) < len(children):
                end = joined(children[int(number)], rest)
                if end in ours:
                    found[prefix][ours[end]] = name
    return found


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield every way to cut a name at a dot into a prefix, which may be empty, and an end."""
    parts = name.split(".")
    return ((".".join(parts[:cut]), ".".join(parts[cut:])) for cut in range(len(parts)))


def _usual_match(path: Path, found: Sequence[Match]) -> Match:
    """Return the best match; where the network is there several times, that in the first of `CONTAINERS`."""
    best = [match for match in found if match.rank == found[0].rank]
    for entry in ("", *CONTAINERS):
        if usual := [match for match in best if match.place.split(".")[0] == entry]:
            best = usual
            break
    if len(best) > 1:
        places = ", ".join(sorted(match.full for match in best))
        raise ValueError(
            f"pretrained: {str(path)!r} has the network in several places, {places}; wanted a file with one, or the "
            "backbone of barlow.load_foreign(path, prefix=...)"
        )
    return best[0] if best else Match("", "", False, {}, 0)


def _unused(match: Match, state: State) -> list[str]:
    """Names beside those of the network, under its prefix, that belong to no head."""
    matched = set(match.names.values())
    beside = {name: below(unwrapped(name), match.prefix) for name in state if name not in matched}
    return [name for name, inside in beside.items() if inside and inside.split(".")[0] not in HEADS]


def _to_channels(value: Tensor, like: Tensor) -> Tensor:
    """Adapt an RGB convolution to the input channels of `like` where that is all that differs."""
    same_but_channels = value.ndim == 4 and value.shape[:1] + value.shape[2:] == like.shape[:1] + like.shape[2:]
    if same_but_channels and value.shape[1] == 3 != like.shape[1]:
        adapted: Tensor = adapt_input_conv(like.shape[1], value)
        return adapted
    return value


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


def names_in(states: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names of all tensors in a file, with the places of their dicts."""
    return [joined(place, name) for place, state in states.items() for name in state]


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
