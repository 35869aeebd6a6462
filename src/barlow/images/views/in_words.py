"""Image pipelines in a line of words, made of their numbers, so that a list of them cannot say anything else."""

from collections.abc import Sequence

from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import LOCATED, VIEWS


def views_listed(word: str = "") -> dict[str, str]:
    """Return name -> a line for all views of images whose name has the word in it."""
    return {name: in_words(name) for name in VIEWS if word in name}


def in_words(name: str) -> str:
    """Return what the pipelines of a name do: how many they are, then each transform with its chance or its range.

    >>> in_words("small-grey")
    '2 alike: turn 15°, shift 12.5%, zoom 80 to 120%, shear 10°, light 40%, noise'
    """
    pipelines = VIEWS[name]
    sizes = [pipeline.size for pipeline in pipelines]
    small = [size for size in sizes if size < sizes[0]]
    large = pipelines[: len(pipelines) - len(small)]
    said = f"{len(large)} {'alike' if _alike(large) else 'different'}"
    if small:
        said += f" and {len(small)} of {small[0]} for {sizes[0]} pixels"
    if len(large[0].blur) > 1:
        said += ", each in one of two ways"
    where = ", with their places" if name in LOCATED else ""
    return f"{said}{where}: {', '.join(part for part in _transforms(large) if part)}"


def _alike(pipelines: Sequence[ImagePipeline]) -> bool:
    return all(pipeline == pipelines[0] for pipeline in pipelines)


def _transforms(pipelines: Sequence[ImagePipeline]) -> list[str]:
    """Say each transform that any of the pipelines has; numbers that differ between them stand with a slash."""
    first = pipelines[0]
    low, high = first.crop_scale or (0, 0)
    zoom = f"zoom {first.zoom[0]:.0%} to {first.zoom[1]:.0%}".replace("%", "", 1) if first.zoom != (1, 1) else ""
    colour = [name for name in ("brightness", "contrast", "saturation", "hue") if getattr(first, name)]
    strengths = " ".join(f"{getattr(first, name):g}" for name in colour)
    return [
        f"crop {100 * low:g} to {_percent(high)}" if first.crop_scale else "",
        "flip" if first.flip else "",
        "upside down" if first.vertical_flip else "",
        "quarter turns" if first.quarter_turns else "",
        f"turn {first.rotation:g}°" if first.rotation else "",
        f"shift {_percent(first.translation)}" if first.translation else "",
        zoom,
        f"shear {first.shear:g}°" if first.shear else "",
        f"colours {strengths}" if first.jitter else "",
        _chance("grey", [first.gray]),
        _chance("blur", _entries(pipelines, "blur")),
        _chance("solarise", _entries(pipelines, "solarize")),
        f"light {_percent(first.gain)}" if first.gain else "",
        "noise" if first.noise else "",
    ]


def _entries(pipelines: Sequence[ImagePipeline], name: str) -> list[float]:
    """The chances of every pipeline, in their order; one number where all are the same."""
    found = [chance for pipeline in pipelines for chance in getattr(pipeline, name)]
    pairs = [getattr(pipeline, name) for pipeline in pipelines]
    alike = all(pair == pairs[0] for pair in pairs)
    found = list(pairs[0]) if alike else found
    return found[:1] if len(set(found)) == 1 else found


def _chance(name: str, chances: Sequence[float]) -> str:
    return f"{name} {'/'.join(_percent(chance) for chance in chances)}" if any(chances) else ""


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
