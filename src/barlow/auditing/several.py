"""The words of `barlow audit`: one or two subjects and the data to look with, pages for each, and what changed."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from barlow.audit_tables import print_audit, print_audit_comparison
from barlow.auditing.audit import Audit, audit
from barlow.auditing.comparison import Comparison, compare_figures
from barlow.auditing.subjects import LIBRARIES, is_checkpoint, is_run, is_subject
from barlow.flags import Audit as Flags
from barlow.report.audit_page import write_comparison_page
from barlow.run_folder import RunFolder

LONGEST_NAME = 120
"""Characters of a folder's name: file systems allow 255 bytes; the end of a path tells more than its beginning."""


def compare_audits(before: Audit, after: Audit) -> Comparison:
    """Say what changed between two audits.

    Args:
        before: of the first checkpoint or run.
        after: of the second, best with the same data and settings.
    """
    return compare_figures(before.figures, after.figures)


def audit_words(flags: Flags) -> list[Path]:
    """Audit what is named, print it, and write the pages.

    Args:
        flags: as typed.

    Returns:
        The pages, the comparison of two last.

    Raises:
        ValueError: nothing to audit among the words, more than two, or more than one data set.
    """
    subjects, data = _sorted(flags.words)
    audits = [_one(word, data, flags) for word in subjects]
    folders = folders_of(subjects, flags)
    for found in audits:
        print_audit(found.figures)
    pages = [_saved(found, folder) for found, folder in zip(audits, folders, strict=True)]
    if len(audits) == 2:
        comparison = compare_audits(*audits)
        rows = [asdict(row) for row in comparison.rows]
        figures = [found.figures for found in audits]
        print_audit_comparison(figures[0], figures[1], comparison.sentences, rows)
        out = (flags.out or folders[1]) / "audit-comparison.html"
        pages.append(write_comparison_page(figures[0], figures[1], comparison.sentences, rows, out))
    return pages


def _sorted(words: Sequence[str]) -> tuple[list[str], str | None]:
    subjects = [word for word in words if is_subject(word)]
    data = [word for word in words if not is_subject(word)]
    if not 1 <= len(subjects) <= 2 or len(data) > 1:
        raise ValueError(
            f"words: got {' '.join(words) or 'nothing'}, wanted one or two of: a run folder, timm:NAME, "
            "torchvision:NAME, a checkpoint file, features.npy; and after them at most one data set"
        )
    return subjects, data[0] if data else None


def _one(word: str, data: str | None, flags: Flags) -> Audit:
    return audit(
        word,
        data,
        views=flags.views or None,
        width=flags.width,
        redundancy_weight=flags.redundancy_weight,
        normalization=flags.normalization,
        batch_size=flags.batch_size,
        num_images=flags.num_images,
        num_views=flags.num_views,
        seconds=flags.seconds,
        mlp=flags.mlp,
        untrained=flags.untrained,
        data_root=flags.data_root,
        weights="" if flags.weights == "none" else flags.weights,
        arch=flags.arch,
        prefix=flags.prefix or None,
        image_size=flags.image_size,
        accelerator=flags.accelerator,
        seed=flags.seed,
        quiet=flags.quiet,
    )


def folders_of(words: Sequence[str], flags: Flags) -> list[Path]:
    """Return where the audit of each subject goes, no two of them to the same place.

    A run's audit goes into its folder; the others to `runs/audit-NAME`, where NAME is the subject with all of its path,
    because files of different trainings often have the same name ("one/last.ckpt", "two/last.ckpt").

    Args:
        words: one or two subjects.
        flags: as typed; with `out`, two audits go to its folders a/NAME and b/NAME.
    """
    names = [_name(word, flags) for word in words]
    if flags.out is not None:
        return [flags.out] if len(words) == 1 else [flags.out / s / name for s, name in zip("ab", names, strict=True)]
    folders = [
        Path(word) if is_run(word) and not flags.untrained else Path("runs") / f"audit-{name}"
        for word, name in zip(words, names, strict=True)
    ]
    if len({folder.resolve() for folder in folders}) < len(folders):
        return [folder / side for side, folder in zip("ab", folders, strict=True)]
    return folders


def _name(word: str, flags: Flags) -> str:
    """A file name for a subject: its path with hyphens for slashes, and what of the flags makes it another network."""
    parts = [word]
    if word.startswith(LIBRARIES) and flags.weights != Flags.weights:
        parts.append(flags.weights)
    if is_checkpoint(word) and flags.prefix:
        parts.append(flags.prefix)
    if flags.untrained:
        parts.append("untrained")
    return re.sub(r"[^\w.=+]+", "-", "-".join(parts)).strip("-.")[-LONGEST_NAME:].lstrip("-.")


def _saved(found: Audit, folder: Path) -> Path:
    """Write the audit; a run's summary gets its quantities and verdicts."""
    page = found.save(folder)
    where = RunFolder(folder)
    if summary := where.summary():
        figures = found.figures
        short = {name: record["value"] for name, record in figures["quantities"].items()}
        summary["audit"] = {"quantities": short, "verdicts": figures["verdicts"]}
        where.write("summary.json", summary)
    return page
