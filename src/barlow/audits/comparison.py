"""What changed between two audits, of two checkpoints or two runs: in rows, and in words.

The error of a difference is sqrt(e_a^2 + e_b^2), as for independent audits. Audits of the same samples share their
noise, so that there it is too large rather than too small. Only what is beyond 2 errors is put as a change, and only
where the settings of both audits allow it; of many figures that did not change, one in twenty or fewer will be so.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from barlow.audits.verdicts.table import answers
from barlow.figures import (
    LARGEST,
    NUM_ERRORS,
    SETTINGS,
    Change,
    Changes,
    Effect,
    Figures,
    Layer,
    Measured,
    Quantity,
    Record,
    described,
    finite,
)
from barlow.formats import count, number, points

LISTS = ("augmentation", "layer")
"""Groups of like things."""
MOST_IN_WORDS = 3
"""Augmentations or layers of which the largest changes are put in words; the table has all."""


def compare_figures(a: Mapping[str, Any], b: Mapping[str, Any]) -> Changes:
    """Compare the figures of two audits, as in audit.json, from a (earlier, or the first run) to b."""
    before, after = Figures.from_json(a), Figures.from_json(b)
    differing = [name for name, about in SETTINGS.items() if about.moves and _differ(before, after, name)]
    elsewhere = _different_data(before, after)
    pairs = list(_pairs(before, after))
    rows = tuple(_change(pair, fair=not elsewhere and not pair.depends_on(differing)) for pair in pairs)
    cautions = [_caution(name, before, after) for name in differing if any(pair.depends_on([name]) for pair in pairs)]
    changed = [_in_words(row) for row in _to_tell(rows)] or [_no_change(rows)]
    return Changes(rows, (*elsewhere, *cautions, *_warnings_changed(before, after), *changed, *_uncertain(rows)))


@dataclass(frozen=True)
class _Pair:
    """A figure of both audits."""

    group: str
    name: str
    about: Quantity
    a: Measured
    b: Measured

    def depends_on(self, settings: Collection[str]) -> bool:
        return not set(settings).isdisjoint(self.about.depends_on)


def _pairs(before: Figures, after: Figures) -> Iterator[_Pair]:
    yield from _in_both("quantity", "", before.quantities, after.quantities)
    for (name, about, one), (*_, other) in zip(
        before.projector_share.reached(), after.projector_share.reached(), strict=True
    ):
        row = "projector_share" if name == "linear" else f"projector_share_{name}"
        title = f"part of the fall of the loss that {about.title} reaches on the untrained backbone"
        yield from _pair("quantity", row, replace(about, title=title), one.share, other.share)
    yield from _by_name("augmentation", "{figure} of {name}", before.augmentations, after.augmentations)
    yield from _pair("spectrum", "top_correlation", LARGEST, before.spectrum.largest, after.spectrum.largest)
    yield from _in_both("spectrum", "", before.spectrum, after.spectrum)
    yield from _by_name("layer", "layer {name}", before.layers, after.layers)
    yield from _in_both("loss", "loss ", before.loss, after.loss)
    for pair in _in_both("loss", "", before.loss.parts, after.loss.parts):
        about = replace(pair.about, title=f"{pair.about.title} (part of the loss)")
        yield replace(pair, name=f"loss part {pair.name.replace('_', ' ')}", about=about)


def _pair(group: str, name: str, about: Quantity, a: Measured | None, b: Measured | None) -> list[_Pair]:
    return [] if a is None or b is None else [_Pair(group, name, about, a, b)]


def _in_both(group: str, prefix: str, before: Record, after: Record) -> Iterator[_Pair]:
    """Figures of one part of two audits."""
    later = {name: value for name, _, value in after.measured()}
    for name, about, value in before.measured():
        if about.compared:
            yield from _pair(group, f"{prefix}{name}", about, value, later.get(name))


def _by_name(
    group: str, row: str, before: Sequence[Effect | Layer], after: Sequence[Effect | Layer]
) -> Iterator[_Pair]:
    """Figures of transforms or layers of the same name, figure by figure."""
    later = {one.name: one for one in after}
    both = [(one, later[one.name]) for one in before if one.name in later]
    for figure in both and described(type(both[0][0])):
        for one, other in both:
            for pair in _in_both(group, "", one, other):
                if pair.name == figure:
                    name = row.format(figure=figure.replace("_", " "), name=one.name)
                    title = f"{pair.about.title} of {one.name}"
                    yield replace(pair, name=name, about=replace(pair.about, title=title))


def _change(pair: _Pair, *, fair: bool) -> Change:
    about, a, b = pair.about, pair.a, pair.b
    # An error of 0 is that of a count that no block of samples moves: what the next samples do is not known.
    errors = [(one.error or None) if pair.group in ("spectrum", "loss") else one.error for one in (a, b)]
    difference, known = b.value - a.value, [error for error in errors if error is not None]
    error = math.hypot(*known) if len(known) == 2 else None
    significant = None if error is None else abs(difference) > NUM_ERRORS * error
    return Change(
        pair.group, pair.name, about.label, about.share, a.value, b.value, difference, error, significant, fair
    )


def _to_tell(rows: Sequence[Change]) -> list[Change]:
    """Clear and fair changes; of like things only those that changed most."""
    clear = [row for row in rows if row.significant and row.fair]
    told = [row for row in clear if row.group not in LISTS]
    for group in LISTS:
        like = sorted((row for row in clear if row.group == group), key=lambda row: -abs(row.difference))
        told += like[:MOST_IN_WORDS]
    groups = [row.group for row in rows]
    return sorted(told, key=lambda row: groups.index(row.group))


def _in_words(row: Change) -> str:
    """Say what changed: title, from, to, by how much."""
    way = "rose" if row.difference > 0 else "fell"
    size, reach = abs(row.difference), NUM_ERRORS * (row.error or 0.0)
    if row.share:
        said = f"{100 * row.a:.1f}% to {100 * row.b:.1f}%, by {points(size)} "
        said += f"[{100 * (size - reach):.1f}, {100 * (size + reach):.1f}]"
    else:
        said = f"{number(row.a)} to {number(row.b)}, by {number(size)} "
        said += f"[{number(size - reach)}, {number(size + reach)}]"
    return f"{row.title[0].upper()}{row.title[1:]} {way} from {said}."


def _no_change(rows: Sequence[Change]) -> str:
    compared = sum(row.significant is not None and row.fair for row in rows)
    if not compared:
        return "No figure can be compared whose error is known in both audits: change and chance cannot be told apart."
    return f"No clear change: none of {count(compared, 'figure')} with a known error moved by more than two of them."


def _uncertain(rows: Sequence[Change]) -> list[str]:
    """Say in one sentence how floors and counts differ, and what else has no error."""
    unknown = [row for row in rows if row.significant is None and row.fair and row.group not in LISTS]
    moved = [row for row in unknown if number(row.a) != number(row.b)]
    shown = [f"{row.title} {number(row.a)} to {number(row.b)}" for row in moved]
    return [f"Differences whose error is not known: {'; '.join(shown)}."] if shown else []


def _warnings_changed(before: Figures, after: Figures) -> list[str]:
    """Say which warnings came and which went, where both audits could put the question."""
    later, said = answers(after), []
    for name, old in answers(before).items():
        new = later.get(name)
        warned, warns = old is not None and old.level == "warning", new is not None and new.level == "warning"
        if name not in later or warned == warns:
            continue
        if new is not None and warns:
            said.append(f"New warning. {new.sentence}")
        elif new is None and old is not None:
            said.append(f"A warning is gone. Before: {old.sentence}")
        elif new is not None:
            said.append(f"No longer a warning. {new.sentence}")
    return said


def _differ(before: Figures, after: Figures, setting: str) -> bool:
    return bool(getattr(before.settings, setting) != getattr(after.settings, setting))


def _caution(setting: str, before: Figures, after: Figures) -> str:
    about = SETTINGS[setting]
    first, second = (_shown(getattr(figures.settings, setting)) for figures in (before, after))
    return f"Not a fair comparison: {about.title} {first} and {second}; {about.moves}."


def _shown(value: object) -> str:
    found = finite(value)
    return number(found, 9) if found is not None else "unknown" if value is None else str(value)


def _different_data(before: Figures, after: Figures) -> list[str]:
    """Say that samples or augmentations differ, which nothing survives."""
    views = (before.subject.views, after.subject.views)
    if not all(views):
        views = (_transforms_of(before), _transforms_of(after))
    pairs = {"samples": (before.subject.data, after.subject.data), "augmentations": views}
    return [
        f"Not a fair comparison: the {what} differ ({first} and {second}), and all figures with them."
        for what, (first, second) in pairs.items()
        if first and second and first != second
    ]


def _transforms_of(figures: Figures) -> str:
    return ", ".join(effect.name for effect in figures.augmentations)
