"""What changed between two audits, of two checkpoints or two runs: in rows, and in words.

Only what is beyond 2 errors is put as a change, and only where the settings of both audits allow it. The errors are
those of `changes.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from barlow.auditing.changes import LISTS, LOSSES, PART, Change, changes
from barlow.auditing.measured import NUM_ERRORS, Figures, finite
from barlow.auditing.verdicts import answers
from barlow.report.formats import count, number, points

SETTINGS: Mapping[str, tuple[str, str]] = {
    "num_images": ("images", "the null edge, the plug-in spectrum, RankMe and LiDAR move with it"),
    "num_views": ("views", "the null edge, the plug-in spectrum and LiDAR move with it"),
    "num_features": ("features", "ranks and the null edge count in it"),
    "width": ("outputs", "the losses are sums over them"),
    "redundancy_weight": ("lambda", "it is part of the losses and of the waterline"),
    "batch_size": ("batch size", "the loss of a batch, its floor and its noise move with it"),
    "normalization": ("normalisation", "the losses are different ones"),
}
"""What has to be equal for a fair comparison: its name, and what does not compare if it is not."""
OF_SAMPLE = (
    *("num_above_edge", "view_information", "lidar", "top_correlation", "mean_correlation"),
    *("num_active", "waterline", "limit", "limit_cross_fit", "parts"),
)
"""Rows that are biased by the number of images and views."""
OF_WIDTH = ("rank", "effective_rank", "participation_ratio", "rank_me", "condition_number", "alpha", "uniformity")
"""Rows that grow with the number of features."""
UNFAIR: Mapping[str, tuple[str, ...]] = {
    "num_images": (*OF_SAMPLE, "rank_me", "condition_number", "alpha"),
    "num_views": OF_SAMPLE,
    "num_features": (*OF_SAMPLE, *OF_WIDTH),
    "width": (*LOSSES, "parts", "num_active", "waterline", "alignment", "uniformity", "augmentation_share_z"),
    "redundancy_weight": (*LOSSES, "parts", "num_active", "waterline"),
    "batch_size": ("batch", "floor", "parts", "skew_share"),
    "normalization": (*LOSSES, "parts", "num_active", "waterline"),
}
"""Rows that do not compare where a setting differs."""
EVERYWHERE = {"images": "subject.data", "augmentations": "subject.recipe.views"}
"""What every figure depends on, and where it is named."""
SHARES = ("projector_share", "projector_share_mlp", "augmentation_share", "augmentation_share_z", "skew_share")
"""Quantities that are written as percentages; so are augmentations and layers."""
MOST_IN_WORDS = 3
"""Augmentations, layers or other lists of like things of which the largest changes are put in words; the table has
all."""


@dataclass(frozen=True)
class Comparison:
    """What changed between two audits.

    Attributes:
        rows: every quantity that both have.
        sentences: what forbids comparing, then what changed, the most important first.
    """

    rows: tuple[Change, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return rows and sentences as JSON has them."""
        return {"rows": [asdict(row) for row in self.rows], "sentences": list(self.sentences)}


def compare_figures(a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
    """Compare the figures of two audits, from a to b.

    Args:
        a: figures as in audit.json, of the earlier checkpoint or the first run.
        b: figures of the later one.

    Returns:
        Rows for what both have, and sentences. A difference within 2 errors is never put as a change.
    """
    before, after = Figures(a), Figures(b)
    differing = [key for key in SETTINGS if _setting(a, key) != _setting(b, key)]
    elsewhere = _different_data(before, after)
    spoilt = {name for key in differing for name in UNFAIR[key]}
    rows = tuple(changes(before, after, spoilt, fair=not elsewhere))
    there = {"parts" if row.name.startswith(PART) else row.name.removeprefix("loss ") for row in rows}
    cautions = elsewhere + [_caution(key, a, b) for key in differing if there.intersection(UNFAIR[key])]
    changed = [_in_words(row) for row in _to_tell(rows)]
    return Comparison(rows, (*cautions, *_warnings_changed(a, b), *(changed or [_no_change(rows)]), *_uncertain(rows)))


def _to_tell(rows: Sequence[Change]) -> list[Change]:
    """Clear and fair changes; of like things only those that changed most."""
    clear = [row for row in rows if row.significant and row.fair]
    told = [row for row in clear if row.group not in LISTS]
    for group in LISTS:
        alike = sorted((row for row in clear if row.group == group), key=lambda row: -abs(row.difference))
        told += alike[:MOST_IN_WORDS]
    groups = [row.group for row in rows]
    return sorted(told, key=lambda row: groups.index(row.group))


def _in_words(row: Change) -> str:
    """Say what changed: title, from, to, by how much."""
    way = "rose" if row.difference > 0 else "fell"
    size, reach = abs(row.difference), NUM_ERRORS * (row.error or 0.0)
    if row.group in LISTS or row.name in SHARES:
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


def _warnings_changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Say which warnings came and which went, where both audits could put the question."""
    before, after = answers(a), answers(b)
    said = []
    for name, old in before.items():
        new = after.get(name)
        warned, warns = old is not None and old.level == "warning", new is not None and new.level == "warning"
        if name not in after or warned == warns:
            continue
        if new is not None and warns:
            said.append(f"New warning. {new.sentence}")
        elif new is None and old is not None:
            said.append(f"A warning is gone. Before: {old.sentence}")
        elif new is not None:
            said.append(f"No longer a warning. {new.sentence}")
    return said


def _caution(key: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    title, moves = SETTINGS[key]
    first, second = _shown(_setting(a, key)), _shown(_setting(b, key))
    return f"Not a fair comparison: {title} {first} and {second}; {moves}."


def _different_data(before: Figures, after: Figures) -> list[str]:
    """Say that images or augmentations differ, which nothing survives."""
    said = []
    pairs = {what: (before.word(place), after.word(place)) for what, place in EVERYWHERE.items()}
    if not all(pairs["augmentations"]):
        pairs["augmentations"] = (_transforms_of(before), _transforms_of(after))
    for what, (first, second) in pairs.items():
        if first and second and first != second:
            said.append(f"Not a fair comparison: the {what} differ ({first} and {second}), and all figures with them.")
    return said


def _transforms_of(figures: Figures) -> str:
    return ", ".join(record.word("name") for record in figures.records("augmentations"))


def _setting(figures: Mapping[str, Any], key: str) -> object:
    settings = figures.get("settings")
    return settings.get(key) if isinstance(settings, Mapping) else None


def _shown(value: object) -> str:
    found = finite(value)
    return number(found, 9) if found is not None else "unknown" if value is None else str(value)
