"""What can be audited: a run, a model by name, a foreign checkpoint, any callable, or features that exist already.

All of them become one `Subject`: view -> h, h -> z where there is a projector, the data and the views to look with, and
the network before training where the recipe can build it again.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from barlow.evaluation.scores import calibrate
from barlow.modalities import MODALITIES, load_samples, modality_for
from barlow.recipes import Recipe
from barlow.runs.build import (
    build_method,
    build_views,
    kept_memory,
    memory_of,
    named_backbone,
    untrained_backbone,
)
from barlow.runs.folder import RunFolder
from barlow.runs.run import Run, open_run
from barlow.seams import Facts, Modality, OnDevice, Source, View, Views, check_backbone, nothing_applied, to_device
from barlow.training.checkpoint import load_checkpoint

Kind = Literal["run", "model", "checkpoint", "callable", "features"]
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".safetensors")
FEATURE_SUFFIXES = (".npy",)
FAST = torch.channels_last
"""Layout in which convolutions are about twice as fast on a CPU."""


@dataclass(frozen=True)
class Networks:
    """A backbone and its projector in evaluation mode; None where there is no projector."""

    backbone: Callable[[Any], Tensor]
    projector: nn.Module | None


@dataclass(frozen=True)
class Subject:
    """What is audited, and what it is looked at with.

    Attributes:
        untrained: the networks before training, BatchNorm statistics from the data; None where nobody can build them.
        source: None for features.
        views: the pipelines, without places.
        normalization: of the loss, where a file tells it; "" where not. Of a run, the recipe says it.
        features: (n, K, d), for kind "features".
        notes: what should be known of it, such as names of a checkpoint that did not match.
    """

    name: str
    kind: Kind
    trained: Networks | None = None
    untrained: Networks | None = None
    source: Source | None = None
    views: Views | None = None
    recipe: Recipe | None = None
    normalization: str = ""
    features: Tensor | None = None
    notes: Sequence[str] = ()


def is_subject(word: str) -> bool:
    """Whether a word of the command line names something to audit, rather than data to audit it with."""
    path = Path(word)
    return (
        word.startswith(libraries())
        or is_checkpoint(word)
        or is_run(word)
        or (path.suffix in FEATURE_SUFFIXES and _is_features(path))
    )


def libraries() -> tuple[str, ...]:
    """Return what names of networks of all modalities begin with: "timm:", "torchvision:"."""
    return tuple(library for make in MODALITIES.values() for library in make().libraries)


def is_checkpoint(path: str | Path) -> bool:
    """Whether this is called like a file of weights; "timm:name.tar" is none."""
    return Path(path).suffix in CHECKPOINT_SUFFIXES and not str(path).startswith(libraries())


def is_run(folder: str | Path) -> bool:
    """Whether this is the folder of a run."""
    return (Path(folder).expanduser() / "recipe.json").exists()


def open_subject(
    target: Any,
    data: Any = None,
    *,
    views: str | Views | View | None = None,
    projector: nn.Module | None = None,
    data_root: str | Path | None = None,
    weights: str = "default",
    arch: str = "",
    prefix: str | None = None,
    image_size: int = 0,
    name: str = "",
    modality: str | Modality | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Subject:
    """Make a Subject of what the user has: a target of `audit`, with words explained there and in `AuditSettings`.

    `data`, `views` and `modality` left out are those of the run, or of the recipe made for the data. A tensor or array
    is features (n, K, d), as an .npy file is; `projector` (h -> z) goes with a callable or a checkpoint. Unlike in
    `AuditSettings`, no `weights` are "", and `prefix` None is where most of it is found. `reading` is what the user
    says of how the data are to be read.
    """
    if _is_path(target) and str(target).startswith("~"):
        target = Path(target).expanduser()
    if isinstance(target, (Tensor, np.ndarray)) or (_is_path(target) and Path(target).suffix in FEATURE_SUFFIXES):
        return Subject(name or _name_of(target), "features", features=_features(target))
    if isinstance(target, Run) or (_is_path(target) and is_run(target)):
        return _of_run(target, data, views, data_root, name, modality, reading or {})
    if data is None:
        raise ValueError(f"data: {_name_of(target)} has no data of its own; pass samples to audit it with")
    if not _is_path(target) and not callable(target):
        raise ValueError(
            f"target: got {type(target).__name__}, wanted a run, a model's name, a checkpoint, a callable or features"
        )
    own_views = views is not None and not isinstance(views, str) and not _is_path(target)
    kind_of_data = modality_for(data, modality=modality, own_views=own_views)
    look = _Look(kind_of_data, data, data_root, views, image_size, reading or {})
    if _is_path(target):
        kind: Kind = "checkpoint" if is_checkpoint(target) else "model"
        return _of_elsewhere(target, kind, look, projector, name, weights=weights, arch=arch, prefix=prefix)
    trained = Networks(target, projector)
    return Subject(name or _name_of(target), "callable", trained, source=look.source, views=look.views(look.facts))


def before_training(subject: Subject) -> Subject:
    """Return the subject as it was before training; ValueError where nobody knows how it began."""
    if subject.untrained is None:
        raise ValueError(f"untrained: only of a run of a named network is the beginning known, not of {subject.name}")
    return replace(subject, name=f"{subject.name}, untrained", trained=subject.untrained, untrained=None)


class _Look:
    """The data of an audit and the views of them."""

    def __init__(
        self,
        modality: Modality,
        data: Any,
        root: Any,
        views: str | Views | View | None,
        size: int,
        reading: Mapping[str, Any],
    ) -> None:
        self.modality, self.data, self.own, self.size = modality, data, views, size
        self.source: Source = load_samples(modality, data, data_root=root, **reading)

    @cached_property
    def facts(self) -> Facts:
        """Facts of the data: nothing of samples of which nothing is known."""
        return self.modality.facts(self.source)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe made for the data, with the views asked for."""
        made = replace(self.modality.recipe(None, self.data), image_size=self.size)
        asked = self.own if isinstance(self.own, str) else ""
        made = replace(made, views=asked or self.modality.audit_views(self.data) or made.views)
        return self.modality.fit(made, self.facts)

    def views(self, facts: Facts) -> Views:
        """Views that came as objects, or views by name, normalised by what the network wants."""
        if self.own is not None and not isinstance(self.own, str):
            return _drawn_by(self.own)
        memory = memory_of(self.modality, self.recipe, facts, self.source)
        return build_views(self.modality, self.recipe, facts, memory).bare()


def _drawn_by(own: Views | View) -> Views:
    """Views as they came, or two of one pipeline, whose view without any transform is then the plain one."""
    if isinstance(own, Views):
        return own.bare()
    views = Views((own, own)).bare()
    (view, _) = views.pipelines
    return replace(views, plain=partial(nothing_applied, view))


def _of_run(
    target: Any,
    data: Any,
    views: Any,
    data_root: Any,
    name: str,
    modality: str | Modality | None,
    reading: Mapping[str, Any],
) -> Subject:
    run = target if isinstance(target, Run) else open_run(target, modality=modality)
    where = RunFolder(run.folder)
    facts = where.data()
    wanted = run.own_data(data_root) if data is None else data
    root = data_root or facts.get("data_root") or None
    source = load_samples(run.modality, wanted, facts=facts, data_root=root, **reading)
    drawn = run.views.bare()
    if isinstance(views, str):
        asked = replace(run.recipe, views=views)
        memory = kept_memory(where.checkpoints) or memory_of(run.modality, asked, facts, source)
        drawn = build_views(run.modality, asked, facts, memory).bare()
    elif views is not None:
        drawn = _drawn_by(views)
    method, untrained = _method_of(run, source, drawn)
    saved = load_checkpoint(where.checkpoints / "last.ckpt")["method"]
    method.load_state_dict(saved)
    method.eval().to(memory_format=FAST)
    trained = Networks(method.backbone, method.projector)
    return Subject(name or run.folder.name, "run", trained, untrained, source, drawn, run.recipe)


def _method_of(run: Run, source: Source, views: Views) -> tuple[Any, Networks | None]:
    """The method with fresh weights, and a calibrated copy of it as it was before the first step."""
    example = views.plain(next(source.batches([0, 1], 2)).samples)
    if not named_backbone(run.modality, run.recipe):  # the user's own network: how it began is not known
        num_features = check_backbone(run.backbone, example)
        return build_method(run.recipe, run.backbone, num_features, run.method), None
    network = untrained_backbone(run.modality, run.recipe, run.facts)  # seeds, for the heads below too
    method = build_method(run.recipe, network, check_backbone(network, example), run.method)
    both = nn.Sequential(copy.deepcopy(method.backbone), copy.deepcopy(method.projector))
    calibrate(both, source, views.plain)
    return method, Networks(both[0], both[1])


def _of_elsewhere(
    target: str | Path, kind: Kind, look: _Look, projector: nn.Module | None, title: str, **asked: Any
) -> Subject:
    """A network by name or in a file of another project."""
    if look.modality.pretrained is None:
        raise ValueError(f"target: got {str(target)!r}, but no networks of {look.modality.noun}s are known by name")
    found = look.modality.pretrained(target, look.facts, look.recipe, kind=kind, **asked)
    backbone = found.backbone.to(memory_format=FAST)
    views = look.views(found.facts)
    if found.untrained:
        calibrate(backbone, look.source, views.plain)
    head = found.projector if projector is None else projector
    trained = Networks(backbone.eval(), None if head is None else head.eval())
    name = title or (Path(target).name if kind == "checkpoint" else str(target))
    normalization = found.normalization if head is not None else ""
    return Subject(name, kind, trained, source=look.source, views=views, normalization=normalization, notes=found.notes)


def _is_path(given: Any) -> bool:
    return isinstance(given, (str, Path))


def _is_features(path: Path) -> bool:
    return path.exists() and np.load(path, mmap_mode="r").ndim == 3


def _features(given: Any) -> Tensor:
    array = np.load(given) if _is_path(given) else given
    features = torch.as_tensor(array)
    if features.ndim != 3 or not features.is_floating_point():
        raise ValueError(f"features: got {features.dtype} of shape {tuple(features.shape)}, wanted floats (n, K, d)")
    return features.float() if features.dtype != torch.float64 else features


def _name_of(target: Any) -> str:
    if _is_path(target):
        return Path(target).name
    return getattr(target, "__name__", type(target).__name__)


def placed(subject: Subject, device: torch.device) -> Subject:
    """Return the subject with its networks and samples on a device; what comes out of networks is taken to the CPU.

    The networks are copies. A callable of the user's stays where the user has put it, and features need no device.
    """
    if device.type == "cpu" or subject.source is None or subject.kind == "callable":
        return subject
    trained, untrained = (_copied(networks, device) for networks in (subject.trained, subject.untrained))
    return replace(subject, trained=trained, untrained=untrained, source=OnDevice(subject.source, device))


def _copied(networks: Networks | None, device: torch.device) -> Networks | None:
    return None if networks is None else Networks(_copy(networks.backbone, device), _copy(networks.projector, device))


def _copy(network: Any, device: torch.device) -> Any:
    """A copy on the device that takes its input there: h waits for the projector on the CPU."""
    if not isinstance(network, nn.Module):
        return network
    moved = copy.deepcopy(network).to(device)
    moved.register_forward_pre_hook(lambda module, given: to_device(given, device))
    return moved
