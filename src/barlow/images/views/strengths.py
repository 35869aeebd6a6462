"""How strong the transforms of an `ImagePipeline` are: what is a magnitude, and the same pipeline with another one.

An audit draws curves from it, and tells from it whether two pipelines draw a transform in the same way.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from barlow.errors import unknown

if TYPE_CHECKING:
    from barlow.images.views.pipeline import ImagePipeline

JOINED = ("variant", "blur", "solarize")
"""Where several pipelines are mixed, "variant" says for each image which of them blurs and solarises it. The three then
are one transform: blur without a variant is not defined, and the two depend on each other through it."""

PARTS: dict[str, dict[str, tuple[str, float]]] = {
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

STRENGTHS: dict[str, dict[str, float]] = {
    "crop": {"crop_scale": 1.0, "crop_ratio": 1.0},
    "affine": {"rotation": 0.0, "translation": 0.0, "zoom": 1.0, "shear": 0.0},
    "jitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "blur": {"blur_sigma": 0.0},
    "contrast": {"gain": 0.0, "shift": 0.0},
    "noise": {"noise": 0.0},
}
"""Transform -> fields of `ImagePipeline` that are magnitudes, and their value that changes nothing. Flips, turns,
gray and solarisation happen or do not, so they have none."""

DRAWN_BY: dict[str, tuple[str, ...]] = {
    **{key: tuple(fields) for key, fields in STRENGTHS.items()},
    "flip": ("flip",),
    "jitter": ("jitter", *STRENGTHS["jitter"]),
    "gray": ("gray",),
    "blur": ("blur", "blur_sigma"),
    "solarize": ("solarize",),
    "vertical_flip": ("vertical_flip",),
    "quarter_turns": ("quarter_turns",),
}
"""Transform -> every field of `ImagePipeline` that decides how it is drawn."""

LEAST_SIGMA = 1e-3
"""A blur of this many pixels changes no float32 pixel; one of 0 would divide by 0."""


def drawn_by(view: "ImagePipeline", transform: str) -> Mapping[str, Any] | None:
    """Return the fields that a transform ("blur+solarize" for joined ones) is drawn by; None for an unknown one."""
    keys = transform.split("+")
    if not all(key in DRAWN_BY for key in keys):
        return None
    return {field: getattr(view, field) for key in keys for field in DRAWN_BY[key]}


def scaled(view: "ImagePipeline", transform: str, magnitude: float) -> "ImagePipeline":
    """Return the pipeline with one transform weaker or stronger: each strength v becomes v_0 + m (v - v_0).

    v_0 is the value that changes nothing (0; 1 for zoom, crop area and ratio). Draws scale likewise: with the same
    generator, the parameters of all other transforms stay what they are. `transform` is one with magnitudes, such as
    "affine", or a part of one, such as "affine.rotation"; m >= 0.
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
            moved = tuple(max(LEAST_SIGMA, sigma) for sigma in moved)
        changed[field] = moved if isinstance(value, tuple) else moved[0]
    return replace(view, **changed)  # type: ignore[arg-type]


def _fields(transform: str) -> dict[str, float]:
    """Fields that are magnitudes of a transform or of a part, and their neutral values."""
    whole, _, field = transform.partition(".")
    known = [*STRENGTHS, *(f"{key}.{field}" for key, parts in PARTS.items() for field, _ in parts.values())]
    if transform not in known:
        raise unknown("transform with a magnitude", transform, known)
    return {field: STRENGTHS[whole][field]} if field else STRENGTHS[whole]
