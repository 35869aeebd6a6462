"""Runs side by side on one page: single runs, or recipes whose runs differ in their seed. No torch.

entries (a run, or the runs of a recipe) -> rows (mean and spread of every figure) -> page
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from barlow.formats import Number, count, duration, number, points, text, with_spread
from barlow.recipes import ABOUT, flat
from barlow.report.charts import Bar, Line, bar_chart, line_chart
from barlow.report.page import contents, write_page
from barlow.report.plot import wants_log
from barlow.report.run_folder import Curve, RunFiles, finite, is_run, mapping, read_run
from barlow.report.sections import PROBE_NAMES, grid, section, table
from barlow.report.words import (
    AS_THEY_ARE,
    PROTOCOLS,
    Accuracy,
    accuracy,
    data_name,
    epochs,
    excess,
    from_weights,
    gain,
    label_free,
    last_epoch,
    protocol_name,
    raw_names,
    rows,
    seconds_of_training,
)

NETWORK = ("backbone", "width", "stem", "zero_init", "pretrained", "image_size")
"""Fields of a recipe that make two untrained networks of one seed different."""
COLORS = 8
"""Colour classes of the style sheet; the ninth entry gets the first colour again, its curves dashed."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """What is set beside others: a run, or the runs of one recipe over several seeds.

    Attributes:
        runs: by seed, those that have something to show.
        epochs: passes over the data.
        images: samples that a whole run sees, repeats included; 0 where nobody knows.
        peak_memory: bytes in the calibration; 0 where nobody knows.
        failures: why runs broke off, by seed.
    """

    name: str
    runs: Mapping[int, RunFiles]
    epochs: int | float = 0
    images: int = 0
    peak_memory: int = 0
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def first(self) -> RunFiles:
        """The run that is shown where one has to stand for all."""
        return next(iter(self.runs.values()))


def finished_runs(folders: Mapping[int, Path]) -> dict[int, RunFiles]:
    """Return the runs that have their figures, by seed."""
    found = {seed: read_run(folder, arrays=False) for seed, folder in folders.items() if is_run(folder)}
    return {seed: run for seed, run in found.items() if run.summary}


@dataclass(frozen=True)
class Figure:
    """One column.

    Attributes:
        show: mean and spread, None where there is none -> what people read.
        measure: run and kind of features -> value; None: it is a number of the entry, such as its memory.
        ranked: the highest is the best.
    """

    title: str
    show: Callable[[Number, Number | None], str]
    measure: Callable[[RunFiles, str], Accuracy | float | None] | None = None
    ranked: bool = False


def _accuracy(protocol: str, run: RunFiles, features: str) -> Accuracy | None:
    return accuracy(next((row for row in rows(run) if row["features"] == features), {}), protocol)


def _label_free(name: str, run: RunFiles, features: str) -> float | None:
    if features == "trained":
        return label_free(run, name)
    return finite(run.section("label_free").get(f"{name}_{features}"))


def _of_trained(measure: Callable[[RunFiles], float | None], run: RunFiles, features: str) -> float | None:
    return measure(run) if features == "trained" else None


def _number(mean: Number, spread: Number | None) -> str:
    return number(mean) + ("" if spread is None else f" ± {number(spread, 2)}")


def _signed_points(mean: Number, spread: Number | None) -> str:
    return f"{'+' if mean >= 0 else '−'}{100 * abs(mean):.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


FIGURES: Mapping[str, Figure] = {
    "few_labels": Figure("few labels", with_spread, partial(_accuracy, "few_labels"), ranked=True),
    "linear": Figure("linear", with_spread, partial(_accuracy, "linear"), ranked=True),
    "knn": Figure("kNN", with_spread, partial(_accuracy, "knn"), ranked=True),
    "gain": Figure("gain over untrained, points", _signed_points, partial(_of_trained, gain), ranked=True),
    "excess": Figure("loss above its floor", _number, partial(_of_trained, excess)),
    "loss": Figure("loss", _number, partial(_of_trained, lambda run: last_epoch(run, "loss"))),
    "effective_rank": Figure("effective rank", _number, partial(_label_free, "effective_rank")),
    "invariance_share": Figure("invariance share", with_spread, partial(_label_free, "invariance_share")),
    "images": Figure("samples seen", lambda images, _: number(images, 12)),
    "seconds": Figure("training time", lambda seconds, _: duration(seconds), partial(_of_trained, seconds_of_training)),
    "peak_memory": Figure("peak memory", lambda memory, _: f"{number(memory / 2**20)} MiB"),
}
"""By what a row calls them, in the order of the page's columns."""
COLUMNS: Mapping[str, str] = {
    name: FIGURES[name].title
    for name in ("few_labels", "linear", "knn", "images", "seconds", "peak_memory", "effective_rank")
}
"""Titles of the figures that the terminal has room for."""


def rows_of(entries: Sequence[Entry], *, over_seeds: bool = True) -> list[Row]:
    """Return one row per entry, per network before training, and one for raw samples, as JSON holds them.

    A row has "name", "kind" ("trained", "untrained", or what raw samples are called: "raw pixels"), "seeds" (those with
    figures), and of `FIGURES` those that were measured, as {"mean", "std", "values"}; "std" is None where none is
    known. With `over_seeds` the spread of a figure is that over the seeds of an entry, else that of its one run over
    draws of labels.
    """
    found: list[Row] = []
    for entry in entries:
        numbers = {"epochs": entry.epochs, "images": entry.images, "peak_memory": entry.peak_memory}
        failed = {str(seed): reason for seed, reason in entry.failures.items()}
        found.append(
            {"name": entry.name, "kind": "trained", **_figures(entry, "trained", over_seeds)}
            | numbers
            | {"failed": failed}
            | ({"started": _figures(entry, "untrained", over_seeds)} if _started(entry) else {})
        )
    several_data = len({data_name(entry.first) for entry in entries if entry.runs}) > 1
    raw = dict.fromkeys(name for entry in entries if entry.runs for name in raw_names(entry.first))
    for kind, fields in (("untrained", NETWORK), *((name, ("image_size",)) for name in raw)):
        networks: dict[tuple[str, ...], Entry] = {}
        for entry in entries:
            if entry.runs:
                of = (data_name(entry.first), *(str(entry.first.recipe.get(name)) for name in fields))
                networks.setdefault(of, entry)
        for entry in networks.values():
            figures = _figures(entry, kind, over_seeds)
            if len(figures) > 1:
                told_apart = _network(entry.first, kind, several_data) if len(networks) > 1 else []
                found.append({"name": ", ".join([kind, *told_apart]), "kind": kind, **figures})
    return found


def _started(entry: Entry) -> bool:
    return bool(entry.runs) and from_weights(entry.first)


def _figures(entry: Entry, features: str, over_seeds: bool) -> Row:
    """Means and spreads of what was measured of one kind of features."""
    found: Row = {"seeds": list(entry.runs)}
    for name, figure in FIGURES.items():
        taken = [figure.measure(run, features) for run in entry.runs.values()] if figure.measure else []
        known = [one if isinstance(one, Accuracy) else Accuracy(one) for one in taken if one is not None]
        if known:
            values = [one.mean for one in known]
            seeds = stdev(values) if len(values) > 1 else None
            found[name] = {"mean": fmean(values), "std": seeds if over_seeds else known[0].spread, "values": values}
    return found


def _network(run: RunFiles, kind: str, several_data: bool) -> list[str]:
    """What tells this row from others of its kind."""
    side = run.recipe.get("image_size")
    called = [f"{side} pixels"] if side else []
    if kind == "untrained" and from_weights(run):
        called.insert(0, f"{run.recipe.get('backbone')}, {AS_THEY_ARE}")
    elif kind == "untrained":
        called.insert(0, f"{run.recipe.get('backbone')} w{run.recipe.get('width')}")
    return called + ([data_name(run)] if several_data else [])


def shown(row: Mapping[str, Any], figure: str) -> str:
    """Return a figure of a row as people read it, empty where there is none."""
    value = row.get(figure)
    if not value:
        return ""
    mean, spread = (value["mean"], value["std"]) if isinstance(value, Mapping) else (value, None)
    return FIGURES[figure].show(mean, spread)


def compare_reports(folders: Sequence[Path], out: Path) -> Path:
    """Write one page that compares run folders, in the order given, as `barlow report A B ...` does."""
    if not folders:
        raise ValueError("folders: got none, wanted at least one run folder")
    runs = [read_run(Path(folder), arrays=False) for folder in folders]
    names = _short_names([run.folder for run in runs])
    entries = [Entry(name, {0: run}) for name, run in zip(names, runs, strict=True)]
    found = rows_of(entries, over_seeds=False)
    said = findings(entries, found, over_seeds=False)
    return _write(f"{count(len(runs), 'run')} compared", said, entries, found, Path(out), over_seeds=False)


def write_side_by_side(comparison: Mapping[str, Any], entries: Sequence[Entry], out: Path) -> Path:
    """Write the page of `barlow compare`: `comparison` is as in `compare.json`, with the "rows" of `rows_of`."""
    title = f"{count(len(entries), 'recipe')} on {Path(str(comparison['data'])).name}"
    return _write(title, sentences(comparison, entries), entries, comparison["rows"], out, over_seeds=True)


def _write(
    title: str, said: Sequence[str], entries: Sequence[Entry], found: Sequence[Row], out: Path, *, over_seeds: bool
) -> Path:
    with_runs = [entry for entry in entries if entry.runs]
    whose = " One run of each recipe, its first seed." if over_seeds else ""
    parts = [
        _table(entries, found, out, over_seeds),
        _bars(entries, found, over_seeds),
        _curves(entries, whose),
        _probes(entries, whose),
        _differences(with_runs) if with_runs else "",
    ]
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in said)
    header = f'<header><h1>{text(title)}</h1><ul class="said">{items}</ul>{contents(parts)}</header>'
    return write_page(out, title, header + "".join(parts))


def sentences(comparison: Mapping[str, Any], entries: Sequence[Entry]) -> list[str]:
    """Return the budget of a comparison of recipes, what was found, and what is missing or failed."""
    lines = [row for row in comparison["rows"] if row["kind"] == "trained"]
    said = [_budget(comparison, lines), *findings(entries, comparison["rows"], over_seeds=True)]
    missing = [
        f"{row['name']} ({count(len(row['seeds']), 'seed')} done)"
        for row in lines
        if len(row["seeds"]) < len(comparison["seeds"])
    ]
    if missing:
        said.append(f"Not all seeds have figures: {', '.join(missing)}.")
    return said + failed_runs(lines)


def findings(entries: Sequence[Entry], found: Sequence[Row], *, over_seeds: bool) -> list[str]:
    """Return who is first and by how much, what fails to beat the untrained network, and what forbids comparing."""
    lines = [row for row in found if row["kind"] == "trained"]
    runs = [run for entry in entries for run in entry.runs.values()]
    tests = [finite(run.section("evaluation").get("test_samples")) for run in runs]
    num_test = min((size for size in tests if size), default=0.0)
    said = []
    for protocol in PROTOCOLS:
        ranked = sorted((row for row in lines if protocol in row), key=lambda row: -float(row[protocol]["mean"]))
        if len(ranked) > 1:
            best, second = ranked[:2]
            noise = _seed_noise(best, second, protocol) if over_seeds else _noise(best, second, protocol, num_test)
            said.append(f"{_protocol(protocol, runs)}: {_first(best, second, protocol, noise)}.")
    said += weights_were_worth(found)
    beaten = [row["name"] for row in lines if "gain" in row and row["gain"]["mean"] <= 0]
    if beaten:
        said.append(f"Not better than the same network untrained: {', '.join(beaten)}.")
    data = dict.fromkeys(data_name(run) for run in runs)
    if len(data) > 1:
        said.append(f"These runs learnt from different data ({', '.join(data)}): their figures do not compare.")
    unfinished = [entry.name for entry in entries if not all(run.finished for run in entry.runs.values())]
    if unfinished:
        said.append(f"Not finished: {', '.join(unfinished)}.")
    return said


def weights_were_worth(found: Sequence[Row]) -> list[str]:
    """Return what continued pretraining did to the weights that recipes started from, a sentence each.

    Rows of such recipes have "started", the figures of the weights as they were on the same draws and test data; what
    is compared are means over seeds, on few labels where there are some.
    """
    said = []
    for row in found:
        for protocol in PROTOCOLS:
            before, after = mapping(row.get("started")).get(protocol), row.get(protocol)
            if before and after:
                change = after["mean"] - before["mean"]
                spread = max(after["std"] or 0.0, before["std"] or 0.0)
                verdict = "made the weights worse" if change < 0 else "made the weights better"
                verdict = verdict if abs(change) > spread else "changed the weights by no more than chance"
                said.append(
                    f"{row['name']}: continued pretraining {verdict}: {shown(row, protocol)}, as they were "
                    f"{FIGURES[protocol].show(before['mean'], before['std'])} ({FIGURES[protocol].title})."
                )
                break
    return said


def failed_runs(lines: Sequence[Row]) -> list[str]:
    """Return why runs broke off or could not begin, one sentence for the seeds of a recipe that share a reason."""
    said = []
    for row in lines:
        seeds: dict[str, list[str]] = {}
        for seed, why in row.get("failed", {}).items():
            seeds.setdefault(why, []).append(seed)
        for why, which in seeds.items():
            said.append(f"{row['name']}, seed{'s' * (len(which) > 1)} {', '.join(which)}: {why}")
    return said


def _budget(comparison: Mapping[str, Any], lines: Sequence[Row]) -> str:
    if comparison["minutes"]:
        took = [value for row in lines for value in mapping(row.get("seconds")).get("values", ())]
        measured = f"; it took {duration(min(took))} to {duration(max(took))}" if took else ""
        return f"Every run was planned to pretrain for {duration(60 * comparison['minutes'])}{measured}."
    seen = [row["images"] for row in lines if row["images"]] or [0]  # none where a recipe was refused
    amount = number(seen[0], 12) if min(seen) == max(seen) else f"{number(min(seen), 12)} to {number(max(seen), 12)}"
    return f"Every run sees {amount} samples, repeats included."


def _first(best: Row, second: Row, protocol: str, noise: str) -> str:
    """Say who is first, by how much, and whether that may be noise."""
    gap = best[protocol]["mean"] - second[protocol]["mean"]
    if round(1000 * gap) == 0:
        return f"{best['name']} and {second['name']} are level at {shown(best, protocol)}"
    return f"{best['name']} is first with {shown(best, protocol)}, {points(gap)} above {second['name']}{noise}"


def _seed_noise(best: Row, second: Row, protocol: str) -> str:
    if len(best["seeds"]) < 2 or len(second["seeds"]) < 2:
        return " (one seed: no spread is known)"
    return ", within the spread over seeds" if _gap_within_spread(best, second, protocol) else ""


def _noise(best: Row, second: Row, protocol: str, num_test: float) -> str:
    """What a gap between two runs may come from: the draws of few labels, or the size of the test data."""
    if protocol == "few_labels":
        return ", within the spread of the draws" if _gap_within_spread(best, second, protocol) else ""
    mean = best[protocol]["mean"]
    error = math.sqrt(mean * (1.0 - mean) / num_test) if num_test else -1.0
    within = mean - second[protocol]["mean"] <= error
    return f", within one standard error of {count(num_test, 'test sample')}" if within else ""


def _gap_within_spread(best: Row, second: Row, protocol: str) -> bool:
    spread = max(best[protocol]["std"] or 0.0, second[protocol]["std"] or 0.0)
    return bool(best[protocol]["mean"] - second[protocol]["mean"] <= spread)


def _protocol(protocol: str, runs: Sequence[RunFiles]) -> str:
    measured = (run for run in runs if _accuracy(protocol, run, "trained"))
    return next((protocol_name(protocol, run) for run in measured), protocol.replace("_", " "))


def _table(entries: Sequence[Entry], found: Sequence[Row], out: Path, over_seeds: bool) -> str:
    """Return the table of all rows; the best of a column is bold where there are several."""
    trained = [row for row in found if row["kind"] == "trained"]
    columns = [name for name in FIGURES if any(shown(row, name) for row in found)]
    if "loss" in columns and all("excess" in row for row in trained):
        columns.remove("loss")
    best = {}
    for name in columns:
        means = [row[name]["mean"] for row in found if name in row] if FIGURES[name].ranked else []
        best[name] = max(means) if len(means) > 1 else None
    cells = []
    for place, row in enumerate(found):
        cell = _about(row, entries[place] if place < len(entries) else None, out, over_seeds)
        for name in columns:
            value = text(shown(row, name))
            first = best[name] is not None and name in row and row[name]["mean"] == best[name]
            cell.append(f"<b>{value}</b>" if first else value)
        cells.append(cell)
    runs = [run for entry in entries for run in entry.runs.values()]
    titles = [_protocol(name, runs) if name in PROTOCOLS else FIGURES[name].title for name in columns]
    head = ["", "seeds" if over_seeds else "data", "length", *map(text, titles)]
    explanation = "Mean ± standard deviation over seeds" if over_seeds else "One line per run"
    explanation += (
        ", the highest accuracy in bold; losses compare only at equal batch size, width and redundancy weight, what "
        "lies above the floor compares better."
    )
    if over_seeds:
        explanation += " Peak memory is that of the process after some steps of the calibration."
    return section("figures", "Side by side", explanation, table(head, cells))


def _about(row: Row, entry: Entry | None, out: Path, over_seeds: bool) -> list[str]:
    """The cells before the figures: name, seeds or data, and length, with links to the pages of the runs."""
    if over_seeds:
        runs = {} if entry is None else entry.runs
        links = [_link(str(seed), runs[seed], out) if seed in runs else str(seed) for seed in row["seeds"]]
        return [text(row["name"]), " ".join(links), text(epochs(entry.first)) if entry and entry.runs else ""]
    if entry is None:
        return [text(row["name"]), "", ""]
    return [_link(entry.name, entry.first, out), text(data_name(entry.first)), text(epochs(entry.first))]


def _link(name: str, run: RunFiles, out: Path) -> str:
    page = run.folder / "report.html"
    if not page.is_file():
        return text(name)
    return f'<a href="{text(Path(os.path.relpath(page, out.parent)).as_posix())}">{text(name)}</a>'


def _bars(entries: Sequence[Entry], found: Sequence[Row], over_seeds: bool) -> str:
    groups = []
    runs = [run for entry in entries for run in entry.runs.values()]
    for protocol in PROTOCOLS:
        bars = [
            Bar(row["name"], row[protocol]["mean"], shown(row, protocol), _color(place, row), row[protocol]["std"])
            for place, row in enumerate(found)
            if protocol in row
        ]
        groups += [(_protocol(protocol, runs), bars)] if bars else []
    over = "seeds" if over_seeds else "draws of labels"
    explanation = f"Longer is better; ± is the standard deviation over {over}."
    return section("accuracy", "Accuracy", explanation, bar_chart("Accuracy on test data", groups))


def _color(place: int, row: Mapping[str, Any] | None = None) -> str:
    """The colour class of an entry by its place in the list; rows for comparison are quiet."""
    return f"c{place % COLORS + 1}" if row is None or row["kind"] == "trained" else "quiet"


def _curves(entries: Sequence[Entry], whose: str) -> str:
    above = _overlay("Excess: loss − floor", entries, lambda run: run.curve("step", "excess"))
    total = _overlay("Loss", entries, lambda run: run.curve("step", "loss"))
    explanation = "Moving averages over the epochs: the lower and the sooner the better, among runs with the same loss."
    return section("loss", "Loss", explanation + whose, above, total)


def _probes(entries: Sequence[Entry], whose: str) -> str:
    """The figures that runs took between epochs."""
    firsts = [entry.first for entry in entries if entry.runs]
    charts = []
    for figure in dict.fromkeys(figure for run in firsts for figure in run.names("probe", "figures")):
        title = PROBE_NAMES.get(figure, figure.replace("_", " "))
        factor = 100.0 if title.endswith("%") else 1.0

        def values(run: RunFiles, figure: str = figure, factor: float = factor) -> Curve:
            x, y = run.curve("probe", "figures", figure)
            return x, factor * y

        charts.append(_overlay(title, entries, values, smoothed=False))
    explanation = "The figures taken between epochs, over each other."
    return section("probes", "During training", explanation + whose, grid(*charts))


def _overlay(title: str, entries: Sequence[Entry], curve: Callable[[RunFiles], Curve], *, smoothed: bool = True) -> str:
    lines = [
        Line(entry.name, *curve(entry.first), color=_color(place), dashed=place >= COLORS)
        for place, entry in enumerate(entries)
        if entry.runs
    ]
    values = [value for line in lines for value in line.y]
    height = max(260, 16 * len(lines))
    return line_chart(title, lines, x_name="epochs", log=wants_log(values), smoothed=smoothed, height=height)


def _differences(entries: Sequence[Entry]) -> str:
    """The fields and versions that are not the same in the first runs of all entries."""
    runs = [entry.first for entry in entries]
    recipes = [flat(run.recipe) for run in runs]
    values = {
        f"<code>{text(name)}</code>": [recipe.get(name, "") for recipe in recipes]
        for name in dict.fromkeys(name for recipe in recipes for name in recipe)
        if name not in ABOUT
    }
    versions = [mapping(run.start.get("versions")) for run in runs]
    for library in dict.fromkeys(name for version in versions for name in version):
        values[f"{text(library)} version"] = [str(version.get(library, "")) for version in versions]
    differing = {name: found for name, found in values.items() if any(value != found[0] for value in found[1:])}
    lines = [[name, *map(text, found)] for name, found in differing.items()]
    head = ["field", *(text(entry.name) for entry in entries)]
    same = "" if lines or len(entries) < 2 else "<p>None: the recipes are equal.</p>"
    explanation = "Only what is not the same in all runs; differences in the figures come from here or from chance."
    return section("recipes", "Where the recipes differ", explanation, table(head, lines) if lines else same)


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, with as much of their paths as makes them different."""
    whole = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in whole)):
        names = ["/".join(path.parts[-depth:]) for path in whole]
        if len(set(names)) == len(set(whole)):
            return names
    return [str(path) for path in whole]
