"""Which transforms the parameters of a view consist of, and views that differ in one of them.

A transform is a key of the parameters, with one exception: where several pipelines are mixed, "variant" says for each
sample which of them blurs and solarises it. The three then are one transform, "blur+solarize", because blur without a
variant is not defined and the two depend on each other through it.

Transforms with several independent magnitudes have parts: "affine.rotation", "jitter.hue", "contrast.gain". A part is
replaced with everything else as it is, coin and order of its transform included; alone, its siblings are at identity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from barlow.choices import unknown
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import Params, View

_SWITCHED = ("variant", "blur", "solarize")
"""What the variant of a sample decides, and the variant itself."""

_PARTS: dict[str, dict[str, tuple[str, float]]] = {
    "affine": {"angle": ("rotation", 0.0), "shift": ("translation", 0.0), "zoom": ("zoom", 1.0), "shear": ("shear", 0)},
    "jitter": {
        "brightness": ("brightness", 1.0),
        "contrast": ("contrast", 1.0),
        "saturation": ("saturation", 1.0),
        "hue": ("hue", 0.0),
    },
    "contrast": {"gain": ("gain", 1.0), "shift": ("shift", 0.0)},
}
"""Transform -> parameter -> the field of `ImagePipeline` that it is drawn by, and its value that changes nothing."""

_STRENGTHS: dict[str, dict[str, float]] = {
    "crop": {"crop_scale": 1.0, "crop_ratio": 1.0},
    "affine": {"rotation": 0.0, "translation": 0.0, "zoom": 1.0, "shear": 0.0},
    "jitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "blur": {"blur_sigma": 0.0},
    "contrast": {"gain": 0.0, "shift": 0.0},
    "noise": {"noise": 0.0},
}
"""Transform -> fields of `ImagePipeline` that are magnitudes, and their value that changes nothing. Flip, gray and
solarisation happen or do not, so they have none."""

_DRAWN_BY: dict[str, tuple[str, ...]] = {
    **{key: tuple(fields) for key, fields in _STRENGTHS.items()},
    "flip": ("flip",),
    "jitter": ("jitter", *_STRENGTHS["jitter"]),
    "gray": ("gray",),
    "blur": ("blur", "blur_sigma"),
    "solarize": ("solarize",),
}
"""Transform -> every field of `ImagePipeline` that decides how it is drawn."""

_LEAST_SIGMA = 1e-3
"""A blur of this many pixels changes no float32 pixel; one of 0 would divide by 0."""


@dataclass(frozen=True)
class Transform:
    """What is replaced together.

    Attributes:
        name: of the transform, or "transform.field" for a part of one.
        keys: of the parameters.
        parameter: the one parameter of the one key, for a part.
    """

    name: str
    keys: tuple[str, ...]
    parameter: str = ""

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
            for name, (_, identity) in _PARTS[key].items()
            if name in params[key] and name != self.parameter
        }
        return {key: {**params[key], **siblings}}


def transforms_of(params: Params, *, parts: bool = False) -> tuple[Transform, ...]:
    """Return the transforms of which parameters consist, in their order.

    Args:
        params: of a batch, as `View.sample` returns them.
        parts: whether the parts of a transform are listed behind it; those that the view does not use (a shear of
            0) are left out, and so is one that would be alone.

    Returns:
        The transforms. Those without a dot are independent of each other and make up all of `params`; the parts of
        "jitter" leave its coin and order, which belong to none of them.
    """
    found: list[Transform] = []
    switched = tuple(key for key in _SWITCHED if key in params) if "variant" in params else ()
    if switched:
        found.append(Transform("+".join(switched[1:]) or "variant", switched))
    for key, drawn in params.items():
        if key in switched:
            continue
        found.append(Transform(key, (key,)))
        used = _parts_used(key, drawn)
        found += used if parts and len(used) > 1 else []
    return tuple(found)


def transform_named(name: str, params: Params) -> Transform:
    """Return one transform of a batch's parameters.

    Args:
        name: of a transform, of a part of one, also where it is the only one, or a key of `params` that is half of a
            switch: "blur" beside a variant is then which samples of a variant blur, and how much.
        params: of a batch, as `View.sample` returns them.

    Raises:
        ValueError: there is none of that name.
    """
    by_name = {transform.name: transform for transform in transforms_of(params)}
    for key, drawn in params.items():
        by_name.setdefault(key, Transform(key, (key,)))
        by_name |= {part.name: part for part in _parts_used(key, drawn)}
    if name not in by_name:
        raise unknown("transform", name, by_name)
    return by_name[name]


def _parts_used(key: str, drawn: Mapping[str, Tensor]) -> list[Transform]:
    """Return the parts of a transform that do anything in this batch."""
    return [
        Transform(f"{key}.{field}", (key,), name)
        for name, (field, identity) in _PARTS.get(key, {}).items()
        if name in drawn and bool((drawn[name] != identity).any())
    ]


def drawn_alike(transform: str, first: View, second: View) -> bool:
    """Whether two pipelines draw a transform from the same distribution, as far as can be told.

    Args:
        transform: name of one without a dot.
        first: a pipeline.
        second: another; of any but two `ImagePipeline`s nothing can be told.
    """
    if not (isinstance(first, ImagePipeline) and isinstance(second, ImagePipeline)):
        return False
    keys = transform.split("+")
    known = all(key in _DRAWN_BY for key in keys)
    return known and all(getattr(first, f) == getattr(second, f) for key in keys for f in _DRAWN_BY[key])


def scaled(view: ImagePipeline, transform: str, magnitude: float) -> ImagePipeline:
    """Return the pipeline with one transform weaker or stronger: each strength v becomes v_0 + m (v - v_0).

    v_0 is the value that changes nothing (0; 1 for zoom, crop area and ratio). Draws scale likewise: with the same
    generator, the parameters of all other transforms stay what they are.

    Args:
        view: the pipeline at magnitude 1.
        transform: a transform with magnitudes, such as "affine", or a part of one, such as "affine.rotation".
        magnitude: m >= 0.

    Returns:
        The pipeline at magnitude m.

    Raises:
        ValueError: a transform without magnitudes, or a magnitude that the pipeline cannot have.
    """
    fields = _fields(transform)
    if not 0.0 <= magnitude < float("inf"):
        raise ValueError(f"magnitudes: got {magnitude}, wanted 0 or more")
    changed: dict[str, float | tuple[float, ...]] = {}
    for field, neutral in fields.items():
        value = getattr(view, field)
        if value is None:
            continue
        moved = tuple(
            (1.0 - magnitude) * neutral + magnitude * v for v in (value if isinstance(value, tuple) else (value,))
        )
        if neutral == 1.0 and min(moved) <= 0.0:
            raise ValueError(f"magnitudes: got {magnitude}, which makes {field} {min(moved):.3g}, wanted it above 0")
        if field == "blur_sigma":
            moved = tuple(max(_LEAST_SIGMA, sigma) for sigma in moved)
        changed[field] = moved if isinstance(value, tuple) else moved[0]
    return replace(view, **changed)  # type: ignore[arg-type]


def _fields(transform: str) -> dict[str, float]:
    """Fields that are magnitudes of a transform or of a part, and their neutral values."""
    whole, _, field = transform.partition(".")
    known = [*_STRENGTHS, *(f"{key}.{field}" for key, parts in _PARTS.items() for field, _ in parts.values())]
    if transform not in known:
        raise unknown("transform with a magnitude", transform, known)
    return {field: _STRENGTHS[whole][field]} if field else _STRENGTHS[whole]
