"""What the figures say about the features: invariance, collapse, pipelines, conditioning.

Each function puts one question; see `table.Check`.
"""

import math

from barlow.audits.verdicts.samples import SAME_VIEWS
from barlow.figures import Figures, Level, Measured, MissingFigureError, Verdict, needed
from barlow.formats import number

MOSTLY_AUGMENTATION = 0.5
"""From half on, views of one sample differ more than the means of two samples; untrained on digits it is 85 to 89%."""
INVARIANT = 0.1
"""Below a tenth, augmentation is hardly seen, and a stronger one may pay."""
SOLVED = 0.02
"""A transform behind less than 2% of the variance no longer costs the loss anything worth learning."""
COLLAPSED = 2.0
"""Below two directions, features tell samples apart along one line."""
FEW_DIRECTIONS = 0.05
"""Fewer effective directions than one in twenty: then nearly all of the width is redundant."""
SUSPECT_Z, SURE_Z = 3.0, 5.0
"""Symmetric pipelines exceed 3 in about one audit of 700, and with few features, where z has heavier tails, not 5."""
SKEW_MATTERS = 0.02
"""At 2% the skew part makes a share of 0.0004 of |C|^2, too little to move floors and limits."""
INVARIANT_OUTPUT = 0.2
"""Outputs are called invariant where at most a fifth of their variance is augmentation."""
LEFT_BEHIND = 0.2
"""...and the backbone not, where its share is at least 20 points larger."""
HUGE_CONDITION = 1e4
"""Gradient descent needs steps in proportion: already at 332 and 676, 700 steps of Adam left a fifth of the loss."""
NO_POWER_LAW = 0.9
"""Below this R^2 the spectrum is no power law, and the exponent depends on the window more than on the features."""


COLLAPSE_ADVICE = (
    "Lower the learning rate, lengthen the warm-up, and check that the loss has its decorrelating term (lambda above "
    "0) and that the network is in evaluation mode."
)


def augmentation_share(figures: Figures) -> Verdict | None:
    """How much of the variance of the backbone is augmentation, and which transform makes most of it."""
    share = needed(figures.quantities.augmentation_share)
    if share.value <= SAME_VIEWS:  # nothing was augmented, which is another matter
        return None
    above, worst = share.above(MOSTLY_AUGMENTATION), _worst_transforms(figures)
    said = f"{share.as_percent()} of the variance of the backbone is still augmentation{worst[0]}"
    level: Level = "note"
    if above is None:
        said += ": half is within this range, which does not say whether samples or views differ more."
    elif above:
        level, said = "warning", f"{said}: two views of a sample differ more than the means of two samples."
    elif share.high is not None and share.high < INVARIANT:
        level, said = "good", f"{share.as_percent()} of the variance of the backbone is augmentation{worst[0]}."
    else:
        said += "."
    advice = f"Train longer{worst[1]}; or, if the task at hand needs what those views change, leave it as it is."
    if level == "good":
        advice = "Nothing to change; if labels are few, a stronger augmentation may still pay."
    return Verdict.of("augmentation_share", level, share, said, advice)


def solved_augmentations(figures: Figures) -> Verdict | None:
    """Which transforms the backbone no longer sees."""
    found = _transforms(figures)
    solved = {name: effect for name, effect in found.items() if _highest(effect) < SOLVED}
    if not solved:
        return None
    name, largest = max(solved.items(), key=lambda pair: _highest(pair[1]))
    names = _listed(list(solved))
    said = f"Solved: {names} ({'at most ' if len(solved) > 1 else ''}{largest.as_percent()} of the variance"
    said += f", {name})." if len(solved) > 1 else ")."
    advice = (
        f"Nothing is left to learn from {'them' if len(solved) > 1 else 'it'} at this strength: strengthen, if the "
    )
    return Verdict.of(
        "solved_augmentations", "good", largest, said, f"{advice}task does not depend on what is changed."
    )


def collapse(figures: Figures) -> Verdict | None:
    """Whether the features tell samples apart along hardly any direction, on whatever scale."""
    rank, width = needed(figures.quantities.effective_rank), figures.settings.num_features or math.inf
    if (varying := figures.quantities.rank) is not None and not varying.value:
        said = "The features are the same for every sample and every view, but for rounding: the backbone has "
        return Verdict.of("collapse", "warning", varying, f"{said}collapsed.", COLLAPSE_ADVICE)
    above = rank.above(COLLAPSED)
    if above or width <= COLLAPSED or _proven(figures) > COLLAPSED:
        return None
    said = f"The features vary in {rank.as_number()} effective {'dimension' if rank.value == 1 else 'dimensions'}"
    said += ": the backbone has collapsed." if above is False else ", close to collapse."
    return Verdict.of("collapse", "warning" if above is False else "note", rank, said, COLLAPSE_ADVICE)


def dominant_direction(figures: Figures) -> Verdict | None:
    """Whether one direction is so strong that hardly another shows, though others tell samples apart as well."""
    rank, proven = needed(figures.quantities.effective_rank), _proven(figures)
    if rank.above(COLLAPSED) is not False or proven <= COLLAPSED:
        return None
    variances = figures.spectrum.eigenvalues
    share = max(variances) / sum(variances) if variances and sum(variances) > 0 else math.nan
    most = "" if math.isnan(share) else f" ({100 * share:.3g}% of the variance)"
    said = f"One direction of the features is far stronger than all others{most}, so that they vary in "
    said += (
        f"{rank.as_number()} effective dimensions; but {number(proven, 9)} directions tell samples apart. That is no "
    )
    said += "collapse: it is a matter of scale."
    advice = (
        "Standardise or whiten the features before nearest neighbours, distances or a probe, which see little else "
    )
    return Verdict.of("dominant_direction", "note", rank, said, f"{advice}than the strong one.")


def low_rank(figures: Figures) -> Verdict | None:
    """Whether the features use few of their dimensions, without being collapsed."""
    rank, width = needed(figures.quantities.effective_rank), needed(figures.settings.num_features)
    enough = rank.above(FEW_DIRECTIONS * width)
    if enough or not rank.above(COLLAPSED) or width <= COLLAPSED:
        return None
    said = f"The features vary in {rank.as_number()} effective dimensions of {number(width, 9)}"
    said += ", fewer than one in twenty." if enough is False else ", about one in twenty."
    advice = "Raise lambda or the number of outputs, or train longer. A high rank alone is no merit: compare with the "
    level: Level = "warning" if enough is False else "note"
    return Verdict.of("low_rank", level, rank, said, f"{advice}same network untrained.")


def different_pipelines(figures: Figures) -> Verdict | None:
    """Whether the two views come from different pipelines, by the asymmetry of C beyond chance."""
    z, skew = needed(figures.quantities.asymmetry_z).value, needed(figures.quantities.skew_share)
    if z < SUSPECT_Z or (z >= SURE_Z and skew.above(SKEW_MATTERS) is False):
        return None
    said = f"The cross-correlation C of the views has a skew part of {skew.as_percent()}, {number(z)} standard "
    said += "deviations above what chance "
    if z < SURE_Z:
        said += "gives: the two views may come from different pipelines."
        advice = "Audit more samples to be sure; if the pipelines are meant to be the same, compare their settings."
        return Verdict.of("different_pipelines", "note", skew, said, advice)
    said += "gives: views A and B use different pipelines. What holds for symmetric C need not hold here, and "
    said += "an affine difference between the views is invisible to the loss."
    advice = "Draw both views from one pipeline (views byol-iid instead of byol), or read floors and limits as rough."
    return Verdict.of("different_pipelines", "warning", skew, said, advice)


def output_not_backbone(figures: Figures) -> Verdict | None:
    """Whether the projector's output is invariant and the backbone is not."""
    h, z = needed(figures.quantities.augmentation_share), needed(figures.quantities.augmentation_share_z)
    gap = Measured(h.value - z.value, _joint(h.error, z.error))
    if z.above(INVARIANT_OUTPUT) or gap.above(LEFT_BEHIND) is False:
        return None
    sure = z.above(INVARIANT_OUTPUT) is False and gap.above(LEFT_BEHIND)
    said = f"The projector's output {'is' if sure else 'may be'} invariant (augmentation is {z.as_percent()} of its "
    said += f"variance), the backbone {'is' if sure else 'may be'} not ({h.as_percent()}): "
    said += gap.as_percent().replace("%", " points") + " apart."
    layer = next((name for name in _invariant_layers(figures)), "the projector's output")
    advice = f"Expected: keep the backbone for downstream tasks. If you need invariance itself, take {layer}."
    return Verdict.of("output_not_backbone", "note", gap, said, advice)


def condition(figures: Figures) -> Verdict | None:
    """Whether the features are so badly conditioned that what can be expressed is not reached."""
    found = needed(figures.quantities.condition_number)
    if found.value <= HUGE_CONDITION:
        return None
    above = found.above(HUGE_CONDITION)
    said = f"The strongest direction of the features has {found.as_number()} times the variance of the weakest"
    said += ": a projector or probe trained by gradient descent takes very long to find the weak ones."
    said += "" if above else " The interval reaches below the threshold, so this is no more than likely."
    advice = "Standardise or whiten features before a linear probe; put BatchNorm before a linear projector, or use "
    return Verdict.of("condition", "note", found, said, f"{advice}the closed form.")


def power_law(figures: Figures) -> Verdict | None:
    """Whether the exponent of the spectrum can be read at all."""
    fit, alpha = needed(figures.quantities.alpha_r_squared), needed(figures.quantities.alpha)
    if fit.value > NO_POWER_LAW:
        return None
    above = fit.above(NO_POWER_LAW)
    said = f"The spectrum is {'no' if above is False else 'hardly a'} power law (R² = {fit.as_number()}): "
    said += f"its exponent alpha, {alpha.as_number()}, means little."
    return Verdict.of(
        "power_law", "note", fit, said, "Read the effective rank and the invariance spectrum instead of alpha."
    )


def _proven(figures: Figures) -> float:
    """How many directions tell samples apart beyond chance, whatever their scale."""
    return needed(figures.spectrum.between_rank.value)


def _transforms(figures: Figures) -> dict[str, Measured]:
    """Total effects by transform, as shares of the variance."""
    effects = figures.augmentations
    found = {one.name: one.total_effect for one in effects if one.name and one.total_effect is not None}
    return needed(found or None)


def _worst_transforms(figures: Figures) -> tuple[str, str]:
    """Say which transforms make most of it, two where the first is not clearly ahead; and what that advises."""
    try:
        ranked = sorted(_transforms(figures).items(), key=lambda pair: -pair[1].value)
    except MissingFigureError:
        return "", ""
    (name, most), others = ranked[0], ranked[1:]
    if most.value <= 0:
        return "", ""
    if others:
        lead = Measured(most.value - others[0][1].value, _joint(most.error, others[0][1].error))
        if not lead.above(0.0):
            said = f"; {name} ({most.as_percent()}) and {others[0][0]} ({others[0][1].as_percent()}) make most of it"
            return said, f", or weaken {name} and {others[0][0]}"
    return f"; {name} alone or with others makes {most.as_percent()}", f", or weaken {name}"


def _invariant_layers(figures: Figures) -> list[str]:
    """Names of the layers behind h, first one first, that augmentation makes at most a fifth of."""
    names = [layer.name for layer in figures.layers]
    after = figures.layers[names.index("h") + 1 :] if "h" in names else figures.layers
    shares = [(layer.name, layer.augmentation_share) for layer in after]
    return [f"layer {name}" for name, share in shares if name and share and share.value <= INVARIANT_OUTPUT]


def _highest(effect: Measured) -> float:
    return effect.value if effect.high is None else effect.high


def _joint(first: float | None, second: float | None) -> float | None:
    """Error of a difference; too large, if anything, for two figures of the same samples."""
    return None if first is None or second is None else math.hypot(first, second)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
