"""The part of the page that shows what `barlow evaluate` found and kept, one row each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from barlow.report.formats import percent, text
from barlow.report.run_folder import Record, Run, finite, mapping
from barlow.report.sections import section, table
from barlow.report.words import score

COLUMNS = ("knn", "linear", "few_labels", "sgd_linear", "finetune")


def kept_evaluations(run: Run) -> str:
    """Accuracies of the trained and of the untrained network on data that were named afterwards."""
    by_file = {str(record.get("file")): record for record in run.events("evaluation") if _row(record, "trained")}
    found = list(by_file.values())  # the last of each file, in the order of the first
    names = Counter(_name(record) for record in found)
    cells = {column: [_cell(record, column) for record in found] for column in COLUMNS}
    shown = [column for column in COLUMNS if any(cells[column])]
    if not shown:
        return ""
    lines = [
        [text(_title(record, names)), text(record.get("protocol", "")), *(text(cells[name][place]) for name in shown)]
        for place, record in enumerate(found)
    ]
    head = ["data", "protocol", *(text(_column_name(column, found)) for column in shown)]
    reading = (
        "What the features are worth on the data named: accuracy on the test part, in brackets that of the same "
        "network untrained. Everything that was found is in the files under evaluations/."
    )
    return section("kept", "Evaluations that were kept", reading, table(head, lines))


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
    if column != "finetune":
        return str(score(row, column) or "")
    found = row.get("finetune")
    shares = [mapping(one) for one in found] if isinstance(found, list) else []
    pairs = [(finite(one.get("fraction")), finite(one.get("accuracy"))) for one in shares]
    return ", ".join(f"{100 * share:g}%: {percent(hit)}" for share, hit in pairs if share and hit is not None)


def _column_name(column: str, found: Sequence[Record]) -> str:
    if column == "few_labels":
        amounts: set[Any] = {mapping(_row(record, "trained").get(column)).get("per_class") for record in found} - {None}
        return f"{amounts.pop()} labels per class" if len(amounts) == 1 else "few labels per class"
    return {
        "knn": "nearest neighbours (kNN)",
        "linear": "linear probe, all labels",
        "sgd_linear": "linear, by SGD or as published",
        "finetune": "fine-tuned, by share of the labels",
    }[column]
