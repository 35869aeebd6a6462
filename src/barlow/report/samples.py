"""Samples in rows: pictures with their names under them, for pages of samples and for the page of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from barlow.formats import text
from barlow.report.evidence import image_tag, short_name
from barlow.report.run_folder import RunFiles
from barlow.report.sections import section

TITLES = {
    "duplicates": (
        "There twice",
        "barlow duplicates",
        "Samples of the training data that are the same but for a little.",
    ),
    "outliers": ("Fits nowhere", "barlow outliers", "Samples of the training data that are least like all others."),
    "groups": ("Belongs together", "barlow groups", "Groups of the training data, the most typical samples of each."),
}
"""Of each section: its title, the command that looks at all samples, and how to read it."""


@dataclass(frozen=True)
class Shown:
    """One sample of a row: what it is called, its picture (H, W) or (H, W, C) where it has one, and what is said."""

    name: str
    picture: NDArray[np.uint8] | None = None
    said: str = ""


@dataclass(frozen=True)
class Row:
    """Samples side by side under a heading."""

    heading: str
    samples: Sequence[Shown]


def row_of_samples(row: Row) -> str:
    """Return a heading and the samples under it."""
    figures = "".join(_figure(sample) for sample in row.samples)
    heading = f"<h3>{text(row.heading)}</h3>" if row.heading else ""
    return f'{heading}<div class="samples">{figures}</div>'


def _figure(sample: Shown) -> str:
    picture = image_tag(sample.picture, sample.name) if sample.picture is not None else ""
    caption = f"{text(short_name(sample.name))}{f'<br>{text(sample.said)}' if sample.said else ''}"
    return f'<figure title="{text(sample.name)}">{picture}<figcaption>{caption}</figcaption></figure>'


def training_data(run: RunFiles, kind: str) -> str:
    """Return one section on the training data, of those in `TITLES`; "" where nothing is known."""
    title, command, reading = TITLES[kind]
    headings, numbers = run.evidence.get(f"{kind}_headings"), run.evidence.get(f"{kind}_row")
    names, said = run.evidence.get(f"{kind}_names"), run.evidence.get(f"{kind}_said")
    if headings is None or numbers is None or names is None or said is None:
        return ""
    if not (numbers.ndim == 1 and len(numbers) == len(names) == len(said)):
        return ""
    images = run.evidence.get(f"{kind}_images")
    usable = images is not None and images.ndim == 4 and images.dtype == np.uint8 and len(images) == len(names)
    rows: list[list[Shown]] = [[] for _ in headings]
    for place, number in enumerate(numbers.tolist()):
        if 0 <= number < len(rows):
            picture = images[place] if usable and images is not None else None
            rows[number].append(Shown(str(names[place]), picture, str(said[place])))
    body = "".join(row_of_samples(Row(str(heading), row)) for heading, row in zip(headings, rows, strict=True))
    note = run.evidence.get(f"{kind}_note")
    more = f" {note}" if note is not None else ""
    all_of_them = f"All of them: `{command} {quote(str(run.folder))}`."
    return section(kind, title, f"{reading}{more} {all_of_them}", body or "<p>None was found.</p>")
