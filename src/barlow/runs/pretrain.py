"""Where a Recipe becomes a run: source, views, method, loop, evaluation, page, each a call below."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from barlow.data.order import hash_seed
from barlow.evaluation.scores import LabelledParts, parts_with_test
from barlow.methods.heads import projector_width
from barlow.methods.table import Builder
from barlow.modalities import load_samples, modality_for, modality_of
from barlow.recipes import OWN, Recipe, batch_note, with_numbers
from barlow.runs.build import (
    build_backbone,
    build_method,
    build_plan,
    build_run_optimizer,
    build_views,
    fitted,
    refuse_unused,
    with_checked_options,
)
from barlow.runs.evidence import figures_during_training
from barlow.runs.finishing import finish
from barlow.runs.floor import backbone_limit, floor_lines
from barlow.runs.folder import RunFolder, objects_among, path_of, versions
from barlow.runs.run import Run
from barlow.seams import Method, Modality, OnDevice, Source, View, Views, check_backbone
from barlow.training.checkpoint import load_checkpoint
from barlow.training.engine import build_fabric, resolve_precision, under_autocast
from barlow.training.journal import Journal, TensorboardMirror
from barlow.training.machine import Machine
from barlow.training.plan import Plan, steps_of, steps_per_epoch
from barlow.training.pretrain import Probe, noting_bad_data, pretrain as train
from barlow.training.processes import agreed, first_process_alone, guard_children, naming_a_loss
from barlow.training.progress import Progress, StepProgress
from barlow.training.sync_batch_norm import plain_batch_norms, synchronise_batch_norms

PROBES_PER_RUN = 10
"""Times that figures are taken during a run, evenly spread over its epochs."""


def probe_interval(epochs: int | float) -> int:
    """Return after how many epochs figures are taken again, in a run of so many."""
    return max(1, int(epochs // PROBES_PER_RUN))


def pretrain(
    data: Any = "digits",
    *,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    views: str | Views | View | Sequence[View] | None = None,
    backbone: str | nn.Module | None = None,
    method: str | Builder | None = None,
    test: Any = None,
    data_root: str | Path | None = None,
    modality: str | Modality | None = None,
    machine: Machine | None = None,
    **numbers: Any,
) -> Run:
    """Pretrain a backbone without labels; go on where an earlier call with the same `out` stopped.

    Args:
        data: "digits", another name, a folder of pictures, an .npy or .npz file, a tensor, a map-style Dataset,
            or your own `Source`. Labels are used for evaluation only, and only if there are any.
        recipe: a name of `RECIPES` or a Recipe; None: the one made for `data`.
        out: run folder; None: runs/<name of the data>.
        views: a name, or your own pipelines (one pipeline alone is used for both views).
        backbone: a timm or torchvision name, or any module that maps a view to (N, d).
        method: a name, or the class or function of a `barlow.Method` of your own, as that says; it is called with
            (backbone, head, num_features, **options).
        test: labelled data that only the evaluation sees, their test split where they have one; None: `data`, likewise.
            Where `data` have no labels, probes are fitted on a part of `test`.
        data_root: where named data sets live.
        modality: of the data, by name or as an object of your own; None: told by the data.
        machine: devices, checkpoint interval, progress.
        numbers: fields of the Recipe to change, such as epochs=100.

    Returns:
        The Run; `finished` is False when a signal stopped it after a checkpoint.

    Raises:
        ValueError: an argument that cannot be; a recipe that differs from the one `out` was started with.
    """
    machine = machine or Machine()
    given = {"backbone": backbone, "views": views, "method": method}
    objects = objects_among(**given, test=test)
    refuse_unused(numbers, objects)
    named = {
        name: f"{OWN}{objects[name]}" if name in objects else one for name, one in given.items() if one is not None
    }
    kind = modality_for(data, modality=modality, own_views="views" in objects)
    asked = with_numbers(recipe if isinstance(recipe, Recipe) else kind.recipe(recipe, data), {**numbers, **named})
    own_method = None if isinstance(method, str) else method
    asked = with_checked_options(asked, own_method)
    own_views = None if views is None or isinstance(views, str) else _as_views(views)
    asked = resolve_precision(asked, machine)
    fabric = build_fabric(asked, machine)
    fabric.launch()  # first: the other processes start here and read the data while this one does
    guard_children(fabric)
    source = _load(kind, data, data_root, asked, quiet=machine.quiet or not fabric.is_global_zero)
    settled, facts = fitted(kind, asked, source, facts=own_views is None)
    facts |= {"path": path_of(data), "data_root": str(data_root or ""), "test": path_of(test), "objects": objects}
    if settled.batch_size < fabric.world_size:
        raise ValueError(
            f"batch_size: got {settled.batch_size}, wanted at least one sample per process: {fabric.world_size}"
        )
    held = None
    if test is not None:  # loaded now, so that a mistake in it is not found after the last step
        held = parts_with_test(kind, test, source, facts=facts, data_root=data_root)
    torch.manual_seed(settled.seed)
    drawn = own_views or build_views(kind, settled, facts)
    network = build_backbone(kind, settled, facts) if backbone is None or isinstance(backbone, str) else backbone
    where = RunFolder(Path(out) if out else Path("runs") / Path(source.name).stem)
    run = Run(where.path, settled, network, drawn, modality=kind, method=own_method)
    return _Job(run, where, facts, source, fabric, machine).carry_out(held)


@dataclass(frozen=True)
class _Job:
    """One call of `pretrain` with its objects built."""

    run: Run
    where: RunFolder
    facts: dict[str, Any]
    source: Source
    fabric: Fabric
    machine: Machine

    def carry_out(self, test: LabelledParts | None) -> Run:
        run, fabric = self.run, self.fabric
        samples = next(self.source.batches(range(min(len(self.source), 64)), 2)).samples
        example = run.views.plain(samples)
        num_features = check_backbone(run.backbone, example)
        run.modality.check(run.recipe, run.backbone, run.views, samples, fabric.device.type == "cpu")
        if isinstance(example, Tensor):
            self.facts["input_shape"] = list(example.shape[1:])
        twin = copy.deepcopy(run.backbone)
        method = build_method(run.recipe, run.backbone, num_features, run.method)
        plan = build_plan(
            run.recipe,
            num_samples=len(self.source),
            num_features=num_features,
            checkpoint_minutes=self.machine.checkpoint_minutes,
        )
        optimizer = build_run_optimizer(run.recipe, method, fabric)
        # Everything that can refuse the recipe lies behind: from here on, the folder is this recipe's.
        first = fabric.is_global_zero
        self.where.start(
            run.recipe, self.facts, statistics=run.modality.statistics, write=first
        )  # a changed recipe is refused by all at once
        mirror = TensorboardMirror(self.where.path / "tensorboard") if self.machine.tensorboard and first else None
        with Journal(self.where.journal, enabled=first, listener=mirror) as journal, naming_a_loss(fabric, journal):
            if agreed(fabric, first and self.where.finished())[0]:
                method.load_state_dict(load_checkpoint(self.where.checkpoints / "last.ckpt")["method"])
                finished = True
            else:
                finished = self._train(method, optimizer, plan, num_features, journal)
            if finished and not agreed(fabric, first and bool(self.where.summary()))[0]:
                with first_process_alone(fabric) as at_work:
                    if at_work:
                        device, quiet = fabric.device, self.machine.quiet
                        finish(run, self.facts, self.source, method, twin, test, device, journal, quiet)
        run.backbone.cpu().eval()
        return replace(run, finished=finished)

    def _train(self, method: Method, optimizer: Optimizer, plan: Plan, num_features: int, journal: Journal) -> bool:
        run, recipe, fabric = self.run, self.run.recipe, self.fabric
        quiet = self.machine.quiet or not fabric.is_global_zero
        progress = StepProgress(plan.epochs, unit=f"{run.modality.noun}s", quiet=quiet)
        if not (self.where.checkpoints / "last.ckpt").exists():
            journal.write("start", **self._start_record(method, plan))
        self._say_notes(plan, num_features, journal, progress)
        limit = backbone_limit(recipe, num_features)
        represent = under_autocast(method.represent, fabric)
        samples = OnDevice(self.source, fabric.device)
        figures = figures_during_training(represent, samples, self.run.views, limit)
        if recipe.channels_last and "views" not in self.facts["objects"]:
            method.to(memory_format=torch.channels_last)  # concerns 4-D weights alone
        if fabric.world_size > 1:
            synchronise_batch_norms(method)
        if fabric.global_rank:  # the first process draws dropout and the like as one process alone would
            torch.manual_seed(hash_seed(recipe.seed, fabric.global_rank))
        with noting_bad_data(self.source, journal):
            finished = train(
                self.source,
                self.run.views,
                method,
                optimizer,
                plan,
                fabric=fabric,
                folder=self.where.path,
                journal=journal,
                probes=[Probe(probe_interval(plan.epochs), figures)],
                progress=progress,
            )
        plain_batch_norms(method)
        return finished

    def _say_notes(self, plan: Plan, num_features: int, journal: Journal, progress: StepProgress) -> None:
        """What the source, the batch and the floor have to say before the first step."""
        recipe = self.run.recipe
        for note in [*getattr(self.source, "notes", ()), *filter(None, [batch_note(recipe)])]:
            progress.say(note)
            journal.write("note", message=note)
        line, dominates = floor_lines(recipe, plan.floor, projector_width(recipe.projector, num_features))
        if line:
            progress.say(line)
        if dominates:
            journal.write("warning", message=line)

    def _start_record(self, method: Method, plan: Plan) -> dict[str, Any]:
        per_epoch = steps_per_epoch(len(self.source), plan.batch_size)
        return {
            "recipe": asdict(self.run.recipe),
            "data": self.facts,
            "versions": versions(),
            "device": str(self.fabric.device),
            "processes": self.fabric.world_size,
            "batch_floor": plan.floor,
            "num_parameters": sum(p.numel() for p in method.parameters()),
            "steps_per_epoch": per_epoch,
            "total_steps": steps_of(plan.epochs, per_epoch),
        }


def _load(modality: Modality, data: Any, data_root: str | Path | None, recipe: Recipe, *, quiet: bool) -> Source:
    """Load the training data, showing how far reading a folder into memory has come."""
    with ExitStack() as stack:
        shown: list[Progress] = []

        def show(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(Progress("reading", total, unit="files", quiet=quiet)))
            shown[0].update(done)

        return load_samples(modality, data, data_root=data_root, recipe=recipe, progress=show)


def _as_views(views: Views | View | Sequence[View]) -> Views:
    """Make Views of one pipeline (used for both views) or of several."""
    if isinstance(views, Views):
        return views
    pipelines = tuple(views) if isinstance(views, Sequence) else (views, views)
    return Views(pipelines if len(pipelines) > 1 else pipelines * 2)


def resume(folder: str | Path, *, modality: str | Modality | None = None, machine: Machine | None = None) -> Run:
    """Go on with a run whose data, network and views go by a name or a path, from what its folder says.

    Args:
        folder: made by `pretrain`.
        modality: of the run, where it is an object of your own.
        machine: devices, checkpoint interval, progress.

    Raises:
        ValueError: no such run, or one that was given one of them, or its test data, as an object.
    """
    where = RunFolder(Path(folder))
    facts = where.data()
    objects = [*([] if facts.get("path") else ["data"]), *facts.get("objects", {})]
    if objects:
        what = f"the run in {str(folder)!r} was given its {' and '.join(objects)} as an object"
        raise ValueError(f"resume: {what}; call pretrain again, with the same folder")
    return pretrain(
        facts["path"],
        recipe=where.recipe(),
        out=folder,
        test=facts.get("test") or None,
        data_root=facts["data_root"] or None,
        modality=modality_of(facts, modality),
        machine=machine,
    )
