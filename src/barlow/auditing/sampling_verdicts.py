"""What the figures say about themselves: were there images and views enough for them.

Each function puts one question; see `verdict.Check`.
"""

import math

from barlow.auditing.limit_verdicts import limits, said_limits
from barlow.auditing.measured import Figures, Measured, MissingFigureError
from barlow.auditing.verdict import Verdict, say
from barlow.report.formats import Number, count, number

ENOUGH_ABOVE_EDGE = 0.5
"""Images are enough where the edge is below half of the mean of the best correlations: those then stand out."""
TOP = 10
"""How many of the best correlations that mean is over."""
ENOUGH_VIEWS = 8
"""Views that the other way to more evidence asks for; beyond 8, more images serve better."""
MOST_IMAGES = 1 << 20
"""No more images than that are asked for: an audit should take minutes."""
IMAGES_PER_FEATURE = 15
"""With 8 views each, that many bring the range to 4% of its middle on either side."""
WIDE_BRACKET = 0.1
"""Half of the range over its middle; 15 images per feature and 8 views give 4%, errors included."""


def too_few_images(figures: Figures) -> Verdict | None:
    """Whether the best correlation is above what features without any invariance reach."""
    edge, rho = figures.number("spectrum.edge"), figures.numbers("spectrum.plug_in")
    if not rho:
        raise MissingFigureError("spectrum.plug_in")
    errors = figures.numbers("spectrum.error")
    best = Measured(rho[0], errors[0] if errors else None, 0.0, 1.0)
    if best.above(edge):
        return None
    none = best.value <= edge
    said = f"Not enough images: features without any invariance reach a correlation of {number(edge)} (the null edge), "
    said += f"and your best is {best.as_number()}"
    said += ": nothing in the spectrum is evidence." if none else ", not clearly above it."
    return say("too_few_images", "warning" if none else "note", best, said, _images_to_use(figures, rho))


def wide_bracket(figures: Figures) -> Verdict | None:
    """Whether the optimistic and the pessimistic estimate of the closed-form loss, with their errors, are far apart."""
    limit = limits(figures)
    low, _, _, high = limit
    middle = (low + high) / 2
    if middle <= 0 or high - low < 2 * WIDE_BRACKET * middle:
        return None
    said = "The loss that a linear projector reaches on this backbone is only known to "
    said += (
        f"±{100 * (high - low) / 2 / middle:.0f}%: {said_limits(limit)}, by an optimistic and a pessimistic estimate."
    )
    images, views = (figures.find(f"settings.{key}") for key in ("num_images", "num_views"))
    features = figures.find("spectrum.num_directions") or figures.find("settings.num_features")
    wanted = "15 images per feature"
    if features is not None:
        wanted = f"at least {count(max(IMAGES_PER_FEATURE * features, 2 * (images or 0.0)), 'image')}"
    now = "" if images is None or views is None else f" (these were {count(images, 'image')}, {number(views)} views)"
    advice = f"Audit {wanted} with {ENOUGH_VIEWS} views each{now}; or read the two ends as the range that it is."
    return Verdict("wide_bracket", "warning", said, middle, low, high, advice)


def null_edge(num_features: Number, num_images: Number, num_views: Number) -> float:
    """Return the correlation that the best of d directions reaches without any invariance (Wachter).

    The formula of `theory.intraclass.wachter_edge`, here without torch: with c1 = d/(n-1), c2 = d/(n(K-1)),
    F = ((1 + sqrt(c1 + c2 - c1 c2)) / (1 - c2))^2 and the edge (F-1)/(F-1+K); 1 from c2 = 1 on.
    """
    c1, c2 = num_features / (num_images - 1), num_features / (num_images * (num_views - 1))
    if c2 >= 1:
        return 1.0
    excess = ((1 + math.sqrt(c1 + c2 - c1 * c2)) / (1 - c2)) ** 2 - 1
    return excess / (excess + num_views)


def images_for(num_features: Number, num_views: Number, edge: float, start: int = 64) -> int | None:
    """Return how many images bring the null edge to `edge` or below: `start`, doubled as often as that takes.

    Args:
        num_features: d, or the rank of T.
        num_views: K, at least 2.
        edge: the edge that is wanted, above 0.
        start: n that is doubled.

    Returns:
        The number of images, None where it is above `MOST_IMAGES`.
    """
    num_images = max(start, 2)
    while null_edge(num_features, num_images, num_views) > edge:
        num_images *= 2
        if num_images > MOST_IMAGES:
            return None
    return num_images


def _images_to_use(figures: Figures, rho: list[float]) -> str:
    """Say which n and K bring the edge under half of the best correlations, as far as those are known."""
    scored = figures.numbers("spectrum.cross_fit") or rho
    top = sorted((min(max(value, 0.0), 1.0) for value in scored), reverse=True)[:TOP]
    wanted = ENOUGH_ABOVE_EDGE * sum(top) / len(top)
    views, images = figures.find("settings.num_views") or 2.0, figures.find("settings.num_images") or 64.0
    features = float(len(rho))
    ways = []
    for num_views in dict.fromkeys((max(views, 2.0), max(views, float(ENOUGH_VIEWS)))):
        start = int(images) * (2 if num_views == views else 1)
        enough = images_for(features, num_views, wanted, start) if wanted > 0 else None
        if enough is not None:
            ways.append(f"{count(enough, 'image')} with {number(num_views)} views each")
    if not ways:
        return "Audit many more images; if the correlations stay where they are, the backbone has no invariance."
    return f"Audit at least {', or '.join(ways)}: that brings the edge under half of the best correlations."
