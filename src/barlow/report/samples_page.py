"""A page of samples in rows: what is alike, what is there twice, what fits nowhere, what belongs together."""

from collections.abc import Sequence
from pathlib import Path

from barlow.formats import text
from barlow.report.page import contents, write_page
from barlow.report.samples import Row, row_of_samples
from barlow.report.sections import section

NAMED = ("Samples", "Each with its name; the full one shows under the pointer.")


def write_samples_page(
    path: Path, title: str, said: Sequence[str], rows: Sequence[Row], heading: tuple[str, str] = NAMED
) -> Path:
    """Write a page of its own: a title, sentences, and the rows in their order under a heading with its reading."""
    lead = "".join(f"<li>{text(sentence)}</li>" for sentence in said)
    body = "".join(row_of_samples(row) for row in rows)
    part = section("samples", *heading, body)
    return write_page(path, title, f"<h1>{text(title)}</h1><ul>{lead}</ul>{contents([part])}{part}")
