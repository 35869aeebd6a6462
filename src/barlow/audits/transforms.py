"""Which transforms the parameters of a view consist of, and views that differ in one of them.

A transform is a key of the parameters. An `AdjustableView` may say that several keys are one transform
("blur+solarize", where one draw decides for each sample which of them it gets), and that a transform has parts, several
independent magnitudes: "affine.rotation", "jitter.hue", "contrast.gain". A part is replaced with everything else as
it is, coin and order of its transform included; alone, its siblings are at the value that changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from barlow.errors import unknown
from barlow.seams import AdjustableView, Params, View


@dataclass(frozen=True)
class Transform:
    """What is replaced together.

    Attributes:
        name: of the transform, or "transform.field" for a part of one.
        keys: of the parameters.
        parameter: the one parameter of the one key, for a part.
        neutral: of a part, the parameters of its siblings and the values of them that change nothing.
    """

    name: str
    keys: tuple[str, ...]
    parameter: str = ""
    neutral: Mapping[str, float] = field(default_factory=dict)

    def replace(self, params: Params, other: Params) -> Params:
        """Return `params` with this transform as it is in `other`."""
        if not self.parameter:
            return {**params, **{key: other[key] for key in self.keys}}
        key = self.keys[0]
        return {**params, key: {**params[key], self.parameter: other[key][self.parameter]}}

    def alone(self, params: Params) -> Params:
        """Return only this transform of `params`, everything else left out."""
        if not self.parameter:
            return {key: params[key] for key in self.keys}
        key = self.keys[0]
        siblings = {
            name: torch.full_like(params[key][name], identity)
            for name, identity in self.neutral.items()
            if name in params[key]
        }
        return {key: {**params[key], **siblings}}


def transforms_of(view: View, params: Params, *, parts: bool = False) -> tuple[Transform, ...]:
    """Return the transforms of which the parameters of a batch consist, in their order.

    Those without a dot are independent of each other and make up all of `params`. With `parts`, the parts of a
    transform are listed behind it, without those that the view does not use (a shear of 0) and one that would be alone;
    those of "jitter" leave its coin and order, which belong to none of them.
    """
    found: list[Transform] = []
    joined = view.joined if isinstance(view, AdjustableView) else ()
    together = tuple(key for key in joined if key in params) if joined and joined[0] in params else ()
    if together:
        found.append(Transform("+".join(together[1:]) or together[0], together))
    for key, drawn in params.items():
        if key in together:
            continue
        found.append(Transform(key, (key,)))
        used = _parts_used(view, key, drawn)
        found += used if parts and len(used) > 1 else []
    return tuple(found)


def transform_named(view: View, name: str, params: Params) -> Transform:
    """Return one transform of a batch's parameters, or refuse a name that is none of them.

    A part of a transform may be asked for also where it is the only one, and so may a key of `params` that is half of a
    switch: "blur" beside a variant is then which samples of a variant blur, and how much.
    """
    by_name = {transform.name: transform for transform in transforms_of(view, params)}
    for key, drawn in params.items():
        by_name.setdefault(key, Transform(key, (key,)))
        by_name |= {part.name: part for part in _parts_used(view, key, drawn)}
    if name not in by_name:
        raise unknown("transform", name, by_name)
    return by_name[name]


def _parts_used(view: View, key: str, drawn: Mapping[str, Tensor]) -> list[Transform]:
    """Return the parts of a transform that do anything in this batch."""
    known = view.parts.get(key, {}) if isinstance(view, AdjustableView) else {}
    neutral = {parameter: value for parameter, (_, value) in known.items()}
    return [
        Transform(f"{key}.{part}", (key,), parameter, {p: v for p, v in neutral.items() if p != parameter})
        for parameter, (part, value) in known.items()
        if parameter in drawn and bool((drawn[parameter] != value).any())
    ]


def same_distribution(transform: str, first: View, second: View) -> bool:
    """Whether two views draw a transform (a name without a dot) from the same distribution, as far as can be told.

    Of any but two `AdjustableView`s nothing can be told.
    """
    if not (isinstance(first, AdjustableView) and isinstance(second, AdjustableView)):
        return False
    numbers = first.drawn_by(transform)
    return numbers is not None and bool(numbers == second.drawn_by(transform))
