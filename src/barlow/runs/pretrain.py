"""Where a Recipe becomes a run: source, views, method, loop, evaluation, page, each a call below."""

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from barlow.arguments import described
from barlow.data.bad_samples import left_out
from barlow.data.groups import held_out_groups
from barlow.data.labels import LABEL_MODES
from barlow.data.lost import lost_in
from barlow.data.name_pattern import is_pattern, pattern_of
from barlow.data.order import hash_seed
from barlow.data.subsets import without_held_out
from barlow.errors import unknown
from barlow.evaluation.scores import LabelledParts, parts_by_groups, parts_with_test, said_aside, set_aside
from barlow.files import require_folder
from barlow.formats import printable
from barlow.methods.heads import projector_width
from barlow.methods.table import Builder
from barlow.modalities import load_training, modality_for, modality_of, place_of, said
from barlow.recipes import OWN, Recipe, batch_note, flat, with_numbers
from barlow.recipes.numbers import Numbers
from barlow.runs.build import (
    Wrap,
    build_backbone,
    build_method,
    build_plan,
    build_run_optimizer,
    build_views,
    check_numbers,
    fitted,
    keep_memory,
    kept_memory,
    learns_from_labels,
    memory_of,
    refuse_numbers_of_others,
    refuse_unused,
    with_checked_options,
    with_classes,
    wrapped,
)
from barlow.runs.evidence import MOMENTS, correlation_moment, figures_during_training
from barlow.runs.finishing import finish, try_report
from barlow.runs.floor import backbone_limit, floor_lines
from barlow.runs.folder import RunFolder, file_name_of, objects_among, versions
from barlow.runs.identity import identity_of
from barlow.runs.minutes import Sitting, Trial, Wish, in_time
from barlow.runs.own_data import own_data, place_facts, places
from barlow.runs.own_views import Given, check_input, facts_of_input, first_samples, own_views, with_plain
from barlow.runs.run import Run
from barlow.runs.start import Start, start_of
from barlow.seams import Around, Method, Modality, OnDevice, Source, check_backbone
from barlow.training.checkpoint import load_checkpoint, restore_method
from barlow.training.engine import build_fabric, resolve_precision, under_autocast
from barlow.training.journal import Journal, Listener
from barlow.training.machine import Machine
from barlow.training.plan import Plan, steps_of, steps_per_epoch
from barlow.training.pretrain import Probe, noting_bad_data, pretrain as train
from barlow.training.processes import agreed, first_process_alone, guard_children, naming_a_loss
from barlow.training.progress import Progress, StepProgress, saying_if_slow
from barlow.training.sync_batch_norm import plain_batch_norms, synchronise_batch_norms
from barlow.training.trackers import Listeners, tracker_names
from barlow.writers import FolderTakenError, one_writer, refuse_second

FEWEST_SAMPLES = 2
"""Samples that a statistic over a batch takes."""
FEW_SAMPLES = 10
"""Fewer are learnt from, but not without a word."""
PROBES_PER_RUN = 10
"""Times that figures are taken during a run, evenly spread over its epochs."""


def probe_interval(epochs: int | float, probes: int | None = None) -> int:
    """Return after how many epochs figures are taken again, in a run of so many; beside the end, with `probes` 0."""
    probes = PROBES_PER_RUN if probes is None else probes
    return max(1, int(epochs // probes)) if probes else sys.maxsize


def pretrain(
    data: Any = "digits",
    *,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    views: str | Given | None = None,
    backbone: str | nn.Module | None = None,
    method: str | Builder | None = None,
    test: Any = None,
    wrap: Wrap | None = None,
    start_from: str | Path | None = None,
    data_root: str | Path | None = None,
    labels: str | None = "auto",
    hold_out: str = "",
    modality: str | Modality | None = None,
    machine: Machine | None = None,
    white_level: int | float | None = None,
    channels_axis: int | str | None = None,
    since: float | None = None,
    callbacks: Sequence[Listener] = (),
    **numbers: Unpack[Numbers],
) -> Run:
    """Pretrain a backbone without labels; go on where an earlier call with the same `out` stopped.

    Args:
        data: "digits", another name, a folder of pictures, an .npy or .npz file, a tensor, a map-style Dataset,
            or your own `Source`. Labels are used for evaluation only, and only if there are any.
        recipe: a name of `RECIPES` or a Recipe; None: the one made for `data`.
        out: run folder; None: runs/<name of the data>. A run that was begun goes on with its own data alone, wherever
            they lie now: they are known by their number and by size and hash of some samples.
        views: a name, your own pipelines (one alone is used for both views), or a transform of one sample, such as
            torchvision's `v2.Compose`, or several.
        backbone: a timm or torchvision name, or any module that maps a view to (N, d).
        method: a name, or the class or function of a `barlow.Method` of your own, as that says; it is called with
            (backbone, head, num_features, **options).
        test: labelled data that only the evaluation sees, their test split where they have one; None: `data`, likewise.
            Where `data` have no labels, probes are fitted on a part of `test`.
        wrap: something to add to the loss of the method, such as a penalty: a class of your own below `barlow.Around`,
            or a function from the method to one.
        start_from: folder of a finished run: its backbone and heads are where this one starts, and its numbers hold
            where no recipe is named. Input stays normalised as there; steps, optimizer and schedule start anew.
        data_root: where named data sets live.
        labels: of `data`, for the evaluation: "auto" (what they carry; -1 is a sample without one), "required", or
            "none" or None, which drops them; or a pattern that names of samples fit, such as "{label}_{group}_*".
        hold_out: groups of `data`, such as speakers, that are not learnt from: "group=george,lucas". Where there are
            labels, the features are evaluated on them.
        modality: of the data, by name or as an object of your own; None: told by the data.
        machine: devices, checkpoint interval, progress.
        white_level: the pixel value that is white (1, 255, 4095, 65535); None: told from all values of `data`. What is
            settled here is kept in `recipe.json`, and all that the run is given later is read so.
        channels_axis: of arrays of images, "first" (1) or "last" (-1); None: told by their shape.
        since: when the minutes began, in unix seconds; None: now.
        callbacks: functions or objects that are called with each record of the journal, a dict, after it is written, by
            the first process; one that has `close` is closed at the end. What they raise ends the run.
        numbers: fields of the Recipe to change, such as epochs=100 or minutes=60; all of them are listed below. With
            minutes and no whole recipe by name, what is not given by hand is chosen for the data, the time and this
            machine, and said.

    Returns:
        The Run; `finished` is False when a signal stopped it after a checkpoint.

    Raises:
        ValueError: an argument that cannot be; a recipe that differs from the one `out` was started with.
    """
    machine, labels, since = machine or Machine(), _label_mode(labels), time.time() if since is None else since
    refuse_numbers_of_others(numbers)
    given = {"backbone": backbone, "views": views, "method": method}
    objects = objects_among(**given, test=test, wrap=wrap)
    refuse_unused(numbers, objects)
    named = _named(given, objects)
    kind = modality_for(data, modality=modality, own_views="views" in objects)
    start = start_of(start_from, out)
    recipe = start.recipe if start is not None and recipe is None else recipe
    asked = with_numbers(recipe if isinstance(recipe, Recipe) else kind.recipe(recipe, data), {**numbers, **named})
    wish = Wish.of(recipe, {**numbers, **named})
    own_method = None if isinstance(method, str) else method
    own_network = backbone if isinstance(backbone, nn.Module) else None
    asked = _checked(kind, asked, own_method, machine, out, hold_out, test)
    of_own = None if views is None or isinstance(views, str) else own_views(views)
    fabric = build_fabric(asked, machine)
    fabric.launch()  # first: the other processes start here and read the data while this one does
    guard_children(fabric)
    quiet = machine.quiet or not fabric.is_global_zero
    reading = said(white_level=white_level, channels_axis=channels_axis)
    reading |= {"facts": _settled(kind, out, start), "labels": labels}
    source, loading = _load(kind, data, data_root, asked, reading, quiet=quiet)
    whole, source = source, without_held_out(source, hold_out)
    _require_enough(source, asked.batch_size, fabric.world_size)
    where = RunFolder(Path(out) if out else _default_folder(source.name))
    _, facts = fitted(kind, asked, source, facts=of_own is None)
    facts |= _places(kind, where, source, data, test, data_root, labels, hold_out) | {"objects": objects}
    facts |= _begun_with(kind, source, where, start, objects)
    held = _held(kind, whole, hold_out, test, source, facts)  # now, so that no mistake is found after the last step
    asked, source, held = _for_labels(kind, asked, own_method, data, source, held, facts)
    samples = first_samples(source)
    ready, note = (None, "") if of_own is None else with_plain(kind, of_own, samples)
    if ready is not None and own_network is None:
        facts |= facts_of_input(kind, source, ready.plain(samples))
        asked = asked if "image_size" in numbers else replace(asked, image_size=0)
    known = None if ready is not None and own_network is not None else facts
    trial = Trial(kind, source, known, fabric, ready, own_network, own_method, held, loading, wrap)
    settled, sitting = in_time(trial, where, asked, wish, since, quiet=quiet)
    torch.manual_seed(settled.seed)
    memory = {} if ready else kept_memory(where.checkpoints) or memory_of(kind, settled, facts, source)
    drawn = ready or build_views(kind, settled, facts, memory)
    network = own_network or build_backbone(kind, settled, facts)
    run = Run(where.path, settled, network, drawn, modality=kind, method=own_method)
    job = _Job(run, where, facts, source, fabric, machine, note, sitting, wrap, start, memory, callbacks)
    return job.carry_out(samples, held)


pretrain.__doc__ = (
    f"{pretrain.__doc__}\n    Numbers and names of a Recipe, with the defaults of one; those of a recipe by name show "
    "with `barlow recipes NAME`:\n        " + "\n        ".join(described(Recipe)) + "\n"
)


@dataclass(frozen=True)
class _Job:
    """One call of `pretrain` with its objects built."""

    run: Run
    where: RunFolder
    facts: dict[str, Any]
    source: Source
    fabric: Fabric
    machine: Machine
    note: str = ""
    sitting: Sitting | None = None
    wrap: Wrap | None = None
    start: Start | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    callbacks: Sequence[Listener] = ()

    def carry_out(self, samples: Any, test: LabelledParts | None) -> Run:
        run, fabric = self.run, self.fabric
        example = run.views.plain(samples)
        of_own = "views" in self.facts["objects"]
        num_features = (
            check_input(run.backbone, run.views, samples) if of_own else check_backbone(run.backbone, example)
        )
        run.modality.check(run.recipe, run.backbone, run.views, samples, fabric.device.type == "cpu")
        if isinstance(example, Tensor):
            self.facts["input_shape"] = list(example.shape[1:])
        twin = copy.deepcopy(run.backbone)
        method = build_method(run.recipe, run.backbone, num_features, run.method)
        if self.start is not None:
            self.start.fill(method)
        method = wrapped(method, self.wrap)
        plan = build_plan(
            run.recipe,
            num_samples=len(self.source),
            num_features=num_features,
            checkpoint_minutes=self.machine.checkpoint_minutes,
        )
        optimizer = build_run_optimizer(run.recipe, method, fabric)
        if run.recipe.channels_last and "views" not in self.facts["objects"]:
            # Also where nothing is left to train: the figures after a kill are those without one, to the bit.
            method.to(memory_format=torch.channels_last)  # concerns 4-D weights alone
        # Everything that can refuse the recipe lies behind: from here on, the folder is this recipe's.
        first = fabric.is_global_zero
        with _only_writer(self.where.path, fabric):
            self.where.require_own_files()
            self.where.start(
                run.recipe, self.facts, statistics=run.modality.statistics, write=first
            )  # a changed recipe is refused by all at once
            if first:
                keep_memory(self.where.checkpoints, self.memory)
            with self._journal(write=first) as journal, naming_a_loss(fabric, journal):
                if agreed(fabric, first and self.where.finished())[0]:
                    last = self.where.checkpoints / "last.ckpt"
                    restore_method(method, load_checkpoint(last), last, plan.identity)
                    finished = True
                else:
                    finished = self._train(method, optimizer, plan, num_features, journal)
                if finished:
                    self._finish(method, twin, num_features, test, journal)
        run.backbone.cpu().eval()
        return replace(run, finished=finished)

    @contextmanager
    def _journal(self, *, write: bool) -> Iterator[Journal]:
        """The journal, with all that listens to it."""
        log_to, callbacks = (self.machine.log_to, self.callbacks) if write else ("", ())
        told = Listeners(callbacks, log_to, folder=self.where.path, numbers=flat(asdict(self.run.recipe)))
        with told, Journal(self.where.journal, enabled=write, listener=told) as journal:
            yield journal

    def _finish(
        self, method: Method, twin: nn.Module, num_features: int, test: LabelledParts | None, journal: Journal
    ) -> None:
        """Let the first process do what an earlier call left undone, all of it in the time left, or the page alone."""
        sitting, quiet, undone = self.sitting, self.machine.quiet, self.where.undone()
        # A sitting that was killed may have left nothing of it: half of what was kept is given all the same.
        seconds = None if sitting is None else max(sitting.left(), sitting.finishing / 2)
        with first_process_alone(self.fabric) as at_work:
            if at_work and undone == ["report.html"]:
                try_report(self.where, journal, quiet=quiet)
            elif at_work and undone:
                device = self.fabric.device
                finish(
                    self.run, self.facts, self.source, method, twin, num_features, test, device, journal, quiet, seconds
                )
                if sitting is not None:
                    Progress("plan", 0, quiet=quiet).say(sitting.close())

    def _train(self, method: Method, optimizer: Optimizer, plan: Plan, num_features: int, journal: Journal) -> bool:
        run, recipe, fabric = self.run, self.run.recipe, self.fabric
        quiet = self.machine.quiet or not fabric.is_global_zero
        progress = StepProgress(plan.epochs, unit=f"{run.modality.noun}s", quiet=quiet)
        fresh = not (self.where.checkpoints / "last.ckpt").exists()
        if fresh:
            journal.write("start", **self._start_record(method, plan))
        if self.sitting is not None:
            self.sitting.write(journal)
        known = lost_in(self.source)
        self._say_notes(plan, num_features, journal, progress, fresh=fresh)
        limit = backbone_limit(recipe, num_features)
        represent = under_autocast(method.represent, fabric)
        samples = OnDevice(self.source, fabric.device)
        figures = figures_during_training(represent, samples, self.run.views, limit)
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
                probes=self._probes(method, plan, figures),
                progress=progress,
                seconds_left=self.sitting.training_left if self.sitting else None,
            )
        plain_batch_norms(method)
        for sentence in lost_in(self.source):
            if sentence not in known:  # samples that are read when they are asked for are counted by then only
                progress.say(sentence)
                journal.write("note", message=sentence)
        return finished

    def _probes(self, method: Method, plan: Plan, figures: Callable[[int], dict[str, float]]) -> list[Probe]:
        """The figures of the backbone, and those of what is around the method."""
        every = probe_interval(plan.epochs, self.sitting.probes if self.sitting else None)
        often = every if self.sitting else probe_interval(plan.epochs, MOMENTS)
        found = [Probe(every, figures), Probe(often, lambda step: {}, lambda: self._moment(method))]
        if isinstance(method, Around):
            around = method
            found.append(Probe(every, lambda step: around.figures()))
        return found

    def _moment(self, method: Method) -> dict[str, str]:
        """A corner of C, where the method has two views and a matrix to show."""
        represent = under_autocast(method.represent, self.fabric)
        samples = OnDevice(self.source, self.fabric.device)
        corner = correlation_moment(represent, method.projector, samples, self.run.views.bare())
        return {"correlation": corner} if corner else {}

    def _say_notes(
        self, plan: Plan, num_features: int, journal: Journal, progress: StepProgress, *, fresh: bool
    ) -> None:
        """What the source, the batch and the floor have to say before the first step; once, not at every resume."""
        run, recipe = self.run, self.run.recipe
        unseen = run.modality.notes(recipe, self.source) if "views" not in self.facts["objects"] else ()
        read = [*getattr(self.source, "notes", ()), *lost_in(self.source), *unseen]
        for note in [*read, *filter(None, [few_note(len(self.source)), self.note, batch_note(recipe)])]:
            if journal.write_once("note", message=note):
                progress.say(note)
        line, dominates = floor_lines(recipe, plan.floor, projector_width(recipe.projector, num_features))
        if line and (journal.write_once("warning", message=line) if dominates else fresh):
            progress.say(line)

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


def few_note(num_samples: int) -> str:
    """Say that samples are too few to learn from; empty where they are not."""
    if num_samples >= FEW_SAMPLES:
        return ""
    return f"{num_samples} samples are too few to learn from: what the features are worth on others is chance"


def _held(
    modality: Modality, whole: Source, hold_out: str, test: Any, source: Source, facts: dict[str, Any]
) -> LabelledParts | None:
    """Return labelled data that only the evaluation sees, where there are some, and note what they are known by."""
    if hold_out:
        parts = parts_by_groups(whole, hold_out)
        return replace(parts, seen_in_pretraining=False) if parts else None
    if test is None:
        return None
    held = parts_with_test(modality, test, source, facts=facts, data_root=facts["data_root"] or None)
    facts |= {"test_identity": identity_of(held.test)} if facts["test"] else {}
    return held


def _for_labels(
    modality: Modality,
    recipe: Recipe,
    own: Builder | None,
    data: Any,
    source: Source,
    test: LabelledParts | None,
    facts: Mapping[str, Any],
) -> tuple[Recipe, Source, LabelledParts | None]:
    """Settle the classes of a method that learns from labels, and what it may learn from: never a test sample."""
    if not learns_from_labels(recipe, own):
        return recipe, source, test
    recipe = with_classes(recipe, source)
    if test is not None:
        return recipe, source, said_aside(test, len(source))
    asked = {"facts": facts, "data_root": facts["data_root"] or None, "labels": facts.get("labels", "auto")}
    return recipe, *set_aside(modality, data, source, **asked)


def _check_hold_out(hold_out: str, test: Any) -> None:
    if hold_out and not held_out_groups(hold_out):
        raise ValueError(f"hold_out: got {hold_out!r}, wanted the groups that are not learnt from: group=NAME,NAME")
    if hold_out and test is not None:
        raise ValueError(f"test: got one beside hold_out={hold_out!r}, wanted one of the two")


def _require_enough(source: Source, batch_size: int, num_processes: int) -> None:
    if len(source) - len(source.bad) < FEWEST_SAMPLES:
        known = left_out(source) or f"{source.name} has {len(source)}"
        raise ValueError(f"data: {known}, wanted at least {FEWEST_SAMPLES} to learn from")
    if (batch := min(batch_size, len(source))) < num_processes:
        raise ValueError(f"batch_size: got {batch}, wanted at least one sample per process: {num_processes}")


def _checked(
    modality: Modality,
    recipe: Recipe,
    own_method: Builder | None,
    machine: Machine,
    out: str | Path | None,
    hold_out: str,
    test: Any,
) -> Recipe:
    """Return the recipe with its precision, after seeing all that can be seen before data are read."""
    _check_hold_out(hold_out, test)
    tracker_names(machine.log_to)
    recipe = with_checked_options(recipe, own_method)
    check_numbers(recipe)
    modality.names(recipe)
    require_folder("out", out)
    recipe = resolve_precision(recipe, machine)
    if out is not None:
        refuse_second(RunFolder(Path(out)).path)
    return recipe


def _places(
    modality: Modality,
    where: RunFolder,
    source: Source,
    data: Any,
    test: Any,
    data_root: str | Path | None,
    labels: str,
    hold_out: str,
) -> dict[str, Any]:
    """What `recipe.json` says of where the data lie and what they are known by."""
    facts: dict[str, Any] = place_facts(modality, data, where.path)
    facts |= place_facts(modality, test, where.path, "test")
    facts |= {"data_root": str(Path(data_root).expanduser().resolve()) if data_root else ""}
    facts |= {"identity": identity_of(source)} if facts["path"] else {}
    facts |= {"hold_out": hold_out} if hold_out else {}
    return facts | ({"labels": labels} if labels == "none" or is_pattern(labels) else {})


def _named(given: Mapping[str, Any], objects: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the recipe that were given as arguments of their own: by name, or an object by that of its class."""
    known = {name: one for name, one in given.items() if one is not None}
    return {name: f"{OWN}{objects[name]}" if name in objects else one for name, one in known.items()}


def _begun_with(
    modality: Modality, source: Source, where: RunFolder, start: Start | None, objects: Mapping[str, str]
) -> dict[str, Any]:
    """What `recipe.json` says of something around the method, and of the run that this one starts from."""
    facts: dict[str, Any] = {"wrap": objects["wrap"]} if "wrap" in objects else {}
    if start is not None:
        modality.suits(source, start.facts)
        facts |= {**start.fixed(modality), **start.recorded(modality, where.path)}
    return facts


@contextmanager
def _only_writer(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Hold the folder on the first process; where another run holds it, all processes end with the same words."""
    with ExitStack() as stack:
        refusal = ""
        if fabric.is_global_zero:
            try:
                stack.enter_context(one_writer(folder))
            except FolderTakenError as error:
                refusal = str(error)
        refusal = fabric.broadcast(refusal) if fabric.world_size > 1 else refusal
        if refusal:
            raise FolderTakenError(refusal)
        yield


def _settled(modality: Modality, out: str | Path | None, start: Start | None) -> dict[str, Any] | None:
    """How the data of a run that has begun were read, which they are again; None where nothing is settled yet.

    Those of a run that starts from another are brought to the form that its network takes.
    """
    where = None if out is None else RunFolder(Path(out))
    form = {} if start is None else start.shape(modality)
    if where is None or not (where.path / "recipe.json").exists() or not where.begun():
        return form or None
    return form | {name: fact for name, fact in where.data().items() if name in modality.reading} or None


def _label_mode(labels: Any) -> str:
    mode = "none" if labels is None else labels
    if not isinstance(mode, str):
        raise ValueError(
            f"labels: got a {type(labels).__name__}, wanted one of {', '.join(LABEL_MODES)}; labels of your own come "
            "with the data, as in pretrain(barlow.load_source(data, labels=...))"
        )
    if is_pattern(mode):
        pattern_of(mode)  # refuses one that cannot be
    elif mode not in LABEL_MODES:
        raise unknown("labels", mode, LABEL_MODES)
    return mode


def _default_folder(name: str) -> Path:
    """The run folder of data of some name, all of it: photos.v1 and photos.v2 are two.

    A run of these data that an earlier version called by less goes on where it is.
    """
    folder = Path("runs") / file_name_of(name)
    before = RunFolder(Path("runs") / Path(name).stem)
    if not folder.exists() and (before.path / "recipe.json").exists() and before.data().get("name") == name:
        return before.path
    return folder


def _load(
    modality: Modality,
    data: Any,
    data_root: str | Path | None,
    recipe: Recipe,
    reading: Mapping[str, Any],
    *,
    quiet: bool,
) -> tuple[Source, float]:
    """Load the training data, showing how far it has come; return also the seconds of it that files took."""
    started, place = time.perf_counter(), place_of(modality, data)
    with ExitStack() as stack:
        if place:  # finding the files may take long
            stack.enter_context(saying_if_slow(f"reading {printable(place)}", quiet=quiet))
        shown: list[Progress] = []

        def show(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(Progress("reading", total, unit="files", quiet=quiet)))
            shown[0].update(done)

        source = load_training(modality, data, data_root=data_root, recipe=recipe, progress=show, **reading)
    share_read = getattr(source, "share_read", 1.0)  # of files that training goes on to read
    return source, (time.perf_counter() - started) / share_read if place else 0.0


def resume(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    modality: str | Modality | None = None,
    machine: Machine | None = None,
    since: float | None = None,
) -> Run:
    """Go on with a run whose data, network and views go by a name or a path, from what its folder says.

    Args:
        folder: made by `pretrain`.
        data: where the data of the run are now, if they moved; others than its own are refused.
        modality: of the run, where it is an object of your own.
        machine: devices, checkpoint interval, progress.
        since: when this call began, in unix seconds, for a run with minutes; None: now.

    Raises:
        ValueError: no such run, one that was given one of them, or its test data, as an object, or whose data are not
            found; the message says where it looked.
    """
    where = RunFolder(Path(folder))
    facts = where.data()
    objects = [*([] if facts.get("path") else ["data"]), *facts.get("objects", {})]
    if objects:
        what = f"the run in {str(folder)!r} was given its {' and '.join(objects)} as an object"
        raise ValueError(f"resume: {what}; call pretrain again, with the same folder")
    kind = modality_of(facts, modality)
    tests = places(where, kind, "test")
    starts = places(where, kind, "start_from")
    return pretrain(
        own_data(where, kind, moved_to=data),
        recipe=where.recipe(),
        out=where.path,
        test=next((place for place in tests if Path(place).exists()), tests[0] if tests else None),
        start_from=next((place for place in starts if Path(place).exists()), starts[0] if starts else None),
        data_root=facts["data_root"] or None,
        labels=facts.get("labels", "auto"),
        hold_out=facts.get("hold_out", ""),
        modality=kind,
        machine=machine,
        since=since,
    )
