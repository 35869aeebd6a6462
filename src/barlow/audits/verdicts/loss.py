"""What the figures say about the loss: what its fall is worth, and what of it is the batch's.

Each function puts one question; see `table.Check`.
"""

import math

from barlow.figures import Figures, Level, Measured, MissingFigureError, Verdict, needed
from barlow.formats import count, number

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


def loss_fall(figures: Figures) -> Verdict | None:
    """Whether the loss has fallen at all."""
    start, end = needed(figures.loss.start), needed(figures.loss.complete)
    if start.value <= 0:
        raise MissingFigureError
    fall = Measured(1.0 - end.value / start.value, _fall_error(figures), most=1.0)
    enough = fall.above(LOSS_FELL)
    if enough:
        return None
    fell = f"fallen by {fall.as_percent()} only" if fall.value > 0 else f"not fallen ({fall.as_percent()})"
    said = f"The loss has {fell}, from {start.as_number()} untrained to {end.as_number()} ({of_pairs(figures)})"
    said += "." if enough is False else ": too close to a tenth to say whether it fell."
    advice = "If the network is meant to be trained: check that its weights change, then raise the learning rate "
    advice += "or train longer; the other figures are of a random start."
    return Verdict.of("loss_fall", "warning" if enough is False else "note", fall, said, advice)


def projector_share(figures: Figures) -> Verdict | None:
    """How much of the fall of the loss a projector alone reaches on the untrained backbone."""
    found, which = _larger_share(figures)
    start, end = needed(figures.projector_share.start), needed(figures.projector_share.end)
    fell = Measured(1.0 - end / start if start > 0 else 0.0, _fall_error(figures))
    if not fell.above(LOSS_FELL):
        return None  # nothing fell for sure, of which there could be a share
    whole, most = found.above(WHOLE_FALL), found.above(MOST_OF_FALL)
    if most is False:
        return None
    level: Level = "note"
    said = f"{found.as_percent()} of the fall of the loss is within reach of {which} on your untrained backbone"
    advice = "Judge the backbone by a probe beside its untrained twin and by its invariance spectrum, not by the loss; "
    advice += "a smaller projector leaves more of the work to the backbone."
    if most is None:
        said = f"{said}: half is within this range, which does not say which of the two did more."
        advice = "Audit more samples if the answer matters. " + advice
    elif whole:
        level = "warning"
        said = f"{said}: training the backbone has lowered the loss no further than that."
        advice = "Check that gradients reach the backbone, and raise its learning rate or train longer. " + advice
    else:
        said = f"{said}: the loss curve says little about the backbone."
    return Verdict.of("projector_share", level, found, said, advice)


def batch_floor(figures: Figures) -> Verdict | None:
    """Whether most of the displayed loss is the floor of the batch."""
    floor, batch = needed(figures.loss.floor).value, needed(figures.loss.batch)
    if batch.value <= 0:
        return None
    share = _part_of(floor, 0.0, batch)
    most = share.above(FLOOR_DOMINATES)
    if most is False:
        return None
    sizes = f"{_with_sizes(figures)} no network can show a loss below {number(floor)} (a closed form, without error)"
    if share.above(1.0 + ROUNDING):
        said = f"{sizes}, and yours stands at {batch.as_number()}: one of the two is not of this run."
        advice = "Check that batch size, width and lambda are those of the run, and that features are centred."
        return Verdict.of("batch_floor", "warning", share, said, advice)
    share = Measured(min(share.value, 1.0), share.error, most=1.0)
    times = Measured(batch.value / floor, None if batch.error is None else batch.error / floor)
    said = (
        f"{sizes}; yours stands at {batch.as_number()}, {times.as_number()} times that: {share.as_percent()} of it is "
    )
    said += "the floor." if most else "the floor; half is within this range, which does not say which is more."
    advice = "Stop reading the loss; read what is above the floor. Twice the batch about halves the floor, half the "
    advice += "outputs about quarters it, and a batch larger than D has none."
    return Verdict.of("batch_floor", "warning" if most else "note", share, said, advice)


def sampling_bias(figures: Figures) -> Verdict | None:
    """Whether noise of the batch is a large part of the displayed loss."""
    batch, bias = needed(figures.loss.batch), needed(figures.loss.parts.sampling_bias)
    if batch.value <= 0:
        return None
    share = _part_of(bias.value, bias.error, batch)
    large = share.above(BIAS_IS_LARGE)
    if large is False:
        return None
    said = f"{share.as_percent()} of the loss that training shows, {number(bias.value)} of {batch.as_number()}, "
    said += f"is chance in a batch (sampling bias){_of_size(figures)}"
    said += "." if large else ": about a fifth, and too close to it to call it much."
    advice = "Compare losses at equal batch size only. It falls as 1/N: take a larger batch or fewer outputs, "
    advice += "or the loss without it (option bias = removed)."
    return Verdict.of("sampling_bias", "warning" if large else "note", share, said, advice)


def of_pairs(figures: Figures) -> str:
    """Return what a complete loss was estimated from."""
    pairs = figures.loss.num_pairs
    several = "" if pairs is None else f"{count(pairs, 'pair')} of views, "
    return (
        f"estimated from {several}one of each sample" if several else "estimated from one pair of views of each sample"
    )


def _part_of(part: float, error: float | None, batch: Measured) -> Measured:
    """The share that a part has in the loss of a batch, with the errors of both."""
    if error is None or batch.error is None:
        return Measured(part / batch.value)
    return Measured(part / batch.value, math.hypot(error, batch.error * part / batch.value) / batch.value)


def _fall_error(figures: Figures) -> float | None:
    return None if figures.loss.fall is None else figures.loss.fall.error


def _larger_share(figures: Figures) -> tuple[Measured, str]:
    reached = figures.projector_share.reached()
    found = [(one.share, about.title) for _, about, one in reached if one.share is not None]
    return max(needed(found or None), key=lambda pair: pair[0].value)


def _with_sizes(figures: Figures) -> str:
    batch, width = figures.settings.batch_size, figures.settings.width
    if batch is None or width is None:
        return "At this batch size and width"
    return f"With batches of N = {number(batch, 9)} and D = {number(width, 9)} outputs"


def _of_size(figures: Figures) -> str:
    batch = figures.settings.batch_size
    return "" if batch is None else f" of {count(batch, 'sample')}"
