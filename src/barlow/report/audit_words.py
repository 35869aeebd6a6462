"""What the figures of an audit are called, what each is worth, and how they are read where parts are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barlow.report.formats import count, duration, number, percent
from barlow.report.run_folder import Record, finite, mapping

Figures = Mapping[str, Any]
"""The content of audit.json."""
ERRORS = 2.0
"""Standard errors on either side of a value in intervals: about 95%."""

LEAST_ERROR_SHOWN = 0.0005
"""Errors of shares that would be 0.0 with one decimal get two."""


@dataclass(frozen=True)
class Level:
    """How a verdict is shown: its word, and the colour class of the page and of the terminal."""

    word: str
    color: str
    terminal: str


LEVELS: Mapping[str, Level] = {
    "warning": Level("Warning", "c2", "bold yellow"),
    "note": Level("Note", "c1", "bold cyan"),
    "good": Level("Good", "c3", "bold green"),
}
"""In the order in which verdicts are shown."""


PARTS: Mapping[str, tuple[str, str, str]] = {
    "floor": ("Floor", "quiet", "No network goes below it with this batch size, width and redundancy weight."),
    "backbone limit": (
        "Backbone limit",
        "c1",
        "What the best linear projector has to leave on these features, by the optimistic estimate. Below 0: over all "
        "data the features allow less than the floor of a single batch.",
    ),
    "projector gap": (
        "Projector gap",
        "c2",
        "What this projector leaves beyond the best linear one. Below 0: its hidden layers do better than any "
        "linear one, or it uses directions that were not looked at.",
    ),
    "sampling bias": (
        "Sampling bias",
        "c4",
        "What chance correlations in a finite batch add; it falls with the batch size, whatever the network.",
    ),
}
"""Title, colour and meaning of the parts that add up to the loss."""
SETTINGS: Mapping[str, str] = {
    "num_images": "Images",
    "num_views": "Views of each image",
    "num_features": "Features of the backbone, d",
    "width": "Outputs of the projector, D",
    "redundancy_weight": "Redundancy weight, λ",
    "batch_size": "Batch size, N",
    "normalization": "Normalisation of the loss",
    "seconds": "Time of the audit",
    "exact": "All views enumerated",
}
"""What settings of the audit are called; others by their own names."""
DIRECTIONS_HEAD = ("most invariant directions", "correlation, other images", "follows most", "of its variance")
KINDS = {
    "run": "A training run",
    "model": "A pretrained model",
    "checkpoint": "A checkpoint",
    "callable": "A function",
    "features": "Precomputed features",
}


def listed(value: object) -> list[Record]:
    """Return the mappings of a list; nothing for anything else."""
    return [mapping(one) for one in value if isinstance(one, Mapping)] if isinstance(value, (list, tuple)) else []


def numbers(value: object) -> list[float]:
    """Return the finite numbers at the head of a list; it ends at the first that is none."""
    found: list[float] = []
    for one in value if isinstance(value, (list, tuple)) else ():
        known = finite(one)
        if known is None:
            break
        found.append(known)
    return found


def strings(value: object) -> list[str]:
    """Return the texts of a list."""
    return [str(one) for one in value if one not in (None, "")] if isinstance(value, (list, tuple)) else []


def plain(name: object) -> str:
    """Return a name of the figures as words: "projector_share" is "Projector share"."""
    words = str(name or "").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def measured(value: float, error: float | None, *, share: bool = False) -> str:
    """Return a value with one standard error: "47.6% ± 0.4" or "25.3 ± 0.2"."""
    if share:
        decimals = 1 if error is None or error >= LEAST_ERROR_SHOWN else 2
        return percent(value, decimals) + ("" if error is None else f" ± {100.0 * error:.{decimals}f}")
    return number(value) if error is None else f"{number(value)} ± {number(error, 2 if error >= 1.0 else 1)}"


def verdicts(figures: Figures) -> list[tuple[Level, Record]]:
    """Return the verdicts with how they are shown, warnings first; a level that is not known counts as a note."""
    order = list(LEVELS)
    found = [(str(verdict.get("level")), verdict) for verdict in listed(figures.get("verdicts"))]
    known = [(level if level in LEVELS else "note", verdict) for level, verdict in found]
    known.sort(key=lambda pair: order.index(pair[0]))
    return [(LEVELS[level], verdict) for level, verdict in known]


def interval(verdict: Record) -> str:
    """Return "0.476 (0.468 to 0.484)" of a verdict; nothing when it has no value."""
    value, low, high = (finite(verdict.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return ""
    return number(value) if low is None or high is None else f"{number(value)} ({number(low)} to {number(high)})"


def subject_name(figures: Figures) -> str:
    """Return what was audited."""
    return str(mapping(figures.get("subject")).get("name") or "an unnamed subject")


def lead(figures: Figures) -> str:
    """Say what was audited, on what, how thoroughly."""
    subject, settings = mapping(figures.get("subject")), mapping(figures.get("settings"))
    images, views, features = (finite(settings.get(f"num_{what}")) for what in ("images", "views", "features"))
    seconds = finite(settings.get("seconds"))
    said = KINDS.get(str(subject.get("kind")), "A network")
    said += f" on {subject['data']}" if subject.get("data") else ""
    parts = [count(images, "image")] if images else []
    parts += [f"{count(views, 'augmented view')} of each"] if views else []
    parts += [count(features, "feature")] if features else []
    said += f": {', '.join(parts)}" if parts else ""
    return f"{said}; no labels were used{f', and it took {duration(seconds)}' if seconds else ''}."


def loss_parts(figures: Figures) -> list[tuple[str, float, float | None]]:
    """Return (name, value, error) of the parts of the loss that are known, in their order."""
    parts = listed(_loss(figures).get("parts"))
    found = [(str(part.get("name")), finite(part.get("value")), finite(part.get("error"))) for part in parts]
    return [(name, value, error) for name, value, error in found if value is not None]


def loss_total(figures: Figures) -> float | None:
    """Return the loss of a batch, which the parts add up to."""
    total, parts = finite(_loss(figures).get("batch")), loss_parts(figures)
    return sum(value for _, value, _ in parts) if total is None and parts else total


def limit_sentence(figures: Figures) -> str:
    """Say what the best linear projector reaches on the features; nothing when it is not known.

    The truth lies between the two estimates on average only: the range is from two errors below to two above them.
    """
    loss = _loss(figures)
    low, high = (finite(loss.get(key)) for key in ("limit", "limit_cross_fit"))
    if low is None:
        return ""
    said = f"The best linear projector on these features reaches {number(low)} over all pairs of views"
    if high is not None and high != low:
        said += f" by the optimistic estimate and {number(high)} by the pessimistic one"
    reach = [ERRORS * (finite(loss.get(key)) or 0.0) for key in ("limit_error", "limit_cross_fit_error")]
    if any(reach):
        first, last = max(0.0, low - reach[0]), max(low if high is None else high, low) + reach[1]
        said += f"; with two errors of either, {number(first)} to {number(last)}"
    seen, every = partly_seen(figures)
    return f"{said}; at most that, for {number(seen, 9)} of {number(every, 9)} directions." if seen else f"{said}."


def batch_sentence(figures: Figures) -> str:
    """Say what the losses were estimated from; nothing when they were not."""
    loss, size = _loss(figures), finite(mapping(figures.get("settings")).get("batch_size"))
    pairs, measured_at = finite(loss.get("num_pairs")), finite(loss.get("batch_measured_at"))
    said = []
    if pairs is not None:
        said.append(f"The complete loss is estimated from {count(pairs, 'pair')} of views, one of each image.")
    if measured_at is not None and size is not None and measured_at < size:
        said.append(
            f"The sampling bias of batches of {number(size, 9)} was measured in batches of {number(measured_at, 9)}, "
            "half of the images, and scaled as 1/N."
        )
    return " ".join(said)


def partly_seen(figures: Figures) -> tuple[float, float]:
    """Return how many directions were looked at of how many features, where it is not all of them; else zeros."""
    seen = finite(mapping(figures.get("spectrum")).get("num_directions"))
    every = finite(mapping(figures.get("settings")).get("num_features"))
    return (seen, every) if seen and every and seen < every else (0.0, 0.0)


def both_ends(record: Record, key: str) -> str:
    """Return "24 to 25": a figure of the spectrum from its optimistic and its pessimistic end, the lower one first."""
    ends = [found for end in ("", "_cross_fit") if (found := finite(record.get(f"{key}{end}"))) is not None]
    shown = [number(end) for end in sorted(ends)]
    return " to ".join(dict.fromkeys(shown))


def transforms(figures: Figures) -> list[Record]:
    """Return the augmentations, the largest total effect first."""
    return sorted(listed(figures.get("augmentations")), key=lambda one: -(finite(one.get("total_effect")) or 0.0))


def projector_sentence(figures: Figures) -> str:
    """Say how much of the decrease of the loss the projector alone reaches; nothing when it was not measured."""
    shares = mapping(figures.get("projector_share"))
    said = []
    for kind, name in (("linear", "a linear projector"), ("mlp", "one with hidden layers")):
        share, error = (finite(mapping(shares.get(kind)).get(key)) for key in ("share", "error"))
        if share is not None:
            said.append(f"{name} reaches {measured(share, error, share=True)}")
    if not said:
        return ""
    return f"Of the whole decrease of the loss, {' and '.join(said)} on the untrained backbone, without training it."


def spectrum_sentence(figures: Figures) -> str:
    """Say how many directions are evidence, how many the best projector uses, and what would use all."""
    spectrum, advice = mapping(figures.get("spectrum")), mapping(figures.get("advice"))
    total, above, edge = len(numbers(spectrum.get("plug_in"))), finite(spectrum.get("num_above_edge")), _edge(figures)
    said = []
    if above is not None and total:
        at = f" of {number(edge)}" if edge is not None else ""
        said.append(f"{number(above, 9)} of {count(total, 'direction')} lie above the null edge{at}.")
    rank = mapping(spectrum.get("between_rank"))
    value, low, high = (finite(rank.get(key)) for key in ("value", "low", "high"))
    if value is not None and low is not None and high is not None:
        proven = f"{number(value, 9)} [{number(low, 9)}, {number(high, 9)}]"
        said.append(f"On images that did not choose them, {proven} do.")
    active, width = finite(spectrum.get("num_active")), finite(mapping(figures.get("settings")).get("width"))
    if active is not None and width:
        used = f"The best linear projector uses {both_ends(spectrum, 'num_active')} "
        used += f"{'direction' if active == 1 else 'directions'} for its {count(width, 'output')}"
        weight, fitting = finite(advice.get("redundancy_weight_for_all")), finite(advice.get("width_for_all"))
        usable = min(width, float(total)) if total else width
        ways = (
            [f"all {number(usable, 9)} with a redundancy weight above {number(weight)}"] if weight is not None else []
        )
        ways += [f"one for each output with at most {count(fitting, 'output')}"] if fitting else []
        said.append(f"{used}; it would use {', or '.join(ways)}." if ways and active < usable else f"{used}.")
    return " ".join(said)


def direction_cells(figures: Figures) -> list[list[str]]:
    """Return the cells under `DIRECTIONS_HEAD`, one line for each direction of which they are known."""
    lines = []
    for place, one in enumerate(listed(figures.get("directions")), start=1):
        correlation, share = finite(one.get("correlation")), finite(one.get("share"))
        if correlation is not None and share is not None:
            said = measured(share, finite(one.get("error")), share=True)
            lines.append([str(place), number(correlation), plain(one.get("transform")), said])
    return lines


def setting_title(name: str) -> str:
    """Return what a setting of the audit is called."""
    return SETTINGS.get(name, plain(name))


def settings_differ(figures_a: Figures, figures_b: Figures) -> Sequence[str]:
    """Return the settings that are not the same in two audits and that their figures depend on."""
    a, b = mapping(figures_a.get("settings")), mapping(figures_b.get("settings"))
    return [name for name in dict.fromkeys([*a, *b]) if name not in ("seconds", "seed") and a.get(name) != b.get(name)]


def _loss(figures: Figures) -> Record:
    return mapping(figures.get("loss"))


def _edge(figures: Figures) -> float | None:
    return finite(mapping(figures.get("spectrum")).get("edge"))
