"""Every figure that two audits have in common, with its difference and the error of that.

The error is sqrt(e_a^2 + e_b^2), as for independent audits. Audits of the same images share their noise, so that there
it is too large rather than too small. A difference beyond 2 errors is called significant; of many figures that did not
change, one in twenty or fewer will be so by chance.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from barlow.auditing.measured import NUM_ERRORS, Figures, Measured, MissingFigureError

QUANTITIES: Mapping[str, str] = {
    "augmentation_share": "share of augmentation in the variance of the backbone",
    "mean_correlation": "mean intraclass correlation",
    "view_information": "information of one view about another (nats)",
    "effective_rank": "effective rank",
    "augmentation_share_z": "share of augmentation in the variance of the projector's output",
    "num_above_edge": "directions above the null edge",
    "condition_number": "condition number",
    "rank": "rank",
    "rank_me": "RankMe",
    "lidar": "LiDAR",
    "participation_ratio": "participation ratio",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "skew_share": "skew part of C",
    "alpha": "alpha of the spectrum",
}
"""What is compared, the most telling first."""
LOSSES: Mapping[str, str] = {
    "complete": "complete loss",
    "limit": "least loss of a linear projector (optimistic)",
    "limit_cross_fit": "least loss of a linear projector (pessimistic)",
    "batch": "mean loss of a batch",
    "floor": "floor of the batch",
}
SPECTRUM: Mapping[str, str] = {
    "num_above_edge": "directions above the null edge",
    "num_active": "outputs used at the optimum",
    "waterline": "waterline",
}
PROJECTOR_SHARES = {"projector_share": "projector_share.linear", "projector_share_mlp": "projector_share.mlp"}
PROJECTORS = {"projector_share": "a linear projector", "projector_share_mlp": "a projector with a hidden layer"}
EFFECT = "share of the variance that {} makes, alone or with others"
MOVE = "distance by which {} alone moves an image (100%: as far as another image)"
LISTS = ("augmentation", "layer")
"""Groups of like things."""
PART = "loss part "
"""Begins the names of rows that are parts of the loss."""


@dataclass(frozen=True)
class Change:
    """One quantity in two audits.

    Attributes:
        group: "quantity", "spectrum", "loss", "augmentation" or "layer".
        name: as in the figures for quantities; else with its kind before it, as in "layer z" or "loss complete".
        title: what it is called.
        a: in the first audit.
        b: in the second.
        difference: b - a.
        error: standard error of the difference; None where one of the two has none.
        significant: whether the difference is beyond 2 errors; None where its error is not known.
        fair: False where settings differ that move this quantity by themselves.
    """

    group: str
    name: str
    title: str
    a: float
    b: float
    difference: float
    error: float | None
    significant: bool | None
    fair: bool


def changes(before: Figures, after: Figures, spoilt: Collection[str] = (), *, fair: bool = True) -> Iterator[Change]:
    """Yield a row for every figure that both audits have, the most telling groups first.

    Args:
        before: the first audit.
        after: the second.
        spoilt: names of rows that do not compare because settings differ, "parts" for the parts of the loss.
        fair: False where nothing compares.
    """
    for name, title in QUANTITIES.items():
        pair = _quantities(before, after, name)
        if pair:
            yield _change("quantity", name, title, *pair, fair=fair and name not in spoilt)
    for name, place in PROJECTOR_SHARES.items():
        first_share, second_share = _share(before, place), _share(after, place)
        if first_share and second_share:
            title = f"part of the fall of the loss that {PROJECTORS[name]} reaches on the untrained backbone"
            yield _change("quantity", name, title, first_share, second_share, fair=fair and "parts" not in spoilt)
    yield from _transforms(before, after, fair=fair)
    yield from _spectrum(before, after, spoilt, fair=fair)
    yield from _layers(before, after, fair=fair)
    for name, title in LOSSES.items():
        pair = _numbers(before, after, f"loss.{name}")
        if pair:
            yield _change("loss", f"loss {name}", title, *pair, fair=fair and name not in spoilt)
    first, second = (_by_name(figures, "loss.parts", "value", "error") for figures in (before, after))
    for name in first:
        if name in second:
            title = f"{name} (part of the loss)"
            yield _change(
                "loss", f"{PART}{name}", title, first[name], second[name], fair=fair and "parts" not in spoilt
            )


def _transforms(before: Figures, after: Figures, *, fair: bool) -> Iterator[Change]:
    for key, title in (("total_effect", EFFECT), ("marginal", MOVE)):
        first, second = (_by_name(figures, "augmentations", key, f"{key}_error") for figures in (before, after))
        for name in first:
            if name in second:
                shown = f"{key.replace('_', ' ')} of {name}"
                yield _change("augmentation", shown, title.format(name), first[name], second[name], fair=fair)


def _layers(before: Figures, after: Figures, *, fair: bool) -> Iterator[Change]:
    first, second = (_by_name(figures, "layers", "augmentation_share", "error") for figures in (before, after))
    for name in first:
        if name in second:
            title = f"share of augmentation in layer {name}"
            yield _change("layer", f"layer {name}", title, first[name], second[name], fair=fair)


def _spectrum(before: Figures, after: Figures, spoilt: Collection[str], *, fair: bool) -> Iterator[Change]:
    first, second = (_top_correlation(figures) for figures in (before, after))
    if first and second:
        fair_here = fair and "top_correlation" not in spoilt
        yield _change("spectrum", "top_correlation", "largest correlation", first, second, fair=fair_here)
    for name, title in SPECTRUM.items():
        pair = _numbers(before, after, f"spectrum.{name}")
        if pair and not (name in QUANTITIES and _quantities(before, after, name)):
            yield _change("spectrum", name, title, *pair, fair=fair and name not in spoilt)


def _change(group: str, name: str, title: str, before: Measured, after: Measured, *, fair: bool) -> Change:
    difference = after.value - before.value
    known = before.error is not None and after.error is not None
    error = math.hypot(before.error or 0.0, after.error or 0.0) if known else None
    significant = None if error is None else abs(difference) > NUM_ERRORS * error
    return Change(group, name, title, before.value, after.value, difference, error, significant, fair)


def _quantities(before: Figures, after: Figures, name: str) -> tuple[Measured, Measured] | None:
    try:
        return before.quantity(name), after.quantity(name)
    except MissingFigureError:
        return None


def _numbers(before: Figures, after: Figures, place: str) -> tuple[Measured, Measured] | None:
    first, second = before.find(place), after.find(place)
    if first is None or second is None:
        return None
    # An error of 0 is that of a count that no block of images moves: what the next images do is not known.
    errors = (figures.find(f"{place}_error") or None for figures in (before, after))
    return Measured(first, next(errors)), Measured(second, next(errors))


def _share(figures: Figures, place: str) -> Measured | None:
    value = figures.find(f"{place}.share")
    return None if value is None else Measured(value, figures.find(f"{place}.error"))


def _top_correlation(figures: Figures) -> Measured | None:
    values, errors = figures.numbers("spectrum.plug_in"), figures.numbers("spectrum.error")
    return Measured(values[0], errors[0] if errors else None) if values else None


def _by_name(figures: Figures, place: str, key: str, error: str = "") -> dict[str, Measured]:
    """Entries of a list of records by their name."""
    found = {}
    for record in figures.records(place):
        value = record.find(key)
        if value is not None and record.word("name"):
            found[record.word("name")] = Measured(value, record.find(error) if error else None)
    return found
