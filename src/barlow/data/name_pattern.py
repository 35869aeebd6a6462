"""Labels and groups told from the names of files: "{label}_{group}_*" reads 7_george_12.wav as a 7 of george."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import torch

from barlow.data.groups import Groups, as_groups
from barlow.data.labels import UNKNOWN, Labels

PART = "#t="
"""Behind a path: which seconds of the file, as in links into recordings (W3C media fragments)."""
FIELDS = ("label", "group")
"""What a pattern may name, in braces."""


@dataclass(frozen=True)
class Told:
    """What names say, and in a sentence which of them say nothing; "" where all do."""

    labels: Labels
    groups: Groups | None
    note: str = ""


def is_pattern(labels: object) -> bool:
    """Whether `labels` is a pattern of names: a text with braces."""
    return isinstance(labels, str) and "{" in labels


def pattern_of(pattern: str) -> re.Pattern[str]:
    """Return a pattern as a regular expression: braces are a part without "/", * is any; the rest is as it stands.

    ValueError: no field, one twice, or one of another name.
    """
    parts = re.split(r"(\{[^{}]*\}|\*)", pattern)
    fields = [part[1:-1] for part in parts if part.startswith("{")]
    if ("label" not in fields and "group" not in fields) or set(fields) - set(FIELDS) or len(set(fields)) < len(fields):
        raise ValueError(f"labels: got {pattern!r}, wanted a pattern with {{label}}, {{group}} or both, such as "
                         "'{label}_{group}_*'")  # fmt: skip
    words = {"*": "[^/]*", **{f"{{{field}}}": f"(?P<{field}>[^/]+?)" for field in FIELDS}}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))


def told_by_names(names: Sequence[str], pattern: str) -> Told:
    """Read labels and groups from the names of samples, the ending and the part of a file ("#t=10,20") left away.

    A pattern with n slashes is held against the last n + 1 parts of a path. Samples whose names do not fit have no
    label, and are of the group "". ValueError: a pattern that cannot be, or that no name fits.
    """
    expression, depth = pattern_of(pattern), pattern.count("/") + 1
    files = [PurePath(name.partition(PART)[0]).with_suffix("") for name in names]
    found = [expression.fullmatch("/".join(file.parts[-depth:])) for file in files]
    missing = [name for name, match in zip(names, found, strict=True) if match is None]
    if len(missing) == len(names):
        raise ValueError(f"labels: no name fits {pattern!r}, such as {PurePath(names[0]).name if names else 'none'!r}")
    note = ""
    if missing:
        note = f"{len(missing)} of {len(names)} names do not fit {pattern!r}, and have no label: {missing[0]}, ..."
    values = {
        field: [match.group(field) if match else "" for match in found] for field in FIELDS if f"{{{field}}}" in pattern
    }
    labels = Labels() if "label" not in values else labels_by_name(values["label"])
    return Told(labels, as_groups(values["group"]) if "group" in values else None, note)


def labels_by_name(names: Sequence[str]) -> Labels:
    """Return labels by the names of classes; "" is a sample without one, and where none has any there are none."""
    known = sorted({name for name in names if name})
    if not known:
        return Labels()
    place = {name: number for number, name in enumerate(known)} | {"": UNKNOWN}
    return Labels(torch.tensor([place[name] for name in names], dtype=torch.int64), tuple(known))
