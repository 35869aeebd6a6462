"""The parts of the page that come from the journal and the summary. A part without data is ""."""

from collections.abc import Sequence

from barlow.report.axes import wants_log
from barlow.report.charts import Bar, Line, Mark, bar_chart, line_chart
from barlow.report.formats import count, moment, number, percent, text
from barlow.report.run_folder import Curve, Run, finite, mapping
from barlow.report.words import (
    FEATURES,
    PROTOCOLS,
    data_name,
    epochs,
    key_figures,
    method_name,
    protocol_name,
    rows,
    score,
    sentences,
    subtitle,
)

PART_NAMES = {"on_diagonal": "on-diagonal", "off_diagonal": "off-diagonal"}
FEATURE_COLORS = dict(zip(FEATURES, ("c1", "c2", "quiet"), strict=True))
PROBE_NAMES = {
    "effective_rank": "Effective rank",
    "invariance_share": "Invariance share, %",
    "mean_correlation": "Mean intraclass correlation",
    "directions_above_chance": "Directions above chance",
    "backbone_limit": "Backbone limit of the loss",
    "knn_accuracy": "kNN accuracy, %",
}
"""Titles of the probes; a title in % says that the share is multiplied by 100."""
LABEL_FREE_NAMES = {
    "effective_rank": ("Effective rank", number),
    "invariance_share": ("Invariance share: variance between samples / total", percent),
    "mean_correlation": ("Mean intraclass correlation", number),
    "directions_above_chance": ("Directions above chance", number),
    "backbone_limit": ("Backbone limit: least loss of a linear projector", number),
}


def section(name: str, title: str, reading: str, *body: str) -> str:
    """Wrap parts with a title and the sentence that says how to read them; "" without parts."""
    inside = "".join(part for part in body if part)
    if not inside:
        return ""
    return f'<section id="{name}"><h2>{text(title)}</h2><p class="reading">{text(reading)}</p>{inside}</section>'


def grid(*charts: str, kind: str = "grid") -> str:
    """Put charts side by side where there is room."""
    inside = "".join(charts)
    return f'<div class="{kind}">{inside}</div>' if inside else ""


def table(head: Sequence[str], body: Sequence[Sequence[str]], *, numeric: bool = True) -> str:
    """Return a table that scrolls inside its own frame; cells are markup, the first of a row its heading."""
    names = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in body
    )
    kind = "numbers" if numeric else "plain"
    top = f"<thead><tr>{names}</tr></thead>" if head else ""
    return f'<div class="scroll" tabindex="0"><table class="{kind}">{top}<tbody>{lines}</tbody></table></div>'


def headline(run: Run) -> str:
    """What was trained on what, for how long, and what the numbers mean."""
    said = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences(run))
    figures = "".join(f"<div><dt>{text(what)}</dt><dd>{text(value)}</dd></div>" for value, what in key_figures(run))
    tiles = f'<dl class="figures">{figures}</dl>' if figures else ""
    title = f"{text(method_name(run))} on {text(data_name(run))}"
    lead = f'<p class="lead">{text(subtitle(run))}</p>'
    return f'<h1>{title}</h1>{lead}{_status(run)}{tiles}<ul class="said">{said}</ul>'


def _status(run: Run) -> str:
    errors = [str(record.get("message", "")) for record in run.events("error")]
    if run.finished:
        return ""
    last = next((finite(record.get("time")) for record in reversed(run.records) if record.get("time")), None)
    when = f"; its last sign of life is from {moment(last)}" if last else ""
    said = f"This run has not finished: {epochs(run)} done{when}."
    said += f" It stopped with an error: {errors[-1]}" if errors else ""
    return f'<p class="status">{text(said)}</p>'


def evaluation(run: Run) -> str:
    """Accuracies beside the untrained network and raw pixels, and the figures that need no labels."""
    found = rows(run)
    protocols = [name for name in PROTOCOLS if any(score(row, name) for row in found)]
    groups = []
    for protocol in protocols:
        bars = []
        for row in found:
            value = score(row, protocol)
            if value:
                name = str(row["features"])
                bars.append(Bar(name, value.mean, str(value), FEATURE_COLORS.get(name, "c3"), value.spread))
        groups.append((protocol_name(protocol, run), bars))
    classes = run.section("evaluation").get("classes")
    number_of_classes = len(classes) if isinstance(classes, list) else 0
    guessing = Mark("guessing", 1.0 / number_of_classes) if number_of_classes else None
    cells = [
        [text(row["features"]), number(finite(row.get("num_features")) or 0.0, 9)]
        + [text(score(row, protocol) or "") for protocol in protocols]
        for row in found
    ]
    head = ["features", "width", *(text(protocol_name(protocol, run)) for protocol in protocols)]
    measured = table(head, cells) if protocols else ""
    bars_drawn = bar_chart("Accuracy on test data", groups, mark=guessing)
    reading = "Longer is better: what training is worth is the distance from untrained and from raw pixels"
    draws = next((finite(mapping(row.get("few_labels")).get("draws")) for row in found), None)
    reading += f"; ± is the standard deviation over {count(draws, 'draw')} of the labels." if draws else "."
    if run.section("evaluation").get("test_seen_in_pretraining") is True:
        reading += " The test samples themselves, without labels, may have been among those trained on."
    if not protocols:
        reading = (
            "Two figures need no labels: how many directions the features use, and how little the "
            "views of one sample change them."
        )
    return section("evaluation", "What the features are worth", reading, bars_drawn, measured, _label_free(run))


def _label_free(run: Run) -> str:
    figures = run.section("label_free")
    lines = []
    for name, (title, show) in LABEL_FREE_NAMES.items():
        values = [finite(figures.get(key)) for key in (name, f"{name}_untrained")]
        if any(value is not None for value in values):
            lines.append([text(title), *("" if value is None else show(value) for value in values)])
    return table(["needs no labels", "trained", "untrained"], lines) if lines else ""


def loss(run: Run) -> str:
    """The loss with its terms and its floor, the excess, and the learning rate."""
    total, floor = run.curve("step", "loss"), run.curve("step", "floor")
    if not len(total[0]):
        return ""
    lines = [Line("loss", *total, color="c1")]
    for place, part in enumerate(run.names("step", "parts")):
        name = PART_NAMES.get(part, part.replace("_", " "))
        lines.append(Line(name, *run.curve("step", "parts", part), color=f"c{place % 7 + 2}"))
    lowest = Mark(f"floor {number(float(floor[1][-1]))}", float(floor[1][-1])) if len(floor[1]) else None
    shown = lowest if lowest and lowest.at > 0 else None
    log = all(wants_log(line.y, 0.0) for line in lines) and wants_log(total[1])
    chart = line_chart(
        "Loss and its terms",
        lines,
        x_name="epochs",
        log=log,
        floor=shown,
        smoothed=True,
        from_zero=True,
        height=300,
    )
    small = grid(_excess_chart(run, total, floor) if shown else "", _learning_rate_chart(run), kind="grid wide-first")
    reading = (
        "The terms should fall; only what lies above the dashed floor can be learnt, so read the excess"
        if shown
        else "All terms should fall and then level off"
    )
    reading += ": faint is each recorded step, strong the moving average."
    return section("loss", "Loss", reading, chart, small)


def _excess_chart(run: Run, total: Curve, floor: Curve) -> str:
    x, y = run.curve("step", "excess")
    if not len(x) and len(total[0]) == len(floor[0]):
        x, y = total[0], total[1] - floor[1]
    line = Line("excess", x, y, color="c1")
    return line_chart("Excess: loss − floor", [line], x_name="epochs", log=wants_log(y), smoothed=True, height=180)


def _learning_rate_chart(run: Run) -> str:
    x, y = run.curve("step", "learning_rate")
    if not len(x):
        x, y = run.curve("step", "learning_rate_factor")
        y = y * (finite(run.recipe.get("learning_rate")) or 1.0)
    return line_chart(
        "Learning rate", [Line("learning rate", x, y, "quiet")], x_name="epochs", from_zero=True, height=180
    )


def probes(run: Run) -> str:
    """The figures taken between epochs, one small chart each."""
    charts = []
    for place, figure in enumerate(run.names("probe", "figures")):
        name = PROBE_NAMES.get(figure, figure.replace("_", " "))
        x, y = run.curve("probe", "figures", figure)
        line = Line(name, x, 100 * y if name.endswith("%") else y, color=f"c{place % 8 + 1}")
        charts.append(line_chart(name, [line], x_name="epochs", height=150))
    reading = (
        "A rising effective rank means that more directions are used, a rising invariance share that views "
        "of one sample come closer together; if the rank falls to 1 the features collapse."
    )
    if "backbone_limit" in run.names("probe", "figures"):
        reading += (
            " The backbone limit is the least loss that a linear projector could reach on the features of that moment: "
            "unlike the loss it falls only if the backbone learns."
        )
    if "knn_accuracy" in run.names("probe", "figures"):
        reading += " The kNN accuracy looks at labels that training never sees."
    return section("probes", "During training", reading, grid(*charts, kind="grid thirds"))
