"""The words of `barlow segment`: what was found on the terminal, or masks of new images by a model that it left."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from barlow.applications.segmentation.model import is_model, open_model
from barlow.applications.segmentation.pictures import images_in
from barlow.applications.segmentation.segment import Segmented, segment
from barlow.applications.segmentation.summary import in_words
from barlow.cli.flags import Segment


def segment_words(flags: Segment) -> Iterator[str]:
    """Do what the flags say, and yield the lines to print."""
    if is_model(flags.run):
        yield from _masks_of_new_images(flags)
        return
    found = segment(
        flags.run,
        flags.data,
        out=flags.out,
        table=flags.table,
        settings=flags.settings,
        jobs=flags.jobs,
        accelerator=flags.accelerator,
        quiet=flags.quiet,
    )
    print_segmentation(found)
    for record in found.summary["differences"]:
        if record["figure"] == "dice":
            yield in_words(record)
    yield f"masks: {found.masks}"
    yield f"model: {found.model_folder}"
    yield f"page: {found.page}"


def _masks_of_new_images(flags: Segment) -> Iterator[str]:
    if not flags.data.is_dir():
        raise ValueError(f"data: there is no folder {str(flags.data)!r}, wanted one of images")
    paths = images_in(flags.data)
    if not paths:
        raise ValueError(f"data: no images in {str(flags.data)!r}, wanted some to make masks of")
    out = flags.out or Path(f"masks-{flags.data.resolve().name}")
    bad = open_model(flags.run).write_masks(paths, out, accelerator=flags.accelerator)
    yield from (f"left out: {line}" for line in bad)
    yield f"{len(paths) - len(bad)} masks: {out}"


def print_segmentation(found: Segmented) -> None:
    """Print one row for each arm and number of labels, and the bars."""
    table = Table("", "labels", "Dice", "IoU", "IoU of the set", "Hausdorff, px")
    figures = ("dice", "iou", "set_iou", "hausdorff")
    for row in found.summary["rows"]:
        cells = (_with_std(row[name]["mean"], row[name]["std"], name) for name in figures)
        table.add_row(row["arm"], row["labels"], *cells)
    for name, bar in found.summary["bars"].items():
        table.add_row(name, "0", *(_with_std(bar[one], None, one) for one in figures))
    Console().print(table)


def _with_std(mean: float | None, std: float | None, name: str) -> str:
    if mean is None:
        return "-"
    decimals = 1 if name == "hausdorff" else 3
    return f"{mean:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")
