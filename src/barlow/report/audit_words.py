"""An audit in words, for the page and the terminal: numbers with their errors, sentences, and the cells of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barlow.figures import (
    NUM_ERRORS,
    SETTINGS,
    Change,
    Effect,
    Figures,
    Layer,
    Measured,
    Range,
    Verdict,
    described,
)
from barlow.formats import count, duration, number, percent

LEAST_ERROR_SHOWN = 0.0005
"""Errors of shares that would be 0.0 with one decimal get two."""


@dataclass(frozen=True)
class Look:
    """How a verdict is shown: its word, and the colour class of the page and of the terminal."""

    word: str
    color: str
    terminal: str


LOOKS: Mapping[str, Look] = {
    "warning": Look("Warning", "c2", "bold yellow"),
    "note": Look("Note", "c1", "bold cyan"),
    "good": Look("Good", "c3", "bold green"),
}
"""By level, in the order in which verdicts are shown."""
KINDS = {
    "run": "A training run",
    "model": "A pretrained model",
    "checkpoint": "A checkpoint",
    "callable": "A function",
    "features": "Precomputed features",
}
DIRECTIONS_HEAD = ("most invariant directions", "correlation, other samples", "follows most", "of its variance")
LAYERS_HEAD = ("layer", *(about.title for about in described(Layer).values()))
EFFECTS_HEAD = ("augmentation", *(about.label for about in described(Effect).values()))
CHANGES_HEAD = ("", "A", "B", "B − A, ± one standard error", "beyond chance")


def capital(title: str) -> str:
    """Return a title as at the beginning of a line."""
    return title[:1].upper() + title[1:]


def plain(name: str) -> str:
    """Return a name of the figures as words: "projector_share" is "Projector share"."""
    # The name of a verdict stays in files as it was when all samples were images.
    return capital(name.replace("_", " ").replace("images", "samples").strip())


def plus_minus(found: Measured | None, *, share: bool = False) -> str:
    """Return a number with one standard error: "47.6% ± 0.4" or "25.3 ± 0.2"; nothing where there is none."""
    if found is None:
        return ""
    value, error = found.value, found.error
    if share:
        decimals = 1 if error is None or error >= LEAST_ERROR_SHOWN else 2
        return percent(value, decimals) + ("" if error is None else f" ± {100.0 * error:.{decimals}f}")
    return number(value) if error is None else f"{number(value)} ± {number(error, 2 if error >= 1.0 else 1)}"


def setting_value(name: str, value: Any) -> str:
    """Return the value of a setting as people read it; nothing for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, str):
        return value or ""
    return duration(value) if name == "seconds" else number(value, 9)


def subject_name(figures: Figures) -> str:
    """Return what was audited."""
    return figures.subject.name or "an unnamed subject"


def lead(figures: Figures) -> str:
    """Say what was audited, on what, how thoroughly."""
    settings = figures.settings
    said = KINDS.get(figures.subject.kind, "A network")
    said += f" on {figures.subject.data}" if figures.subject.data else ""
    parts = [count(settings.num_images, "sample")] if settings.num_images else []
    parts += [f"{count(settings.num_views, 'augmented view')} of each"] if settings.num_views else []
    parts += [count(settings.num_features, "feature")] if settings.num_features else []
    said += f": {', '.join(parts)}" if parts else ""
    took = f", and it took {duration(settings.seconds)}" if settings.seconds else ""
    return f"{said}; no labels were used{took}."


def verdicts_in_order(figures: Figures) -> list[tuple[Look, Verdict]]:
    """Return the verdicts with how they are shown, warnings first."""
    found = sorted(figures.verdicts, key=lambda verdict: list(LOOKS).index(verdict.level))
    return [(LOOKS[verdict.level], verdict) for verdict in found]


def loss_total(figures: Figures) -> float | None:
    """Return the loss of a batch, which the parts add up to."""
    parts = figures.loss.parts.measured()
    if figures.loss.batch is None:
        return sum(value.value for *_, value in parts) if parts else None
    return figures.loss.batch.value


def limit_sentence(figures: Figures) -> str:
    """Say what the best linear projector reaches on the features; nothing when it is not known.

    Counts of directions have two ends, and so had all of older audits.
    """
    best, worst = figures.loss.limit, figures.loss.limit_cross_fit
    if best is None:
        return ""
    said = f"The best linear projector on these features reaches {number(best.value)}"
    said += f" to {number(worst.value)}" if worst is not None and worst.value != best.value else ""
    said += " over all pairs of views"
    worst = worst or best
    if best.error or worst.error:
        first = max(0.0, best.value - NUM_ERRORS * (best.error or 0.0))
        last = max(worst.value + NUM_ERRORS * (worst.error or 0.0), best.value + NUM_ERRORS * (best.error or 0.0))
        said += f", with about 95% certainty {number(first)} to {number(last)}"
    seen, every = partly_seen(figures)
    return f"{said}; at most that, for {number(seen, 9)} of {number(every, 9)} directions." if seen else f"{said}."


def batch_sentence(figures: Figures) -> str:
    """Say what the losses were estimated from; nothing when they were not."""
    size, pairs, measured_at = figures.settings.batch_size, figures.loss.num_pairs, figures.loss.batch_measured_at
    said = []
    if pairs is not None:
        said.append(f"The complete loss is estimated from {count(pairs, 'pair')} of views, one of each sample.")
    if measured_at is not None and size is not None and measured_at < size:
        said.append(
            f"The sampling bias of batches of {number(size, 9)} was measured in batches of {number(measured_at, 9)}, "
            "half of the samples, and scaled as 1/N."
        )
    return " ".join(said)


TOO_WIDE = 0.5
"""Error of a share from which on its number says nothing, and is not said."""


def projector_sentence(figures: Figures) -> str:
    """Say how much of the decrease of the loss the projector alone reaches; nothing when it was not measured."""
    shares = [(about.title, reached.share) for _, about, reached in figures.projector_share.reached()]
    known = [(title, share) for title, share in shares if share is not None]
    said = [
        f"{title} reaches {plus_minus(share, share=True)}"
        for title, share in known
        if share.error is None or share.error <= TOO_WIDE
    ]
    if said:
        return (
            f"Of the whole decrease of the loss, {' and '.join(said)} on the untrained backbone, without training it."
        )
    if known:
        return "How much of the decrease of the loss the projector alone explains is not known: it is within its error."
    return ""


def partly_seen(figures: Figures) -> tuple[float, float]:
    """Return how many directions were looked at of how many features, where it is not all of them; else zeros."""
    seen, every = figures.spectrum.num_directions, figures.settings.num_features
    return (seen, every) if seen and every and seen < every else (0.0, 0.0)


def both_ends(first: Measured | None, other: Measured | None, known: Range) -> str:
    """Return "24 to 25": the range of a figure of the spectrum; of older audits both estimates, the lower one first."""
    ends = [one.value for one in (first, other) if one is not None]
    if known.low is not None and known.high is not None:
        ends = [known.low, known.high]
    shown = [number(end) for end in sorted(ends)]
    return " to ".join(dict.fromkeys(shown))


def spectrum_sentence(figures: Figures) -> str:
    """Say how many directions are evidence, how many the best projector uses, and what would use all."""
    spectrum, total, said = figures.spectrum, len(figures.spectrum.plug_in), []
    if spectrum.num_above_edge is not None and total:
        at = f" of {number(spectrum.edge)}" if spectrum.edge is not None else ""
        said.append(f"{number(spectrum.num_above_edge, 9)} of {count(total, 'direction')} lie above the null edge{at}.")
    rank = spectrum.between_rank
    if rank.value is not None and rank.low is not None and rank.high is not None:
        proven = f"{number(rank.value, 9)} [{number(rank.low, 9)}, {number(rank.high, 9)}]"
        said.append(f"On samples that did not choose them, {proven} do.")
    active, width = spectrum.num_active, figures.settings.width
    if active is not None and width:
        between = both_ends(active, spectrum.num_active_cross_fit, spectrum.num_active_range)
        used = f"The best linear projector uses {between} "
        used += f"{'direction' if active.value == 1 else 'directions'} for its {count(width, 'output')}"
        usable = min(width, float(total)) if total else width
        ways = _ways_to_use_all(figures, usable) if active.value < usable else ""
        said.append(f"{used}; it would use {ways}." if ways else f"{used}.")
    return " ".join(said)


def _ways_to_use_all(figures: Figures, usable: float) -> str:
    weight, width = figures.advice.redundancy_weight_for_all, figures.advice.width_for_all
    ways = [f"all {number(usable, 9)} with a redundancy weight above {number(weight)}"] if weight is not None else []
    ways += [f"one for each output with at most {count(width, 'output')}"] if width else []
    return ", or ".join(ways)


def effects_by_size(figures: Figures) -> list[Effect]:
    """Return what each augmentation does, the largest total effect first."""
    return sorted(figures.augmentations, key=lambda one: -one.total_effect.value if one.total_effect else 0.0)


def effect_cells(figures: Figures) -> list[list[str]]:
    """Return the cells under `EFFECTS_HEAD`, a line for each augmentation."""
    return [
        [plain(one.name), *(plus_minus(getattr(one, name), share=True) for name in described(Effect))]
        for one in effects_by_size(figures)
    ]


def direction_cells(figures: Figures) -> list[list[str]]:
    """Return the cells under `DIRECTIONS_HEAD`, a line for each direction of which they are known."""
    return [
        [str(place), number(one.correlation), plain(one.transform), plus_minus(one.share, share=True)]
        for place, one in enumerate(figures.directions, start=1)
        if one.correlation is not None and one.share is not None
    ]


def layer_cells(figures: Figures) -> list[list[str]]:
    """Return the cells under `LAYERS_HEAD`, a line for each layer."""
    lines = []
    for layer in figures.layers:
        mean = layer.mean_correlation
        others = (mean.value if mean else None, layer.effective_rank)
        shown = ["" if value is None else number(value) for value in others]
        lines.append([layer.name, plus_minus(layer.augmentation_share, share=True), *shown])
    return lines


def change_cells(row: Change) -> list[str]:
    """Return the cells under `CHANGES_HEAD` of one figure in two audits."""
    a, b = (plus_minus(Measured(value), share=row.share) for value in (row.a, row.b))
    scale = 100.0 if row.share else 1.0
    change = plus_minus(Measured(scale * row.difference, row.error and scale * row.error))
    change = f"{'+' if row.difference > 0 else ''}{change}{' points' if row.share else ''}"
    beyond = "" if row.significant is None else "yes" if row.significant else "no"
    return [plain(row.title), a, b, change, beyond if row.fair else "settings differ"]


def settings_differ(figures_a: Figures, figures_b: Figures) -> Sequence[str]:
    """Return the settings that are not the same in two audits and that their figures depend on."""
    a, b = figures_a.settings, figures_b.settings
    return [name for name in SETTINGS if name not in ("seconds", "seed") and getattr(a, name) != getattr(b, name)]
