"""What the figures say about the least loss of a linear projector, and whether there were samples enough to know it.

Each function puts one question; see `table.Check`.
"""

import math

from barlow.audits.settings import NO_VARIANCE_BOUND
from barlow.audits.verdicts.loss import of_pairs
from barlow.figures import NUM_ERRORS, Figures, Level, Measured, Verdict, needed
from barlow.formats import Number, count, number

UNUSED_OUTPUTS = 0.1
"""Copies among fewer than a tenth of the outputs waste little; beyond, a smaller projector does the same work."""
BELOW_LIMIT = 0.9
"""Below the closed form by more than a tenth: the two are of the same samples, and chance moves both the same way."""
NEAR_LIMIT = 1.2
"""Trained linear projectors end 4 to 6% above their closed form; a fifth leaves room for the error of that form."""
FAR_FROM_LIMIT = 2.0
"""From twice the closed form on, more of the loss is the projector's than the backbone's."""
FAR_SHARE_OF_WIDTH = 0.02
"""...and by at least this share of D, what a network that learnt nothing pays: twice almost nothing is nothing."""
ENOUGH_ABOVE_EDGE = 0.5
"""Samples are enough where the edge is below half of the mean of the best correlations: those then stand out."""
TOP = 10
"""How many of the best correlations that mean is over."""
ENOUGH_VIEWS = 8
"""Views that the other way to more evidence asks for; beyond 8, more samples serve better."""
MOST_IMAGES = 1 << 20
"""No more samples than that are asked for: an audit should take minutes."""
IMAGES_PER_FEATURE = 15
"""With 8 views each, that many bring the range to 4% of its middle on either side."""
WIDE_BRACKET = 0.1
"""Half of the range over its middle; 15 samples per feature and 8 views give 4%, errors included."""
IMAGES_PER_DIRECTION = 3
"""As in `audits/spectra.py`, here without torch."""
MOST_ASKED = 20_000
"""No more samples than that are asked for: with 8 views each they are minutes of a network on a CPU."""


def waterline(figures: Figures) -> Verdict | None:
    """Whether the best linear projector would leave outputs unused at this lambda."""
    width, weight = needed(figures.settings.width), needed(figures.settings.redundancy_weight)
    first, other = needed(figures.spectrum.num_active), figures.spectrum.num_active_cross_fit
    if other is None or not other.value:
        other = first
    rho = figures.spectrum.plug_in
    usable = min(width, float(len(rho))) if rho else width
    enough = (1.0 - UNUSED_OUTPUTS) * usable
    if usable <= 0 or min(first.value, other.value) >= enough:
        return None
    low, high = _counted(figures, first, other, usable)
    sure = high < enough
    of = f"{number(width, 9)} outputs" if usable == width else f"the {number(usable, 9)} directions that could be"
    said = f"At lambda = {number(weight)} a linear projector at its optimum uses only {number(first.value, 9)} "
    said += (
        f"[{number(low, 9)}, {number(high, 9)}] of {of}{' used' if usable < width else ''}; the rest would be copies"
    )
    said += "" if sure else ", but the interval allows for nearly all of them"
    level: Level = "warning" if sure and figures.settings.normalization else "note"
    if _has_hidden_layer(figures):
        level, said = "note", f"{said}. Your projector has hidden layers, which this does not bind"
    return Verdict("waterline", level, f"{said}.", first.value, low, high, _use_all(figures, weight, width))


def free_loss(figures: Figures) -> Verdict | None:
    """Whether the loss has the infimum 0 for any backbone: whether D fits into the rank of B (Theorem 1)."""
    kind, width = needed(figures.settings.normalization), needed(figures.settings.width)
    if kind not in NO_VARIANCE_BOUND:
        return None
    mean = float(kind == "raw")  # without centring, the mean that all samples share is one more direction
    rank = figures.spectrum.between_rank
    value, low, high = (needed(end) + mean for end in (rank.value, rank.low, rank.high))
    every = needed(figures.quantities.rank).value + mean
    if width > every:
        return None
    proven = f"{number(value, 9)} [{number(low, 9)}, {number(high, 9)}] directions"
    proven += " (the mean is one)" if mean else ""
    said = f"The loss is not normalised ({kind}), and of the {number(every, 9)} directions of its features samples are "
    said += f"proven to differ in {proven}; it has {number(width, 9)} outputs"
    if width <= low:
        said += ": they fit, and its infimum is 0 for this backbone, trained or not."
    elif width <= high:
        said += ": whether they fit, so that its infimum is 0, is open."
    else:
        reached = "more than 0" if figures.loss.limit is None else number(figures.loss.limit.value)
        said += (
            f". On those its infimum is {reached}, and 0 only if others, too weak for so many samples, differ as well."
        )
    advice = "Normalise by anything that bounds the variance of z: per feature (pearson), or one number for all "
    advice += "(scalar); then a low loss takes a backbone that is invariant."
    return Verdict("free_loss", "warning" if width <= low else "note", said, value, low, high, advice)


def projector_gap(figures: Figures) -> Verdict | None:
    """How the loss stands to the least that a linear projector reaches on this backbone."""
    complete, limit = needed(figures.loss.complete), limit_range(figures)
    if limit[0] <= 0:
        return _no_ratio(figures, complete, limit)
    (low, best, worst, high), (least, most) = limit, _ends(complete)
    ratio, smallest, largest = 2 * complete.value / (best + worst), max(0.0, least) / high, most / low
    said = f"The complete loss is {complete.as_number()} ({of_pairs(figures)}); a linear projector at its optimum "
    said += f"reaches {said_limits(limit)} on this backbone"
    times = f"{number(ratio)} [{number(smallest)}, {number(largest)}] times"
    part = _partly_seen(figures)
    if largest < BELOW_LIMIT:
        said += f". Yours is at {times} that: {_why_below(figures)}."
        advice = "Expected of a deep projector; of a linear one, audit more samples. For a backbone that is invariant "
        advice += "itself, try a smaller projector."
    elif largest <= NEAR_LIMIT and not part:
        said += f". Yours is at {times} that: near its limit, and the backbone is what holds the loss up."
        advice = "A better projector gains nothing here: train the backbone longer, or give it more capacity."
    elif largest >= FAR_FROM_LIMIT and _worth(figures, most - low):
        sure = smallest >= FAR_FROM_LIMIT and _worth(figures, least - high)
        said += f": {times} as much, "
        said += "so the projector is what holds the loss up." if sure else "too wide a range to blame the projector."
        advice = "Train the projector longer or with a larger learning rate; features with a large condition number "
        advice += "slow it down: try BatchNorm before it, or the method optimal_projector."
        return Verdict("projector_gap", "warning" if sure else "note", said, ratio, smallest, largest, advice)
    else:
        return None
    return Verdict("projector_gap", "note", said, ratio, smallest, largest, advice)


def limit_range(figures: Figures) -> tuple[float, float, float, float]:
    """Return the least loss of a linear projector with its range, ascending; MissingFigureError where it is not known.

    They are (lower end, value, value, upper end); of a count, and of older audits, with two values, of either end.
    """
    best = needed(figures.loss.limit)
    worst = figures.loss.limit_cross_fit or best
    ends = (*_ends(best), best.value, *_ends(worst), worst.value)
    return min(ends), min(best.value, worst.value), max(best.value, worst.value), max(ends)


def said_limits(limit: tuple[float, float, float, float]) -> str:
    """Return "2.4 [2.2, 2.7]" with its range, or "2.4 to 2.5 [2.2, 2.7]" where there are two values."""
    low, best, worst, high = map(number, limit)
    return f"{best if best == worst else f'{best} to {worst}'} [{low}, {high}]"


def _ends(found: Measured) -> tuple[float, float]:
    return (found.value if found.low is None else found.low), (found.value if found.high is None else found.high)


def _counted(figures: Figures, first: Measured, other: Measured, most: float) -> tuple[float, float]:
    """Lowest and highest count that the samples allow, in whole numbers; of older audits, by two estimates."""
    known = figures.spectrum.num_active_range
    reach = [NUM_ERRORS * (found.error or 0.0) for found in (first, other)]
    low = min(first.value - reach[0], other.value - reach[1]) if known.low is None else known.low
    high = max(first.value + reach[0], other.value + reach[1]) if known.high is None else known.high
    return float(max(0, math.floor(low))), min(most, float(math.ceil(high)))


def _no_ratio(figures: Figures, complete: Measured, limit: tuple[float, float, float, float]) -> Verdict | None:
    """The closed form may be 0, so that there is no ratio: the gap itself is what is worth telling, or is not."""
    (low, _, _, high), (least, most) = limit, _ends(complete)
    if not _worth(figures, least - high):
        return None
    gap = complete.value - (limit[1] + limit[2]) / 2
    said = f"The complete loss is {complete.as_number()} ({of_pairs(figures)}); a linear projector at its optimum "
    said += f"reaches {said_limits(limit)} on this backbone: {number(gap)} [{number(least - high)}, "
    said += f"{number(most - low)}] of the loss is the projector's."
    advice = "Train the projector longer or with a larger learning rate; the closed-form projector shows that it can."
    return Verdict("projector_gap", "warning", said, gap, least - high, most - low, advice)


def _why_below(figures: Figures) -> str:
    """What a loss below the least of a linear projector may come from."""
    if part := _partly_seen(figures):
        return f"a linear projector may get there too, by directions beyond {part} that were looked at"
    if figures.settings.normalization in NO_VARIANCE_BOUND:
        return "more directions differ between samples than are proven, or a projector with hidden layers does more"
    if figures.subject.projector and not _has_hidden_layer(figures):
        return "less than a linear projector such as yours can reach, so that chance is at work"
    return "a projector with hidden layers does here what the backbone does not"


def _partly_seen(figures: Figures) -> str:
    """Return "the 512 of 2,048" where the closed form is of some directions only, so that it is an upper bound."""
    seen, every = figures.spectrum.num_directions, figures.settings.num_features
    return f"the {number(seen, 9)} of {number(every, 9)}" if seen and every and seen < every else ""


def _has_hidden_layer(figures: Figures) -> bool:
    projector = figures.subject.projector
    return "-" in projector and not projector.startswith("linear")


def _worth(figures: Figures, gap: float) -> bool:
    """Whether a gap is more than next to nothing, in units of D where that is known."""
    return gap >= FAR_SHARE_OF_WIDTH * (figures.settings.width or 0.0)


def _use_all(figures: Figures, weight: float, width: float) -> str:
    """Say which lambda or which D would use every output."""
    enough, fitting = figures.advice.redundancy_weight_for_all, figures.advice.width_for_all
    ways = []
    if enough is not None and enough > weight:
        ways.append(f"raise lambda above {number(enough)}")
    if fitting is not None and 1 < fitting < width:  # one output alone has nothing to decorrelate
        ways.append(f"cut the outputs to {number(fitting, 9)}")
    if not ways:
        return "Raise lambda, cut the outputs, or train the backbone longer; then audit again."
    return f"To use them all, {' or '.join(ways)}; audit again after more training, which moves the waterline."


def too_few_images(figures: Figures) -> Verdict | None:
    """Whether the best correlation is above what features without any invariance reach."""
    edge, best = needed(figures.spectrum.edge), needed(figures.spectrum.largest)
    if chance := _chance(figures, best):
        return chance
    if best.above(edge):
        return None
    none = best.value <= edge
    said = (
        f"Not enough samples: features without any invariance reach a correlation of {number(edge)} (the null edge), "
    )
    said += f"and your best is {best.as_number()}"
    said += ": nothing in the spectrum is evidence." if none else ", not clearly above it."
    return Verdict.of("too_few_images", "warning" if none else "note", best, said, _images_to_use(figures))


def _chance(figures: Figures, best: Measured) -> Verdict | None:
    """Fewer than three samples per direction: whatever stands out, most of the spectrum is chance."""
    images, directions = figures.settings.num_images, figures.spectrum.num_directions
    if images is None or not directions or images >= IMAGES_PER_DIRECTION * directions:
        return None
    said = (
        f"Not enough samples: {number(images, 9)} for {number(directions, 9)} directions, fewer than three for each, "
    )
    said += f"so that most of the spectrum is chance, whatever its best correlation, {best.as_number()}."
    advice = f"{_more_samples(figures, IMAGES_PER_FEATURE * directions)}."
    return Verdict.of("too_few_images", "warning", best, said, advice)


def _more_samples(figures: Figures, wanted: float) -> str:
    """Ask for samples that there are, else for what else helps."""
    views, there = figures.settings.num_views or 2.0, figures.settings.num_available
    images = figures.settings.num_images or 0.0
    now = f" (these were {count(images, 'sample')}, {number(views)} views)" if images else ""
    most = MOST_ASKED if there is None else min(there, MOST_ASKED)
    if wanted <= most:
        return f"Audit at least {count(wanted, 'sample')} with {ENOUGH_VIEWS} views each{now}"
    if images < most and there is not None:
        return (
            f"Audit all {count(most, 'sample')} with {ENOUGH_VIEWS} views each{now}: they narrow it, if not to the end"
        )
    if views < ENOUGH_VIEWS:
        return f"Audit {ENOUGH_VIEWS} views of each{now}: more samples than these would be needed than there are"
    return "No more samples can be had for so many directions: audit a narrower backbone, or a layer behind it"


def wide_bracket(figures: Figures) -> Verdict | None:
    """Whether the range of the closed-form loss is wide."""
    limit = limit_range(figures)
    low, _, _, high = limit
    middle = (low + high) / 2
    if middle <= 0 or high - low < 2 * WIDE_BRACKET * middle:
        return None
    said = "The loss that a linear projector reaches on this backbone is only known to "
    said += f"±{100 * (high - low) / 2 / middle:.0f}%: {said_limits(limit)}."
    features = figures.spectrum.num_directions or figures.settings.num_features
    advice = f"Audit 15 samples per feature with {ENOUGH_VIEWS} views each"
    if features is not None:
        advice = _more_samples(figures, max(IMAGES_PER_FEATURE * features, 2 * (figures.settings.num_images or 0.0)))
    advice += "; or read the two ends as the range that it is."
    return Verdict("wide_bracket", "warning", said, middle, low, high, advice)


def null_edge(num_features: Number, num_images: Number, num_views: Number) -> float:
    """Return the correlation that the best of d directions reaches without any invariance (Wachter).

    The formula of `barlow.theory.wachter_edge`, here without torch: with c1 = d/(n-1), c2 = d/(n(K-1)),
    F = ((1 + sqrt(c1 + c2 - c1 c2)) / (1 - c2))^2 and the edge (F-1)/(F-1+K); 1 from c2 = 1 on.
    """
    c1, c2 = num_features / (num_images - 1), num_features / (num_images * (num_views - 1))
    if c2 >= 1:
        return 1.0
    excess = ((1 + math.sqrt(c1 + c2 - c1 * c2)) / (1 - c2)) ** 2 - 1
    return excess / (excess + num_views)


def images_for(num_features: Number, num_views: Number, edge: float, start: int = 64) -> int | None:
    """Return how many samples bring the null edge to `edge` or below: `start`, doubled as often as that takes.

    `num_features` is d, or the rank of T. None where the number is above `MOST_IMAGES`.
    """
    num_images = max(start, 2)
    while null_edge(num_features, num_images, num_views) > edge:
        num_images *= 2
        if num_images > MOST_IMAGES:
            return None
    return num_images


def _images_to_use(figures: Figures) -> str:
    """Say which n and K bring the edge under half of the best correlations, as far as those are known."""
    rho, settings = figures.spectrum.plug_in, figures.settings
    scored = figures.spectrum.cross_fit or rho
    top = sorted((min(max(value, 0.0), 1.0) for value in scored), reverse=True)[:TOP]
    wanted = ENOUGH_ABOVE_EDGE * sum(top) / len(top)
    views, images = settings.num_views or 2.0, settings.num_images or 64.0
    features = float(len(rho))
    ways = []
    for num_views in dict.fromkeys((max(views, 2.0), max(views, float(ENOUGH_VIEWS)))):
        start = int(images) * (2 if num_views == views else 1)
        enough = images_for(features, num_views, wanted, start) if wanted > 0 else None
        if enough is not None and enough <= (settings.num_available or MOST_ASKED):
            ways.append(f"{count(enough, 'sample')} with {number(num_views)} views each")
    if not ways:
        return (
            "Audit more samples and views if there are any; if the correlations stay where they are, the backbone has "
            "no invariance."
        )
    return f"Audit at least {', or '.join(ways)}: that brings the edge under half of the best correlations."
