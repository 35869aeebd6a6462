"""The command `barlow`: parsing and calls only. The flags of `pretrain` are the fields of Recipe and Machine.

torch is imported by the commands, not by this file, so that `barlow --help` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from rich.console import Console
from rich.table import Table

from barlow.machine import Machine
from barlow.recipes import RECIPES, Recipe, recipe_for

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells use it; the run can be resumed."""

HELP = """barlow: self-supervised pretraining that shows why it works.

  barlow pretrain [DATA]          pretrain a backbone; without DATA on built-in digits, about a minute
  barlow evaluate RUN [DATA]      kNN, linear probe, few labels, beside untrained network and raw pixels
  barlow embed RUN DATA           features of every sample, to .npz or .parquet
  barlow report RUN [RUN ...]     one HTML page for a run, or one that compares several
  barlow export RUN               backbone for timm or ONNX
  barlow recipes                  complete runs by name, with source and published result

barlow COMMAND --help tells more. --debug before any command shows the traceback of an error.
"""


@dataclass(frozen=True)
class Pretrain:
    """Pretrain a backbone without labels. The same command again goes on where it stopped."""

    data: tyro.conf.Positional[str] = "digits"
    """digits, fashion-mnist, cifar10, ...; a folder of pictures; an .npy or .npz file."""
    recipe: str = ""
    """Start from these numbers (`barlow recipes`); empty: the recipe made for DATA."""
    out: Path | None = None
    """Run folder; default: runs/<name of the data>."""
    resume: Path | None = None
    """Go on with this run: its data and recipe are read from the folder."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    numbers: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's features on labelled data; nothing is tuned on the test part."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data: tyro.conf.Positional[str] = ""
    """Labelled data; empty: the data of the run."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    sgd_linear: bool = False
    """Also the papers' protocol: 100 epochs of SGD on a linear layer, last epoch (here on unaugmented features)."""


@dataclass(frozen=True)
class Embed:
    """Write the features of every sample that can be read."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data: tyro.conf.Positional[str]
    """Data as for pretrain."""
    out: Path = Path("features.npz")
    """.npz or .parquet."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""


@dataclass(frozen=True)
class Report:
    """Write the HTML page of a run, or one page that compares the runs in a folder or a list."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or a folder of runs."""
    out: Path | None = None
    """The comparing page; default: compare.html beside the runs."""


@dataclass(frozen=True)
class Export:
    """Write the backbone for other programs."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    to: Literal["timm", "onnx"] = "timm"
    """timm: a folder for timm.create_model("local-dir:..."); onnx: one file."""
    out: Path | None = None
    """Where to; default: inside the run folder."""


@dataclass(frozen=True)
class Recipes:
    """List the recipes."""


Flags = TypeVar("Flags")


def parse(flags: type[Flags], arguments: Sequence[str], default: Flags | None = None) -> Flags:
    """Return the flags of one command; prints help or the mistake and exits by itself."""
    prog = f"barlow {flags.__name__.lower()}"
    if default is None:
        return tyro.cli(flags, args=list(arguments), prog=prog)
    return tyro.cli(flags, args=list(arguments), prog=prog, default=default)


def pretrain(arguments: Sequence[str]) -> int:
    """Pretrain, evaluate and write the page; print the table and where the page is."""
    flags = parse(Pretrain, arguments)
    # Once more with the numbers of the recipe as defaults, so that only what was typed differs from it.
    flags = parse(Pretrain, arguments, replace(flags, numbers=recipe_for(flags.recipe or None, flags.data)))
    from barlow.pretraining import pretrain as run_pretraining, resume

    if flags.resume is not None:
        run = resume(flags.resume, machine=flags.machine)
    else:
        run = run_pretraining(
            flags.data, recipe=flags.numbers, out=flags.out, data_root=flags.data_root, machine=flags.machine
        )
    if not run.finished:
        say(f"stopped after a checkpoint; the same command goes on: {run.folder}")
        return INTERRUPTED
    show_evaluation(run.summary)
    say(f"page: {run.folder / 'report.html'}")
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """Print the table of one run on labelled data."""
    flags = parse(Evaluate, arguments)
    from barlow.run import open_run

    score = open_run(flags.run).evaluate(
        flags.data or None, data_root=flags.data_root, sgd_linear=flags.sgd_linear, quiet=False
    )
    show_evaluation({"evaluation": score.evaluation})
    return 0


def embed(arguments: Sequence[str]) -> int:
    """Write features."""
    flags = parse(Embed, arguments)
    from barlow.run import open_run

    embedded = open_run(flags.run).write_features(flags.data, flags.out, data_root=flags.data_root)
    say(f"{embedded} samples: {flags.out}")
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write one page."""
    flags = parse(Report, arguments)
    from barlow.report.compare import compare_reports
    from barlow.report.page import write_report
    from barlow.report.run_folder import find_runs

    found = [run for folder in flags.runs for run in find_runs(folder)]
    if not found:
        raise ValueError(f"runs: no run folder in {', '.join(map(str, flags.runs))}")
    if len(found) == 1:
        say(f"page: {write_report(found[0])}")
        return 0
    for run in found:
        write_report(run)
    say(f"page: {compare_reports(found, flags.out or flags.runs[0] / 'compare.html')}")
    return 0


def export(arguments: Sequence[str]) -> int:
    """Write the backbone for timm or ONNX."""
    flags = parse(Export, arguments)
    from barlow.run import open_run

    run = open_run(flags.run)
    where = flags.out or run.folder / ("timm" if flags.to == "timm" else "backbone.onnx")
    run.export(flags.to, where)
    say(f"{flags.to}: {where}")
    return 0


def recipes(arguments: Sequence[str]) -> int:
    """Print the recipes with source and published result."""
    parse(Recipes, arguments)
    table = Table("recipe", "what", "source", "published", show_lines=True)
    for name, make in RECIPES.items():
        recipe = make()
        what = f"{recipe.method}, {recipe.backbone} w{recipe.width}, {recipe.epochs} epochs of {recipe.batch_size}"
        table.add_row(name, what, recipe.source, recipe.published or "-")
    Console().print(table)
    return 0


def show_evaluation(summary: dict[str, Any]) -> None:
    """Print the table of trained, untrained and raw features, or the label-free figures."""
    rows = summary.get("evaluation", {}).get("rows", [])
    if rows:
        few = rows[0]["few_labels"]
        table = Table("features", "kNN", "linear, all labels", f"linear, {few['per_class']} labels per class")
        if "sgd_linear" in rows[0]:
            table.add_column("linear, 100 epochs of SGD")
        for row in rows:
            few = row["few_labels"]
            cells = [f"{100 * row['knn']:.1f}", f"{100 * row['linear']:.1f}"]
            cells.append(f"{100 * few['mean']:.1f} ± {100 * few['std']:.1f}")
            cells += [f"{100 * row['sgd_linear']:.1f}"] if "sgd_linear" in row else []
            table.add_row(row["features"], *cells)
        Console().print(table)
    for name, value in summary.get("label_free", {}).items():
        say(f"{name.replace('_', ' ')}: {value:.3g}")


def say(line: str) -> None:
    """Print a line of result."""
    sys.stdout.write(line + "\n")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "pretrain": pretrain,
    "evaluate": evaluate,
    "embed": embed,
    "report": report,
    "export": export,
    "recipes": recipes,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Errors of the user are one line and exit status 2; --debug shows the traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        say(HELP)
        sys.exit(0)
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        say(version("barlow"))
        sys.exit(0)
    try:
        if words[0] not in COMMANDS:
            nearest = get_close_matches(words[0], COMMANDS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"command: got {words[0]!r}, wanted one of {', '.join(COMMANDS)}{hint}")
        sys.exit(COMMANDS[words[0]](words[1:]))
    except (ValueError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"barlow: {' '.join(str(error).split())}\n")
        sys.exit(2)
