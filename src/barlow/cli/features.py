"""The commands that use features: flags and calls. What they do is in `features/` and `runs/features.py`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.table import Table

from barlow.cli.flags import OfRun, parse
from barlow.formats import count

if TYPE_CHECKING:
    from barlow.runs.features import Sampled
    from barlow.runs.run import Run


def _sampled(flags: OfRun) -> "Sampled":
    from barlow.runs.features import sampled

    run = flags.opened()
    _warn(run)
    return sampled(run, flags.data or None, data_root=flags.data_root, quiet=flags.quiet)


def _warn(run: "Run") -> None:
    """Say of a network that has learnt nothing that what follows is by features that tell little."""
    from barlow.report.words import nothing_learnt

    if in_vain := nothing_learnt(run.summary.get("label_free", {})):
        _say(f"{in_vain} What follows is by these features: look at each before you act on it.")


def _file(flags: OfRun, name: str, of: "Sampled") -> Path:
    return flags.out or of.run.folder / "features" / f"{name}.json"


@dataclass(frozen=True)
class Similar:
    """Find the samples most like a picture, those of a folder, or a sample of the data by its name."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    query: tyro.conf.Positional[str]
    """A file, a folder, or the name of a sample (its whole path or the end of it)."""
    data: tyro.conf.Positional[str] = ""
    """Data to search, as for pretrain; empty: the data of the run."""
    number: int = 12
    """How many for each query."""
    box: tuple[float, float, float, float] | None = None
    """A crop of the picture to search by: left, top, right, bottom from 0 to 1, as shares of its sides."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    out: Path | None = None
    """The JSON file, the page beside it; default: features/similar.json in the run folder."""
    modality: str = ""
    """FILE.py:NAME, where the run is of a modality of your own."""
    quiet: bool = False
    """No progress on the terminal."""


@dataclass(frozen=True)
class Duplicates(OfRun):
    """Find samples that are there twice or more: exact copies, and near ones by a threshold that the data tell."""

    threshold: float | None = None
    """Similarity, -1 to 1, from which two samples are the same; default: told by mild views of the samples."""
    remove_to: Path | None = None
    """A file that lists, a line each, what to leave out so that every sample is there once."""


@dataclass(frozen=True)
class Outliers(OfRun):
    """Rank the samples that fit nowhere, with the reason and the error of the rank."""

    most: int = 50
    """How many."""


@dataclass(frozen=True)
class Groups(OfRun):
    """Sort the samples into groups, and show the most typical of each."""

    number: int | None = None
    """How many groups; default: told by the data."""


@dataclass(frozen=True)
class Map(OfRun):
    """Write one page to look around in, which opens offline: similar samples lie near each other; out: the page."""


@dataclass(frozen=True)
class Label(OfRun):
    """Choose the samples to label next: a csv to fill in, which classify reads."""

    number: int = 50
    """How many samples to choose."""
    labelled: Path | None = None
    """A csv with labels that there are already: they are kept, and the choice goes on from them."""


@dataclass(frozen=True)
class Classify(OfRun):
    """Fit a classifier to labels, from class folders or a csv, and show how good it is on labels it has not seen."""

    labels: Path | None = None
    """A csv with the columns name (a path or its end, such as dress/1.jpg) and label; default: labels of the data."""
    finetune: bool = False
    """Train the network on the labels too, as long as some of them that are held out say; minutes, not seconds."""
    test: str = ""
    """Labelled data, such as class folders, that nothing learns from: an honest score where labels were chosen."""


@dataclass(frozen=True)
class Predict:
    """Classify new samples: a csv with class, probability, and whether a sample is like none of the classes."""

    model: tyro.conf.Positional[Path]
    """Folder that classify wrote."""
    data: tyro.conf.Positional[str]
    """A file, a folder or a name."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    out: Path | None = None
    """The csv; default: predictions.csv in the folder of the model."""


def similar(arguments: Sequence[str]) -> int:
    """Print the nearest samples of each query, and where the page is."""
    flags = parse(Similar, arguments)
    from barlow.runs.features import sampled, similar as find, write_similar
    from barlow.runs.run import open_run

    run = open_run(flags.run, modality=flags.modality or None)
    _warn(run)
    of = sampled(run, flags.data or None, data_root=flags.data_root, quiet=flags.quiet)
    found = find(of, flags.query, number=flags.number, box=flags.box)
    for query, names, line in list(zip(found.queries, found.names, found.similarities, strict=True))[:3]:
        _say(f"like {query}:")
        for name, similarity in zip(names, line, strict=True):
            _say(f"  {float(similarity):.3f}  {name}")
    return _page(write_similar(of, found, flags.out or of.run.folder / "features" / "similar.json"))


def duplicates(arguments: Sequence[str]) -> int:
    """Print how many there are, and where the list and the page are."""
    flags = parse(Duplicates, arguments)
    from barlow.files import durable_file
    from barlow.runs.features import duplicates as find, write_duplicates

    of = _sampled(flags)
    found = find(of, threshold=flags.threshold, quiet=flags.quiet)
    names = of.embeddings.names
    for group, similarity in list(zip(found.groups, found.similarities, strict=True))[:10]:
        _say(f"  {similarity:.3f}  {'  '.join(names[row] for row in group)}")
    groups, more = count(len(found.groups), "group"), count(len(found.to_remove), "sample")
    _say(f"{groups}, {more} more than there need be; {found.note}")
    if flags.remove_to is not None:
        with durable_file(flags.remove_to) as file:
            file.write("".join(f"{names[row]}\n" for row in found.to_remove).encode())
        _say(f"to leave out: {flags.remove_to}")
    return _page(write_duplicates(of, found, _file(flags, "duplicates", of)))


def outliers(arguments: Sequence[str]) -> int:
    """Print the first of them, and where the list and the page are."""
    flags = parse(Outliers, arguments)
    from barlow.runs.features import outliers as find, write_outliers

    of = _sampled(flags)
    found = find(of, most=flags.most, quiet=flags.quiet)
    for one in found.ranked[:10]:
        why = "; ".join(one.reasons) or "rare"
        _say(f"  {one.rank:3d} ({one.low} to {one.high})  {of.embeddings.names[one.position]}  {why}")
    _say("in brackets, the rank by random halves of the other samples (9 in 10 of them)")
    return _page(write_outliers(of, found, _file(flags, "outliers", of)))


def groups(arguments: Sequence[str]) -> int:
    """Print the groups, and where the list and the page are."""
    flags = parse(Groups, arguments)
    from barlow.runs.features import groups as find, write_groups

    of = _sampled(flags)
    found = find(of, number=flags.number, quiet=flags.quiet)
    _say(found.chosen)
    for name, members in zip(found.names, found.typical, strict=True):
        _say(f"  {len(members):6,}  {name}")
    return _page(write_groups(of, found, _file(flags, "groups", of)))


def map_page(arguments: Sequence[str]) -> int:
    """Write the map, and print where it is."""
    flags = parse(Map, arguments)
    from barlow.runs.features import write_map

    of = _sampled(flags)
    return _page(write_map(of, flags.out or of.run.folder / "features" / "map.html", quiet=flags.quiet))


def label(arguments: Sequence[str]) -> int:
    """Write the csv to fill in."""
    flags = parse(Label, arguments)
    from barlow.runs.features import read_labels, to_label, write_to_label

    labelled = {} if flags.labelled is None else read_labels(flags.labelled)
    of = _sampled(flags)
    names = to_label(of, flags.number, labelled=labelled)
    path = flags.out or of.run.folder / "features" / "to_label.csv"
    filled = read_labels(path) if path.is_file() else {}
    if lost := [name for name in filled if labelled.get(name) != filled[name]]:
        raise ValueError(
            f"out: {str(path)!r} has {len(lost)} labels that would be lost, wanted --labelled {path}, or another file"
        )
    write_to_label(path, names, labelled)
    _say(f"{len(names)} samples to label, the most useful first: fill in the column label of {path}, then")
    _say(f"barlow classify {flags.run} --labels {path} --out model")
    return 0


def classify(arguments: Sequence[str]) -> int:
    """Fit a classifier, print how good it is beside others, and where it is."""
    flags = parse(Classify, arguments)
    from barlow.runs.classifier import NAMES, classify as fit
    from barlow.runs.features import read_labels

    labels = None if flags.labels is None else read_labels(flags.labels)
    of = _sampled(flags)
    made = fit(
        of,
        flags.out or of.run.folder / "model",
        labels=labels,
        finetune=flags.finetune,
        test=flags.test or None,
        data_root=flags.data_root,
        quiet=flags.quiet,
    )
    tested = any("test" in score for score in made.scores.values())
    table = Table("features", "held out, right", "error", "confidence", *(["test, right", "error"] if tested else []))
    for name, score in made.scores.items():
        cells = [score[column] for column in ("accuracy", "error", "confidence")]
        cells += [score["test"][column] for column in ("accuracy", "error")] if tested else []
        table.add_row(NAMES.get(name, name), *(f"{100 * cell:.1f}" for cell in cells))
    Console().print(table)
    for line in ("in percent", *made.notes):
        _say(line)
    _say(f"model: {made.folder}; barlow predict {made.folder} NEW")
    return 0 if made.page is None else _page(made.page)


def predict(arguments: Sequence[str]) -> int:
    """Classify, and write the csv."""
    flags = parse(Predict, arguments)
    from barlow.runs.classifier import predict as find, write_predictions

    found = find(flags.model, flags.data, data_root=flags.data_root)
    path = flags.out or flags.model / "predictions.csv"
    write_predictions(path, found)
    counts = found.classes.bincount(minlength=len(found.class_names)).tolist()
    _say(", ".join(f"{name} {number}" for name, number in zip(found.class_names, counts, strict=True) if number))
    if unknown := int(found.unknown.sum()):
        _say(f"{unknown} of {len(found.names)} are less like the labelled samples than those are like each other")
    if found.skipped:
        _say(f"{len(found.skipped)} could not be read, the first: {next(iter(found.skipped))}")
    _say(f"{len(found.names)} samples: {path}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _page(page: Path) -> int:
    _say(f"page: {page}")
    return 0
