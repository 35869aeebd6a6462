"""Results on the terminal: an evaluation, recipes side by side, an audit, two audits; no torch.

What is said comes from the figures, never from markup in them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from barlow.figures import SETTINGS, Changes, Figures, Measured
from barlow.report.audit_words import (
    CHANGES_HEAD,
    DIRECTIONS_HEAD,
    EFFECTS_HEAD,
    LAYERS_HEAD,
    batch_sentence,
    capital,
    change_cells,
    direction_cells,
    effect_cells,
    layer_cells,
    lead,
    limit_sentence,
    loss_total,
    plus_minus,
    projector_sentence,
    settings_differ,
    spectrum_sentence,
    subject_name,
    verdicts_in_order,
)
from barlow.report.run_folder import finite
from barlow.report.sections import LABEL_FREE_NAMES
from barlow.report.side_by_side import COLUMNS, shown


def print_evaluation(summary: Mapping[str, Any]) -> None:
    """Print trained, untrained and raw features, or the figures that need no labels."""
    rows = summary.get("evaluation", {}).get("rows", [])
    published = summary.get("evaluation", {}).get("published_protocol")
    if rows:
        amount = rows[0].get("few_labels", {}).get("per_class", "few")
        table = Table("features", "kNN", "linear, all labels", f"linear, {amount} labels per class")
        if "sgd_linear" in rows[0]:
            table.add_column(f"linear, {_linear_protocol(published['linear'] if published else {})}")
        tuned = [f"fine-tuned, {100 * found['fraction']:g}% of labels" for found in rows[0].get("finetune", ())]
        for title in tuned:
            table.add_column(title)
        for row in rows:
            few = row.get("few_labels")
            cells = [f"{100 * row[name]:.1f}" if name in row else "" for name in ("knn", "linear")]
            cells.append(f"{100 * few['mean']:.1f} ± {100 * few['std']:.1f}" if few else "")
            cells += [f"{100 * row['sgd_linear']:.1f}"] if "sgd_linear" in row else []
            cells += [f"{100 * found['accuracy']:.1f}" for found in row.get("finetune", ())] or [""] * len(tuned)
            table.add_row(row["features"], *cells)
        Console().print(table)
        if note := summary["evaluation"].get("sampling", {}).get("note"):
            Console().print(note, highlight=False)
    for line in summary.get("evaluation", {}).get("notes", []):
        _say(Console(), str(line))
    if published:
        note = f" ({published['note']})" if published["note"] else ""
        Console().print(f"numbers of these protocols: {published['source']}{note}", highlight=False)
    _print_label_free(summary.get("label_free", {}))


def _print_label_free(found: Mapping[str, Any]) -> None:
    """Print the figures that need no labels, the trained network beside the untrained one, in the words of the page."""
    table = Table("without labels", "trained", "untrained")
    for name, (title, show) in LABEL_FREE_NAMES.items():
        values = [finite(found.get(key)) for key in (name, f"{name}_untrained")]
        if any(value is not None for value in values):
            table.add_row(Text(title), *("" if value is None else show(value) for value in values))
    if table.row_count:
        Console().print(table)


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


def print_audit(figures: Mapping[str, Any]) -> None:
    """Print the verdicts of an audit, then its figures; parts that are missing are left out."""
    console, known = Console(), Figures.from_json(figures)
    _say(console, f"Audit of {subject_name(known)}", "bold")
    _say(console, lead(known))
    for message in known.warnings:
        _say(console, f"Warning: {message}", "yellow")
    console.print()
    for look, verdict in verdicts_in_order(known):
        console.print(Text.assemble((f"{look.word}: ", look.terminal), verdict.sentence))
        if verdict.advice:
            console.print(Padding(Text(f"Try: {verdict.advice}", "dim"), (0, 0, 0, 2), expand=False))
    said = (spectrum_sentence, batch_sentence, limit_sentence, projector_sentence)
    for sentence in (say(known) for say in said):
        if sentence:
            console.print()
            _say(console, sentence)
    parts = [(capital(about.title), plus_minus(value)) for _, about, value in known.loss.parts.measured()]
    total = loss_total(known)
    parts += [("Loss of a batch", plus_minus(Measured(total)))] if parts and total is not None else []
    _print(console, ("the loss taken apart", ""), parts)
    measured = known.quantities.measured()
    lines = [(capital(about.label), plus_minus(value, share=about.share)) for _, about, value in measured]
    _print(console, ("without labels", "± one standard error"), lines)
    _print(console, EFFECTS_HEAD, effect_cells(known))
    _print(console, DIRECTIONS_HEAD, direction_cells(known))
    _print(console, LAYERS_HEAD, layer_cells(known))


def print_audit_changes(a: Mapping[str, Any], b: Mapping[str, Any], changes: Changes) -> None:
    """Print what changed between two audits: sentences, then the figures of both."""
    console, both = Console(), (Figures.from_json(a), Figures.from_json(b))
    for side, figures in zip("AB", both, strict=True):
        console.print(Text.assemble((f"{side} ", "bold"), f"{subject_name(figures)}. {lead(figures)}"))
    different = [capital(SETTINGS[name].title) for name in settings_differ(*both)]
    if different:
        _say(console, f"Settings differ, which the figures depend on: {'; '.join(different)}.", "yellow")
    console.print()
    for sentence in changes.sentences:
        _say(console, sentence)
    _print(console, CHANGES_HEAD, [change_cells(row) for row in changes.rows])


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(Text(said, style))


def _print(console: Console, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table; nothing without lines. Cells are text, not rich's markup."""
    if not lines:
        return
    table = Table()
    for place, name in enumerate(head):
        table.add_column(Text(name), justify="right" if place else "left")
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)
