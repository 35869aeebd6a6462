"""Results as tables on the terminal; no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from barlow.report.side_by_side import COLUMNS, shown


def print_evaluation(summary: Mapping[str, Any]) -> None:
    """Print trained, untrained and raw features, or the figures that need no labels."""
    rows = summary.get("evaluation", {}).get("rows", [])
    published = summary.get("evaluation", {}).get("published_protocol")
    if rows:
        few = rows[0]["few_labels"]
        table = Table("features", "kNN", "linear, all labels", f"linear, {few['per_class']} labels per class")
        if "sgd_linear" in rows[0]:
            table.add_column(f"linear, {_linear_protocol(published['linear'] if published else {})}")
        tuned = [f"fine-tuned, {100 * found['fraction']:g}% of labels" for found in rows[0].get("finetune", ())]
        for title in tuned:
            table.add_column(title)
        for row in rows:
            few = row["few_labels"]
            cells = [f"{100 * row['knn']:.1f}", f"{100 * row['linear']:.1f}"]
            cells.append(f"{100 * few['mean']:.1f} ± {100 * few['std']:.1f}")
            cells += [f"{100 * row['sgd_linear']:.1f}"] if "sgd_linear" in row else []
            cells += [f"{100 * found['accuracy']:.1f}" for found in row.get("finetune", ())] or [""] * len(tuned)
            table.add_row(row["features"], *cells)
        Console().print(table)
    if published:
        note = f" ({published['note']})" if published["note"] else ""
        Console().print(f"numbers of these protocols: {published['source']}{note}", highlight=False)
    for name, value in summary.get("label_free", {}).items():
        Console().print(f"{name.replace('_', ' ')}: {value:.3g}", highlight=False)


def _linear_protocol(numbers: Mapping[str, Any]) -> str:
    """What stands above the column; no numbers: those of Barlow Twins."""
    optimizer = {"sgd": "SGD", "larc": "LARC", "adam": "Adam"}[numbers.get("optimizer", "sgd")]
    return f"{numbers.get('epochs', 100)} epochs of {optimizer}"


def print_comparison(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print recipes side by side."""
    table = Table("", "seeds", *COLUMNS.values())
    for row in rows:
        table.add_row(row["name"], str(len(row["seeds"])), *(shown(row, figure) for figure in COLUMNS))
    Console().print(table)
