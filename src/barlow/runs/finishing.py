"""What comes after the last step of a run: the backbone saved and measured, the figures gathered, summary and page."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from barlow.evaluation.scores import LabelledParts, calibrate, labelled_parts, measure, split_parts
from barlow.files import durable_file
from barlow.report.page import write_report
from barlow.runs.build import save_backbone
from barlow.runs.evidence import gather_evidence, label_free_figures
from barlow.runs.floor import backbone_limit
from barlow.runs.folder import RunFolder, training_time
from barlow.runs.run import Run
from barlow.seams import Method, Modality, OnDevice, Source
from barlow.training.journal import Journal
from barlow.training.progress import Progress


def finish(
    run: Run,
    facts: Mapping[str, Any],
    source: Source,
    method: Method,
    twin: nn.Module,
    test: LabelledParts | None,
    device: torch.device,
    journal: Journal,
    quiet: bool,
) -> None:
    """Save the backbone, measure it, gather what the page shows, write summary and page.

    `twin` is the backbone as it was before the first step; `test` labelled data that only the evaluation sees, None:
    the data of the run, with their test split if any.
    """
    where, views, started = RunFolder(run.folder), run.views.bare(), time.perf_counter()
    save_backbone(run.modality, where.checkpoints, run.backbone, facts)
    method.to(device).eval()
    samples: Source = OnDevice(source, device)
    calibrate(twin.to(device), samples, views.plain)
    held_out, evaluation = samples, dict[str, Any]()
    try:
        parts = test or _labelled(run.modality, facts, source)
        if parts is not None:
            parts, bars = parts.on(device), run.modality.bars
            evaluation = dict(measure(run.backbone, twin, parts, plain=views.plain, bars=bars, quiet=quiet).evaluation)
            held_out = parts.test if len(parts.test) > 1 else samples  # one sample has no spectrum
    except ValueError as error:  # labels are optional: those of no use take nothing from a run that is trained
        message = f"The labels could not be used, so nothing is evaluated on them: {error}"
        journal.write("warning", message=message)
        Progress("evaluation", 0, quiet=quiet).say(message)
    limit = backbone_limit(run.recipe, int(getattr(run.backbone, "num_features", 0)))
    figures = label_free_figures(run.backbone, samples, views, limit)
    before = label_free_figures(twin, samples, views, limit)
    label_free = figures | {f"{name}_untrained": value for name, value in before.items()}
    show = run.modality.show(facts)
    arrays = gather_evidence(run.backbone, method.projector, twin, samples, held_out, views, show)
    with durable_file(run.folder / "evidence.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    seconds = time.perf_counter() - started
    timing = {**training_time(where.journal), "evaluation_seconds": seconds}
    summary = {"evaluation": evaluation, "label_free": label_free, "audit": {}, "timing": timing}
    where.write("summary.json", summary)
    journal.write("evaluation", seconds=seconds)
    write_report(run.folder)


def _labelled(modality: Modality, facts: Mapping[str, Any], source: Source) -> LabelledParts | None:
    """The data of the run in two parts, None where there are no labels."""
    if facts["path"]:
        return labelled_parts(modality, facts["path"], facts=facts, data_root=facts["data_root"] or None)
    return split_parts(source)
