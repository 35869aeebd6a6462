"""One stage of a sequence: an ordinary run that starts from the one before, and what it leaves for those to come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from barlow.applications.continual.distill import Distillation
from barlow.applications.continual.domains import Domain
from barlow.applications.continual.ewc import (
    FISHER,
    Anchor,
    EWCPenalty,
    anchors_of,
    distance,
    measure_fisher,
    read_fisher,
    write_fisher,
)
from barlow.applications.continual.keep import EWC, Distill, Keep, Replay
from barlow.applications.continual.measure import Figures, losses_by_domain, probes_by_domain
from barlow.applications.continual.replay import BUFFER, with_replay, write_buffer
from barlow.applications.continual.statistics import STATISTICS, read_statistics, write_statistics
from barlow.files import read_json, write_json
from barlow.methods.heads import projector_width
from barlow.recipes import Recipe
from barlow.runs.build import build_backbone, build_method, build_views
from barlow.runs.folder import RunFolder
from barlow.runs.own_views import first_samples
from barlow.runs.pretrain import pretrain
from barlow.seams import Around, Method, Modality, OnDevice, Source, Views, check_backbone
from barlow.training.checkpoint import load_checkpoint
from barlow.training.engine import device_of
from barlow.training.machine import Machine

FIGURES = "domains.json"
"""File in a run folder: what its network is worth on every data set of the sequence."""


@dataclass(frozen=True)
class Setting:
    """What all stages of a sequence share.

    Attributes:
        recipe: of every stage, settled by the first data set.
        facts: of the first data set; network input stays normalised by its statistics.
        domains: in their order.
    """

    modality: Modality
    recipe: Recipe
    facts: Mapping[str, Any]
    domains: Sequence[Domain]
    machine: Machine

    @cached_property
    def views(self) -> Views:
        """The views of every stage."""
        return build_views(self.modality, self.recipe, self.facts)

    @property
    def device(self) -> torch.device:
        """Where what is not trained is computed."""
        return device_of(self.machine.accelerator)

    @cached_property
    def num_features(self) -> int:
        """The width d of h."""
        samples = first_samples(self.domains[0].train)
        return check_backbone(build_backbone(self.modality, self.recipe, self.facts), self.views.plain(samples))

    @property
    def num_outputs(self) -> int:
        """The width D of z."""
        return projector_width(self.recipe.projector, self.num_features)

    def untrained(self) -> Method:
        """Return the method as it is before the first step of the first stage."""
        width = self.num_features
        torch.manual_seed(self.recipe.seed)
        network = build_backbone(self.modality, self.recipe, self.facts)
        return build_method(self.recipe, network, width).eval()


@dataclass(frozen=True)
class Left:
    """A finished stage: its data set and its run folder."""

    domain: Domain
    folder: Path

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of backbone and heads."""
        found: dict[str, Tensor] = load_checkpoint(self.folder / "checkpoints" / "last.ckpt")["method"]
        return found

    def method(self, setting: Setting) -> Method:
        """Return the method as the stage left it."""
        method = setting.untrained()
        method.load_state_dict(self.weights())
        return method


class Watched(Around):
    """A method that tells the journal its loss on every data set of the sequence between epochs."""

    def __init__(self, method: Method, setting: Setting, statistics: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(method)
        self._watch = (setting, statistics)

    def figures(self) -> dict[str, float]:
        """Return the held-out losses, as the network is and with the statistics of each data set learned before."""
        setting, statistics = self._watch
        found = losses_by_domain(self, setting.views, setting.domains, statistics)
        return {f"{kind}: {name}": value for kind, values in found.items() for name, value in values.items()}


class Wrapping:
    """What goes around the method of a stage: what keeps it from forgetting, and what watches it.

    Its name stands in the run folder, so that a stage goes on with what it was begun with.
    """

    def __init__(self, setting: Setting, keep: Keep, before: Sequence[Left]) -> None:
        self._setting, self._keep, self._before = setting, keep, before
        self.__name__ = str(keep) if keep is not None and before else "Watched"

    def __call__(self, method: Method) -> Around:
        """Return the method with all of it around."""
        setting, before = self._setting, self._before
        statistics = {left.domain.name: read_statistics(left.folder) for left in before}
        inner: Method = method
        if before and isinstance(self._keep, EWC):
            inner = EWCPenalty(method, anchors(self._keep, before))
        elif before and isinstance(self._keep, Distill):
            state = torch.get_rng_state()  # the network of before is built anew, which draws weights
            old = before[-1].method(setting)
            torch.set_rng_state(state)
            inner = Distillation(method, old, setting.num_outputs, self._keep)
        return Watched(inner, setting, statistics)


def anchors(keep: EWC, before: Sequence[Left]) -> list[Anchor]:
    """Return where EWC holds the weights, from what the stages before have left."""
    return anchors_of(keep, [(left.weights(), read_fisher(left.folder)) for left in before])


def run_stage(setting: Setting, keep: Keep, before: Sequence[Left], domain: Domain, folder: Path) -> Left | None:
    """Train a stage, or go on with it, and leave what the next ones need; None where a signal stopped it."""
    source: Source = domain.train
    if isinstance(keep, Replay):
        source = with_replay(source, [left.folder for left in before], keep)
    left = Left(domain, folder)
    where = RunFolder(folder)
    if not where.finished() or where.undone():
        run = pretrain(
            source, recipe=setting.recipe, out=folder, modality=setting.modality, machine=setting.machine,
            wrap=Wrapping(setting, keep, before), start_from=before[-1].folder if before else None,
        )  # fmt: skip
        if not run.finished:
            return None
    leave(setting, left, [*before, left], keep)
    return left


def leave(setting: Setting, left: Left, stages: Sequence[Left], keep: Keep) -> None:
    """Write statistics, Fisher, buffer and figures of a stage, where they are not there."""
    folder, method = left.folder, left.method(setting).to(setting.device)
    if not (folder / STATISTICS).is_file():
        write_statistics(folder, method)
    if not (folder / FISHER).is_file():
        batches = keep.batches if isinstance(keep, EWC) else EWC.batches
        size = setting.recipe.batch_size
        move = first_move(setting, stages[0])
        found = measure_fisher(
            method,
            setting.views,
            OnDevice(left.domain.train, setting.device),
            batch_size=size,
            batches=batches,
            move=move,
        )
        write_fisher(folder, found)
    if isinstance(keep, Replay) and not (folder / BUFFER).is_file():
        write_buffer(folder, left.domain.train, keep)
    if not (folder / FIGURES).is_file():
        write_json(folder / FIGURES, figures_of(setting, method, stages))


def first_move(setting: Setting, first: Left) -> dict[str, Tensor]:
    """Return the move of every weight in the first stage, from its random start to its end."""
    start, end = setting.untrained().state_dict(), first.weights()
    return {name: end[name] - start[name] for name in start if start[name].is_floating_point()}


def figures_of(setting: Setting, method: Method, stages: Sequence[Left]) -> Figures:
    """Return what a network is worth on every data set, and how far it has drifted from each stage before."""
    statistics = {left.domain.name: read_statistics(left.folder) for left in stages}
    found = losses_by_domain(method, setting.views, setting.domains, statistics)
    found["probe"] = probes_by_domain(method, setting.views, setting.domains, statistics)
    weights = {name: weight.detach().cpu() for name, weight in method.named_parameters()}
    found["drift"] = {
        left.domain.name: distance(read_fisher(left.folder).diagonal, left.weights(), weights) for left in stages
    }
    return found


def figures_left(left: Left) -> Figures:
    """Return the figures that a stage has left."""
    found: Figures = read_json(left.folder / FIGURES)
    return found
