"""The parts of the page of an audit, each from its part of the figures. A part without figures is ""."""

from collections.abc import Sequence

import numpy as np

from barlow.report.audit_charts import Band, Step, log_chart, spectrum_chart, waterfall
from barlow.report.audit_words import (
    ERRORS,
    PARTS,
    Figures,
    batch_sentence,
    both_ends,
    interval,
    limit_sentence,
    listed,
    loss_parts,
    loss_total,
    measured,
    numbers,
    partly_seen,
    plain,
    projector_sentence,
    spectrum_sentence,
    verdicts,
)
from barlow.report.axes import MAX_POINTS, Values
from barlow.report.charts import Line, Mark, line_chart
from barlow.report.formats import number, text
from barlow.report.run_folder import Record, finite, mapping
from barlow.report.sections import grid, section, table

SMALLEST_EIGENVALUE = 1e-7
"""Share of the variance below which a direction is not drawn: float32 features hold no more."""
FEWEST_DIRECTIONS = 20
"""A spectrum is never cut to fewer directions."""
FLOOR_LINES = (("batch", "one batch", "quiet"), ("raw", "no normalisation", "c2"), ("pearson", "this backbone", "c1"))
FLOOR_CHARTS = (
    (
        "width",
        "Lowest loss by width",
        "outputs of the projector, D",
        "More outputs than there are directions can only be copies, and copies cost.",
    ),
    (
        "redundancy_weight",
        "Lowest loss by redundancy weight",
        "redundancy weight λ",
        "The larger the weight, the more a copy costs, and the more directions are used.",
    ),
    (
        "batch_size",
        "Lowest loss by batch size",
        "samples in a batch, N",
        "A batch has one direction less than samples: a larger one lowers what it can show.",
    ),
)
"""Setting, also the name of its part of the figures; title; what x counts; what to read."""


def told(reading: str, *body: str) -> str:
    """Put a sentence that says what to read above parts of a section; "" without parts."""
    inside = "".join(body)
    return f'<div class="told"><p class="reading">{text(reading)}</p>{inside}</div>' if inside else ""


def finding(said: str) -> str:
    """Return a paragraph with what was found; "" without words."""
    return f'<p class="finding">{text(said)}</p>' if said else ""


def verdict_cards(figures: Figures) -> str:
    """What the numbers mean, one card each, warnings first."""
    cards = []
    for level, verdict in verdicts(figures):
        value, advice = interval(verdict), str(verdict.get("advice") or "")
        name = f"<b>{level.word}</b> {text(plain(verdict.get('name')))}"
        lines = f'<p class="level"><span>{name}</span>{f"<span>{text(value)}</span>" if value else ""}</p>'
        lines += f"<p>{text(verdict.get('sentence') or '')}</p>"
        lines += f'<p class="advice"><b>Try:</b> {text(advice)}</p>' if advice else ""
        cards.append(f'<li class="{level.color}">{lines}</li>')
    reading = (
        "Each finding with its number, the range in which that lies with about 95% certainty (two standard errors on "
        "either side; of figures with an optimistic and a pessimistic estimate, beyond either), and what to try next."
    )
    return section(
        "verdicts", "What was found", reading, f'<ul class="verdicts">{"".join(cards)}</ul>' if cards else ""
    )


def part_steps(figures: Figures) -> list[Step]:
    """Return the steps of the waterfall that ends at the loss; none when the parts are not known."""
    steps = [Step(title_of(name), value, color_of(name)) for name, value, _ in loss_parts(figures)]
    total = loss_total(figures)
    return [*steps, Step("Loss of a batch", total, "c8", total=True)] if steps and total is not None else []


def title_of(part: str) -> str:
    """Return what a part of the loss is called."""
    return PARTS[part][0] if part in PARTS else plain(part)


def color_of(part: str) -> str:
    """Return the colour class of a part of the loss."""
    return PARTS[part][1] if part in PARTS else "c5"


def way_down(figures: Figures) -> list[Step]:
    """Return the steps from the untrained loss down to the present one; none without both ends."""
    shares, loss = mapping(figures.get("projector_share")), mapping(figures.get("loss"))
    start, end = finite(shares.get("start")), finite(shares.get("end"))
    start = finite(loss.get("start")) if start is None else start
    end = finite(loss.get("complete")) if end is None else end
    if start is None or end is None:
        return []
    steps, here = [Step("At the start, all untrained", start, "quiet", total=True)], start
    for kind, name in (("linear", "A linear projector alone"), ("mlp", "Hidden layers in the projector")):
        reached = finite(mapping(shares.get(kind)).get("loss"))
        if reached is not None:
            steps.append(Step(name, reached - here, "c2"))
            here = reached
    rest = "Training the backbone too" if len(steps) > 1 else "Training"
    return [*steps, Step(rest, end - here, "c1"), Step("Now, the complete loss", end, "c8", total=True)]


def loss(figures: Figures) -> str:
    """The loss taken apart, and how it came down."""
    known = mapping(figures.get("loss"))
    meanings = [
        [text(title_of(name)), measured(value, error), text(PARTS[name][2] if name in PARTS else "")]
        for name, value, error in loss_parts(figures)
    ]
    explained = table(["part", "value", "what it is"], meanings, numeric=False) if meanings else ""
    taken_apart = told(
        "Read from top to bottom: each bar is what one cause adds, and the last is the loss that training shows. Only "
        "the backbone limit says something about the features.",
        waterfall("Where the loss comes from", part_steps(figures)),
        f'<div class="meanings">{explained}</div>' if explained else "",
    )
    came_down = told(
        "Read from top to bottom: how far the loss falls when only a projector is fitted to the untrained backbone, "
        "and what is left for training the backbone. The longer the orange bars, the less a falling loss says about it."
        if projector_sentence(figures)
        else "How far the complete loss fell. How much of that is the projector's work is not known.",
        waterfall("How the loss came down", way_down(figures)),
    )
    sentences = " ".join(filter(None, (batch_sentence(figures), limit_sentence(figures))))
    body = (taken_apart, finding(sentences), came_down, finding(projector_sentence(figures)))
    reading = "Not all of a loss can be learnt away, and not all that is learnt is learnt by the backbone."
    reading += f" Normalisation: {known['normalization']}." if known.get("normalization") else ""
    return section("loss", "The loss taken apart", reading, *body)


def spectrum_lines(spectrum: Record, shown: int, name: str = "", color: str = "c1") -> tuple[list[Line], list[Band]]:
    """Return plug-in and cross-fit curve of the first `shown` directions, and the band of two errors beyond both."""
    keys = ("plug_in", "cross_fit", "error", "cross_fit_error")
    plug_in, cross, error, cross_error = (_array(spectrum.get(key), shown) for key in keys)
    kept = np.unique(np.linspace(0, max(len(plug_in) - 1, 0), MAX_POINTS).round().astype(int))[: len(plug_in)]
    x, scored = kept + 1.0, kept[kept < len(cross)]
    first = Line(name or "plug-in", x, plug_in[kept], color)
    other = Line(f"{name} cross-fit".strip(), scored + 1.0, cross[scored], color if name else "c3", bool(name))
    bands = []
    if len(plug_in) and len(error) == len(plug_in):
        reach = ERRORS * error[kept]
        low, high = plug_in[kept] - reach, plug_in[kept] + reach
        if len(cross_error) == len(cross) == len(plug_in):
            below = ERRORS * cross_error[kept]
            low, high = np.minimum(low, cross[kept] - below), np.maximum(high, cross[kept] + below)
        bands.append(Band(x, np.clip(low, 0.0, None), np.clip(high, None, 1.0), color))
    return [line for line in (first, other) if len(line.x)], bands


def directions_shown(spectrum: Record) -> int:
    """Return how many directions to draw: all, unless most of them are neither proven nor used."""
    total = len(numbers(spectrum.get("plug_in")))
    of_use = max(finite(spectrum.get(key)) or 0.0 for key in ("num_above_edge", "num_active"))
    shown = max(round(1.5 * of_use), FEWEST_DIRECTIONS)
    return total if not of_use or shown > total / 2 else shown


def directions_named(shown: int, total: int) -> str:
    """Return the name of the x axis of a spectrum."""
    of = "" if shown >= total else f" (first {shown} of {total})"
    return f"direction, most invariant first{of}"


def spectrum(figures: Figures) -> str:
    """The invariance spectrum with null edge and waterline, the budget, and the strength of the directions."""
    known = mapping(figures.get("spectrum"))
    total, shown = len(numbers(known.get("plug_in"))), directions_shown(known)
    lines, bands = spectrum_lines(known, shown)
    marks = [
        Mark(f"{name} {both_ends(known, key)}", at, color)
        for name, key, color in (("null edge", "edge", "quiet"), ("waterline", "waterline", "c2"))
        if (at := finite(known.get(key))) and lines
    ]
    x_name = directions_named(shown, total)
    main = spectrum_chart("Share of the image in each direction", lines, x_name=x_name, bands=bands, levels=marks)
    reading = "Each point is one direction of the features: at 1 it knows only the image, at 0 only the augmentation."
    said = {
        "edge": " Directions below the null edge are not proven with so many images.",
        "waterline": " Directions below the waterline are not worth an output to the best linear projector.",
        "cross_fit": " Plug-in is too high on average and cross-fit too low.",
        "error": " Shaded is two errors beyond either, which holds the truth in 95% of cases or more.",
    }
    reading += "".join(sentence for key, sentence in said.items() if known.get(key))
    seen, every = partly_seen(figures)
    reading += f" Only the {number(seen, 9)} strongest directions of {number(every, 9)} were looked at." if seen else ""
    found = finding(spectrum_sentence(figures)) if main else ""
    small = grid(_budget(known, shown, x_name), _strengths(known))
    return section("spectrum", "Invariance spectrum", reading, found, main, small)


def _budget(known: Record, shown: int, x_name: str) -> str:
    budget = _array(known.get("budget"), shown)
    line = Line("outputs", np.arange(1.0, len(budget) + 1.0), budget, "c2")
    return told(
        "How the best linear projector spends its outputs: a direction above 1 is used more than once, and where the "
        "curve is 0 the direction is not used.",
        line_chart("Outputs per direction", [line], x_name=x_name, from_zero=True, height=200),
    )


def _strengths(known: Record) -> str:
    values = np.array(sorted(numbers(known.get("eigenvalues")), reverse=True))
    if not len(values) or not values.sum() > 0:
        return ""
    shares = values / values.sum()
    shares = shares[shares >= SMALLEST_EIGENVALUE]
    line = Line("variance", np.arange(1.0, len(shares) + 1.0), shares, "c4")
    return told(
        "How strong the directions of the features are, image and augmentation together: a steep curve lives on few of "
        "them.",
        line_chart("Share of the variance", [line], x_name="direction, strongest first", log=True, height=200),
    )


def floors(figures: Figures) -> str:
    """The lowest losses against width, redundancy weight and batch size."""
    settings, charts = mapping(figures.get("settings")), []
    for part, title, x_name, said in FLOOR_CHARTS:
        lines = _floor_lines(listed(mapping(figures.get("floors")).get(part)))
        at = finite(settings.get(part))
        here = Mark(f"now {number(at, 9)}", at, "c3") if at else None
        charts.append(told(said, log_chart(title, lines, x_name=x_name, here=here)))
    reading = (
        "The lowest losses there can be: grey by any network on one batch, blue by a linear projector on this backbone "
        "over all data, orange by the same where the loss does not normalise. The dotted line is where the run stands; "
        "where a curve is missing it is 0. A loss near the grey line has nothing left to teach."
    )
    return section("floors", "Floors", reading, grid(*charts, kind="grid thirds"))


def _floor_lines(rows: Sequence[Record]) -> list[Line]:
    lines = []
    for key, name, color in FLOOR_LINES:
        pairs = [(finite(row.get("x")), finite(row.get(key))) for row in rows]
        points = np.array(sorted((x, y) for x, y in pairs if x is not None and y is not None)).reshape(-1, 2)
        # Where the rank of the features is that of a batch, two curves lie on each other: one of them has gaps.
        lines.append(Line(name, points[:, 0], points[:, 1], color, dashed=key == "raw"))
    return lines


def _array(value: object, most: int) -> Values:
    return np.array(numbers(value)[:most], dtype=np.float64)
