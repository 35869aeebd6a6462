"""A run that has so many minutes: what is measured before its first step, and the time kept over all its sittings.

    the whole time = loading + measuring + training + finishing (evaluation, figures, page)

Loading and measuring are over when the plan is made. Finishing is estimated and kept aside; while training goes on its
schedule is fitted to the rest (`training/schedule.py`), and finishing is told what is left.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from barlow.data.subsets import subset
from barlow.evaluation.budget import costs_of
from barlow.evaluation.features import Features, extract
from barlow.evaluation.scores import LabelledParts
from barlow.formats import count
from barlow.methods.table import Builder
from barlow.recipes import OPTIONS, RECIPES, TYPED_AS_FIELDS, Recipe, with_numbers
from barlow.runs.build import Wrap, build_backbone, build_method, build_views, memory_of, wrapped
from barlow.runs.evidence import CORRELATION_SAMPLES, MOMENT_SAMPLES, PROBE_SAMPLES, label_free_figures, spread
from barlow.runs.folder import RunFolder
from barlow.runs.timing import seconds_of_steps
from barlow.seams import Facts, Method, Modality, OnDevice, Source, Views, check_backbone
from barlow.training.checkpoint import random_state, restore_random_state
from barlow.training.engine import resolve_precision
from barlow.training.journal import Journal, read_journal
from barlow.training.plan import steps_per_epoch
from barlow.training.processes import agreed
from barlow.training.progress import Progress, clock

MOST_SECONDS_PER_STEP = 15.0
"""A batch that takes longer is made smaller, unless it was given by hand: a stop has to wait for the end of a step."""
SMALLEST_BATCH = 16
MEASURING = 0.02
"""Share of the time for the counted steps of one candidate; three steps at least."""
FINISHING = 1 / 3
"""The most of the time left that finishing may take: half of what training has."""
PROBING = 0.03
"""The most of the time of training for figures between epochs."""
REHEARSED = (48, 256)
"""Samples that finishing is rehearsed with, fewest and most; as many as `MEASURING` allows."""
STARTING_PAGE = 2.0
"""Seconds for the files and the page."""
TOLERANCE = 0.05


@dataclass(frozen=True)
class Sitting:
    """The time of a run as one call of `pretrain` has it.

    Attributes:
        seconds: the whole time that was asked for.
        used: what earlier sittings took of it.
        began: when this one began, as `now` counts: unix seconds.
        finishing: seconds kept for what comes after the last step.
        probes: times that figures are taken during training.
        line: what was chosen and why; empty in a later sitting.
    """

    seconds: float
    used: float
    began: float
    finishing: float
    probes: int
    line: str = ""
    now: Callable[[], float] = field(default_factory=lambda: time.time, repr=False)

    @property
    def gone(self) -> float:
        """Seconds of the whole run until now, over all sittings."""
        return self.used + self.now() - self.began

    def left(self) -> float:
        """Return the seconds that are left; negative when the time is over."""
        return self.seconds - self.gone

    def training_left(self) -> float:
        """Return the seconds until training has to be over."""
        return self.left() - self.finishing

    def write(self, journal: Journal) -> None:
        """Note where the time stands, for a later sitting."""
        journal.write("sitting", seconds=self.seconds, gone=self.gone, finishing=self.finishing, probes=self.probes)
        if self.line:
            journal.write("note", message=self.line)

    def close(self) -> str:
        """Return a line that says how the time was kept."""
        took = f"took {clock(self.gone)} of {clock(self.seconds)}"
        if abs(self.left()) <= TOLERANCE * self.seconds:
            return took
        return f"{took}: {clock(abs(self.left()))} {'more' if self.left() < 0 else 'less'} than was asked for"


def last_sitting(journal: Path, began: float) -> Sitting | None:
    """Return a new sitting of a run, with what the earlier ones took by their records; None where there was none."""
    records = read_journal(journal, []) if journal.is_file() else []
    places = [place for place, record in enumerate(records) if record["event"] == "sitting"]
    if not places:
        return None
    last = records[places[-1]]
    used = last["gone"] + max(record["time"] for record in records[places[-1] :]) - last["time"]
    return Sitting(last["seconds"], used, began, last["finishing"], last["probes"])


@dataclass(frozen=True)
class Wish:
    """What was given by hand.

    Attributes:
        planned: whether the rest may be chosen for the time, because nobody has named a whole recipe.
        numbers: fields of the Recipe by name, options of the method among them.
    """

    planned: bool
    numbers: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: str | Recipe | None, numbers: Mapping[str, Any]) -> "Wish":
        """Tell a whole recipe from none, and from a method's name; ValueError: both minutes and epochs."""
        if numbers.get("minutes") and "epochs" in numbers:
            raise ValueError(
                f"minutes, epochs: got {numbers['minutes']} and {numbers['epochs']}, wanted one of them: both say how "
                "long a run is"
            )
        return cls(not isinstance(recipe, Recipe) and recipe not in RECIPES, numbers)

    @property
    def kept(self) -> set[str]:
        """Names of what was given, options as "options.<name>"."""
        fields = {f"options.{name}" if name in TYPED_AS_FIELDS else name for name in self.numbers}
        return fields | {f"{field}.{name}" for field in OPTIONS for name in self.numbers.get(field, ())}

    def as_begun(self, before: Recipe, asked: Recipe) -> Recipe:
        """Return the recipe of a run that goes on: what its plan chose, and what is given now, to be compared."""
        if self.planned:
            before = replace(before, precision=asked.precision)
            return with_numbers(before, {**self.numbers, "method": asked.method})
        batch_size = asked.batch_size if "batch_size" in self.numbers else before.batch_size
        return replace(asked, epochs=before.epochs, batch_size=batch_size)


@dataclass(frozen=True)
class Trial:
    """Everything of a run but its numbers, to try recipes with before the first step.

    Attributes:
        facts: of the data; None where views came as an object.
        views, backbone, method, wrap: the user's own objects, None where they go by name.
        parts: labelled data that only the evaluation sees, if any.
        loading: seconds that loading the data took.
    """

    kind: Modality
    source: Source
    facts: Facts | None
    fabric: Fabric
    views: Views | None = None
    backbone: nn.Module | None = None
    method: Builder | None = None
    parts: LabelledParts | None = None
    loading: float = 0.0
    wrap: Wrap | None = None

    def fit(self, recipe: Recipe) -> Recipe:
        """Return the recipe as it would be run."""
        recipe = replace(resolve_precision(recipe), batch_size=min(recipe.batch_size, len(self.source)))
        return recipe if self.facts is None else self.kind.fit(recipe, self.facts)

    def build(self, recipe: Recipe) -> tuple[Views, Method]:
        """Build views and method of a recipe, on networks of their own."""
        facts = self.facts or {}
        memory = {} if self.views else memory_of(self.kind, recipe, facts, self.source)
        drawn = self.views or build_views(self.kind, recipe, facts, memory)
        network = copy.deepcopy(self.backbone) or build_backbone(self.kind, recipe, facts)
        samples = next(self.source.batches(spread(len(self.source), 2), 2)).samples
        method = build_method(recipe, network, check_backbone(network, drawn.plain(samples)), self.method)
        return drawn, wrapped(method, self.wrap)

    def agreed(self, seconds: float) -> float:
        """Return the longest of a time that each process has measured: all of them then decide alike."""
        if self.fabric.world_size == 1:
            return seconds
        longest: Any = self.fabric.all_reduce(torch.tensor(seconds, device=self.fabric.device), reduce_op="max")
        return float(longest)


def in_time(
    trial: Trial, where: RunFolder, asked: Recipe, wish: Wish, began: float, *, quiet: bool
) -> tuple[Recipe, Sitting | None]:
    """Return the recipe of a run fitted to data and time, and its sitting; None for a run without a time.

    A run that has begun keeps what was chosen then. Else it is chosen now and said.
    """
    fabric = trial.fabric
    if agreed(fabric, fabric.is_global_zero and where.begun())[0]:
        before = where.recipe()
        if not before.minutes or "epochs" in wish.numbers:
            return trial.fit(asked), None
        sitting = last_sitting(where.journal, began) or Sitting(60.0 * before.minutes, 0.0, began, 0.0, 0)
        return trial.fit(wish.as_begun(before, asked)), fabric.broadcast(sitting) if fabric.world_size > 1 else sitting
    lacks_epochs = wish.planned and "epochs" not in wish.numbers and trial.kind.lacks_epochs(asked)
    if not (asked.minutes or lacks_epochs):
        return trial.fit(asked), None
    say = Progress("plan", 0, quiet=quiet).say
    say("measuring some steps on this machine")
    recipe, sitting = settle(trial, asked, wish, began)
    say(sitting.line)
    return recipe, sitting


def settle(
    trial: Trial, asked: Recipe, wish: Wish, began: float, now: Callable[[], float] | None = None
) -> tuple[Recipe, Sitting]:
    """Settle what a run does with its minutes, `asked.minutes`; where they are 0 the modality is to say.

    `began` is when the time began, by the clock `now`. ValueError: there is no time left to train in, or a recipe that
    cannot be.
    """
    now = now or time.time
    meter = Meter(trial, asked.minutes)
    before = random_state()
    recipe, kept = asked, wish.kept
    if wish.planned and trial.kind.plan is not None:
        recipe = trial.kind.plan(asked, kept, trial.source, meter)
    recipe = trial.fit(recipe)
    cost = meter(recipe)
    if "batch_size" not in kept:
        recipe = replace(recipe, batch_size=_bearable(recipe.batch_size, cost))
    figures, finishing = (trial.agreed(seconds) for seconds in finishing_seconds(trial, recipe))
    restore_random_state(before)
    seconds = 60.0 * recipe.minutes
    left = trial.agreed(seconds - (now() - began))
    if left <= 0:
        raise ValueError(
            f"minutes: got {recipe.minutes:g}, which loading and measuring took already ({clock(seconds - left)}); "
            "wanted more"
        )
    finishing = min(finishing, FINISHING * left)
    training = left - finishing
    steps = max(1, round(training / (cost * recipe.batch_size)))
    recipe = replace(recipe, epochs=steps / steps_per_epoch(len(trial.source), recipe.batch_size))
    probes = int(min(PROBING * training / max(figures, 1e-3), 10))
    line = _said(trial, asked, recipe, cost, training, finishing)
    return recipe, Sitting(seconds, 0.0, began, finishing, probes, line, now)


def _bearable(batch_size: int, cost: float) -> int:
    """Halve a batch until its step is short enough."""
    while batch_size * cost > MOST_SECONDS_PER_STEP and batch_size // 2 >= SMALLEST_BATCH:
        batch_size //= 2
    return batch_size


class Meter:
    """Seconds per sample of recipes on this machine, each measured once: `meter(recipe)`."""

    def __init__(self, trial: Trial, minutes: int | float) -> None:
        self._trial, self._seconds = trial, MEASURING * 60 * (minutes or 5.0)
        self._found: dict[tuple[object, ...], float] = {}

    def __call__(self, recipe: Recipe) -> float:
        """Return what a sample costs in a step: views, forward, backward, optimizer."""
        recipe = self._trial.fit(recipe)
        network = (recipe.image_size, recipe.backbone, recipe.width, recipe.stem, recipe.projector)
        key = (*network, recipe.batch_size, recipe.method, recipe.views)
        if key not in self._found:
            self._found[key] = self._trial.agreed(self._measure(recipe))
        return self._found[key]

    def _measure(self, recipe: Recipe) -> float:
        trial = self._trial
        drawn, method = trial.build(recipe)
        forward = _seconds_of_a_pass(trial, drawn, method)
        # Two views, and backward costs two forwards: as little as that is known before a batch is tried that may hang.
        if trial.agreed(6 * forward * recipe.batch_size) > MOST_SECONDS_PER_STEP:
            recipe = replace(recipe, batch_size=_bearable(recipe.batch_size, 6 * forward))
        take = partial(seconds_of_steps, recipe, trial.source, drawn, method, trial.fabric)
        first = trial.agreed(fmean(take(4)[1:]))
        steps = int(min(self._seconds / max(first, 1e-4), 100))
        seconds = fmean(take(steps)) if steps > 4 else first  # else the first look took long enough
        return seconds / recipe.batch_size


def _seconds_of_a_pass(trial: Trial, drawn: Views, method: Method) -> float:
    """Seconds per sample of a forward pass without gradient, on a few samples."""
    device = trial.fabric.device
    few = OnDevice(subset(trial.source, spread(len(trial.source), 8)), device)
    represent = method.to(device).eval().represent
    extract(represent, few, plain=drawn.plain)
    started = time.perf_counter()
    extract(represent, few, plain=drawn.plain)
    return (time.perf_counter() - started) / len(few)


def finishing_seconds(trial: Trial, recipe: Recipe) -> tuple[float, float]:
    """Rehearse with a few samples what follows the last step; return seconds of the figures between epochs, and of all.

    Two networks give features of all labelled samples and the label-free figures of `PROBE_SAMPLES`, which are taken
    after the last step too; the correlation matrix is of at most `CORRELATION_SAMPLES`; the probes are fitted on the
    features of two networks and on the bars.
    """
    drawn, method = trial.build(recipe)
    drawn = drawn.bare()
    represent = method.to(trial.fabric.device).eval().represent
    affordable = MEASURING * 60 * recipe.minutes / (4 * trial.agreed(_seconds_of_a_pass(trial, drawn, method)))
    number = int(min(max(affordable, REHEARSED[0]), REHEARSED[1]))
    few: Source = OnDevice(subset(trial.source, spread(len(trial.source), number)), trial.fabric.device)
    started = time.perf_counter()
    with torch.inference_mode():
        label_free_figures(represent, few, drawn)
    per_sample = (time.perf_counter() - started) / len(few) / 3
    started = time.perf_counter()
    features = extract(represent, few, plain=drawn.plain)
    plain = (time.perf_counter() - started) / len(few)
    figures = 3 * per_sample * min(PROBE_SAMPLES, len(trial.source))
    labelled = _num_labelled(trial)
    held_out = min(CORRELATION_SAMPLES, labelled // 5 or len(trial.source))
    seconds = 3 * figures + held_out * (2 * plain + 4 * per_sample) + STARTING_PAGE
    if labelled:
        # Data in files are read once more, in training and test part.
        seconds += trial.loading + 2.5 * labelled * plain
        seconds += _probe_seconds(trial, features, few, drawn, labelled)
    moment = 2 * per_sample * min(MOMENT_SAMPLES, len(trial.source))
    return figures + moment, seconds


def _num_labelled(trial: Trial) -> int:
    if trial.parts is not None:
        return len(trial.parts.train) + len(trial.parts.test)
    return 0 if trial.source.labels is None else len(trial.source)


def _probe_seconds(trial: Trial, features: Features, few: Source, views: Views, labelled: int) -> float:
    """Seconds of the probes of all arms, from those on a few samples; 0 where too few of a class are among them."""
    arms = {"trained": features} | {name: extract(bar, few, plain=views.plain) for name, bar in trial.kind.bars.items()}
    try:
        costs = costs_of({name: (one, one) for name, one in arms.items()}, dict.fromkeys(arms, 0.0))
    except ValueError:
        return 0.0
    test = labelled // 5 if trial.parts is None else len(trial.parts.test)
    return sum(cost.predicted(labelled - test, test) for cost in [costs[0], *costs])  # the untrained network as well


def _said(trial: Trial, asked: Recipe, recipe: Recipe, cost: float, training: float, finishing: float) -> str:
    """The line that says what was chosen and why."""
    noun = f"{trial.kind.noun}s"
    given = "" if asked.minutes else ", which suit the data and this machine (--minutes says otherwise)"
    size = f" at {recipe.image_size} pixels" if recipe.image_size else ""
    width = f" of width {recipe.width}" if recipe.width != Recipe.width else ""
    line = (
        f"{count(recipe.minutes, 'minute')}{given}: {recipe.backbone}{width}{size}, batch of {recipe.batch_size}, "
        f"about {recipe.epochs:.3g} epochs of {count(len(trial.source), trial.kind.noun)} at {1 / cost:,.0f} {noun}/s "
        f"in {clock(training)}; {clock(finishing)} for evaluation and page"
    )
    step = cost * recipe.batch_size
    if step > MOST_SECONDS_PER_STEP:
        line += f". A step takes {clock(step)}, and so may a stop: --batch-size {recipe.batch_size} was given"
    return line
