"""Audits on the terminal; no torch. What they say comes from the figures, never from markup in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from barlow.report.audit_quantities import change_cells, is_share, quantities, quantity_title
from barlow.report.audit_words import (
    DIRECTIONS_HEAD,
    PARTS,
    Figures,
    batch_sentence,
    direction_cells,
    lead,
    limit_sentence,
    listed,
    loss_parts,
    loss_total,
    measured,
    plain,
    projector_sentence,
    setting_title,
    settings_differ,
    spectrum_sentence,
    strings,
    subject_name,
    transforms,
    verdicts,
)
from barlow.report.formats import number
from barlow.report.run_folder import finite


def print_audit(figures: Figures) -> None:
    """Print the verdicts of an audit, then its figures.

    Args:
        figures: the content of audit.json; parts that are missing are left out.
    """
    console = Console()
    _say(console, f"Audit of {subject_name(figures)}", "bold")
    _say(console, lead(figures))
    for message in strings(figures.get("warnings")):
        _say(console, f"Warning: {message}", "yellow")
    console.print()
    for level, verdict in verdicts(figures):
        console.print(Text.assemble((f"{level.word}: ", level.terminal), str(verdict.get("sentence") or "")))
        if verdict.get("advice"):
            console.print(Padding(Text(f"Try: {verdict['advice']}", "dim"), (0, 0, 0, 2), expand=False))
    said = (spectrum_sentence, batch_sentence, limit_sentence, projector_sentence)
    for sentence in (say(figures) for say in said):
        if sentence:
            console.print()
            _say(console, sentence)
    parts = [
        (PARTS[name][0] if name in PARTS else plain(name), measured(value, error))
        for name, value, error in loss_parts(figures)
    ]
    total = loss_total(figures)
    parts += [("Loss of a batch", number(total))] if parts and total is not None else []
    _print(console, ("the loss taken apart", ""), parts)
    known = [
        (quantity_title(name), measured(value, error, share=is_share(name)))
        for name, value, error in quantities(figures)
    ]
    _print(console, ("without labels", "± one standard error"), known)
    head = ("augmentation", "in context, of all variance", "alone, of the distance between images")
    _print(console, head, _effects(figures))
    _print(console, DIRECTIONS_HEAD, direction_cells(figures))
    _print(console, ("layer", "augmentation share", "mean correlation", "effective rank"), _layers(figures))


def print_audit_comparison(
    figures_a: Figures, figures_b: Figures, sentences: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Print what changed between two audits: sentences, then the figures of both.

    Args:
        figures_a: the content of audit.json of the first.
        figures_b: that of the second.
        sentences: what changed, in words.
        rows: changes with "name", "a", "b", "difference", "error" and "significant"; values may be None.
    """
    console = Console()
    for side, figures in (("A", figures_a), ("B", figures_b)):
        console.print(Text.assemble((f"{side} ", "bold"), f"{subject_name(figures)}. {lead(figures)}"))
    different = [setting_title(name) for name in settings_differ(figures_a, figures_b)]
    if different:
        _say(console, f"Settings differ, which the figures depend on: {'; '.join(different)}.", "yellow")
    console.print()
    for sentence in sentences:
        _say(console, sentence)
    lines = [change_cells(row) for row in rows]
    _print(console, ("", "A", "B", "B − A, ± one standard error", "beyond chance"), lines)


def _effects(figures: Figures) -> list[tuple[str, ...]]:
    return [
        (plain(one.get("name")), _share(one, "total_effect"), _share(one, "marginal")) for one in transforms(figures)
    ]


def _layers(figures: Figures) -> list[tuple[str, ...]]:
    lines = []
    for layer in listed(figures.get("layers")):
        others = [finite(layer.get(key)) for key in ("mean_correlation", "effective_rank")]
        shown = ["" if value is None else number(value) for value in others]
        lines.append((str(layer.get("name", "")), _share(layer, "augmentation_share", "error"), *shown))
    return lines


def _share(record: Mapping[str, Any], name: str, error_name: str = "") -> str:
    value, error = finite(record.get(name)), finite(record.get(error_name or f"{name}_error"))
    return "" if value is None else measured(value, error, share=True)


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
