"""What can be audited: a run, a model by name, a foreign checkpoint, any callable, or features that exist already.

All of them become one `Subject`: view -> h, h -> z where there is a projector, the data and the views to look with, and
the network before training where the recipe can build it again.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from barlow.assembly import LARGEST_AUTOMATIC_SIZE, build_method, image_views_of, untrained_backbone
from barlow.data.image_statistics import channel_statistics, image_shape
from barlow.data.source import Source
from barlow.data.sources import load_for_network, load_source
from barlow.networks.backbones import Backbone, build_backbone
from barlow.networks.foreign import OFFICIAL, Foreign, load_foreign
from barlow.networks.foreign_heads import mlp_of
from barlow.recipes import Recipe, recipe_for
from barlow.run import Run, open_run
from barlow.run_folder import RunFolder
from barlow.scores import calibrate
from barlow.training.checkpoint import load_checkpoint
from barlow.views.images import IMAGENET_MEAN, IMAGENET_STD, image_views
from barlow.views.located import without_place
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import View, Views

Kind = Literal["run", "model", "checkpoint", "callable", "features"]
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".safetensors")
FEATURE_SUFFIXES = (".npy",)
LIBRARIES = ("timm:", "torchvision:")
FAST = torch.channels_last
"""Layout in which convolutions are about twice as fast on a CPU."""
DEFAULT_VIEWS = "byol-iid"
"""Views of pictures where nobody says which: the paper's, drawn alike for both, for which its theory is exact."""


@dataclass(frozen=True)
class Networks:
    """A backbone and its projector in evaluation mode; None where there is no projector."""

    backbone: Callable[[Any], Tensor]
    projector: nn.Module | None


@dataclass(frozen=True)
class Subject:
    """What is audited, and what it is looked at with.

    Attributes:
        name: for titles.
        kind: what it is.
        trained: the networks as they are.
        untrained: the same before training, BatchNorm statistics from the data; None where nobody can build them.
        source: the pictures, None for features.
        views: the pipelines, without places.
        recipe: of a run.
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
        word.startswith(LIBRARIES)
        or is_checkpoint(word)
        or is_run(word)
        or (path.suffix in FEATURE_SUFFIXES and _is_features(path))
    )


def is_checkpoint(path: str | Path) -> bool:
    """Whether this is called like a file of weights; "timm:name.tar" is none."""
    return Path(path).suffix in CHECKPOINT_SUFFIXES and not str(path).startswith(LIBRARIES)


def is_run(folder: str | Path) -> bool:
    """Whether this is the folder of a run."""
    return (Path(folder) / "recipe.json").exists()


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
) -> Subject:
    """Make a Subject of what the user has.

    Args:
        target: a Run or its folder; "timm:resnet50" or "torchvision:resnet50"; a checkpoint file; a callable view -> h;
            a tensor, array or .npy file of features (n, K, d).
        data: pictures to look at, as for `pretrain`; None: those of the run.
        views: a name or a pipeline; None: those of the run, or of the recipe made for the data.
        projector: h -> z, for a callable or a checkpoint.
        data_root: where named data sets live.
        weights: of a model by name: "default" for the library's own, a file, or "" for none.
        arch: name of the network in a checkpoint; "": told from its weights, which works for ResNets.
        prefix: where the network stands in a checkpoint; None: where most of it is found.
        image_size: side of the views in pixels; 0: that of the run, or of the pictures, at most 224.
        name: what to call it.

    Raises:
        ValueError: nothing that can be audited, or data that are missing.
    """
    if isinstance(target, (Tensor, np.ndarray)) or (_is_path(target) and Path(target).suffix in FEATURE_SUFFIXES):
        return Subject(name or _name_of(target), "features", features=_features(target))
    if isinstance(target, Run) or (_is_path(target) and is_run(target)):
        return _of_run(target, data, views, data_root, name)
    if data is None:
        raise ValueError(f"data: {_name_of(target)} has no data of its own; pass pictures to audit it with")
    look = _Look(data, data_root, views, image_size)
    if _is_path(target) and is_checkpoint(target):
        found = load_foreign(Path(target), arch=arch, prefix=prefix, image_size=look.side)
        return _of_checkpoint(found, look, projector, name or Path(target).name)
    if isinstance(target, str):
        return _of_model(target, look, weights, name)
    if callable(target):
        trained = Networks(target, projector)
        return Subject(name or _name_of(target), "callable", trained, source=look.source, views=look.views(None))
    raise ValueError(
        f"target: got {type(target).__name__}, wanted a run, a model's name, a checkpoint, a callable or features"
    )


def before_training(subject: Subject) -> Subject:
    """Return the subject as it was before training.

    Raises:
        ValueError: nobody knows how it began.
    """
    if subject.untrained is None:
        raise ValueError(f"untrained: only of a run of a named network is the beginning known, not of {subject.name}")
    return replace(subject, name=f"{subject.name}, untrained", trained=subject.untrained, untrained=None)


class _Look:
    """The data of an audit and the views of them."""

    def __init__(self, data: Any, data_root: Any, views: str | Views | View | None, image_size: int) -> None:
        self.source: Source = load_source(data, data_root=data_root)
        self.given = views
        self.made_for = recipe_for(None, data)
        self.image_size = image_size

    @property
    def side(self) -> int:
        return self.image_size or min(image_shape(self.source).short_side, LARGEST_AUTOMATIC_SIZE)

    @property
    def channels(self) -> int:
        return image_shape(self.source).channels

    def views(self, statistics: tuple[Sequence[float], Sequence[float]] | None) -> Views:
        """Views as given, or image views by name with these or the data's statistics."""
        if self.given is not None and not isinstance(self.given, str):
            return _drawn_by(self.given)
        default = DEFAULT_VIEWS if self.made_for.name == "pictures" else self.made_for.views
        mean, std = statistics or channel_statistics(self.source)
        built = image_views(
            self.given or default, size=self.side, channels=self.channels, mean=tuple(mean), std=tuple(std)
        )
        return without_place(built)


def _drawn_by(given: Views | View) -> Views:
    """Views as given, or two of one pipeline, whose own preparation of the pictures is then the plain view."""
    if isinstance(given, Views):
        return without_place(given)
    views = without_place(Views((given, given)))
    (view, _) = views.pipelines
    return replace(views, plain=partial(view.apply, params={})) if isinstance(view, ImagePipeline) else views


def _of_run(target: Any, data: Any, views: Any, data_root: Any, name: str) -> Subject:
    run = target if isinstance(target, Run) else open_run(target)
    where = RunFolder(run.folder)
    facts = where.data()
    wanted = facts.get("path") if data is None else data
    if isinstance(wanted, str) and not wanted:
        raise ValueError(f"data: the run in {str(run.folder)!r} was given its data as an object; pass them again")
    root = data_root or facts.get("data_root") or None
    source = load_for_network(wanted, run.channels, data_root=root)
    drawn = without_place(run.views)
    if isinstance(views, str):
        drawn = without_place(image_views_of(replace(run.recipe, views=views), facts))
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
    if not isinstance(run.backbone, Backbone):  # the user's own network: how it began is not known
        example = views.plain(next(source.batches([0, 1], 2)).samples)
        with torch.no_grad():
            num_features = run.backbone.eval()(example).shape[1]
        return build_method(run.recipe, run.backbone, num_features), None
    network = untrained_backbone(run.recipe, run.channels)  # seeds, so that the heads below are the run's too
    method = build_method(run.recipe, network, network.num_features)
    both = nn.Sequential(copy.deepcopy(method.backbone), copy.deepcopy(method.projector))
    calibrate(both, source, views.plain)
    return method, Networks(both[0], both[1])


def _of_model(name: str, look: _Look, weights: str, title: str) -> Subject:
    network = build_backbone(name, in_channels=look.channels, image_size=look.side, pretrained=weights)
    network.to(memory_format=FAST)
    notes = [] if weights else ["the network has no weights: it is audited as it was initialised"]
    if not weights:
        calibrate(network, look.source, look.views(None).plain)
    config = getattr(network.network, "pretrained_cfg", None) or {}
    known = weights == "default" and look.channels == 3
    statistics = (config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)) if known else None
    trained = Networks(network.eval(), None)
    return Subject(title or name, "model", trained, source=look.source, views=look.views(statistics), notes=notes)


def _of_checkpoint(found: Foreign, look: _Look, projector: nn.Module | None, title: str) -> Subject:
    notes = [f"read as {found.layout}: {len(found.matched)} tensors matched", *found.notes]
    for what, names in (("not used", found.unmatched), ("not in the file, so untrained", found.missing)):
        if names:
            shown = ", ".join(list(names)[:5]) + (", ..." if len(names) > 5 else "")
            notes.append(f"{len(names)} tensors {what}: {shown}")
    if projector is None and found.projector:
        projector = mlp_of(found.projector)
        if projector is None:
            notes.append("its projector is no plain MLP; audited without one")
    trained = Networks(found.backbone.eval().to(memory_format=FAST), None if projector is None else projector.eval())
    statistics = (IMAGENET_MEAN, IMAGENET_STD) if look.channels == 3 else None
    views = look.views(statistics)
    kind = "pearson" if found.layout == OFFICIAL and projector is not None else ""
    return Subject(title, "checkpoint", trained, source=look.source, views=views, normalization=kind, notes=notes)


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
