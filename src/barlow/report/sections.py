"""The parts of the page that come from the journal and the summary. A part without data is ""."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from barlow.formats import count, moment, number, percent, text
from barlow.report.charts import Bar, Line, Mark, bar_chart, line_chart
from barlow.report.formulas import formula
from barlow.report.plot import wants_log
from barlow.report.run_folder import Curve, Record, RunFiles, finite, mapping
from barlow.report.words import (
    NETWORKS,
    PROTOCOLS,
    accuracy,
    data_name,
    epochs,
    key_figures,
    method_name,
    protocol_name,
    raw_names,
    row_name,
    rows,
    sentences,
    subtitle,
)

PART_NAMES = {"on_diagonal": "on-diagonal", "off_diagonal": "off-diagonal"}
NETWORK_COLORS = dict(zip(NETWORKS, ("c1", "c2"), strict=True))
PROBE_NAMES = {
    "effective_rank": "Effective rank of plain samples",
    "invariance_share": "Invariance share, %",
    "mean_correlation": "Agreement of the strongest directions",
    "directions_above_chance": "Strongest directions above chance",
    "backbone_limit": "Best linear projector's loss, roughly",
    "knn_accuracy": "kNN accuracy, %",
}
"""Titles of the probes; a title in % says that the share is multiplied by 100."""
LABEL_FREE_NAMES = {
    "effective_rank": ("Effective rank of plain samples", number),
    "invariance_share": ("Invariance share: variance between samples / total", percent),
    "mean_correlation": ("Agreement of the strongest directions, at most 128, between views", number),
    "directions_above_chance": ("Directions above chance, of the strongest, at most 128", number),
    "backbone_limit": ("Best linear projector's loss, roughly", number),
}
KEPT = {
    "knn": "nearest neighbours (kNN)",
    "linear": "linear probe, all labels",
    "few_labels": "few labels per class",
    "sgd_linear": "linear, by SGD or as published",
    "finetune": "fine-tuned, by share of the labels",
    "verification": "verification: EER / minDCF",
}
"""Columns of the table of evaluations that were kept."""


def prose(sentence: str) -> str:
    """Return a sentence for the page, with what stands in `backticks` as code, and formulas set."""
    parts = re.split(r"`([^`]+)`", sentence)
    return "".join(f"<code>{text(part)}</code>" if place % 2 else formula(part) for place, part in enumerate(parts))


def section(name: str, title: str, explanation: str, *body: str) -> str:
    """Wrap parts with a title and the sentence that says how to read them; "" without parts."""
    inside = "".join(part for part in body if part)
    if not inside:
        return ""
    return f'<section id="{name}"><h2>{text(title)}</h2><p class="reading">{prose(explanation)}</p>{inside}</section>'


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


def headline(run: RunFiles) -> str:
    """What was trained on what, for how long, and what the numbers mean."""
    said = "".join(f"<li>{prose(sentence)}</li>" for sentence in sentences(run))
    figures = "".join(f"<div><dt>{text(what)}</dt><dd>{text(value)}</dd></div>" for value, what in key_figures(run))
    tiles = f'<dl class="figures">{figures}</dl>' if figures else ""
    title = f"{text(method_name(run))} on {text(data_name(run))}"
    lead = f'<p class="lead">{text(subtitle(run))}</p>'
    return f'<h1>{title}</h1>{lead}{_status(run)}{tiles}<ul class="said">{said}</ul>'


def _status(run: RunFiles) -> str:
    errors = [str(record.get("message", "")) for record in run.events("error")]
    if run.finished:
        return ""
    last = next((finite(record.get("time")) for record in reversed(run.records) if record.get("time")), None)
    when = f"; its last sign of life is from {moment(last)}" if last else ""
    said = f"This run has not finished: {epochs(run)} done{when}."
    said += f" It stopped with an error: {errors[-1]}" if errors else ""
    return f'<p class="status">{text(said)}</p>'


def _width(row: Record) -> str:
    """How many features a row has; of a network that predicts by itself nothing is said."""
    width = finite(row.get("num_features"))
    return number(width, 9) if width else ""


def evaluation(run: RunFiles) -> str:
    """Accuracies beside the untrained network and raw samples, and the figures that need no labels."""
    found = rows(run)
    protocols = [name for name in PROTOCOLS if any(accuracy(row, name) for row in found)]
    groups = []
    for protocol in protocols:
        bars = []
        for row in found:
            value = accuracy(row, protocol)
            if value:
                name = str(row["features"])
                bars.append(
                    Bar(row_name(run, name), value.mean, str(value), NETWORK_COLORS.get(name, "quiet"), value.spread)
                )
        groups.append((protocol_name(protocol, run), bars))
    classes = run.section("evaluation").get("classes")
    number_of_classes = len(classes) if isinstance(classes, list) else 0
    guessing = Mark("guessing", 1.0 / number_of_classes) if number_of_classes else None
    cells = [
        [
            text(row_name(run, str(row["features"]))),
            number(width, 9) if (width := finite(row.get("num_features"))) else "",
        ]
        + [text(accuracy(row, protocol) or "") for protocol in protocols]
        for row in found
    ]
    head = ["features", "width", *(text(protocol_name(protocol, run)) for protocol in protocols)]
    measured = table(head, cells) if protocols else ""
    bars_drawn = bar_chart("Accuracy on test data", groups, mark=guessing)
    others = " and from ".join([row_name(run, "untrained"), *raw_names(run)])
    explanation = f"Longer is better: what training is worth is the distance from {others}"
    draws = next((finite(mapping(row.get("few_labels")).get("draws")) for row in found), None)
    explanation += f"; ± is the standard deviation over {count(draws, 'draw')} of the labels." if draws else "."
    if run.section("evaluation").get("test_seen_in_pretraining") is True:
        explanation += " The test samples themselves, without labels, may have been among those trained on."
    notes = run.section("evaluation").get("notes")
    explanation += "".join(f" {note}." for note in notes) if isinstance(notes, list) else ""
    note = mapping(run.section("evaluation").get("sampling")).get("note")
    explanation += f" Not all samples were looked at: {text(note)}." if note else ""
    if not protocols:
        explanation = (
            "Two figures need no labels: how many directions the features use, and how little the "
            "views of one sample change them."
        )
    return section("evaluation", "What the features are worth", explanation, bars_drawn, measured, _label_free(run))


def _label_free(run: RunFiles) -> str:
    figures = run.section("label_free")
    lines = []
    for name, (title, show) in LABEL_FREE_NAMES.items():
        values = [finite(figures.get(key)) for key in (name, f"{name}_untrained")]
        if any(value is not None for value in values):
            lines.append([text(title), *("" if value is None else show(value) for value in values)])
    return table(["needs no labels", "trained", "untrained"], lines) if lines else ""


def kept_evaluations(run: RunFiles) -> str:
    """Accuracies of the trained and of the untrained network on data that were named afterwards."""
    by_file = {str(record.get("file")): record for record in run.events("evaluation") if _row(record, "trained")}
    found = list(by_file.values())  # the last of each file, in the order of the first
    names = Counter(_name(record) for record in found)
    cells = {column: [_cell(record, column) for record in found] for column in KEPT}
    shown = [column for column in KEPT if any(cells[column])]
    if not shown:
        return ""
    lines = [
        [text(_title(record, names)), text(record.get("protocol", "")), *(text(cells[name][place]) for name in shown)]
        for place, record in enumerate(found)
    ]
    amounts = {mapping(_row(record, "trained").get("few_labels")).get("per_class") for record in found} - {None}
    titles = KEPT | ({"few_labels": f"{amounts.pop()} labels per class"} if len(amounts) == 1 else {})
    head = ["data", "protocol", *(text(titles[column]) for column in shown)]
    explanation = (
        "What the features are worth on the data named: accuracy on the test part, error rates where speakers are "
        "verified, in brackets those of the same network untrained. All of it is in the files under evaluations/."
    )
    return section("kept", "Evaluations that were kept", explanation, table(head, lines))


def _row(record: Record, features: str) -> Record:
    rows = record.get("rows")
    known = [mapping(row) for row in rows] if isinstance(rows, list) else []
    return next((row for row in known if row.get("features") == features), {})


def _name(record: Record) -> str:
    return str(mapping(record.get("data")).get("name") or "unnamed data")


def _title(record: Record, names: Mapping[str, int]) -> str:
    """The name of the data; where several have it, with the path, or with the file for those that have none."""
    name = _name(record)
    place = mapping(record.get("data")).get("path") or record.get("file")
    return f"{name} ({place})" if names[name] > 1 and place else name


def _cell(record: Record, column: str) -> str:
    trained, untrained = (_shown(_row(record, features), column) for features in ("trained", "untrained"))
    return f"{trained} ({untrained})" if trained and untrained else trained


def _shown(row: Record, column: str) -> str:
    if column == "verification":
        return _verification(row)
    if column != "finetune":
        return str(accuracy(row, column) or "")
    found = row.get("finetune")
    shares = [mapping(one) for one in found] if isinstance(found, list) else []
    pairs = [(finite(one.get("fraction")), finite(one.get("accuracy"))) for one in shares]
    return ", ".join(f"{100 * share:g}%: {percent(hit)}" for share, hit in pairs if share and hit is not None)


def _verification(row: Record) -> str:
    """Error rates condition by condition: "clean: 6.6 / 0.41, babble 5 dB: 22 / 0.9"."""
    found = row.get("verification")
    conditions = [mapping(one) for one in found] if isinstance(found, list) else []
    shown = [(one.get("condition"), finite(one.get("eer")), finite(one.get("min_dcf"))) for one in conditions]
    return ", ".join(
        f"{name}: {percent(eer)} / {number(cost)}" for name, eer, cost in shown if eer is not None and cost is not None
    )


def loss(run: RunFiles) -> str:
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
    explanation = (
        "The terms should fall; only what lies above the dashed floor can be learnt, so read the excess"
        if shown
        else "All terms should fall and then level off"
    )
    explanation += ": faint is each recorded step, strong the moving average."
    return section("loss", "Loss", explanation, chart, small)


def _excess_chart(run: RunFiles, total: Curve, floor: Curve) -> str:
    x, y = run.curve("step", "excess")
    if not len(x) and len(total[0]) == len(floor[0]):
        x, y = total[0], total[1] - floor[1]
    line = Line("excess", x, y, color="c1")
    return line_chart("Excess: loss − floor", [line], x_name="epochs", log=wants_log(y), smoothed=True, height=180)


def _learning_rate_chart(run: RunFiles) -> str:
    x, y = run.curve("step", "learning_rate")
    if not len(x):
        x, y = run.curve("step", "learning_rate_factor")
        y = y * (finite(run.recipe.get("learning_rate")) or 1.0)
    return line_chart(
        "Learning rate", [Line("learning rate", x, y, "quiet")], x_name="epochs", from_zero=True, height=180
    )


def probes(run: RunFiles) -> str:
    """The figures taken between epochs, one small chart each."""
    charts = []
    for place, figure in enumerate(run.names("probe", "figures")):
        name = PROBE_NAMES.get(figure, figure.replace("_", " "))
        x, y = run.curve("probe", "figures", figure)
        line = Line(name, x, 100 * y if name.endswith("%") else y, color=f"c{place % 8 + 1}")
        charts.append(line_chart(name, [line], x_name="epochs", height=150))
    explanation = (
        "A rising invariance share means that views of one sample come closer together. The effective rank often falls "
        "while a network learns, because it drops what augmentation makes; only if it falls to about 1 do the features "
        "collapse. All of this is of 1,024 samples and two views: read curves, and take numbers from the audit, whose "
        "figures of other names are of more samples and views."
    )
    if "backbone_limit" in run.names("probe", "figures"):
        explanation += (
            " The best linear projector's loss is the least that one could reach on the features of that moment: "
            "unlike the loss it falls only if the backbone learns."
        )
    if "knn_accuracy" in run.names("probe", "figures"):
        explanation += " The kNN accuracy looks at labels that training never sees."
    return section("probes", "During training", explanation, grid(*charts, kind="grid thirds"))
