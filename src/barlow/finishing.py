"""What comes after the last step of a run: the backbone saved and measured, the figures gathered, summary and page."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from barlow.data.source import Source
from barlow.evidence import gather_evidence, label_free_figures
from barlow.loss_floor import backbone_limit
from barlow.methods.method import Method
from barlow.networks.saved import save_backbone
from barlow.report.page import write_report
from barlow.run import Run
from barlow.run_folder import RunFolder, training_time
from barlow.scores import LabelledParts, calibrate, labelled_parts, measure, split_parts
from barlow.training.durable_file import durable_file
from barlow.training.journal import Journal
from barlow.training.progress import Progress
from barlow.views.colour import to_pixels
from barlow.views.located import without_place

Device = tuple[Callable[[Any], Any], torch.device]
"""How a batch gets to where the network is, and where that is."""


def finish(
    run: Run,
    facts: Mapping[str, Any],
    source: Source,
    method: Method,
    twin: nn.Module,
    test: LabelledParts | None,
    device: Device,
    journal: Journal,
    quiet: bool,
) -> None:
    """Save the backbone, measure it, gather what the page shows, write summary and page.

    Args:
        run: with the trained backbone.
        facts: of the data, as in `recipe.json`.
        source: what was trained on.
        method: backbone and heads.
        twin: the backbone as it was before the first step.
        test: labelled data that only the evaluation sees; None: the data of the run, with their test split if any.
        device: where the networks are to be.
        journal: of the run.
        quiet: no progress on the terminal.
    """
    where, views, started = RunFolder(run.folder), without_place(run.views).on(device[0]), time.perf_counter()
    save_backbone(where.checkpoints, run.backbone, mean=facts.get("mean"), std=facts.get("std"))
    method.to(device[1]).eval()
    calibrate(twin.to(device[1]), source, views.plain)
    held_out, evaluation = source, dict[str, Any]()
    try:
        parts = test or _labelled(facts, source)
        if parts is not None:
            evaluation = dict(measure(run.backbone, twin, parts, plain=views.plain, quiet=quiet).evaluation)
            held_out = parts.test if len(parts.test) > 1 else source  # one sample has no spectrum
    except ValueError as error:  # labels are optional: those of no use take nothing from a run that is trained
        message = f"The labels could not be used, so nothing is evaluated on them: {error}"
        journal.write("warning", message=message)
        Progress("evaluation", 0, quiet=quiet).say(message)
    limit = backbone_limit(run.recipe, int(getattr(run.backbone, "num_features", 0)))
    figures = label_free_figures(run.backbone, source, views, limit)
    before = label_free_figures(twin, source, views, limit)
    label_free = figures | {f"{name}_untrained": value for name, value in before.items()}
    arrays = gather_evidence(run.backbone, method.projector, twin, source, held_out, views, _shown_as(facts))
    with durable_file(run.folder / "evidence.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    seconds = time.perf_counter() - started
    timing = {**training_time(where.journal), "evaluation_seconds": seconds}
    summary = {"evaluation": evaluation, "label_free": label_free, "audit": {}, "timing": timing}
    where.write("summary.json", summary)
    journal.write("evaluation", seconds=seconds)
    write_report(run.folder)


def _labelled(facts: Mapping[str, Any], source: Source) -> LabelledParts | None:
    """The data of the run in two parts, None where there are no labels."""
    channels = facts.get("image_shape", [0])[0]
    if facts["path"]:
        return labelled_parts(facts["path"], data_root=facts["data_root"] or None, channels=channels)
    return split_parts(source)


def _shown_as(facts: Mapping[str, Any]) -> Callable[[Tensor], Tensor] | None:
    """View -> uint8 pictures, None where the views are no pictures of 1 or 3 channels."""
    if facts.get("image_shape", [0])[0] not in (1, 3):
        return None
    return partial(to_pixels, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
