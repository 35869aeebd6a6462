"""What the figures say about the loss: what its fall is worth, what holds it up, and whether it can teach at all.

Each function puts one question; see `verdict.Check`.
"""

from barlow.auditing.measured import Figures, Measured, MissingFigureError
from barlow.auditing.verdict import Level, Verdict, say
from barlow.report.formats import count, number

LOSS_FELL = 0.1
"""A fall of less than a tenth is called none: two untrained networks differ by more (on digits 22.7 and 26.0)."""
MOST_OF_FALL = 0.5
"""From half of the fall on, the loss curve shows more of the projector than of the backbone."""
WHOLE_FALL = 1.0
"""Where a projector on the untrained backbone gets as low as training did, training the backbone lowered nothing."""
FLOOR_DOMINATES = 0.5
"""From half on, more of the displayed loss is arithmetic of the batch than anything a network can change."""
ROUNDING = 1e-3
"""A loss that is lower than its floor by less than this share is at the floor: losses are float32 sums."""
BIAS_IS_LARGE = 0.2
"""A fifth of the loss is what sampling adds at N = 32 and D = 32; two runs with other N then differ by that alone."""
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


def loss_fall(figures: Figures) -> Verdict | None:
    """Whether the loss has fallen at all."""
    start, end = figures.number("loss.start"), figures.number("loss.complete")
    if start <= 0:
        raise MissingFigureError("loss.start")
    fall = Measured(1.0 - end / start, exact=True)
    if fall.value >= LOSS_FELL:
        return None
    fell = f"fallen by {fall.as_percent()} only" if fall.value > 0 else "not fallen"
    said = f"The loss has {fell}, from {number(start)} untrained to {number(end)} (both over all images and views)."
    advice = "If the network is meant to be trained: check that its weights change, then raise the learning rate "
    return say("loss_fall", "warning", fall, said, f"{advice}or train longer; the other figures are of a random start.")


def projector_share(figures: Figures) -> Verdict | None:
    """How much of the fall of the loss a projector alone reaches on the untrained backbone."""
    found, which = _larger_share(figures)
    if figures.number("projector_share.end") >= figures.number("projector_share.start"):
        return None  # nothing fell, of which there could be a share
    whole, most = found.above(WHOLE_FALL), found.above(MOST_OF_FALL)
    if most is False:
        return None
    level: Level = "note"
    said = f"{found.as_percent()} of the fall of the loss is within reach of {which} on your untrained backbone"
    advice = "Judge the backbone by a probe beside its untrained twin and by its invariance spectrum, not by the loss; "
    advice += "a smaller projector leaves more of the work to the backbone."
    if most is None:
        said = f"{said}: about half, and too close to it to say which of the two did more."
        advice = "Audit more images if the answer matters. " + advice
    elif whole:
        level = "warning"
        said = f"{said}: training the backbone has lowered the loss no further than that."
        advice = "Check that gradients reach the backbone, and raise its learning rate or train longer. " + advice
    else:
        said = f"{said}: the loss curve says little about the backbone."
    return say("projector_share", level, found, said, advice)


def batch_floor(figures: Figures) -> Verdict | None:
    """Whether most of the displayed loss is the floor of the batch."""
    floor, batch = figures.number("loss.floor"), figures.number("loss.batch")
    if batch <= 0 or floor < FLOOR_DOMINATES * batch:
        return None
    share = Measured(floor / batch, exact=True)
    if share.value > 1.0 + ROUNDING:
        said = f"{_with_sizes(figures)} no network can show a loss below {number(floor)} (a closed form, without "
        said += f"error), and yours stands at {number(batch)}: one of the two is not of this run."
        advice = "Check that batch size, width and lambda are those of the run, and that features are centred."
        return say("batch_floor", "warning", share, said, advice)
    above = number(max(1.0, batch / floor))
    said = f"{_with_sizes(figures)} no network can show a loss below {number(floor)}; yours stands at {number(batch)}, "
    said += f"{above} times that: {share.as_percent()} of it is the floor (a closed form, without error)."
    advice = "Stop reading the loss; read what is above the floor. Twice the batch about halves the floor, half the "
    return say(
        "batch_floor", "warning", share, said, f"{advice}outputs about quarters it, and a batch larger than D has none."
    )


def sampling_bias(figures: Figures) -> Verdict | None:
    """Whether noise of the batch is a large part of the displayed loss."""
    batch = figures.number("loss.batch")
    parts = {part.word("name"): part.find("value") for part in figures.records("loss.parts")}
    bias = parts.get("sampling bias")
    if bias is None:
        raise MissingFigureError("loss.parts")
    if batch <= 0 or bias < BIAS_IS_LARGE * batch:
        return None
    share = Measured(bias / batch, exact=True)
    said = f"{share.as_percent()} of the loss that training shows, {number(bias)} of {number(batch)}, is sampling "
    said += f"noise of the batch{_of_size(figures)} (a difference of means, its error not measured)."
    advice = "Compare losses at equal batch size only. The noise falls as 1/N: take a larger batch or fewer outputs, "
    return say("sampling_bias", "warning", share, said, f"{advice}or the loss without it (option bias = removed).")


def waterline(figures: Figures) -> Verdict | None:
    """Whether the best linear projector would leave outputs unused at this lambda."""
    width, active = figures.number("settings.width"), figures.number("spectrum.num_active")
    weight, line = figures.number("settings.redundancy_weight"), figures.number("spectrum.waterline")
    rho, errors = figures.numbers("spectrum.plug_in"), figures.numbers("spectrum.error")
    usable = min(width, float(len(rho))) if rho else width
    if usable <= 0 or active >= (1.0 - UNUSED_OUTPUTS) * usable:
        return None
    found = Measured(active, exact=True)
    low, high = None, None
    if rho and len(errors) == len(rho):
        low, high = (
            float(sum(value + side * error > line for value, error in zip(rho, errors, strict=True)))
            for side in (-2.0, 2.0)
        )
        low, high = min(low, active), min(max(high, active), usable)
    sure = high is None or high < (1.0 - UNUSED_OUTPUTS) * usable
    interval = "" if low is None or high is None else f" [{number(low, 9)}, {number(high, 9)}]"
    of = f"{number(width, 9)} outputs" if usable == width else f"the {number(usable, 9)} directions that could be"
    said = f"At lambda = {number(weight)} a linear projector at its optimum uses only {number(active, 9)}{interval} of "
    said += f"{of}{' used' if usable < width else ''}; the rest would be copies"
    said += "" if sure else ", but the interval allows for nearly all of them"
    level: Level = "warning" if sure and figures.word("settings.normalization") else "note"
    if _has_hidden_layer(figures):
        level, said = "note", f"{said}. Your projector has hidden layers, which this does not bind"
    said += "."
    return Verdict("waterline", level, said, found.value, low, high, _use_all(figures, weight, width))


def free_loss(figures: Figures) -> Verdict | None:
    """Whether the loss has the infimum 0 for any backbone."""
    kind, width = figures.word("settings.normalization"), figures.number("settings.width")
    if not kind:
        raise MissingFigureError("settings.normalization")
    if kind not in NO_VARIANCE_BOUND:
        return None
    rank = figures.quantity("rank")
    beyond = rank.above(width - 0.5)
    if beyond is False:
        return None
    said = f"The loss is not normalised ({kind}) and its {number(width, 9)} outputs fit into the rank of the features, "
    said += f"{rank.as_number()}: its infimum is 0 for this backbone, trained or not (a closed form, without error)"
    said += "." if beyond else ", if the rank is not below the number of outputs, which its interval allows for."
    advice = "Normalise by anything that bounds the variance of z: per feature (pearson), or one number for all "
    advice += "(scalar); then a low loss takes a backbone that is invariant."
    return say("free_loss", "warning" if beyond else "note", rank, said, advice)


def projector_gap(figures: Figures) -> Verdict | None:
    """How the loss stands to the least that a linear projector reaches on this backbone."""
    complete, best = figures.number("loss.complete"), figures.number("loss.limit")
    worst = max(figures.number("loss.limit_cross_fit"), best)
    if best <= 0:
        return None if worst <= 0 and complete <= 0 else _no_limit(figures, complete)
    ratio, low, high = 2 * complete / (best + worst), complete / worst, complete / best
    estimates = "closed form" if best == worst else "closed form, between an optimistic and a pessimistic estimate"
    said = f"Over all images and views the loss is {number(complete)}; a linear projector at its optimum reaches "
    said += f"{_range(number(best), number(worst))} on this backbone ({estimates})"
    if high < BELOW_LIMIT:
        said += f". Yours is at {_range(f'{100 * low:.0f}', f'{100 * high:.0f}')}% of that: a projector with hidden "
        said += "layers does here what the backbone does not."
        advice = "Expected of a deep projector; of a linear one, audit more images. For a backbone that is invariant "
        advice += "itself, try a smaller projector."
    elif high <= NEAR_LIMIT:
        said += ": the projector is near its limit, and the backbone is what holds the loss up."
        advice = "A better projector gains nothing here: train the backbone longer, or give it more capacity."
    elif high >= FAR_FROM_LIMIT and _worth(figures, complete - best):
        sure = low >= FAR_FROM_LIMIT and _worth(figures, complete - worst)
        said += f": {_range(number(low), number(high))} times as much, "
        said += "so the projector is what holds the loss up." if sure else "too wide a range to blame the projector."
        advice = "Train the projector longer or with a larger learning rate; features with a large condition number "
        advice += "slow it down: try BatchNorm before it, or the method optimal_projector."
        return Verdict("projector_gap", "warning" if sure else "note", said, ratio, low, high, advice)
    else:
        return None
    return Verdict("projector_gap", "note", said, ratio, low, high, advice)


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _has_hidden_layer(figures: Figures) -> bool:
    projector = figures.word("subject.recipe.projector")
    return "-" in projector and not projector.startswith("linear")


def _no_limit(figures: Figures, complete: float) -> Verdict | None:
    """The closed form is 0, so that there is no ratio: the gap is the whole loss."""
    if not _worth(figures, complete):
        return None
    said = f"Over all images and views the loss is {number(complete)}, and a linear projector at its optimum reaches "
    said += "0 on this backbone (closed form, without error): all of the loss is the projector's."
    advice = "Train the projector longer or with a larger learning rate; the closed-form projector shows that it can."
    return say("projector_gap", "warning", Measured(complete, exact=True), said, advice)


def _worth(figures: Figures, gap: float) -> bool:
    """Whether a gap is more than next to nothing, in units of D where that is known."""
    return gap >= FAR_SHARE_OF_WIDTH * (figures.find("settings.width") or 0.0)


def _larger_share(figures: Figures) -> tuple[Measured, str]:
    named = {"linear": "a linear projector", "mlp": "a projector with a hidden layer"}
    found = []
    for kind, which in named.items():
        share = figures.find(f"projector_share.{kind}.share")
        if share is not None:
            found.append((Measured(share, figures.find(f"projector_share.{kind}.error")), which))
    if not found:
        raise MissingFigureError("projector_share")
    return max(found, key=lambda pair: pair[0].value)


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


def _with_sizes(figures: Figures) -> str:
    batch, width = figures.find("settings.batch_size"), figures.find("settings.width")
    if batch is None or width is None:
        return "At this batch size and width"
    return f"With batches of N = {number(batch, 9)} and D = {number(width, 9)} outputs"


def _of_size(figures: Figures) -> str:
    batch = figures.find("settings.batch_size")
    return "" if batch is None else f" of {count(batch, 'image')}"
