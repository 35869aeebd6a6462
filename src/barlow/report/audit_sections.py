"""The sections of the page of an audit, in its order; one without figures is "". What two audits share is public."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from barlow.figures import (
    NUM_ERRORS,
    SETTINGS,
    BatchFloor,
    Effect,
    Figures,
    Floor,
    Floors,
    Layer,
    Measured,
    Spectrum,
    Verdict,
    described,
    finite,
)
from barlow.formats import number, text
from barlow.report.audit_words import (
    DIRECTIONS_HEAD,
    LAYERS_HEAD,
    batch_sentence,
    both_ends,
    capital,
    direction_cells,
    effects_by_size,
    layer_cells,
    limit_sentence,
    loss_total,
    partly_seen,
    plain,
    plus_minus,
    projector_sentence,
    setting_value,
    spectrum_sentence,
    verdicts_in_order,
)
from barlow.report.charts import (
    Band,
    Bar,
    Line,
    Mark,
    Step,
    bar_chart,
    line_chart,
    log_chart,
    spectrum_chart,
    waterfall,
)
from barlow.report.plot import MAX_POINTS, Values
from barlow.report.sections import grid, section, table

PART_COLORS = {"floor": "quiet", "backbone_limit": "c1", "projector_gap": "c2", "sampling_bias": "c4"}
FLOOR_COLORS = {"batch": "quiet", "raw": "c2", "pearson": "c1"}
EFFECT_COLORS = {"total_effect": "c1", "marginal": "c4"}
COLORS = 8
"""Colour classes of the style sheet; the ninth curve gets the first colour again, dashed."""
SMALLEST_EIGENVALUE = 1e-7
"""Share of the variance below which a direction is not drawn: float32 features hold no more."""
FEWEST_DIRECTIONS = 20
"""A spectrum is never cut to fewer directions."""


def told(explanation: str, *body: str) -> str:
    """Put a sentence that says what to read above parts of a section; "" without parts."""
    inside = "".join(body)
    return f'<div class="told"><p class="reading">{text(explanation)}</p>{inside}</div>' if inside else ""


def _finding(said: str) -> str:
    """A paragraph with what was found; "" without words."""
    return f'<p class="finding">{text(said)}</p>' if said else ""


def verdict_cards(figures: Figures) -> str:
    """What the numbers mean, one card each, warnings first."""
    cards = []
    for look, verdict in verdicts_in_order(figures):
        value = _interval(verdict)
        name = f"<b>{look.word}</b> {text(plain(verdict.name))}"
        lines = f'<p class="level"><span>{name}</span>{f"<span>{text(value)}</span>" if value else ""}</p>'
        lines += f"<p>{text(verdict.sentence)}</p>"
        lines += f'<p class="advice"><b>Try:</b> {text(verdict.advice)}</p>' if verdict.advice else ""
        cards.append(f'<li class="{look.color}">{lines}</li>')
    explanation = (
        "Each finding with its number, the range in which that lies with about 95% certainty (two standard errors on "
        "either side, or the range that is told), and what to try next."
    )
    return section(
        "verdicts", "What was found", explanation, f'<ul class="verdicts">{"".join(cards)}</ul>' if cards else ""
    )


def _interval(verdict: Verdict) -> str:
    """Return "0.476 (0.468 to 0.484)" of a verdict; nothing when it has no value."""
    if finite(verdict.value) is None:
        return ""
    low, high = verdict.low, verdict.high
    shown = number(verdict.value)
    return shown if low is None or high is None else f"{shown} ({number(low)} to {number(high)})"


def loss(figures: Figures) -> str:
    """The loss taken apart, and how it came down."""
    meanings = [
        [text(capital(about.title)), plus_minus(value), text(about.what)]
        for _, about, value in figures.loss.parts.measured()
    ]
    explained = table(["part", "value", "what it is"], meanings, numeric=False) if meanings else ""
    taken_apart = told(
        "Read from top to bottom: each bar is what one cause adds, and the last is the loss that training shows. Only "
        "the best linear projector says something about the features.",
        waterfall("Where the loss comes from", part_steps(figures)),
        f'<div class="meanings">{explained}</div>' if explained else "",
    )
    came_down = told(
        "Read from top to bottom: how far the loss falls when only a projector is fitted to the untrained backbone, "
        "and what is left for training the backbone. The longer the orange bars, the less a falling loss says about it."
        if projector_sentence(figures)
        else "How far the complete loss fell. How much of that is the projector's work is not known.",
        waterfall("How the loss came down", _way_down(figures)),
    )
    sentences = " ".join(filter(None, (batch_sentence(figures), limit_sentence(figures))))
    body = (taken_apart, _finding(sentences), came_down, _finding(projector_sentence(figures)))
    explanation = "Not all of a loss can be learnt away, and not all that is learnt is learnt by the backbone."
    explanation += f" Normalisation: {figures.loss.normalization}." if figures.loss.normalization else ""
    return section("loss", "The loss taken apart", explanation, *body)


def part_steps(figures: Figures) -> list[Step]:
    """Return the steps of the waterfall that ends at the loss; none when the parts are not known."""
    parts = figures.loss.parts.measured()
    steps = [Step(capital(about.title), value.value, PART_COLORS.get(name, "c5")) for name, about, value in parts]
    total = loss_total(figures)
    return [*steps, Step("Loss of a batch", total, "c8", total=True)] if steps and total is not None else []


def _way_down(figures: Figures) -> list[Step]:
    """The steps from the untrained loss down to the present one; none without both ends."""
    share, first, last = figures.projector_share, figures.loss.start, figures.loss.complete
    start = first.value if share.start is None and first else share.start
    end = last.value if share.end is None and last else share.end
    if start is None or end is None:
        return []
    steps, here = [Step("At the start, all untrained", start, "quiet", total=True)], start
    for reached, name in ((share.linear, "A linear projector alone"), (share.mlp, "Hidden layers in the projector")):
        if reached.loss is not None:
            steps.append(Step(name, reached.loss - here, "c2"))
            here = reached.loss
    rest = "Training the backbone too" if len(steps) > 1 else "Training"
    return [*steps, Step(rest, end - here, "c1"), Step("Now, the complete loss", end, "c8", total=True)]


def floors(figures: Figures) -> str:
    """The lowest losses against width, redundancy weight and batch size."""
    charts = []
    for name, about in described(Floors).items():
        lines, at = _floor_lines(getattr(figures.floors, name)), getattr(figures.settings, name)
        here = Mark(f"now {number(at, 9)}", at, "c3") if at else None
        charts.append(told(about.what, log_chart(capital(about.title), lines, x_name=SETTINGS[name].title, here=here)))
    explanation = (
        "The lowest losses there can be: grey by any network on one batch, blue by a linear projector on this backbone "
        "over all data, orange by the same where the loss does not normalise. The dotted line is where the run stands; "
        "where a curve is missing it is 0. A loss near the grey line has nothing left to teach."
    )
    return section("floors", "Floors", explanation, grid(*charts, kind="grid thirds"))


def _floor_lines(rows: Sequence[BatchFloor]) -> list[Line]:
    lines = []
    for key, about in described(Floor).items():
        pairs = [(row.x, getattr(row, key, None)) for row in rows]
        points = np.array(sorted((x, y) for x, y in pairs if x is not None and y is not None)).reshape(-1, 2)
        # Where the rank of the features is that of a batch, two curves lie on each other: one of them has gaps.
        lines.append(Line(about.title, points[:, 0], points[:, 1], FLOOR_COLORS[key], dashed=key == "raw"))
    return lines


def spectrum(figures: Figures) -> str:
    """The invariance spectrum with null edge and waterline, the budget, and the strength of the directions."""
    known, shown = figures.spectrum, directions_shown(figures.spectrum)
    lines, bands = spectrum_lines(known, shown)
    marks = [Mark(f"null edge {number(known.edge)}", known.edge, "quiet")] if known.edge and lines else []
    if known.waterline and known.waterline.value and lines:
        ends = both_ends(known.waterline, known.waterline_cross_fit, known.waterline_range)
        marks.append(Mark(f"waterline {ends}", known.waterline.value, "c2"))
    x_name = directions_named(shown, len(known.plug_in))
    main = spectrum_chart("Share of the sample in each direction", lines, x_name=x_name, bands=bands, levels=marks)
    found = _finding(spectrum_sentence(figures)) if main else ""
    small = grid(_budget(known, shown, x_name), _variances(known))
    return section("spectrum", "Invariance spectrum", _how_to_read(figures), found, main, small)


def _how_to_read(figures: Figures) -> str:
    known = figures.spectrum
    said = "Each point is one direction of the features: at 1 it knows only the sample, at 0 only the augmentation."
    for there, sentence in (
        (known.edge, "Directions below the null edge are not proven with so many samples."),
        (known.waterline, "Directions below the waterline are not worth an output to the best linear projector."),
        (
            known.cross_fit,
            "Plug-in takes all samples for everything and is spread too far apart by chance; in cross-fit "
            "other samples choose the directions. Neither is unbiased, and the truth need not lie between.",
        ),
        (known.error, "Shaded is where it lies with about 95% certainty."),
    ):
        said += f" {sentence}" if there else ""
    seen, every = partly_seen(figures)
    return (
        f"{said} Only the {number(seen, 9)} strongest directions of {number(every, 9)} were looked at."
        if seen
        else said
    )


def spectrum_lines(spectrum: Spectrum, shown: int, name: str = "", color: str = "c1") -> tuple[list[Line], list[Band]]:
    """Return plug-in and cross-fit curve of the first `shown` directions, and the band that holds the truth."""
    given = (spectrum.plug_in, spectrum.cross_fit, spectrum.error, spectrum.cross_fit_error)
    plug_in, cross, error, cross_error = (_array(values, shown) for values in given)
    kept = np.unique(np.linspace(0, max(len(plug_in) - 1, 0), MAX_POINTS).round().astype(int))[: len(plug_in)]
    x, scored = kept + 1.0, kept[kept < len(cross)]
    first = Line(name or "plug-in", x, plug_in[kept], color)
    other = Line(f"{name} cross-fit".strip(), scored + 1.0, cross[scored], color if name else "c3", bool(name))
    bands = []
    if len(plug_in) and len(error) == len(plug_in):
        reach = NUM_ERRORS * error[kept]
        low, high = plug_in[kept] - reach, plug_in[kept] + reach
        if len(cross_error) == len(cross) == len(plug_in):
            below = NUM_ERRORS * cross_error[kept]
            low, high = np.minimum(low, cross[kept] - below), np.maximum(high, cross[kept] + below)
        if len(spectrum.low) == len(spectrum.high) and (known := kept[kept < len(spectrum.low)]).size == kept.size:
            low, high = _array(spectrum.low, shown)[known], _array(spectrum.high, shown)[known]
        bands.append(Band(x, np.clip(low, 0.0, None), np.clip(high, None, 1.0), color))
    return [line for line in (first, other) if len(line.x)], bands


def directions_shown(spectrum: Spectrum) -> int:
    """Return how many directions to draw: all, unless most of them are neither proven nor used."""
    total, active = len(spectrum.plug_in), spectrum.num_active
    of_use = max(spectrum.num_above_edge or 0.0, active.value if active else 0.0)
    shown = max(round(1.5 * of_use), FEWEST_DIRECTIONS)
    return total if not of_use or shown > total / 2 else shown


def directions_named(shown: int, total: int) -> str:
    """Return the name of the x axis of a spectrum."""
    of = "" if shown >= total else f" (first {shown} of {total})"
    return f"direction, most invariant first{of}"


def _budget(known: Spectrum, shown: int, x_name: str) -> str:
    budget = _array(known.budget, shown)
    line = Line("outputs", np.arange(1.0, len(budget) + 1.0), budget, "c2")
    return told(
        "How the best linear projector spends its outputs: a direction above 1 is used more than once, and where the "
        "curve is 0 the direction is not used.",
        line_chart("Outputs per direction", [line], x_name=x_name, from_zero=True, height=200),
    )


def _variances(known: Spectrum) -> str:
    values = np.array(sorted(known.eigenvalues, reverse=True))
    if not len(values) or not values.sum() > 0:
        return ""
    shares = values / values.sum()
    shares = shares[shares >= SMALLEST_EIGENVALUE]
    line = Line("variance", np.arange(1.0, len(shares) + 1.0), shares, "c4")
    return told(
        "How strong the directions of the features are, sample and augmentation together: a steep curve lives on few "
        "of them.",
        line_chart("Share of the variance", [line], x_name="direction, strongest first", log=True, height=200),
    )


def _array(values: Sequence[float], most: int) -> Values:
    return np.array(values[:most], dtype=np.float64)


def augmentations(figures: Figures) -> str:
    """What each augmentation does to the features, and what the most invariant directions still follow."""
    charts = [
        told(about.what, named_bars(about.label, effect_bars(figures, name, EFFECT_COLORS[name])))
        for name, about in described(Effect).items()
    ]
    explanation = (
        "What the features still follow although it should be ignored; ± is one standard error. Augmentations act "
        "together, so that the shares need not add up."
    )
    if any(one.view for one in figures.augmentations):
        explanation += (
            " The views have different pipelines: what they draw differently is there for each of them, all else as in "
            "view a."
        )
    lines = [list(map(text, line)) for line in direction_cells(figures)]
    followed = table(list(DIRECTIONS_HEAD), lines) if lines else ""
    return section("augmentations", "Each augmentation", explanation, grid(*charts), followed)


def effect_bars(figures: Figures, effect: str, color: str, name: str = "") -> dict[str, list[Bar]]:
    """Return a bar for each augmentation, the largest total effect first."""
    return _bars([(plain(one.name), getattr(one, effect)) for one in effects_by_size(figures)], color, name)


def layer_bars(figures: Figures, color: str, name: str = "") -> dict[str, list[Bar]]:
    """Return a bar for each layer, from the backbone to the output of the projector."""
    return _bars([(one.name, one.augmentation_share) for one in figures.layers], color, name)


def _bars(found: Sequence[tuple[str, Measured | None]], color: str, name: str) -> dict[str, list[Bar]]:
    """Bars of shares, each written as "47.6% ± 0.4", below what they are of."""
    groups: dict[str, list[Bar]] = {}
    for group, share in found:
        if share is not None:
            bar = Bar(name, share.value, plus_minus(share, share=True), color, share.error)
            groups.setdefault(group, []).append(bar)
    return groups


def named_bars(title: str, groups: Mapping[str, Sequence[Bar]]) -> str:
    """Draw bars below the names of their groups; the longest, with its error, takes the whole width."""
    reach = max((bar.value + (bar.error or 0.0) for bars in groups.values() for bar in bars), default=0.0)
    scale = reach if reach > 0 else 1.0
    drawn = [
        (name, [replace(bar, value=bar.value / scale, error=(bar.error or 0.0) / scale) for bar in bars])
        for name, bars in groups.items()
    ]
    return bar_chart(capital(title), drawn)


def strengths(figures: Figures) -> str:
    """How the effect of each augmentation grows with its strength."""
    lines: list[Line] = []
    for one in effects_by_size(figures):
        kept = np.array(sorted(tuple(point[:2]) for point in one.curve if len(point) > 1))
        if len(kept) > 1:
            color, dashed = f"c{len(lines) % COLORS + 1}", len(lines) >= COLORS
            lines.append(Line(plain(one.name), kept[:, 0], kept[:, 1], color, dashed))
    explanation = (
        "Where a curve is low the features ignore the augmentation; where it bends up their invariance ends. "
        "1 is the strength in the pipeline."
    )
    height = max(260, 16 * len(lines))
    x_name = "strength of the augmentation"
    chart = line_chart("Share of all variance", lines, x_name=x_name, from_zero=True, height=height)
    return section("strengths", "Where invariance ends", explanation, chart)


def layers(figures: Figures) -> str:
    """The share of augmentation layer by layer, from the backbone to the output of the projector."""
    lines = [list(map(text, line)) for line in layer_cells(figures)]
    bars = layer_bars(figures, "c1")
    if "h" in bars:
        bars["h"] = [replace(bar, color="c3") for bar in bars["h"]]
    explanation = (
        "Shorter bars are more invariant, from the first layer down to the output z of the projector. It is h, in "
        "green, that is used afterwards: what becomes invariant only behind it is thrown away with the projector."
    )
    drawn = named_bars(described(Layer)["augmentation_share"].label, bars)
    return section("layers", "Layer by layer", explanation, drawn, table(list(LAYERS_HEAD), lines) if lines else "")


def quantities(figures: Figures) -> str:
    """The label-free quantities, each with what it is and what it does not tell."""
    lines = [
        [*map(text, (capital(about.label), plus_minus(value, share=about.share), about.what, about.caution))]
        for _, about, value in figures.quantities.measured()
    ]
    explanation = (
        "± is one standard error over samples. None of these numbers is reliable across methods: compare like with "
        "like."
    )
    head = ["quantity", "value", "what it is", "what it does not tell"]
    rows = f'<div class="worth">{table(head, lines, numeric=False)}</div>' if lines else ""
    return section("quantities", "Quantities without labels", explanation, rows)


def warnings(figures: Figures) -> str:
    """What the audit could not do as it should."""
    items = "".join(f"<li>{text(message)}</li>" for message in figures.warnings)
    explanation = "What limits these numbers; each may have moved some of them."
    return section("warnings", "Warnings", explanation, f"<ul>{items}</ul>" if items else "")


def settings(figures: Figures) -> str:
    """Settings of the audit, versions, and the recipe of what was audited."""
    known = {about.title: setting_value(name, getattr(figures.settings, name)) for name, about in SETTINGS.items()}
    facts = [(capital(title), value) for title, value in known.items() if value]
    facts += [(f"{name} version", str(version)) for name, version in figures.subject.versions.items()]
    recipe = [
        (f"<code>{text(name)}</code>", text(value))
        for name, value in figures.subject.recipe.items()
        if not isinstance(value, (dict, list)) and value not in (None, "")
    ]
    explanation = "The same settings on the same data and versions give the same numbers again."
    fields = f"<details><summary>Recipe of what was audited</summary>{_two_columns(recipe)}</details>" if recipe else ""
    shown = _two_columns([(text(name), text(value)) for name, value in facts])
    return section("settings", "Settings and versions", explanation, shown, fields)


def _two_columns(lines: Sequence[Sequence[str]]) -> str:
    """Two tables of facts beside each other; cells are markup."""
    half = (len(lines) + 1) // 2
    return grid(*(table([], part, numeric=False) for part in (lines[:half], lines[half:]) if part), kind="grid pair")
