"""A page of samples in rows: what is alike, what is there twice, what fits nowhere, what belongs together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barlow.formats import text
from barlow.report.evidence import image_tag
from barlow.report.page import contents, write_page
from barlow.report.sections import section

LONGEST = 32
"""Characters of a name under a picture."""


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


def write_samples_page(path: Path, title: str, said: Sequence[str], rows: Sequence[Row]) -> Path:
    """Write a page of its own: a title, sentences, and the rows in their order."""
    lead = "".join(f"<li>{text(sentence)}</li>" for sentence in said)
    body = "".join(_row(row) for row in rows)
    part = section("samples", "Samples", "Each with its name; the full one shows under the pointer.", body)
    return write_page(path, title, f"<h1>{text(title)}</h1><ul>{lead}</ul>{contents([part])}{part}")


def _row(row: Row) -> str:
    figures = "".join(_figure(sample) for sample in row.samples)
    heading = f"<h3>{text(row.heading)}</h3>" if row.heading else ""
    return f'{heading}<div class="samples">{figures}</div>'


def _figure(sample: Shown) -> str:
    short = "/".join(Path(sample.name).parts[-2:]) if len(sample.name) > LONGEST else sample.name
    short = short if len(short) <= LONGEST else f"{short[: LONGEST // 2]}…{short[-LONGEST // 2 :]}"
    picture = image_tag(sample.picture, sample.name) if sample.picture is not None else ""
    caption = f"{text(short)}{f'<br>{text(sample.said)}' if sample.said else ''}"
    return f'<figure title="{text(sample.name)}">{picture}<figcaption>{caption}</figcaption></figure>'
