"""The words of `barlow audit`: one or two subjects and the data to look with, pages for each, and what changed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from barlow.audits.audit import Audit, audit, compare_audits
from barlow.audits.settings import AuditSettings
from barlow.audits.subjects import is_checkpoint, is_run, is_subject, libraries
from barlow.cli.flags import Audit as Flags
from barlow.figures import Figures
from barlow.files import write_json
from barlow.report.audit_page import write_changes_page
from barlow.report.page import sparing_a_page
from barlow.report.terminal import print_audit, print_audit_changes
from barlow.runs.folder import RunFolder
from barlow.runs.run import FOR_OTHERS_SECONDS, open_run
from barlow.training.progress import Progress
from barlow.writers import one_writer, refuse_second

LONGEST_NAME = 120
"""Characters of a folder's name: file systems allow 255 bytes; the end of a path tells more than its beginning."""


def audit_words(flags: Flags) -> list[Path]:
    """Audit the one or two subjects that are named, print it, and write the pages: the comparison of two last."""
    subjects, data = _sorted(flags.words)
    given: dict[str, Any] = {
        "views": flags.views or None,
        "modality": flags.modality or None,
        "settings": flags.settings,
    }
    folders = folders_of(subjects, flags)
    for folder in folders:
        refuse_second(folder)  # before anything is computed
    moved = flags.moved_to or None
    opened = [
        open_run(word, data=moved, modality=given["modality"]) if moved and is_run(word) else word for word in subjects
    ]
    audits = [audit(subject, data, **given) for subject in opened]
    for found in audits:
        print_audit(found.figures)
    pages = [_saved(found, folder) for found, folder in zip(audits, folders, strict=True)]
    if len(audits) == 2:
        changes = compare_audits(*audits)
        a, b = (found.figures for found in audits)
        print_audit_changes(a, b, changes)
        pages.append((flags.out or folders[1]) / "audit-comparison.html")
        with sparing_a_page(Progress("audit", 0).say):
            write_changes_page(a, b, changes, pages[-1])
    return [page for page in pages if page.is_file()]


def _sorted(words: Sequence[str]) -> tuple[list[str], str | None]:
    subjects = [word for word in words if is_subject(word)]
    data = [word for word in words if not is_subject(word)]
    if not 1 <= len(subjects) <= 2 or len(data) > 1:
        absent = [word for word in data if ("/" in word or "." in word) and not Path(word).exists()]
        where = f" (there is no file or folder {absent[0]} here)" if absent else ""
        raise ValueError(
            f"words: got {' '.join(words) or 'nothing'}{where}, wanted one or two of: a run folder, timm:NAME, "
            "torchvision:NAME, a checkpoint file, features.npy; and after them at most one data set"
        )
    return subjects, data[0] if data else None


def folders_of(words: Sequence[str], flags: Flags) -> list[Path]:
    """Return where the audit of each subject goes, no two of them to the same place.

    A run's audit goes into its folder; the others to `runs/audit-NAME`, where NAME is the subject with all of its path,
    because files of different trainings often have the same name ("one/last.ckpt", "two/last.ckpt"). With `out`, two
    audits go to its folders a/NAME and b/NAME.
    """
    names = [_name(word, flags) for word in words]
    if flags.out is not None:
        return [flags.out] if len(words) == 1 else [flags.out / s / name for s, name in zip("ab", names, strict=True)]
    folders = [
        Path(word) if is_run(word) and not flags.settings.untrained else Path("runs") / f"audit-{name}"
        for word, name in zip(words, names, strict=True)
    ]
    if len({folder.resolve() for folder in folders}) < len(folders):
        return [folder / side for side, folder in zip("ab", folders, strict=True)]
    return folders


def _name(word: str, flags: Flags) -> str:
    """A file name for a subject: its path with hyphens for slashes, and what of the flags makes it another network."""
    parts, settings = [word], flags.settings
    if word.startswith(libraries()) and settings.weights != AuditSettings.weights:
        parts.append(settings.weights)
    if is_checkpoint(word) and settings.prefix:
        parts.append(settings.prefix)
    if settings.untrained:
        parts.append("untrained")
    return re.sub(r"[^\w.=+]+", "-", "-".join(parts)).strip("-.")[-LONGEST_NAME:].lstrip("-.")


def _saved(found: Audit, folder: Path) -> Path:
    """Write the audit; a run's summary gets its quantities and verdicts."""
    with one_writer(folder, patience=FOR_OTHERS_SECONDS):
        write_json(folder / "audit.json", found.figures)
        with sparing_a_page(Progress("audit", 0).say):
            found.to_html(folder / "audit.html")
        where = RunFolder(folder)
        if summary := where.summary():
            measured = Figures.from_json(found.figures).quantities.measured()
            short = {name: value.value for name, _, value in measured}
            summary["audit"] = {"quantities": short, "verdicts": [verdict.to_json() for verdict in found.verdicts]}
            where.write("summary.json", summary)
    return folder / "audit.html"
