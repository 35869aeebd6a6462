"""A sequence of data sets learned one after another by one network; everything that was done is kept and not redone.

<out>/sequence.json   what was asked        results.json, sequence.html   what came of it
      stages/1-<name>, 2-<name>, ...        run folders, each with its Fisher, its statistics and its figures
      baselines/none-2-<name>, joint, alone-2-<name>, ...
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from barlow.applications.continual.domains import Domain, load_domains
from barlow.applications.continual.keep import Keep, keep_named, name_of, recorded
from barlow.applications.continual.measure import (
    Figures,
    losses_by_domain,
    probes_by_domain,
    untrained_statistics,
)
from barlow.applications.continual.page import write_sequence_page
from barlow.applications.continual.results import results_of
from barlow.applications.continual.stage import (
    FIGURES,
    Left,
    Setting,
    figures_left,
    run_stage,
)
from barlow.applications.continual.statistics import read_statistics
from barlow.data.joined import JoinedSource
from barlow.errors import unknown
from barlow.files import read_json, write_json
from barlow.modalities import modality_for, said
from barlow.recipes import Recipe, flat, with_numbers
from barlow.report.page import sparing_a_page
from barlow.runs.build import check_numbers, with_checked_options
from barlow.runs.folder import RunFolder, started_with
from barlow.runs.pretrain import pretrain
from barlow.runs.run import Run, open_run
from barlow.seams import Modality
from barlow.training.machine import Machine
from barlow.training.progress import Progress
from barlow.writers import one_writer

OUT = Path("runs/sequence")
BASELINES = ("none", "joint", "alone")
"""What stands beside the sequence on its page, besides the untrained network."""


@dataclass(frozen=True)
class SequenceRun:
    """A sequence and its folder.

    Attributes:
        folder: with `results.json`, `sequence.html`, and a run folder for every stage.
        stages: the run folders of the stages that are finished, in their order.
        results: as in `results.json`: the matrix R of every stage on every data set, and what it says.
        finished: False when a signal stopped it; the same call again goes on.
    """

    folder: Path
    stages: Sequence[Path]
    results: dict[str, Any]
    finished: bool

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "sequence.html"

    def run(self, domain: str | int = -1) -> Run:
        """Return the network at the end, with the BatchNorm statistics of one of its data sets.

        Args:
            domain: name of the data set, or its place in the sequence; -1: the last one.

        Raises:
            ValueError: no such data set, or one that has not been learned yet.
        """
        names = [folder.name.partition("-")[2] for folder in self.stages]
        if not names:
            raise ValueError(f"domain: no stage of {str(self.folder)!r} has finished")
        if isinstance(domain, str) and domain not in names:
            raise ValueError(str(unknown("domain", domain, names)))
        place = names.index(domain) if isinstance(domain, str) else range(len(names))[domain]
        run = open_run(self.stages[-1])
        network = deepcopy(run.backbone)
        own = {name.removeprefix("backbone."): value for name, value in read_statistics(self.stages[place]).items()}
        own = {name: value for name, value in own.items() if not name.startswith("projector.")}
        for name, value in own.items():
            network.get_buffer(name).copy_(value)
        return replace(run, backbone=network)


def pretrain_sequence(
    data: Sequence[Any],
    *,
    keep: Keep | str = None,
    recipe: str | Recipe | None = None,
    out: str | Path = OUT,
    baselines: Sequence[str] = BASELINES,
    hold_out: float = 0.2,
    data_root: str | Path | None = None,
    modality: str | Modality | None = None,
    machine: Machine | None = None,
    white_level: int | float | None = None,
    channels_axis: int | str | None = None,
    **numbers: Any,
) -> SequenceRun:
    """Pretrain one network on data sets one after another; go on where an earlier call with the same `out` stopped.

        barlow.pretrain_sequence(["aerial/", "nuclei/"], keep=barlow.EWC(relative_weight=30), out="runs/stream")

    Each stage is an ordinary run that starts from the weights and heads of the one before; its schedule and optimizer
    start anew. Input stays normalised by the statistics of the first data set.

    Args:
        data: two or more of what `pretrain` takes: names, paths, sources; or pairs of them: what is learned from, and
            what is held out.
        keep: `barlow.EWC`, `barlow.Distill` or `barlow.Replay`, one of their names with its defaults, or None.
        recipe: of every stage; None: the one made for the first data set. Its epochs are those of each stage.
        out: folder of the sequence.
        baselines: what to train besides, for comparison: "none" (the same sequence without anything kept), "joint" (all
            data at once, as many steps), "alone" (each data set by itself). May be added later.
        hold_out: share of each data set without a test split that is never learned from.
        data_root: where named data sets live.
        modality: of the data; None: told by the first.
        machine: accelerator, checkpoint interval, progress; stages take one device, whatever else it says.
        white_level: the pixel value that is white, as for `pretrain`.
        channels_axis: of arrays of images, as for `pretrain`.
        numbers: fields of the recipe to change, such as epochs=20.

    Returns:
        The sequence; `finished` is False when a signal stopped it after a checkpoint.

    Raises:
        ValueError: arguments that cannot be, or that differ from those that `out` was started with.
    """
    way = keep_named(keep) if isinstance(keep, str) else keep
    for one in baselines:
        if one not in BASELINES:
            raise unknown("baselines", one, BASELINES)
    if isinstance(data, (str, Path)) or len(data) < 2:
        raise ValueError(f"data: got {data!r}, wanted a list of two or more data sets")
    if not 0 < hold_out < 1:
        raise ValueError(f"hold_out: got {hold_out}, wanted a number between 0 and 1")
    first = data[0][0] if isinstance(data[0], tuple) else data[0]
    kind = modality_for(first, modality=modality)
    asked = with_numbers(recipe if isinstance(recipe, Recipe) else kind.recipe(recipe, first), numbers)
    asked = _checked(kind, asked)
    machine = replace(machine or Machine(), devices="1", num_nodes=1)
    reading = said(white_level=white_level, channels_axis=channels_axis)
    folder = Path(out).expanduser()
    with one_writer(folder):
        domains, settled, facts = load_domains(
            data, kind, asked, hold_out=hold_out, data_root=data_root, reading=reading
        )
        asked = replace(settled, batch_size=min(asked.batch_size, *(len(domain.train) for domain in domains)))
        setting = Setting(kind, asked, facts, domains, machine)
        _begin(folder, setting, way, hold_out)
        return _Work(folder, setting, way, machine).carry_out(baselines)


def _checked(modality: Modality, recipe: Recipe) -> Recipe:
    """Return the recipe after seeing all that can be seen before data are read."""
    recipe = with_checked_options(recipe)
    check_numbers(recipe)
    modality.names(recipe)
    if recipe.minutes:
        raise ValueError(f"minutes: got {recipe.minutes:g}, wanted epochs: a stage has to come out the same again")
    return recipe


def _begin(folder: Path, setting: Setting, keep: Keep, hold_out: float) -> None:
    """Write what is asked, or see that the folder was begun with the same."""
    domains = [domain.recorded() for domain in setting.domains]
    settings = {
        "identities": [domain["identity"] for domain in domains],
        "held_out": [domain["held_out"] for domain in domains],
        **{f"keep.{name}": value for name, value in recorded(keep).items()},
        **{f"recipe.{name}": value for name, value in flat(asdict(setting.recipe)).items()},
    }
    if not started_with(folder, "sequence.json", settings, "a sequence"):
        write_json(folder / "sequence.json", settings | {"domains": domains, "hold_out": hold_out})


@dataclass(frozen=True)
class _Work:
    """One call: the stages, then what stands beside them; each finished run is kept."""

    folder: Path
    setting: Setting
    keep: Keep
    machine: Machine

    def carry_out(self, baselines: Sequence[str]) -> SequenceRun:
        stages = self._stages(self.keep, [])
        results = self._write(stages)
        finished = len(stages) == len(self.setting.domains)
        if finished:
            for name in baselines:
                finished = finished and self._baseline(name, stages)
                results = self._write(stages)
        return SequenceRun(self.folder, [left.folder for left in stages], results, finished)

    def _stages(self, keep: Keep, done: list[Left], place: str = "stages/") -> list[Left]:
        """Carry out all stages behind those that are done; the list ends where a signal stopped."""
        stages = list(done)
        domains = self.setting.domains
        for number, domain in enumerate(domains[len(done) :], len(done) + 1):
            self._say(f"stage {number} of {len(domains)}: {domain.name}, keep {name_of(keep)}")
            left = run_stage(self.setting, keep, stages, domain, self.folder / f"{place}{number}-{domain.name}")
            if left is None:
                break
            stages.append(left)
        return stages

    def _baseline(self, name: str, stages: Sequence[Left]) -> bool:
        """Train what stands beside the sequence; whether it was finished."""
        domains = self.setting.domains
        if name == "none":
            return self.keep is None or len(self._stages(None, [stages[0]], "baselines/none-")) == len(domains)
        if name == "joint":
            return self._single(
                "joint", Domain("joint", "", JoinedSource([d.train for d in domains], "joint"), domains[0].held_out, "")
            )
        return all(self._single(f"alone-{n}-{one.name}", one) for n, one in enumerate(domains[1:], 2))

    def _single(self, name: str, domain: Domain) -> bool:
        """Train a run by itself, from scratch and normalised by its own statistics, and measure it on all data."""
        folder = self.folder / "baselines" / name
        where = RunFolder(folder)
        if not where.finished() or where.undone():
            self._say(f"baseline {name}")
            run = pretrain(
                domain.train, recipe=self.setting.recipe, out=folder, modality=self.setting.modality,
                machine=self.machine,
            )  # fmt: skip
            if not run.finished:
                return False
        if not (folder / FIGURES).is_file():
            setting = replace(self.setting, facts={**self.setting.facts, **_statistics(self.setting, where)})
            method = Left(domain, folder).method(setting).to(setting.device)
            found = losses_by_domain(method, setting.views, setting.domains, {})
            found["probe"] = probes_by_domain(method, setting.views, setting.domains, {})
            write_json(folder / FIGURES, found)
        return True

    def _untrained(self) -> Figures:
        """What the network is worth before the first step, with statistics of each data set."""
        path = self.folder / "baselines" / "untrained.json"
        if not path.is_file():
            setting = self.setting
            method = setting.untrained().to(setting.device)
            statistics = {one.name: untrained_statistics(method, setting.views, one) for one in setting.domains}
            found = losses_by_domain(method, setting.views, setting.domains, statistics)
            found["loss"] = found["own_statistics"]
            found["probe"] = probes_by_domain(method, setting.views, setting.domains, statistics)
            write_json(path, found)
        figures: Figures = read_json(path)
        return figures

    def _write(self, stages: Sequence[Left]) -> dict[str, Any]:
        """Write what is known by now, and the page."""
        domains, base = self.setting.domains, self.folder / "baselines"
        arms = {name_of(self.keep): [figures_left(left) for left in stages]}
        if self.keep is not None and stages:
            none = [base / f"none-{n}-{one.name}" / FIGURES for n, one in enumerate(domains[1:], 2)]
            if all(path.is_file() for path in none):
                arms["none"] = [figures_left(stages[0]), *map(read_json, none)]
        singles = {
            path.parent.name: read_json(path)
            for path in sorted(base.glob(f"*/{FIGURES}"))
            if not path.parent.name.startswith("none-")
        }
        results = results_of([one.name for one in domains], arms, singles, self._untrained())
        write_json(self.folder / "results.json", results)
        with sparing_a_page(self._say):
            write_sequence_page(self.folder, results)
        return results

    def _say(self, line: str) -> None:
        Progress("sequence", 0, quiet=self.machine.quiet).say(f"sequence: {line}")


def _statistics(setting: Setting, where: RunFolder) -> dict[str, Any]:
    """The facts that a run of its own data normalises its input by."""
    return {name: fact for name, fact in where.data().items() if name in setting.modality.statistics}
