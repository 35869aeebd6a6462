"""Recipes side by side: the same data, the same number of images or the same time, several seeds, one table.

    plan (calibrate by turns, choose steps) -> every arm an ordinary run folder, one after another -> table, page

Everything is decided in `plan.json` before the first arm is trained, so the same call goes on where it stopped: plans,
finished arms and checkpoints are kept. No schedule is cut short: a budget is met by the number of steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from barlow.files import write_json
from barlow.methods.table import builder_of
from barlow.modalities import modality_for, place_to_keep, said
from barlow.recipes import TYPED_AS_FIELDS, Recipe, up_to_date, with_numbers
from barlow.report.page import sparing_a_page
from barlow.report.side_by_side import Entry, finished_runs, rows_of, write_side_by_side
from barlow.runs.folder import RecipeChangedError, RunFolder, changed_numbers, started_with
from barlow.runs.pretrain import pretrain, probe_interval
from barlow.runs.timing import SECONDS, TURNS, Calibration, calibrate_apart, calibrate_in_turns
from barlow.training.machine import Machine
from barlow.training.progress import Progress, clock
from barlow.writers import one_writer

OUT = Path("runs/compare")
Calibrate = Callable[[Recipe, str, str | None], Calibration]


@dataclass(frozen=True)
class RecipeComparison:
    """Several recipes on the same data.

    Attributes:
        folder: with `plan.json`, `compare.json`, `compare.html`, and a run folder <arm>/seed-<seed> for every run.
        table: as in `compare.json`; "rows" has one row per recipe, per untrained network, and for raw pixels.
        finished: False when a signal stopped a run; the same call again goes on.
    """

    folder: Path
    table: Mapping[str, Any]
    finished: bool

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "compare.html"


def compare_recipes(
    data: str | Path,
    recipes: Sequence[str | Recipe],
    *,
    seeds: int | Sequence[int] = 3,
    minutes: float = 0.0,
    images: int = 0,
    out: str | Path = OUT,
    data_root: str | Path | None = None,
    machine: Machine | None = None,
    calibrate: Calibrate | None = None,
    white_level: int | float | None = None,
    channels_axis: int | str | None = None,
    labels: str = "",
    hold_out: str = "",
    start: str = "",
    **numbers: Any,
) -> RecipeComparison:
    """Train recipes for the same number of images, or for the same time, and set them side by side.

    Args:
        data: a name or a path, as for `pretrain`.
        recipes: names of `RECIPES`, names of methods (their recipe made for `data`), or Recipes of different names.
        seeds: their number, counted from 0, or the seeds themselves.
        minutes: time of pretraining for every run. The rate of each recipe is measured on this machine first, by
            turns, and as many steps as fit (at least one) are trained with their complete schedule.
        images: images that every run sees, repeats included, to the nearest step. With neither this nor `minutes`:
            those of the own epochs of the first recipe that can run.
        out: folder of the comparison.
        data_root: where named data sets live.
        machine: accelerator, checkpoint interval, progress; runs take one device, whatever else it says.
        calibrate: measures a recipe once; in a process of its own unless told otherwise.
        white_level: the pixel value that is white, as for `pretrain`; None: told from the data.
        channels_axis: of arrays of images, as for `pretrain`.
        labels: as for `pretrain`, such as a pattern of names; empty: "auto".
        hold_out: groups that are not learnt from and are evaluated on, as for `pretrain`.
        start: weights, "default" for those of the library of the backbone, or a file: every recipe is also trained from
            them, as "NAME-from-weights", and the table has a row for the weights as they are.
        numbers: fields to change in every recipe, such as width=16.

    Returns:
        The comparison; `finished` is False when a signal stopped it after a checkpoint. A recipe that is refused, or
        whose loss becomes infinite, leaves the others alone: its row has the reason under "failed".

    Raises:
        ValueError: arguments that cannot be, or that differ from those that `out` was started with; no recipe can run.
    """
    machine = replace(machine or Machine(), devices="1", num_nodes=1)
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    asked = _and_from(start, _asked(recipes, data, numbers), numbers)
    _check(data, chosen, minutes, images, numbers)
    settings = {
        "data": place_to_keep(modality_for(data), data),
        "data_root": str(Path(data_root).expanduser().resolve()) if data_root else "",
        "minutes": minutes,
        "images": images,
    }
    settings |= said(white_level=white_level, channels_axis=channels_axis, labels=labels, hold_out=hold_out)
    folder = Path(out).expanduser()
    with one_writer(folder):
        return _compare(asked, chosen, settings, folder, machine, calibrate)


def _compare(
    asked: Mapping[str, Recipe],
    chosen: Sequence[int],
    settings: Mapping[str, Any],
    out: Path,
    machine: Machine,
    calibrate: Calibrate | None,
) -> RecipeComparison:
    """Plan, train what is not trained, write page and table; the table is last, for it says that all is done."""
    plan = _PlanFile.open(out, settings)
    minutes = settings["minutes"]
    turns = TURNS if minutes else 1  # without a budget of time, only the memory and the time expected hang on it
    how: Any = {"seconds": SECONDS / turns, "accelerator": machine.accelerator, "reading": plan.reading}
    measure = calibrate or partial(calibrate_apart, **how)
    refused = plan.settle(asked, measure, turns, Progress("calibration", total=0, quiet=machine.quiet))
    if all(refused.values()):
        alike = len(set(refused.values())) == 1  # then it is the data or the machine, not the recipes
        raise ValueError(refused.popitem()[1] if alike else "; ".join(map(": ".join, refused.items())))
    failures = {name: dict.fromkeys(chosen, why) if why else {} for name, why in refused.items()}
    finished = _train(plan, chosen, failures, machine)
    entries = [plan.entry(name, chosen, failures[name]) for name in asked]
    table = {**settings, "seeds": chosen, "rows": rows_of(entries)}
    comparison = RecipeComparison(plan.folder, table, finished)
    with sparing_a_page(Progress("compare", 0, quiet=machine.quiet).say):
        write_side_by_side(table, entries, comparison.page)
    write_json(plan.folder / "compare.json", table)
    return comparison


def epochs_for(calibration: Calibration, *, minutes: float = 0.0, images: int = 0) -> float:
    """Return the epochs of the steps, at least one, that fit into a budget of time or come nearest to one of images."""
    per_epoch = calibration.steps_per_epoch
    if not minutes:
        return max(1, round(images / calibration.batch_size)) / per_epoch
    budget = 60.0 * minutes
    counts = (steps / per_epoch for steps in range(int(budget / calibration.seconds_per_step), 0, -1))
    fitting = (epochs for epochs in counts if calibration.seconds(epochs, probe_interval(epochs)) <= budget)
    return next(fitting, 1 / per_epoch)


@dataclass(frozen=True)
class _PlanFile:
    """`plan.json`: what was asked for, and of every recipe its numbers and what it costs here."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> "_PlanFile":
        """Start a plan, or take up the one in the folder, which has to be for the same data and budget."""
        new = {**settings, "images_per_run": 0, "arms": {}}
        return cls(folder, started_with(folder, "plan.json", settings, "a comparison") or new)

    @property
    def evaluating(self) -> dict[str, Any]:
        """What the user said of labels and groups, when the comparison was begun."""
        return {name: self.content[name] for name in ("labels", "hold_out") if name in self.content}

    @property
    def reading(self) -> dict[str, Any]:
        """What the user said of how the data are to be read, when the comparison was begun."""
        return {name: self.content[name] for name in ("white_level", "channels_axis") if name in self.content}

    def settle(
        self, asked: Mapping[str, Recipe], calibrate: Calibrate, turns: int, progress: Progress
    ) -> dict[str, str]:
        """Calibrate the recipes that are new, by turns, and choose their steps; one in the plan has to be the same.

        Returns by name why a recipe cannot run. A refusal is no part of the plan: the next call tries again.
        """
        arms = self.content["arms"]
        known = {name: (_asked_before(arms[name]), recipe) for name, recipe in asked.items() if name in arms}
        changed = {name: changed_numbers(*both) for name, both in known.items()}
        if any(changed.values()):
            raise RecipeChangedError([f"{name}: {one}" for name, several in changed.items() for one in several])
        data, root = self.content["data"], self.content["data_root"] or None
        new = {name: partial(calibrate, asked[name], data, root) for name in asked if name not in arms}
        found, why = calibrate_in_turns(new, turns=turns, said=lambda text: progress.say(f"calibration: {text}"))
        refused = {name: reason.removeprefix(f"recipe {asked[name].name}: ") for name, reason in why.items()}
        for name, reason in refused.items():
            progress.say(f"calibration: {name} cannot run: {reason}")
        for name, cost in found.items():
            self._add(name, asked[name], cost, progress)
        return {name: refused.get(name, "") for name in asked}

    def _add(self, name: str, recipe: Recipe, cost: Calibration, progress: Progress) -> None:
        minutes = self.content["minutes"]
        if not minutes and not self.content["images_per_run"]:
            self.content["images_per_run"] = self.content["images"] or round(recipe.epochs * cost.images_per_epoch)
        epochs = epochs_for(cost, minutes=minutes, images=self.content["images_per_run"])
        self.content["arms"][name] = {"asked": asdict(recipe), "epochs": epochs, "calibration": asdict(cost)}
        write_json(self.folder / "plan.json", self.content)
        expected = clock(cost.seconds(epochs, probe_interval(epochs)))
        progress.say(f"calibration: {name}: {epochs:.3g} epochs, about {expected} for each seed")

    def recipe(self, name: str) -> Recipe:
        """Return a recipe of the plan with its epochs."""
        arm = self.content["arms"][name]
        return replace(_asked_before(arm), epochs=arm["epochs"])

    def run_folder(self, name: str, seed: int) -> Path:
        """Return where the run of a recipe and a seed is, or will be."""
        return self.folder / name / f"seed-{seed}"

    def entry(self, name: str, seeds: Sequence[int], failures: Mapping[int, str]) -> Entry:
        """Return what the table needs to know of a recipe; of one that was refused, only why."""
        if name not in self.content["arms"]:
            return Entry(name, runs={}, failures=failures)
        arm = self.content["arms"][name]
        cost = Calibration(**arm["calibration"])
        return Entry(
            name,
            finished_runs({seed: self.run_folder(name, seed) for seed in seeds}),
            epochs=arm["epochs"],
            images=round(arm["epochs"] * cost.images_per_epoch),
            peak_memory=cost.peak_memory,
            failures=failures,
        )


def _train(plan: _PlanFile, seeds: Sequence[int], failures: Mapping[str, dict[int, str]], machine: Machine) -> bool:
    """Train what is not finished, seed by seed, so that an unfinished table is a fair one; False after a signal.

    Seeds in `failures` are left out, and those whose runs break off are added there.
    """
    work = [(seed, name) for seed in seeds for name in failures]
    for place, (seed, name) in enumerate(work):
        where = RunFolder(plan.run_folder(name, seed))
        if seed in failures[name] or (where.finished() and not where.undone()):
            continue
        if not machine.quiet:
            Progress("compare", total=len(work)).say(f"run {place + 1} of {len(work)}: {name}, seed {seed}")
        given = plan.content
        try:
            run = pretrain(
                given["data"], recipe=replace(plan.recipe(name), seed=seed), out=where.path,
                data_root=given["data_root"] or None, machine=machine, **plan.reading, **plan.evaluating,
            )  # fmt: skip
        except ValueError as error:  # refused, or a loss that is not finite: the other recipes can do without it
            failures[name][seed] = str(error)
            continue
        if not run.finished:
            return False
    return True


def _asked(recipes: Sequence[str | Recipe], data: Any, numbers: Mapping[str, Any]) -> dict[str, Recipe]:
    """Recipes by the names that were typed."""
    if isinstance(recipes, str) or not recipes:
        raise ValueError(f"recipes: got {recipes!r}, wanted a list of one or more recipes or methods")
    asked: dict[str, Recipe] = {}
    kind = modality_for(data)
    for given in recipes:
        name = given.name if isinstance(given, Recipe) else given
        if name in asked or not name or Path(name).name != name:
            raise ValueError(f"recipes: {name!r} is there twice or is no name for a folder")
        asked[name] = _with_typed(name, given if isinstance(given, Recipe) else kind.recipe(given, data), numbers)
    return asked


def _and_from(start: str, asked: Mapping[str, Recipe], numbers: Mapping[str, Any]) -> dict[str, Recipe]:
    """Each recipe from scratch, and from weights, which come with the first layer they were trained with."""
    if not start:
        return dict(asked)
    if "pretrained" in numbers:
        raise ValueError(f"start, pretrained: got both, wanted start={start!r} alone")
    place = start if start == "default" else str(Path(start).expanduser().resolve())
    stem: dict[str, Any] = {"stem": "imagenet", "width": Recipe.width} if start == "default" else {}
    found: dict[str, Recipe] = {}
    for name, recipe in asked.items():
        found[name] = replace(recipe, pretrained="", **stem)
        found[f"{name}-from-weights"] = replace(recipe, pretrained=place, **stem)
    return found


def _with_typed(name: str, recipe: Recipe, numbers: Mapping[str, Any]) -> Recipe:
    """Change the fields of one of the recipes; an option of a method has to be one of its method's."""
    changed = with_numbers(recipe, numbers)
    if numbers.keys() & {"method", "options", *TYPED_AS_FIELDS}:
        try:
            builder_of(changed)
        except ValueError as error:
            raise ValueError(f"recipe {name}: {error}") from error
    return changed


def _asked_before(arm: Mapping[str, Any]) -> Recipe:
    return Recipe(**up_to_date(arm["asked"]))


def _check(data: Any, seeds: Sequence[int], minutes: float, images: int, numbers: Mapping[str, Any]) -> None:
    if not isinstance(data, (str, Path)):
        raise ValueError(f"data: got a {type(data).__name__}, wanted a name or a path: runs are resumed from it")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: got {list(seeds)}, wanted one or more different ones")
    if minutes < 0 or images < 0 or (minutes and images):
        raise ValueError(f"minutes, images: got {minutes} and {images}, wanted one of them, above 0")
    if "seed" in numbers:
        raise ValueError(
            f"seed: got {numbers['seed']}, wanted seeds=[{numbers['seed']}]: each recipe has a run of each"
        )
    if "epochs" in numbers and (minutes or images):
        raise ValueError(
            f"epochs: got {numbers['epochs']} beside minutes or images, which say how long a run is; wanted one"
        )
