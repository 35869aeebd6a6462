"""Figures of an audit -> sentences: every question that the figures can answer, put in turn.

A question whose figures were not measured is left out; what an interval leaves open is said as open. Thresholds are
constants beside the questions, each with its reason: `loss_verdicts.py`, `limit_verdicts.py`, `feature_verdicts.py`,
`sampling_verdicts.py`.
"""

from collections.abc import Mapping
from typing import Any

from barlow.auditing.feature_verdicts import (
    augmentation_share,
    collapse,
    condition,
    different_pipelines,
    low_rank,
    output_not_backbone,
    power_law,
    solved_augmentations,
)
from barlow.auditing.limit_verdicts import free_loss, projector_gap, waterline
from barlow.auditing.loss_verdicts import batch_floor, loss_fall, projector_share, sampling_bias
from barlow.auditing.measured import Figures, MissingFigureError
from barlow.auditing.sampling_verdicts import too_few_images, wide_bracket
from barlow.auditing.verdict import Check, Verdict as Verdict

CHECKS: tuple[Check, ...] = (
    too_few_images,
    collapse,
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
LEVELS = ("warning", "note", "good")
"""In the order in which verdicts are read."""
ENOUGH_CHECKS = 4
"""Fewer questions than that, of those that can warn, are too few to call anything good."""
ONLY_INFORM = (output_not_backbone, condition, power_law, solved_augmentations)
"""Questions that never warn: that they are silent is no merit."""


def verdicts(figures: Mapping[str, Any]) -> list[Verdict]:
    """Return what the figures of an audit say, warnings first.

    Args:
        figures: as in audit.json; whatever could not be measured may be absent or null.

    Returns:
        The verdicts: warnings, notes, then what is good. Without a warning, and with questions enough to mean
        something by it, one that says so.
    """
    answered = answers(figures)
    found = [verdict for verdict in answered.values() if verdict is not None]
    can_warn = [check.__name__ for check in CHECKS if check not in ONLY_INFORM]
    asked = [name for name in can_warn if name in answered]
    if len(asked) >= ENOUGH_CHECKS and not any(verdict.level == "warning" for verdict in found):
        found.append(_nothing_wrong(len(asked), [name for name in can_warn if name not in answered]))
    return sorted(found, key=lambda verdict: LEVELS.index(verdict.level))


def answers(figures: Mapping[str, Any]) -> dict[str, Verdict | None]:
    """Return the answer to every question that the figures allow.

    Args:
        figures: as in audit.json.

    Returns:
        By name of the question, in their order: its verdict, None where there is nothing to say. Questions whose
        figures are missing are not there.
    """
    read = Figures(figures)
    found: dict[str, Verdict | None] = {}
    for check in CHECKS:
        try:
            found[check.__name__] = check(read)
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
