"""Figures of an audit -> sentences: every question that the figures can answer, put in turn.

A question whose figures were not measured is left out; what an interval leaves open is said as open. Thresholds are
constants beside the questions, each with its reason: `samples.py`, `features.py`, `loss.py`, `limits.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from barlow.audits.verdicts.features import (
    augmentation_share,
    collapse,
    condition,
    different_pipelines,
    dominant_direction,
    low_rank,
    output_not_backbone,
    power_law,
    solved_augmentations,
)
from barlow.audits.verdicts.limits import free_loss, projector_gap, too_few_images, waterline, wide_bracket
from barlow.audits.verdicts.loss import batch_floor, loss_fall, projector_share, sampling_bias
from barlow.audits.verdicts.samples import duplicates, identical_views, view_index, view_scale
from barlow.figures import Figures, Level, MissingFigureError, Verdict

Check = Callable[[Figures], Verdict | None]
"""One question to the figures: None where nothing is to be said; MissingFigureError where it cannot be put."""
CHECKS: tuple[Check, ...] = (
    too_few_images,
    collapse,
    identical_views,
    view_index,
    view_scale,
    duplicates,
    dominant_direction,
    low_rank,
    loss_fall,
    free_loss,
    batch_floor,
    augmentation_share,
    projector_share,
    projector_gap,
    waterline,
    sampling_bias,
    different_pipelines,
    wide_bracket,
    output_not_backbone,
    condition,
    power_law,
    solved_augmentations,
)
"""Every question, the ones that make others pointless first."""
ENOUGH_CHECKS = 4
"""Fewer questions than that, of those that can warn, are too few to call anything good."""
ONLY_INFORM = (dominant_direction, output_not_backbone, condition, power_law, solved_augmentations)
"""Questions that never warn: that they are silent is no merit."""


def verdicts(figures: Mapping[str, Any]) -> list[Verdict]:
    """Return what the figures of an audit say: warnings, notes, then what is good.

    Whatever could not be measured may be absent or null. Without a warning, and with questions enough to mean something
    by it, one verdict says so.
    """
    answered = answers(Figures.from_json(figures))
    found = [verdict for verdict in answered.values() if verdict is not None]
    can_warn = [check.__name__ for check in CHECKS if check not in ONLY_INFORM]
    asked = [name for name in can_warn if name in answered]
    if len(asked) >= ENOUGH_CHECKS and not any(verdict.level == "warning" for verdict in found):
        found.append(_nothing_wrong(len(asked), [name for name in can_warn if name not in answered]))
    return sorted(found, key=lambda verdict: get_args(Level).index(verdict.level))


def answers(figures: Figures) -> dict[str, Verdict | None]:
    """Return the answer to every question that the figures allow, in order; None where there is nothing to say."""
    found: dict[str, Verdict | None] = {}
    for check in CHECKS:
        try:
            found[check.__name__] = check(figures)
        except MissingFigureError:
            continue
    return found


def _nothing_wrong(asked: int, unasked: list[str]) -> Verdict:
    total = asked + len(unasked)
    which = f"all {asked}" if not unasked else f"the {asked} of {total}"
    said = f"Nothing wrong: {which} checks that can warn were made, and none does."
    missing = f" Not checked, for want of figures: {', '.join(unasked).replace('_', ' ')}." if unasked else ""
    advice = "Go on to labels: no figure without them says which of two good backbones is the better one."
    return Verdict("nothing_wrong", "good", said, float(asked), None, None, advice + missing)
