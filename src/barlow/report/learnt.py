"""Whether a run has learnt anything, from figures that need no labels. No torch."""

from collections.abc import Mapping
from typing import Any

from barlow.report.formats import number

ADVICE = "More samples, more epochs, milder augmentations or larger pictures are what to try."


def nothing_learnt(label_free: Mapping[str, Any]) -> str:
    """Return the sentence that says that training has done nothing for the features, empty where it has.

    Nothing, if no direction of the features agrees between two views beyond chance; or if directions agree no better
    than those of the same network before training, and a linear projector could not do better on them either.

    Args:
        label_free: of `summary.json`: the figures of `label_free_figures`, with "_untrained" for the network before.
    """
    rho, before = label_free.get("mean_correlation"), label_free.get("mean_correlation_untrained")
    if rho is None:
        return ""
    agreement = f"mean correlation {number(rho)}" + ("" if before is None else f", untrained {number(before)}")
    if label_free.get("directions_above_chance") == 0:
        return _said("Nothing was learnt: no direction of the features agrees between views beyond chance", agreement)
    limit, limit_before = label_free.get("backbone_limit"), label_free.get("backbone_limit_untrained")
    no_lower = limit is None or limit_before is None or limit >= limit_before
    if before is not None and rho <= before and no_lower:
        return _said("Training has not helped: the features agree between views no better than before", agreement)
    return ""


def _said(what: str, agreement: str) -> str:
    return f"{what} ({agreement}). {ADVICE}"
