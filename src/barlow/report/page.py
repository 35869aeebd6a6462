"""A run folder becomes one page: a single HTML file that needs nothing but itself."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from barlow.files import durable_file
from barlow.formats import printable, text
from barlow.report import evidence, graph, record, sections
from barlow.report.glossary import glossary
from barlow.report.next_steps import next_steps
from barlow.report.run_folder import RunFiles, read_run
from barlow.report.samples import TITLES, training_data
from barlow.report.words import data_name, method_name


def write_report(folder: Path, out: Path | None = None, *, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a run, finished or not, from what its folder holds; to `report.html` there by default.

    `summary` takes the place of the folder's while that is still to be written.
    """
    run = read_run(Path(folder).expanduser())
    run = run if summary is None else replace(run, summary=summary)
    return write_page(out or run.folder / "report.html", f"{method_name(run)} on {data_name(run)}", body_of(run))


@contextmanager
def sparing_a_page(said: Callable[[str], None]) -> Iterator[None]:
    """Let a page that cannot be written take nothing else away from what is finished; why it cannot is `said`."""
    try:
        yield
    except Exception as error:  # of any kind: the figures are there, and `barlow report` tries again
        said(f"The page could not be written: {error.strerror if isinstance(error, OSError) else error}")


def body_of(run: RunFiles) -> str:
    """Return the sections of a run that have data, in the order in which a person wants to know them."""
    parts = [
        sections.evaluation(run),
        graph.few_labels(run),
        graph.graph(run),
        sections.kept_evaluations(run),
        sections.loss(run),
        sections.probes(run),
        evidence.views(run),
        evidence.neighbours(run),
        *(training_data(run, kind) for kind in TITLES),
        evidence.correlation(run),
        evidence.spectrum(run),
        next_steps(run),
        record.incidents(run),
        record.recipe(run),
    ]
    body = f"<header>{sections.headline(run)}{contents(parts)}</header>" + "".join(parts)
    return body + glossary(body)


def contents(parts: Sequence[str]) -> str:
    """Return links to the sections that are there."""
    found = re.findall(r'<section id="([^"]*)"><h2>([^<]*)</h2>', "".join(parts))
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in found)
    return f'<nav aria-label="Contents">{links}</nav>' if len(found) > 1 else ""


def write_page(path: Path, title: str, body: str, *, head: str = "") -> Path:
    """Write a whole page around `body`, durably, so that no reader meets half a page; its folder is made.

    Bytes of file names that are no text are `printable`. `head` is markup that stands before the title.
    """
    own = files("barlow.report")
    style = own.joinpath("style.css").read_text(encoding="utf-8")
    script = own.joinpath("hover.js").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'{head}<title>{text(title)}</title><link rel="icon" href="data:,"><style>\n{style}</style></head>\n'
        f"<body><main>{body}<footer>Written by barlow. This file is complete in itself.</footer></main>\n"
        f"<script>\n{script}</script></body></html>\n"
    )
    with durable_file(path) as file:
        file.write(printable(page).encode())
    return path
