"""What the figures say about the least loss of a linear projector: whether it is 0, and who stands above it.

Each function puts one question; see `verdict.Check`.
"""

import math

from barlow.auditing.loss_verdicts import of_pairs
from barlow.auditing.measured import NUM_ERRORS, Figures, Measured, MissingFigureError
from barlow.auditing.verdict import Level, Verdict
from barlow.report.formats import number

UNUSED_OUTPUTS = 0.1
"""Copies among fewer than a tenth of the outputs waste little; beyond, a smaller projector does the same work."""
NO_VARIANCE_BOUND = ("raw", "covariance")
"""Normalisations that leave the total variance free, so that a projector alone makes C the identity (equations 3-6)."""
BELOW_LIMIT = 0.9
"""Below the closed form by more than a tenth: the two are of the same images, and chance moves both alike."""
NEAR_LIMIT = 1.2
"""Trained linear projectors end 4 to 6% above their closed form; a fifth leaves room for the error of that form."""
FAR_FROM_LIMIT = 2.0
"""From twice the closed form on, more of the loss is the projector's than the backbone's."""
FAR_SHARE_OF_WIDTH = 0.02
"""...and by at least this share of D, what a network that learnt nothing pays: twice almost nothing is nothing."""


def waterline(figures: Figures) -> Verdict | None:
    """Whether the best linear projector would leave outputs unused at this lambda."""
    width, weight = figures.number("settings.width"), figures.number("settings.redundancy_weight")
    first = figures.measured("spectrum.num_active")
    other = Measured(
        figures.find("spectrum.num_active_cross_fit") or first.value,
        figures.find("spectrum.num_active_cross_fit_error"),
    )
    rho = figures.numbers("spectrum.plug_in")
    usable = min(width, float(len(rho))) if rho else width
    enough = (1.0 - UNUSED_OUTPUTS) * usable
    if usable <= 0 or min(first.value, other.value) >= enough:
        return None
    low, high = _counted(first, other, usable)
    sure = high < enough
    of = f"{number(width, 9)} outputs" if usable == width else f"the {number(usable, 9)} directions that could be"
    said = f"At lambda = {number(weight)} a linear projector at its optimum uses only {number(first.value, 9)} "
    said += (
        f"[{number(low, 9)}, {number(high, 9)}] of {of}{' used' if usable < width else ''}; the rest would be copies"
    )
    said += "" if sure else ", but the interval allows for nearly all of them"
    level: Level = "warning" if sure and figures.word("settings.normalization") else "note"
    if _has_hidden_layer(figures):
        level, said = "note", f"{said}. Your projector has hidden layers, which this does not bind"
    return Verdict("waterline", level, f"{said}.", first.value, low, high, _use_all(figures, weight, width))


def free_loss(figures: Figures) -> Verdict | None:
    """Whether the loss has the infimum 0 for any backbone: whether D fits into the rank of B (Theorem 1)."""
    kind, width = figures.word("settings.normalization"), figures.number("settings.width")
    if not kind:
        raise MissingFigureError("settings.normalization")
    if kind not in NO_VARIANCE_BOUND:
        return None
    mean = float(kind == "raw")  # without centring, the mean that all images share is one more direction
    value, low, high = (figures.number(f"spectrum.between_rank.{end}") + mean for end in ("value", "low", "high"))
    every = figures.number("quantities.rank.value") + mean
    if width > every:
        return None
    proven = f"{number(value, 9)} [{number(low, 9)}, {number(high, 9)}] directions"
    proven += " (the mean is one)" if mean else ""
    said = f"The loss is not normalised ({kind}), and of the {number(every, 9)} directions of its features images are "
    said += f"proven to differ in {proven}; it has {number(width, 9)} outputs"
    if width <= low:
        said += ": they fit, and its infimum is 0 for this backbone, trained or not."
    elif width <= high:
        said += ": whether they fit, so that its infimum is 0, is open."
    else:
        reached = number(figures.number("loss.limit")) if figures.find("loss.limit") is not None else "more than 0"
        said += (
            f". On those its infimum is {reached}, and 0 only if others, too weak for so many images, differ as well."
        )
    advice = "Normalise by anything that bounds the variance of z: per feature (pearson), or one number for all "
    advice += "(scalar); then a low loss takes a backbone that is invariant."
    return Verdict("free_loss", "warning" if width <= low else "note", said, value, low, high, advice)


def projector_gap(figures: Figures) -> Verdict | None:
    """How the loss stands to the least that a linear projector reaches on this backbone."""
    complete, limit = figures.measured("loss.complete"), limits(figures)
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
        advice = "Expected of a deep projector; of a linear one, audit more images. For a backbone that is invariant "
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


def limits(figures: Figures) -> tuple[float, float, float, float]:
    """Return the least loss of a linear projector, with the range that its two estimates and their errors leave.

    Returns:
        (two errors below the optimistic one, that one, the pessimistic one, two errors above that), ascending.

    Raises:
        MissingFigureError: it is not known.
    """
    best, worst = figures.measured("loss.limit", least=0.0), figures.measured("loss.limit_cross_fit", least=0.0)
    ends = (*_ends(best), best.value, *_ends(worst), worst.value)
    return min(ends), min(best.value, worst.value), max(best.value, worst.value), max(ends)


def said_limits(limit: tuple[float, float, float, float]) -> str:
    """Return "2.4 to 2.5 [2.2, 2.7]": both estimates, and the range with the errors of both."""
    low, best, worst, high = map(number, limit)
    return f"{best if best == worst else f'{best} to {worst}'} [{low}, {high}]"


def _ends(found: Measured) -> tuple[float, float]:
    return (found.value if found.low is None else found.low), (found.value if found.high is None else found.high)


def _counted(first: Measured, other: Measured, most: float) -> tuple[float, float]:
    """Lowest and highest count that two estimates and their errors allow, in whole numbers."""
    reach = [NUM_ERRORS * (found.error or 0.0) for found in (first, other)]
    low = min(first.value - reach[0], other.value - reach[1])
    high = max(first.value + reach[0], other.value + reach[1])
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
    if figures.word("settings.normalization") in NO_VARIANCE_BOUND:
        return "more directions differ between images than are proven, or a projector with hidden layers does more"
    if figures.word("subject.recipe.projector") and not _has_hidden_layer(figures):
        return "less than a linear projector such as yours can reach, so that chance is at work"
    return "a projector with hidden layers does here what the backbone does not"


def _partly_seen(figures: Figures) -> str:
    """Return "the 512 of 2,048" where the closed form is of some directions only, so that it is an upper bound."""
    seen, every = figures.find("spectrum.num_directions"), figures.find("settings.num_features")
    return f"the {number(seen, 9)} of {number(every, 9)}" if seen and every and seen < every else ""


def _has_hidden_layer(figures: Figures) -> bool:
    projector = figures.word("subject.recipe.projector")
    return "-" in projector and not projector.startswith("linear")


def _worth(figures: Figures, gap: float) -> bool:
    """Whether a gap is more than next to nothing, in units of D where that is known."""
    return gap >= FAR_SHARE_OF_WIDTH * (figures.find("settings.width") or 0.0)


def _use_all(figures: Figures, weight: float, width: float) -> str:
    """Say which lambda or which D would use every output."""
    enough, fitting = figures.find("advice.redundancy_weight_for_all"), figures.find("advice.width_for_all")
    ways = []
    if enough is not None and enough > weight:
        ways.append(f"raise lambda above {number(enough)}")
    if fitting is not None and 1 <= fitting < width:
        ways.append(f"cut the outputs to {number(fitting, 9)}")
    if not ways:
        return "Raise lambda, cut the outputs, or train the backbone longer; then audit again."
    return f"To use them all, {' or '.join(ways)}; audit again after more training, which moves the waterline."
