"""Views and networks by name, a line on each, and what views make of pictures of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from barlow.cli.flags import Views
from barlow.modalities import MODALITIES, modality_for
from barlow.report.samples import Row, Shown
from barlow.report.samples_page import write_samples_page

PICTURES, DRAWS = 3, 2
"""Samples on the page, and how often each pipeline draws on each of them."""
LARGEST_SIDE = 80
"""Of views on the page, in pixels, unless told: a few hundred pictures in a few megabytes."""
LOOKED_AT = 256
"""Samples behind the mean and the deviation that views are normalised by."""
SEED = 0


def print_listed(what: str, word: str = "") -> None:
    """Print views or networks of every kind of data: name and line; names are never cut."""
    console = Console(highlight=False)
    shown: dict[str, dict[str, str]] = {}
    for make in MODALITIES.values():
        modality = make()
        found = dict(modality.listed(what, word))
        if found and found not in shown.values():
            shown[modality.noun + "s"] = found
    if not shown:
        raise ValueError(f"word: no network has {word!r} in its name")
    for nouns, found in reversed(shown.items()):
        console.print(Text(f"\n{nouns}:", style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="fold")
        table.add_column()
        for name, line in found.items():
            table.add_row(Text(f"  {name}"), Text(line))
        console.print(table)


def write_views_page(flags: Views) -> Path:
    """Write a page that shows what every pipeline makes of the same samples.

    Raises:
        ValueError: data of a kind that has no pictures.
    """
    from barlow.data.subsets import subset
    from barlow.modalities import load_samples
    from barlow.runs.build import build_views, fitted, memory_of

    modality = modality_for(flags.data)
    source = load_samples(modality, flags.data, data_root=flags.data_root, labels="none")
    recipe = replace(modality.recipe(None, flags.data), batch_size=2, image_size=flags.size)
    if modality.views is None or "graph" in modality.name:
        raise ValueError(f"data: {modality.noun}s have no pictures, wanted a folder of images or recordings")
    source = subset(source, range(min(LOOKED_AT, len(source))))
    settled, facts = fitted(modality, recipe, source)
    picture = modality.show(facts)
    settled = replace(settled, image_size=flags.size or min(settled.image_size, LARGEST_SIDE))
    rows: list[Row] = []
    for name, line in modality.listed("views", "").items():
        if "+" not in name:
            one = replace(settled, views=name)
            views = build_views(modality, one, facts, memory_of(modality, one, facts, source))
            drawn = _drawn(views, picture, source)
            rows += [Row(heading, one) for heading, one in zip([f"{name}: {line}", "", ""], drawn, strict=False)]
    said = [
        f"{min(PICTURES, len(source))} samples of {source.name}: as they are, then {DRAWS} draws of the first pipeline "
        "and, where it is another, of the second.",
        "A network is asked to give all of them the same features. What tells two samples apart should survive.",
    ]
    heading = ("Pipelines", "Each with its name and what it is made of; `--views NAME` takes it.")
    return write_samples_page(flags.out, f"Views of {source.name}", said, rows, heading)


def _drawn(views: Any, picture: Any, source: Any) -> list[list[Shown]]:
    """For every sample a row: as it is, and what the pipelines make of it."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    batch = next(source.batches(list(range(min(PICTURES, len(source)))), PICTURES))
    samples = views.prepare(batch.samples)
    views = views.bare()
    different = list(views.pipelines[:1])
    different += [one for one in views.pipelines[1:2] if repr(one) != repr(different[0])]
    made = [("as it is", picture(views.plain(samples)))]
    for number, pipeline in enumerate(different):
        called = f"pipeline {number + 1}" if len(different) > 1 else "view"
        for _ in range(DRAWS):
            made.append((called, picture(pipeline.apply(samples, pipeline.sample(samples, generator)))))
    return [
        [Shown(called, shown[place].movedim(0, -1).cpu().numpy()) for called, shown in made]
        for place in range(len(batch.indices))
    ]
