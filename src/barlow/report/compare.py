"""Several runs on one page: figures side by side, curves over each other, and where the recipes differ."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from barlow.recipes import ABOUT
from barlow.report.axes import wants_log
from barlow.report.charts import Bar, Line, bar_chart, line_chart
from barlow.report.formats import count, duration, number, percent, points, text
from barlow.report.page import contents, write_page
from barlow.report.run_folder import Curve, Run, finite, mapping, read_run
from barlow.report.sections import PROBE_NAMES, grid, section, table
from barlow.report.words import (
    PROTOCOLS,
    Score,
    data_name,
    epochs,
    excess,
    label_free,
    last_epoch,
    protocol_name,
    rows,
    score,
    seconds_of_training,
)

COLORS = 8
"""Colour classes of the style sheet; the ninth run gets the first colour again, dashed."""
Named = Sequence[tuple[str, Run]]
Measure = Callable[[Run], float | None]


def compare_reports(folders: Sequence[Path], out: Path) -> Path:
    """Write one page that compares runs.

    Args:
        folders: run folders, in the order in which they are shown.
        out: the HTML file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        ValueError: no folder, or one that is no run folder.
    """
    if not folders:
        raise ValueError("folders: got none, wanted at least one run folder")
    runs = [read_run(Path(folder)) for folder in folders]
    named = list(zip(_short_names([run.folder for run in runs]), runs, strict=True))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [_figures(named, out), _bars(named), _curves(named), probes_together(named), recipe_differences_of(named)]
    title = f"{count(len(runs), 'run')} compared"
    said = "".join(f"<li>{text(sentence)}</li>" for sentence in findings(named))
    header = f'<header><h1>{title}</h1><ul class="said">{said}</ul>{contents(parts)}</header>'
    return write_page(out, title, header + "".join(parts))


def findings(named: Named) -> list[str]:
    """Return sentences: the best run per protocol, how far it is from the next, what forbids comparing."""
    said = []
    for protocol in PROTOCOLS:
        scores = [(value, name) for name, run in named if (value := _trained(run, protocol))]
        scores.sort(key=lambda pair: -pair[0].mean)
        if len(scores) > 1:
            said.append(f"{_protocol(named, protocol)}: {_first(scores, named, protocol)}.")
    data = dict.fromkeys(data_name(run) for _, run in named)
    if len(data) > 1:
        said.append(f"These runs learnt from different data ({', '.join(data)}): their figures do not compare.")
    unfinished = [name for name, run in named if not run.finished]
    if unfinished:
        said.append(f"Not finished: {', '.join(unfinished)}.")
    return said


def _first(scores: Sequence[tuple[Score, str]], named: Named, protocol: str) -> str:
    """Say who is first, by how much, and whether that is more than the noise of draws or test data."""
    (best, name), (second, other) = scores[:2]
    gap = best.mean - second.mean
    if round(1000 * gap) == 0:
        return f"{name} and {other} are level at {best}"
    said = f"{name} is first with {best}, {points(gap)} above {other}"
    if protocol == "few_labels":
        return said + (", within the spread of the draws" if gap <= max(best.spread or 0, second.spread or 0) else "")
    tests = [finite(run.section("evaluation").get("test_samples")) for _, run in named]
    test = min((size for size in tests if size), default=None)
    error = math.sqrt(best.mean * (1.0 - best.mean) / test) if test else 0.0
    within = f", within one standard error of {count(test, 'test sample')}" if test and gap <= error else ""
    return said + within


@dataclass(frozen=True)
class Column:
    """A figure of every run: its values, how they are written, and whether the highest is the best."""

    title: str
    values: Sequence[float | None]
    shown: Sequence[str]
    ranked: bool = False

    def cell(self, place: int) -> str:
        """Return the cell of one run; bold when it is the best of several."""
        known = [value for value in self.values if value is not None]
        best = self.ranked and len(known) > 1 and self.values[place] == max(known)
        return f"<b>{text(self.shown[place])}</b>" if best else text(self.shown[place])


def _columns(named: Named) -> list[Column]:
    runs = [run for _, run in named]

    def column(title: str, measure: Measure, show: Callable[[float], str], *, ranked: bool = False) -> Column:
        values = [measure(run) for run in runs]
        return Column(title, values, ["" if value is None else show(value) for value in values], ranked)

    found = []
    for protocol in PROTOCOLS:
        scores = [_trained(run, protocol) for run in runs]
        shown = [str(value or "") for value in scores]
        means = [value.mean if value else None for value in scores]
        found.append(Column(_protocol(named, protocol), means, shown, ranked=True))
    found.append(column("gain over untrained, points", gain, _signed, ranked=True))
    found.append(column("loss above its floor", excess, number))
    if None in found[-1].values:
        found.append(column("loss", lambda run: last_epoch(run, "loss"), number))
    found.append(column("effective rank", lambda run: label_free(run, "effective_rank"), number))
    found.append(column("invariance share", lambda run: label_free(run, "invariance_share"), percent))
    found.append(column("training time", seconds_of_training, duration))
    return [column for column in found if any(column.shown)]


def _figures(named: Named, out: Path) -> str:
    """Return the table of all runs; the best of each column is bold."""
    columns = _columns(named)
    lines = [
        [
            _link(name, run, out),
            text(data_name(run)),
            text(epochs(run)),
            *(column.cell(place) for column in columns),
        ]
        for place, (name, run) in enumerate(named)
    ]
    head = ["run", "data", "length", *(text(column.title) for column in columns)]
    reading = (
        "One line per run, the highest accuracy in bold; losses compare only at equal batch size, width and "
        "redundancy weight, what lies above the floor compares better."
    )
    return section("figures", "Figures", reading, table(head, lines))


def _bars(named: Named) -> str:
    groups = []
    for protocol in PROTOCOLS:
        found = [(name, _trained(run, protocol), place) for place, (name, run) in enumerate(named)]
        bars = [
            Bar(name, value.mean, str(value), bar_color(place), value.spread) for name, value, place in found if value
        ]
        groups += [(_protocol(named, protocol), bars)] if bars else []
    chart = bar_chart("Accuracy of the trained features on test data", groups)
    return section("accuracy", "Accuracy", "Longer is better; ± is the standard deviation over draws of labels.", chart)


def _curves(named: Named) -> str:
    above = _overlay("Excess: loss − floor", named, lambda run: run.curve("step", "excess"))
    total = _overlay("Loss", named, lambda run: run.curve("step", "loss"))
    reading = "Moving averages over the epochs: the lower and the sooner the better, among runs with the same loss."
    return section("loss", "Loss", reading, above, total)


def probes_together(named: Named, reading: str = "The figures taken between epochs, over each other.") -> str:
    """Return the section of the figures that runs took between epochs."""
    figures = dict.fromkeys(figure for _, run in named for figure in run.names("probe", "figures"))
    charts = []
    for figure in figures:
        title = PROBE_NAMES.get(figure, figure.replace("_", " "))
        factor = 100.0 if title.endswith("%") else 1.0

        def values(run: Run, figure: str = figure, factor: float = factor) -> Curve:
            x, y = run.curve("probe", "figures", figure)
            return x, factor * y

        charts.append(_overlay(title, named, values, smoothed=False))
    return section("probes", "During training", reading, grid(*charts))


def _overlay(title: str, named: Named, curve: Callable[[Run], Curve], *, smoothed: bool = True) -> str:
    lines = [
        Line(name, *curve(run), color=bar_color(place), dashed=place >= COLORS)
        for place, (name, run) in enumerate(named)
    ]
    values = [value for line in lines for value in line.y]
    height = max(260, 16 * len(lines))
    return line_chart(title, lines, x_name="epochs", log=wants_log(values), smoothed=smoothed, height=height)


def recipe_differences_of(named: Named) -> str:
    """Return the section of the fields and versions that are not the same in all runs."""
    fields = [name for name in dict.fromkeys(key for _, run in named for key in run.recipe) if name not in ABOUT]
    lines = []
    for field in fields:
        values = [run.recipe.get(field, "") for _, run in named]
        if any(value != values[0] for value in values[1:]):
            lines.append([f"<code>{text(field)}</code>", *(text(value) for value in values)])
    versions = [mapping(run.start.get("versions")) for _, run in named]
    for library in dict.fromkeys(name for version in versions for name in version):
        found = [str(version.get(library, "")) for version in versions]
        if len(set(found)) > 1:
            lines.append([f"{text(library)} version", *(text(value) for value in found)])
    head = ["field", *(text(name) for name, _ in named)]
    same = "" if lines or len(named) < 2 else "<p>None: the recipes are equal.</p>"
    reading = "Only what is not the same in all runs; differences in the figures come from here or from chance."
    return section("recipes", "Where the recipes differ", reading, table(head, lines) if lines else same)


def _trained(run: Run, protocol: str) -> Score | None:
    return next((score(row, protocol) for row in rows(run) if row["features"] == "trained"), None)


def gain(run: Run) -> float | None:
    """Return what training added, on few labels where they were measured, else on the linear probe."""
    found = {str(row["features"]): row for row in rows(run)}
    for protocol in PROTOCOLS:
        trained, untrained = (score(found.get(name, {}), protocol) for name in ("trained", "untrained"))
        if trained and untrained:
            return trained.mean - untrained.mean
    return None


def _signed(difference: float) -> str:
    return f"{'+' if difference >= 0 else '−'}{100 * abs(difference):.1f}"


def _protocol(named: Named, protocol: str) -> str:
    return next((protocol_name(protocol, run) for _, run in named if _trained(run, protocol)), protocol)


def bar_color(place: int) -> str:
    """Return the colour class of a run by its place in the list."""
    return f"c{place % COLORS + 1}"


def _link(name: str, run: Run, out: Path) -> str:
    page = run.folder / "report.html"
    if not page.is_file():
        return text(name)
    return f'<a href="{text(Path(os.path.relpath(page, out.parent)).as_posix())}">{text(name)}</a>'


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with as much of their paths as makes them different."""
    whole = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in whole)):
        names = ["/".join(path.parts[-depth:]) for path in whole]
        if len(set(names)) == len(set(whole)):
            return names
    return [str(path) for path in whole]
