"""The command `barlow`: calls only; the flags, and how they are read, are in `flags.py`.

torch is imported by the commands, not by this file, so that `barlow --help` answers at once.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from rich.console import Console
from rich.table import Table

from barlow.cli.features import classify, duplicates, groups, label, map_page, outliers, predict, similar
from barlow.cli.flags import (
    Audit,
    Compare,
    Completion,
    Embed,
    Evaluate,
    Export,
    Networks,
    Pretrain,
    Recipes,
    Report,
    Segment,
    Study,
    Views,
    parse,
    parse_pretrain,
    typed_numbers,
)

if TYPE_CHECKING:
    from barlow.runs.run import Run
from barlow.data.listed import STDIN, named_in
from barlow.errors import unknown
from barlow.recipes import recipe_for
from barlow.training.machine import Machine
from barlow.training.signals import sigterm_as_interrupt

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM, as shells use it; the run can be resumed."""

HELP = """barlow: self-supervised pretraining that shows why it works.

to begin with:
  barlow pretrain [DATA]          pretrain a backbone (--minutes 60); without
                                  DATA on built-in digits, a minute or two
  barlow evaluate RUN [DATA]      what its features are worth: neighbours,
                                  linear probe, few labels, beside honest bars
  barlow audit RUN [RUN]          why it is as it is; also timm:NAME DATA,
                                  checkpoint.pth DATA; two: what changed
  barlow report RUN [RUN ...]     one HTML page of a run, or of several

what to do with features:
  barlow similar RUN QUERY        the samples most like a picture, those of a
                                  folder, or one of the data by its name
  barlow duplicates RUN           samples that are there twice
  barlow outliers RUN             samples that fit nowhere, and why
  barlow groups RUN               samples that belong together
  barlow map RUN                  one page to look around in; opens offline
  barlow label RUN                which samples to label next, as a csv
  barlow classify RUN             a classifier from those labels, or from
                                  class folders
  barlow predict MODEL NEW        its classes of new samples, and what is
                                  like none of them

for other programs:
  barlow embed RUN [DATA]         features of every sample: .npz or .parquet
  barlow export RUN               backbone for timm or ONNX, of sound for HEAR;
                                  of a MODEL its classifier

larger tasks:
  barlow segment RUN DATA         fine-tune on few masks: masks and a model
  barlow sequence DATA DATA ...   data sets one after another by one network;
                                  --keep ewc: what it forgets, and less
  barlow compare [DATA] --recipes A,B   several recipes for the same time or
                                  the same images: one table, one page
  barlow study [NAME]             a claim of the paper put to the test;
                                  without NAME the list

to look up:
  barlow recipes [NAME]           complete runs by name; every number of one
  barlow views [DATA]             augmentations by name; pictures of them
  barlow networks [WORD]          networks by name
  barlow completion bash          completion for bash, zsh or fish

barlow COMMAND --help tells more. --debug before any command shows the
traceback of an error.
"""


def pretrain(arguments: Sequence[str]) -> int:
    """Pretrain, evaluate and write the page; print the table and where the page is."""
    since = time.time()
    flags = parse_pretrain(arguments)
    if sys.stderr.isatty() and not flags.machine.quiet:
        sys.stderr.write("barlow: starting\n")  # torch takes seconds to load
    from barlow.report.record import left_out
    from barlow.report.run_folder import read_run
    from barlow.report.terminal import print_evaluation
    from barlow.report.words import made_worse, nothing_learnt
    from barlow.statistics.collectives import is_first_process

    run = _pretrained(flags, arguments, since)
    if not is_first_process():
        return 0 if run.finished else INTERRUPTED
    if not run.finished:
        say(f"stopped after a checkpoint; the same command goes on: {run.folder}")
        return INTERRUPTED
    print_evaluation(run.summary)
    if warning := nothing_learnt(run.summary.get("label_free", {})):
        say(warning)
    found = read_run(run.folder)
    for line in (*filter(None, [made_worse(found)]), *left_out(found)):
        say(line)
    say_page(run.folder / "report.html")
    return 0


def _pretrained(flags: Pretrain, arguments: Sequence[str], since: float) -> "Run":
    from barlow.runs.pretrain import pretrain as run_pretraining, resume

    if flags.download:
        from barlow.modalities import fetch, modality_for

        fetch(modality_for(flags.data, modality=flags.modality or None), flags.data, flags.data_root)
    if flags.resume is not None:
        return resume(
            flags.resume,
            data=flags.moved_to or None,
            modality=flags.modality or None,
            machine=flags.machine,
            since=since,
        )
    return run_pretraining(
        flags.data,
        recipe=flags.recipe or None,
        out=flags.out,
        start_from=flags.start_from,
        data_root=flags.data_root,
        labels=flags.labels,
        hold_out=flags.hold_out,
        modality=flags.modality or None,
        machine=flags.machine,
        white_level=flags.white_level,
        channels_axis=flags.channels_axis or None,
        since=since,
        **typed_numbers(arguments, flags),
    )


def compare(arguments: Sequence[str]) -> int:
    """Train what is not trained yet, print the table, write the page."""
    flags = parse(Compare, arguments)
    from barlow.report.side_by_side import failed_runs, weights_were_worth
    from barlow.report.terminal import print_comparison
    from barlow.runs.compare import compare_recipes

    network: dict[str, Any] = {"backbone": flags.backbone} if flags.backbone else {}
    found = compare_recipes(
        flags.data,
        [name.strip() for name in flags.recipes.split(",") if name.strip()],
        seeds=flags.seeds,
        minutes=flags.minutes,
        images=flags.images,
        out=flags.out,
        data_root=flags.data_root,
        machine=Machine(accelerator=flags.accelerator, checkpoint_minutes=flags.checkpoint_minutes, quiet=flags.quiet),
        white_level=flags.white_level,
        channels_axis=flags.channels_axis or None,
        labels=flags.labels,
        hold_out=flags.hold_out,
        start=flags.start,
        **network,
    )
    print_comparison(found.table["rows"])
    for line in (*weights_were_worth(found.table["rows"]), *failed_runs(found.table["rows"])):
        say(line)
    say_page(found.page)
    if not found.finished:
        say("stopped after a checkpoint; the same command goes on")
        return INTERRUPTED
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """Print the table of one run on labelled data."""
    flags = parse(Evaluate, arguments)
    from barlow.report.terminal import print_evaluation
    from barlow.runs.run import open_run

    run = open_run(flags.run, data=flags.moved_to or None, modality=flags.modality or None)
    if flags.verify or flags.trials or flags.snr:
        return _verify(flags, run)
    score = run.evaluate(
        flags.data or None,
        data_root=flags.data_root,
        sgd_linear=flags.sgd_linear or flags.augmented,
        augmented=flags.augmented,
        finetune=flags.finetune,
        protocol=flags.protocol,
        seconds=flags.seconds,
        accelerator=flags.accelerator,
        labels=flags.labels,
        hold_out=flags.hold_out,
        keep=flags.keep,
        quiet=False,
        white_level=flags.white_level,
        channels_axis=flags.channels_axis or None,
    )
    print_evaluation({"evaluation": score.evaluation})
    if score.kept:
        say(f"kept: {score.kept}")
    return 0


def _verify(flags: Evaluate, run: "Run") -> int:
    """Print error rates of speakers in every condition."""
    from barlow.applications.speakers.verify import verify_speakers

    score = verify_speakers(
        run,
        flags.data or None,
        trials=flags.trials,
        snr=flags.snr,
        noise=flags.noise,
        labels=flags.labels,
        hold_out=flags.hold_out,
        data_root=flags.data_root,
        accelerator=flags.accelerator,
        keep=flags.keep,
        quiet=False,
    )
    table = Table("EER in % / minDCF", *(one["condition"] for one in score.rows[0]["verification"]))
    for row in score.rows:
        table.add_row(
            row["features"], *(f"{100 * one['eer']:.1f} / {one['min_dcf']:.3f}" for one in row["verification"])
        )
    Console().print(table)
    for line in (score.trials, *score.notes, *([f"kept: {score.kept}"] if score.kept else [])):
        say(line)
    return 0


def audit(arguments: Sequence[str]) -> int:
    """Audit one or two backbones: verdicts, tables, pages."""
    flags = parse(Audit, arguments)
    from barlow.cli.audit import audit_words

    for page in audit_words(flags):
        say(f"page: {page}")
    return 0


def embed(arguments: Sequence[str]) -> int:
    """Write features."""
    flags = parse(Embed, arguments)
    done = flags.opened().embed_to_file(
        named_in(sys.stdin) if flags.data == STDIN else flags.data or None,
        flags.out,
        data_root=flags.data_root,
        accelerator=flags.accelerator,
        quiet=flags.quiet,
        window=flags.window,
        hop=flags.hop,
        white_level=flags.white_level,
        channels_axis=flags.channels_axis or None,
    )
    if done.left_out:
        say(done.left_out)
    say(f"{done.num_rows} samples: {done.path}")
    return 0


def sequence(arguments: Sequence[str]) -> int:
    """Train the stages that are not trained yet, and what stands beside them; say what was kept, write the page."""
    from barlow.cli.sequence import parse_sequence

    flags, numbers = parse_sequence(list(arguments))
    from barlow.applications.continual.keep import keep_named
    from barlow.applications.continual.page import sentences
    from barlow.applications.continual.sequence import pretrain_sequence

    found = pretrain_sequence(
        flags.data,
        keep=keep_named(flags.keep, flags.keep_options),
        recipe=flags.recipe or None,
        out=flags.out,
        baselines=flags.baselines,
        hold_out=flags.hold_out,
        data_root=flags.data_root,
        modality=flags.modality or None,
        machine=flags.machine,
        white_level=flags.white_level,
        channels_axis=flags.channels_axis or None,
        **numbers,
    )
    for line in sentences(found.results):
        say(line)
    say_page(found.page)
    if not found.finished:
        say(f"stopped after a checkpoint; the same command goes on: {found.folder}")
        return INTERRUPTED
    return 0


def segment(arguments: Sequence[str]) -> int:
    """Fine-tune on few masks, print what was found and where it is; or make masks with a model."""
    flags = parse(Segment, arguments)
    from barlow.cli.segment import segment_words

    for line in segment_words(flags):
        say(line)
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write one page."""
    flags = parse(Report, arguments)
    from barlow.report.page import write_report
    from barlow.report.run_folder import find_runs
    from barlow.report.side_by_side import compare_reports

    found = [run for folder in flags.runs for run in find_runs(folder)]
    if not found:
        where = ", ".join(map(str, flags.runs)) or "nothing"
        raise ValueError(f"runs: got {where}, wanted one or more run folders, or a folder of them")
    if len(found) == 1:
        say(f"page: {write_report(found[0], flags.out)}")
        return 0
    for run in found:
        write_report(run)
    say(f"page: {compare_reports(found, flags.out or flags.runs[0] / 'compare.html')}")
    return 0


def export(arguments: Sequence[str]) -> int:
    """Write the backbone, or a classifier, for timm or ONNX."""
    flags = parse(Export, arguments)
    from barlow.features.classifier import is_classifier
    from barlow.runs.run import open_run

    run = open_run(flags.run, modality=flags.modality or None)
    name = "classifier.onnx" if is_classifier(run.folder) else "backbone.onnx"
    where = flags.out or run.folder / (name if flags.to == "onnx" else flags.to)
    notes = run.export(flags.to, where, with_preprocessing=flags.with_preprocessing)
    for line in notes:
        say(line)
    say(f"{flags.to}: {where}")
    return 0


def study(arguments: Sequence[str]) -> int:
    """Carry out a study, print its findings and where its page is; without a name, print the list."""
    flags = parse(Study, arguments)
    from barlow.studies.table import STUDIES, load_study

    if not flags.name:
        table = Table("study", "what it asks")
        for name, question in STUDIES.items():
            table.add_row(name, question)
        Console().print(table)
        return 0
    if flags.name not in STUDIES:
        raise unknown("name", flags.name, STUDIES)
    if flags.quick and flags.whole:
        raise ValueError("quick, whole: got both, wanted one of them at most")
    from barlow.studies.study import Settings, carry_out

    asked = load_study(flags.name)
    settings = Settings(
        data=flags.data,
        data_root=str(flags.data_root or ""),
        seeds=flags.seeds or (1 if flags.quick else asked.seeds),
        form="quick" if flags.quick else "whole" if flags.whole else "core",
        labels=flags.labels,
        hold_out=flags.hold_out,
    )
    try:
        found = carry_out(
            flags.name,
            asked,
            settings,
            flags.out or Path("runs") / f"study-{flags.name}",
            jobs=flags.jobs,
            quiet=flags.quiet,
        )
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return INTERRUPTED
    for finding in found.conclusion.findings:
        say(finding.sentence)
    say_page(found.page)
    return 0


def recipes(arguments: Sequence[str]) -> int:
    """Print the recipes with source and published result, or every number of one."""
    flags = parse(Recipes, arguments)
    from barlow.cli.recipes import print_recipe, print_recipes

    if flags.name:
        print_recipe(recipe_for(flags.name, flags.data))
    else:
        print_recipes()
    return 0


def views(arguments: Sequence[str]) -> int:
    """Print the views by name; with data, write the page of what they do."""
    flags = parse(Views, arguments)
    from barlow.cli.listed import print_listed, write_views_page

    if flags.data:
        say_page(write_views_page(flags))
    else:
        print_listed("views")
    return 0


def networks(arguments: Sequence[str]) -> int:
    """Print the networks by name."""
    flags = parse(Networks, arguments)
    from barlow.cli.listed import print_listed

    print_listed("networks", flags.word)
    return 0


def completion(arguments: Sequence[str]) -> int:
    """Print what a shell completes by."""
    flags = parse(Completion, arguments)
    from barlow.cli.completion import script

    sys.stdout.write(script(flags.shell, flags_by_command()))
    return 0


def say(line: str) -> None:
    """Print a line of result."""
    sys.stdout.write(line + "\n")


def say_page(page: Path) -> None:
    """Print where a page is, if it is there."""
    if page.is_file():
        say(f"page: {page}")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "pretrain": pretrain,
    "compare": compare,
    "evaluate": evaluate,
    "audit": audit,
    "embed": embed,
    "similar": similar,
    "duplicates": duplicates,
    "outliers": outliers,
    "groups": groups,
    "map": map_page,
    "label": label,
    "classify": classify,
    "predict": predict,
    "sequence": sequence,
    "segment": segment,
    "report": report,
    "study": study,
    "export": export,
    "recipes": recipes,
    "views": views,
    "networks": networks,
    "completion": completion,
}


def flags_by_command() -> dict[str, type]:
    """Return the dataclass of every command."""
    from barlow.cli import features, flags, sequence

    homes = (sequence, flags, features)
    return {name: next(found for home in homes if (found := vars(home).get(name.capitalize()))) for name in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Errors of the user are one line and exit status 2; --debug shows the traceback.

    Ctrl-C and SIGTERM end it with status 130 wherever it is; in the loop of a run they wait for a checkpoint.
    """
    # Threads spin while they wait unless told otherwise, and where another program shares the CPU a run is then ten
    # times slower and more. Said before torch is loaded, or it has no effect.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal without ± gets a question mark, and the rest of the table
        sys.stdout.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _warned
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
            raise unknown("command", words[0], COMMANDS)
        with sigterm_as_interrupt():
            status = COMMANDS[words[0]](words[1:])
        sys.exit(status)
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("barlow: stopped; what was finished is kept\n")
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if debug or (isinstance(error, RuntimeError) and not _out_of_memory(error)):
            raise
        sys.stderr.write(f"barlow: {' '.join(_sentence(error).split())}\n")
        if isinstance(error, ConnectionError):
            _leave_at_once(2)
        sys.exit(2)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code where it was raised."""
    sys.stderr.write(f"barlow: {'note' if category is UserWarning else category.__name__}: {message}\n")


def _sentence(error: Exception) -> str:
    """What an error says; of one of the system its words and its file, without its number."""
    if not isinstance(error, OSError) or error.errno is None or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror.lower()}: {error.filename}"


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory, on a GPU (a class of its own) or on the CPU (a RuntimeError like any other)."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _leave_at_once(status: int) -> NoReturn:
    """Leave without the interpreter's clean-up, where torch's threads that wait for a lost process can abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
