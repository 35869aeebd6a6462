"""Recipes side by side: their runs over several seeds become one table of means and spreads, and one page.

No torch: everything is read from the run folders.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from barlow.report.charts import Bar, bar_chart
from barlow.report.compare import bar_color, gain, probes_together, recipe_differences_of
from barlow.report.formats import count, duration, number, points, text, with_spread
from barlow.report.page import contents, write_page
from barlow.report.run_folder import Run, finite, mapping, read_run
from barlow.report.sections import section, table
from barlow.report.words import PROTOCOLS, label_free, protocol_name, rows, score, seconds_of_training

NETWORK = ("backbone", "width", "stem", "zero_init", "pretrained", "image_size")
"""Fields of a recipe that make two untrained networks of one seed different."""
FIGURES = (*PROTOCOLS, "gain", "seconds", "effective_rank")
"""What a row holds with mean and spread over seeds; "gain" is what training added to few labels."""
Row = dict[str, Any]
Runs = Mapping[int, Run]
"""Finished runs of one recipe by seed."""


@dataclass(frozen=True)
class Arm:
    """One recipe of a comparison.

    Attributes:
        name: what it is called.
        folders: run folder by seed, of runs that may not have begun.
        epochs: passes over the data.
        images: images that a whole run sees, repeats included.
        peak_memory: bytes in the calibration; 0 where nobody knows.
        failures: why runs broke off, by seed.
    """

    name: str
    folders: Mapping[int, Path]
    epochs: int | float
    images: int
    peak_memory: int
    failures: dict[int, str]


def side_by_side(arms: Sequence[Arm]) -> list[Row]:
    """Return one row per recipe, per network before training, and one for raw pixels.

    Args:
        arms: the recipes.

    Returns:
        Rows as JSON holds them: "name", "kind" ("trained", "untrained", "raw pixels"), "seeds" (those with figures),
        and of `FIGURES` those that were measured, as {"mean", "std", "values"}; "std" is None for a single seed.
    """
    finished = {arm.name: _finished(arm) for arm in arms}
    found = [
        {
            "name": arm.name,
            "kind": "trained",
            **_figures(finished[arm.name], "trained"),
            "epochs": arm.epochs,
            "images": arm.images,
            "peak_memory": arm.peak_memory,
            "failed": {str(seed): reason for seed, reason in arm.failures.items()},
        }
        for arm in arms
    ]
    for kind, fields in (("untrained", NETWORK), ("raw pixels", ("image_size",))):
        groups: dict[tuple[str, ...], Runs] = {}
        for runs in finished.values():
            for run in list(runs.values())[:1]:
                groups.setdefault(tuple(str(run.recipe.get(field)) for field in fields), runs)
        for runs in groups.values():
            figures = _figures(runs, kind)
            if any(figure in figures for figure in FIGURES):
                first = next(iter(runs.values()))
                name = kind if len(groups) == 1 else f"{kind}, {_network(first, kind)}"
                found.append({"name": name, "kind": kind, **figures})
    return found


def write_side_by_side(comparison: Mapping[str, Any], arms: Sequence[Arm], out: Path) -> Path:
    """Write the page of a comparison.

    Args:
        comparison: as in `compare.json`: "data", "minutes", "images" and the "rows" of `side_by_side`.
        arms: the recipes.
        out: the HTML file to write.

    Returns:
        `out`.
    """
    firsts = [(arm.name, next(iter(runs.values()))) for arm in arms if (runs := _finished(arm))]
    parts = [
        _table(comparison["rows"], arms, [run for _, run in firsts], out),
        _bars(comparison["rows"], [run for _, run in firsts]),
        probes_together(firsts, "One run of each recipe, its first seed, over each other.") if firsts else "",
        recipe_differences_of(firsts) if firsts else "",
    ]
    title = f"{count(len(arms), 'recipe')} on {Path(str(comparison['data'])).name}"
    said = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences(comparison, firsts))
    header = f'<header><h1>{text(title)}</h1><ul class="said">{said}</ul>{contents(parts)}</header>'
    return write_page(out, title, header + "".join(parts))


def sentences(comparison: Mapping[str, Any], firsts: Sequence[tuple[str, Run]]) -> list[str]:
    """Return what was compared, who is first and by how much, what fails to beat the untrained network."""
    lines = [row for row in comparison["rows"] if row["kind"] == "trained"]
    said = [_budget(comparison, lines)]
    for protocol in PROTOCOLS:
        ranked = sorted((row for row in lines if protocol in row), key=lambda row: -float(row[protocol]["mean"]))
        if len(ranked) > 1:
            said.append(f"{_protocol(protocol, [run for _, run in firsts])}: {_first(ranked, protocol)}.")
    beaten = [row["name"] for row in lines if "gain" in row and row["gain"]["mean"] <= 0]
    if beaten:
        said.append(f"Not better than the same network untrained: {', '.join(beaten)}.")
    missing = [f"{row['name']} ({_seeds(row)})" for row in lines if len(row["seeds"]) < len(comparison["seeds"])]
    if missing:
        said.append(f"Not all seeds have figures: {', '.join(missing)}.")
    return said + failed_runs(lines)


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


def shown(row: Mapping[str, Any], figure: str) -> str:
    """Return a figure of a row as people read it, empty where there is none."""
    if figure == "images":
        return number(row["images"], 12) if row.get("images") else ""
    if figure == "peak_memory":
        return f"{number(row['peak_memory'] / 2**20)} MiB" if row.get("peak_memory") else ""
    if figure not in row:
        return ""
    mean, std = row[figure]["mean"], row[figure]["std"]
    if figure == "seconds":
        return duration(mean)
    if figure == "effective_rank":
        return number(mean) + ("" if std is None else f" ± {number(std, 2)}")
    return with_spread(mean, std)


COLUMNS = {
    "few_labels": "few labels",
    "linear": "linear",
    "knn": "kNN",
    "images": "images seen",
    "seconds": "time",
    "peak_memory": "peak memory",
    "effective_rank": "effective rank",
}
"""Columns of the table by what a row calls them."""


def _finished(arm: Arm) -> Runs:
    runs = {seed: read_run(folder) for seed, folder in arm.folders.items() if (folder / "summary.json").is_file()}
    return {seed: run for seed, run in runs.items() if run.summary}


def _figures(runs: Runs, features: str) -> Row:
    """Means and spreads over the seeds of what was measured of one kind of features."""

    def over_seeds(measure: Callable[[Run], float | None]) -> Row:
        values = [value for run in runs.values() if (value := measure(run)) is not None]
        return (
            {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "values": values}
            if values
            else {}
        )

    def accuracy(protocol: str) -> Callable[[Run], float | None]:
        def measure(run: Run) -> float | None:
            row = next((row for row in rows(run) if row["features"] == features), {})
            found = score(row, protocol)
            return found.mean if found else None

        return measure

    found = {protocol: over_seeds(accuracy(protocol)) for protocol in PROTOCOLS}
    if features == "trained":
        found["gain"] = over_seeds(gain)
        found["seconds"] = over_seeds(seconds_of_training)
        found["effective_rank"] = over_seeds(lambda run: label_free(run, "effective_rank"))
    elif features == "untrained":
        found["effective_rank"] = over_seeds(
            lambda run: finite(run.section("label_free").get("effective_rank_untrained"))
        )
    return {"seeds": list(runs)} | {figure: value for figure, value in found.items() if value}


def _network(run: Run, kind: str) -> str:
    size = f"{run.recipe.get('image_size')} pixels"
    return size if kind == "raw pixels" else f"{run.recipe.get('backbone')} w{run.recipe.get('width')}, {size}"


def _table(lines: Sequence[Row], arms: Sequence[Arm], runs: Sequence[Run], out: Path) -> str:
    best = {
        protocol: max((row[protocol]["mean"] for row in lines if protocol in row), default=None)
        for protocol in PROTOCOLS
    }
    folders = {arm.name: arm.folders for arm in arms}
    cells = []
    for row in lines:
        cell = [text(row["name"]), _links(row, folders, out)]
        for figure in COLUMNS:
            value = text(shown(row, figure))
            first = figure in best and figure in row and row[figure]["mean"] == best[figure]
            cell.append(f"<b>{value}</b>" if first else value)
        cells.append(cell)
    names = {"few_labels": _protocol("few_labels", runs)}
    head = ["", "seeds", *(text(names.get(figure, title)) for figure, title in COLUMNS.items())]
    reading = (
        "Mean ± standard deviation over seeds, the highest accuracy in bold. Time is that of pretraining as it was "
        "measured; peak memory that of the process after some steps of the calibration."
    )
    return section("figures", "Side by side", reading, table(head, cells))


def _bars(lines: Sequence[Row], runs: Sequence[Run]) -> str:
    groups = []
    for protocol in PROTOCOLS:
        bars = [
            Bar(row["name"], row[protocol]["mean"], shown(row, protocol), _color(row, place), row[protocol]["std"])
            for place, row in enumerate(lines)
            if protocol in row
        ]
        groups += [(_protocol(protocol, runs), bars)] if bars else []
    reading = "Longer is better; ± is the standard deviation over seeds."
    return section("accuracy", "Accuracy", reading, bar_chart("Accuracy on test data", groups))


def _color(row: Row, place: int) -> str:
    return bar_color(place) if row["kind"] == "trained" else "quiet"


def _links(row: Row, folders: Mapping[str, Mapping[int, Path]], out: Path) -> str:
    links = []
    for seed in row["seeds"]:
        page = folders.get(row["name"], {}).get(seed, Path()) / "report.html"
        known = row["kind"] == "trained" and page.is_file()
        where = text(Path(os.path.relpath(page, out.parent)).as_posix()) if known else ""
        links.append(f'<a href="{where}">{seed}</a>' if known else str(seed))
    return " ".join(links)


def _budget(comparison: Mapping[str, Any], lines: Sequence[Row]) -> str:
    if comparison["minutes"]:
        took = [value for row in lines for value in mapping(row.get("seconds")).get("values", ())]
        measured = f"; it took {duration(min(took))} to {duration(max(took))}" if took else ""
        return f"Every run was planned to pretrain for {duration(60 * comparison['minutes'])}{measured}."
    seen = [row["images"] for row in lines if row["images"]] or [0]  # none where a recipe was refused
    amount = number(seen[0], 12) if min(seen) == max(seen) else f"{number(min(seen), 12)} to {number(max(seen), 12)}"
    return f"Every run sees {amount} images, repeats included."


def _first(ranked: Sequence[Row], protocol: str) -> str:
    """Say who is first, by how much, and whether that is more than the spread over seeds."""
    best, second = ranked[:2]
    gap = best[protocol]["mean"] - second[protocol]["mean"]
    if round(1000 * gap) == 0:
        return f"{best['name']} and {second['name']} are level at {shown(best, protocol)}"
    spread = max(best[protocol]["std"] or 0.0, second[protocol]["std"] or 0.0)
    said = f"{best['name']} is first with {shown(best, protocol)}, {points(gap)} above {second['name']}"
    if len(best["seeds"]) < 2 or len(second["seeds"]) < 2:
        return said + " (one seed: no spread is known)"
    return said + (", within the spread over seeds" if gap <= spread else "")


def _seeds(row: Row) -> str:
    return f"{count(len(row['seeds']), 'seed')} done"


def _protocol(protocol: str, runs: Sequence[Run]) -> str:
    return protocol_name(protocol, runs[0]) if runs else protocol.replace("_", " ")
