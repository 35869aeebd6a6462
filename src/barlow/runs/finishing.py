"""What comes after the last step of a run: the backbone saved and measured, the figures gathered, page and summary.

All of it can be done again: the same call does what a kill left undone, and gives the same figures. `summary.json` is
the last file, for it says that nothing is left to do.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from barlow.data.lost import lost_in
from barlow.evaluation.budget import Sizes
from barlow.evaluation.features import KeptFeatures
from barlow.evaluation.scores import LabelledParts, labelled_parts, measure, split_parts
from barlow.files import durable_file
from barlow.report.page import sparing_a_page, write_report
from barlow.runs.build import as_it_began, save_backbone
from barlow.runs.evidence import Amounts, amounts_within, gather_evidence, label_free_figures, seconds_per_sample
from barlow.runs.floor import backbone_limit
from barlow.runs.folder import RunFolder, training_time
from barlow.runs.run import Run
from barlow.seams import Method, Modality, OnDevice, Source, Views
from barlow.training.journal import Journal
from barlow.training.progress import Progress

SHARE, LEAST_SECONDS = 0.5, 30.0
"""What follows the last step may take half as long as pretraining, and half a minute in any case."""
EVIDENCE = 0.4
"""The most of that for the figures beside the probes."""


def finish(
    run: Run,
    facts: Mapping[str, Any],
    source: Source,
    method: Method,
    twin: nn.Module,
    num_features: int,
    test: LabelledParts | None,
    device: torch.device,
    journal: Journal,
    quiet: bool,
    seconds: float | None = None,
) -> None:
    """Save the backbone, measure it, gather what the page shows, write page and summary.

    `twin` is the backbone as it was before the first step, `num_features` how many features both have;
    `test` labelled data that only the evaluation sees, None: the data of the run, with their test split if any.
    `seconds` is about how long all of it may take, None: half as
    long as pretraining. What of the samples that leaves is written down before they are looked at, and a finish that
    was killed is done again with the same.
    """
    where, views, started = RunFolder(run.folder), run.views.bare(), time.perf_counter()
    seconds = seconds or max(LEAST_SECONDS, SHARE * training_time(where.journal)["pretrain_seconds"])
    journal.sync()  # a folder that is gone is not made again
    save_backbone(run.modality, where.checkpoints, run.backbone, run.recipe, facts)
    method.to(device).eval()
    samples: Source = OnDevice(source, device)
    amounts, figures = _amounts(where, journal, EVIDENCE * seconds, twin.to(device).eval(), samples, views, test)
    as_it_began(twin, run.recipe, samples, views.plain, most=amounts.calibration)
    held_out, evaluation, kept = samples, dict[str, Any](), KeptFeatures()
    try:
        parts = test or _labelled(run.modality, facts, source)
        if parts is not None:
            for sentence in parts.notes:
                journal.write_once("warning", message=sentence)
            tested, parts, bars = parts.test, parts.on(device), run.modality.bars
            score = measure(
                run.backbone, twin, parts, plain=views.plain, bars=bars, quiet=quiet, kept=kept,
                seconds=seconds - figures, sizes=_sizes(where), decided=partial(_note_sizes, journal, quiet),
                modality=run.modality,
            )  # fmt: skip
            evaluation = dict(score.evaluation)
            for sentence in lost_in(tested):  # those of the training data are in the journal already
                journal.write_once("note", message=sentence)
            held_out = parts.test if len(parts.test) > 1 else samples  # one sample has no spectrum
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        # Labels are optional: those of no use take nothing else from a run that is trained.
        message = f"The labels could not be used, so nothing is evaluated on them: {error}"
        _warn(message, journal, quiet=quiet)
    label_free = _label_free(run, twin, num_features, samples, views, amounts.figures)
    show = run.modality.show(facts)
    arrays = gather_evidence(
        run.backbone, method.projector, twin, samples, held_out, views, show, amounts=amounts, kept=kept
    )
    arrays |= run.modality.portrait(source)
    with durable_file(run.folder / "evidence.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    took = time.perf_counter() - started
    timing = {**training_time(where.journal), "evaluation_seconds": took}
    audit = where.summary().get("audit", {})  # of an earlier finish whose files were removed
    summary = {"evaluation": evaluation, "label_free": label_free, "audit": audit, "timing": timing}
    if not any("rows" not in record for record in where.files().events("evaluation")):
        journal.write("evaluation", seconds=took)
    try_report(where, journal, quiet=quiet, summary=summary)
    journal.sync()
    where.write("summary.json", summary)


def try_report(where: RunFolder, journal: Journal, *, quiet: bool, summary: Mapping[str, Any] | None = None) -> None:
    """Write the page, with a summary that is not in the folder yet; one that cannot be written takes nothing away."""
    with sparing_a_page(lambda message: _warn(message, journal, quiet=quiet)):
        write_report(where.path, summary=summary)


def _warn(message: str, journal: Journal, *, quiet: bool) -> None:
    """Say something once on the terminal and in the journal."""
    if journal.write_once("warning", message=message):
        Progress("evaluation", 0, quiet=quiet).say(message)


def _label_free(
    run: Run, twin: nn.Module, num_features: int, samples: Source, views: Views, most: int
) -> dict[str, float]:
    """The figures that need no labels, of the backbone and of its untrained twin."""
    limit = backbone_limit(run.recipe, num_features)  # a network of one's own need not tell it
    figures, before = (label_free_figures(one, samples, views, limit, most=most) for one in (run.backbone, twin))
    return figures | {f"{name}_untrained": value for name, value in before.items()}


def _amounts(
    where: RunFolder,
    journal: Journal,
    seconds: float,
    network: nn.Module,
    samples: Source,
    views: Views,
    test: LabelledParts | None,
) -> tuple[Amounts, float]:
    """Samples behind the figures beside the probes, and their seconds: as noted earlier, else what fits into the time.

    What they leave of the time is the evaluation's.
    """
    for event in where.files().events("figure_amounts"):
        return Amounts(**{one.name: int(event[one.name]) for one in fields(Amounts)}), event.get("seconds", seconds)
    held_out = len(samples if test is None else test.test)
    amounts, taken = amounts_within(seconds, seconds_per_sample(network, samples, views), len(samples), held_out)
    journal.write("figure_amounts", **asdict(amounts), seconds=taken)
    return amounts, taken


def _sizes(where: RunFolder) -> Sizes | None:
    """Samples that an earlier finish, which was killed, had decided to look at."""
    for event in where.files().events("evaluation_sizes"):
        return Sizes(**{one.name: event[one.name] for one in fields(Sizes)})
    return None


def _note_sizes(journal: Journal, quiet: bool, sizes: Sizes) -> None:
    if journal.write_once("evaluation_sizes", **sizes.as_record()) and sizes.note:
        Progress("evaluation", 0, quiet=quiet).say(sizes.note)


def _labelled(modality: Modality, facts: Mapping[str, Any], source: Source) -> LabelledParts | None:
    """The data of the run in two parts, None where there are no labels."""
    if facts.get("labels") == "none":
        return None
    if facts["path"]:
        root, labels = facts["data_root"] or None, facts.get("labels", "auto")
        return labelled_parts(modality, facts["path"], facts=facts, data_root=root, labels=labels)
    return split_parts(source)
