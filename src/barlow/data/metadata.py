"""Labels and groups of the files of a folder from its metadata.csv, as the Hugging Face folders of sound have one."""

import csv
from collections.abc import Sequence
from pathlib import Path

from barlow.data.groups import as_groups
from barlow.data.name_pattern import Told, labels_by_name

FILE = "metadata.csv"
NAME_COLUMN = "file_name"
"""The column of the path of each file, from the folder of the table on."""
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")
GROUP_COLUMNS = ("group", "speaker", "speaker_id", "client_id", "subject", "patient")
"""Columns that are labels and groups, the first one that is there."""


def told_by_metadata(folder: Path, names: Sequence[str]) -> Told | None:
    """Read labels and groups of some files, by their paths from `folder`; None where there is no table.

    Files that it does not list have no label. ValueError: a table without the column of names, or one that cannot be
    read as text.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data: {path} cannot be read as a table: {error}") from error
    columns = list(rows[0]) if rows else []
    if NAME_COLUMN not in columns:
        raise ValueError(
            f"data: {path} has the columns {', '.join(columns) or 'none'}, wanted one called {NAME_COLUMN}"
        )
    by_name = {_plain(row[NAME_COLUMN] or ""): row for row in rows}
    label = next((column for column in LABEL_COLUMNS if column in columns), "")
    group = next((column for column in GROUP_COLUMNS if column in columns), "")
    found = [by_name.get(_plain(name), {}) for name in names]
    unlisted = [name for name, row in zip(names, found, strict=True) if not row]
    absent = len(by_name) - (len(names) - len(unlisted))
    notes = [f"{len(unlisted)} of {len(names)} files are not in {FILE}: {unlisted[0]}, ..."] if unlisted else []
    notes += [f"{absent} rows of {FILE} name files that are not there"] if absent > 0 else []
    labels = labels_by_name([(row.get(label) or "") if label else "" for row in found])
    return Told(labels, as_groups([row.get(group) or "" for row in found]) if group else None, "; ".join(notes))


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")
