"""The seams of the library: what sources, views, methods, backbones and modalities are to each other, and nothing else.

Source   batches of samples, in any order        -> Batch
Views    a batch -> two or more views of it, and what the network sees when nothing is augmented
Method   backbone, heads and loss: views -> Terms
Modality what differs between images, sound and graphs
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.recipes import Recipe, recipe_for


@runtime_checkable
class Samples(Protocol):
    """What a batch holds: a tensor whose first axis is the sample, or nodes of a graph, or anything else like them.

    A list of tensors, one per sample where their sizes differ, does as well: `to_device` moves them one by one.
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, positions: Any, /) -> Any:
        """Return the samples at some positions."""
        ...

    def to(self, device: Any, /) -> Any:
        """Return the same samples on a device."""
        ...


def to_device(samples: Any, device: torch.device | str) -> Any:
    """Return samples on a device: by their own `to`, those of a list, a tuple or a dictionary one by one.

    Tensors that go from the CPU to a CUDA device go through pinned memory and together, so that a thousand pictures
    are one copy, and the host does not wait for it. What has no `to` is left as it is.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return _each(samples, lambda part: part.to(device))
    together: list[Tensor] = []

    def noted(part: Any) -> Any:
        if _on_cpu(part):
            together.append(part)
        return part

    _each(samples, noted)
    arrived = iter(in_one_copy(together, device))
    return _each(samples, lambda part: next(arrived) if _on_cpu(part) else part.to(device))


def _each(samples: Any, function: Callable[[Any], Any]) -> Any:
    """Replace everything that has a `to`, at whatever depth."""
    if hasattr(samples, "to"):
        return function(samples)
    if isinstance(samples, Mapping):
        return {name: _each(part, function) for name, part in samples.items()}
    if isinstance(samples, (list, tuple)):
        make = getattr(samples, "_make", type(samples))  # a named tuple takes its fields one by one
        return make(_each(part, function) for part in samples)
    return samples


def _on_cpu(part: Any) -> bool:
    return isinstance(part, Tensor) and part.is_cpu and part.layout == torch.strided and not part.requires_grad


def in_one_copy(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of the CPU on a device, all those of one number format in one copy, pinned where that is CUDA."""
    pinned = device.type == "cuda"
    formats: dict[torch.dtype, list[int]] = {}
    for number, one in enumerate(tensors):
        formats.setdefault(one.dtype, []).append(number)
    arrived = list(tensors)
    for dtype, numbers in formats.items():
        parts = [tensors[number] for number in numbers]
        if len(parts) == 1:  # keeps its strides
            packed = torch.empty_like(parts[0], pin_memory=pinned).copy_(parts[0])
            arrived[numbers[0]] = packed.to(device, non_blocking=True)
            continue
        sizes = [part.numel() for part in parts]
        packed = torch.empty(sum(sizes), dtype=dtype, pin_memory=pinned)
        torch.cat([part.reshape(-1) for part in parts], out=packed)
        for number, part in zip(numbers, packed.to(device, non_blocking=True).split(sizes), strict=True):
            arrived[number] = part.view(tensors[number].shape)
    return arrived


@dataclass(frozen=True)
class Batch:
    """Samples that could be read, and which ones they are.

    Attributes:
        samples: `Samples`, or a list of one tensor per sample when sizes differ (pictures of a folder): what the views
            of the modality understand.
        indices: (N,) int64, the position of each sample in its source. Bad samples are missing from both.
    """

    samples: Any
    indices: Tensor


@runtime_checkable
class Source(Protocol):
    """Samples by position, labels optional.

    Attributes:
        name: what to call the data in the journal and on the page.
        labels: (len,) int64, -1 for a sample without a label, or None: the normal case.
        class_names: names of the classes, empty without labels.
        bad: reason by position for every sample that was asked for and could not be read.

    A source whose data bring a split of their own also has it as `parts` (`data/parts.py`); its `labels` are then
    those of samples that are not tested on.
    """

    name: str
    labels: Tensor | None
    class_names: Sequence[str]
    bad: dict[int, str]

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def describe(self, index: int) -> str:
        """Return what a person would call sample `index`: its path, or its number."""
        ...

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, `batch_size` positions at a time, without the bad ones.

        A batch of which nothing could be read is not yielded: no consumer has a use for an empty one.
        """
        ...


@runtime_checkable
class GroupedSource(Source, Protocol):
    """A `Source` whose samples are of groups, such as speakers, that no split may divide.

    Attributes:
        groups: (len,) int64 positions in `group_names`, or None.
        group_names: names of the groups.
    """

    groups: Tensor | None
    group_names: Sequence[str]


@runtime_checkable
class RandomSource(Source, Protocol):
    """A `Source` whose samples may be random, as those of a dataset with transforms are."""

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield what `batches` does; what is random in a sample follows from `seed` and its position alone."""
        ...


def seeded_batches(source: Source, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of any source, seeded where its samples may be random.

    Args:
        source: where the samples come from.
        order: positions in it, in any order.
        batch_size: positions per batch.
        seed: any whole number; sources whose samples are what they are have no use for it.

    Returns:
        An iterator over batches, as `Source.batches` returns it.
    """
    if isinstance(source, RandomSource):
        return source.seeded_batches(order, batch_size, seed)
    return source.batches(order, batch_size)


@runtime_checkable
class TargetSource(Source, Protocol):
    """A `Source` that says more of a sample than a class: of each picture a mask. Pretraining never asks for it.

    Attributes:
        target_names: names of what targets are made of, such as the classes of masks.
    """

    target_names: Sequence[str]

    def targets(self, positions: Sequence[int]) -> Sequence[Tensor]:
        """Return one target for each of some positions: of a picture (H, W) classes from 0, 255 where unlabelled."""
        ...


class OnDevice:
    """A `Source` whose samples come on a device: each batch is moved once, before anybody sees it."""

    def __init__(self, source: Source, device: torch.device) -> None:
        self.name, self.labels, self.class_names, self.bad = source.name, source.labels, source.class_names, source.bad
        self.groups, self.group_names = getattr(source, "groups", None), getattr(source, "group_names", ())
        self.columns = getattr(source, "columns", {})
        self._source, self._device = source, device

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._source)

    def describe(self, index: int) -> str:
        """Return what the source calls sample `index`."""
        return self._source.describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the batches of the source, moved; labels and positions stay where they are."""
        return self._moved(self._source.batches(order, batch_size))

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the same; what is random in the samples follows from `seed`."""
        return self._moved(seeded_batches(self._source, order, batch_size, seed))

    def _moved(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield replace(batch, samples=to_device(batch.samples, self._device))


# --- What every loss and every method returns: the number to minimise and its named parts.


class Terms(NamedTuple):
    """A loss and the parts it is made of.

    A named tuple, not a dataclass: it is as frozen, and Fabric and DDP find the tensors inside it.

    Attributes:
        total: the scalar to minimise, with gradient.
        parts: named scalars for the journal, already weighted where they add up to `total`; the first
            part that is not finite names the cause when a run stops. They may carry gradient; the loop
            detaches them.
    """

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})

    def backward(self, *given: Any, **more: Any) -> None:
        """Compute the gradients of the total, as `Tensor.backward` does: in a loop of one's own a loss is one."""
        self.total.backward(*given, **more)

    def detach(self) -> "Terms":
        """Return the same numbers without gradient, to keep."""
        return Terms(self.total.detach(), {name: part.detach() for name, part in self.parts.items()})

    def item(self) -> float:
        """Return the total as a number of Python; on a GPU this waits for it."""
        return float(self.total.detach())

    def __float__(self) -> float:
        """Return the total as a number of Python."""
        return self.item()

    def __format__(self, spec: str) -> str:
        """Return the total as `spec` says, f"{terms:.3f}"; without one what `str` returns."""
        return format(self.item(), spec) if spec else str(self)

    def __str__(self) -> str:
        """Return the total and its parts to four digits: "0.531 (on_diagonal 0.52, off_diagonal 0.011)"."""
        parts = ", ".join(f"{name} {float(part.detach()):.4g}" for name, part in self.parts.items())
        return f"{self.item():.4g}" + f" ({parts})" * bool(parts)

    def __repr__(self) -> str:
        """Return the same by name."""
        return f"Terms({self})"

    # A tuple would be joined or repeated, which nobody means of a loss: what is added or scaled is the total.

    def __add__(self, other: Any) -> Tensor:  # type: ignore[override]
        """Return the total plus something: a tensor, a number, or other terms."""
        total: Tensor = self.total + (other.total if isinstance(other, Terms) else other)
        return total

    def __radd__(self, other: Any) -> Tensor:
        """Return the same; so does `sum`."""
        return self.__add__(other)

    def __mul__(self, factor: Any) -> Tensor:  # type: ignore[override]
        """Return the total times a factor."""
        total: Tensor = self.total * factor
        return total

    def __rmul__(self, factor: Any) -> Tensor:  # type: ignore[override]
        """Return the same."""
        return self.__mul__(factor)

    def __truediv__(self, divisor: Any) -> Tensor:
        """Return the total divided by a number, such as that of micro-batches."""
        total: Tensor = self.total / divisor
        return total


# --- What the loop knows of a method: views -> Terms, view -> h, and three moments of a step at which it may act.


class Method(nn.Module, ABC):
    """Backbone, heads and loss of one self-supervised method.

    One of your own is a subclass. `pretrain(data, method=...)` takes the class, or a function that makes the object:

        class Mine(barlow.Method):
            def __init__(self, backbone, head, num_features, *, temperature: float = 0.5):
                super().__init__(backbone, head.build(num_features))
                self.temperature = temperature

            def forward(self, views):
                z_a, z_b = (self.projector(self.represent(view)) for view in views)
                return barlow.Terms(my_loss(z_a, z_b, self.temperature))

    `num_features` is d, and `head` the projector that the recipe describes, a `barlow.HeadSpec`. What comes after these
    three are the options of the method: numbers or words, typed as `options={"temperature": 0.2}`, checked by their
    annotations, and kept in `recipe.json`. Networks may run under autocast; a loss is better computed in float32. With
    several processes each computes the loss of its own samples, and gradients are averaged; a statistic of the whole
    batch goes through `barlow.all_mean`. `examples/own_method.py` is a whole one.

    Attributes:
        backbone: batch -> h of shape (N, d); what is kept after pretraining.
        projector: h -> z of shape (N, D).
        needs_labels: whether `forward` is given the labels of the batch too, (N,) int64, -1 for a sample without one. A
            run of such a method sets its test samples aside before the first step. An option `num_classes` that is 0 is
            settled by the data.
    """

    needs_labels: ClassVar[bool] = False

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector

    @abstractmethod
    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of the views of one batch."""

    def represent(self, view: Any) -> Float[Tensor, "n d"]:
        """Return h, the representation that is kept after pretraining."""
        h: Tensor = self.backbone(view)
        return h

    def start_step(self, epoch: float, epochs: int | float) -> None:  # optional: most methods need none
        """Called before each step, with the epochs done so far (a fraction) and those of the whole run."""

    def remark(self, terms: Terms) -> str:
        """Return what the user should know of the terms of the first step, "" for nothing."""
        return ""

    def after_backward(self) -> None:
        """Called when gradients are there and before the optimizer uses them: SwAV holds its prototypes here."""

    def after_step(self) -> None:
        """Called after the optimizer's step: a target network follows here."""


class Around(Method):
    """A method with something added to its loss, such as a penalty; all else is that of the method.

    `pretrain(data, wrap=...)` takes the subclass, or a function from the method to one:

        class SmallWeights(barlow.Around):
            def forward(self, views):
                terms = self.method(views)
                penalty = 1e-4 * sum(weight.square().sum() for weight in self.parameters())
                return barlow.Terms(terms.total + penalty, {**terms.parts, "penalty": penalty})

    Checkpoints hold the method as they hold any other, so that a run with something around its method is opened,
    audited and exported as one without; what is added may have parameters of its own, which are trained and kept
    beside. Frozen networks that are neither go into a tuple, where `train()` and checkpoints do not find them.

    Attributes:
        method: what is inside, which may be an `Around` itself.
    """

    def __init__(self, method: Method) -> None:
        nn.Module.__init__(self)  # backbone and projector are the method's, under one name only
        self.method = method

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The backbone of the method."""
        return self.method.backbone

    @property
    def projector(self) -> nn.Module:  # type: ignore[override]
        """The projector of the method."""
        return self.method.projector

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of the method."""
        terms: Terms = self.method(views)
        return terms

    def represent(self, view: Any) -> Float[Tensor, "n d"]:
        """Return h as the method does."""
        return self.method.represent(view)

    def start_step(self, epoch: float, epochs: int | float) -> None:
        """Tell the method."""
        self.method.start_step(epoch, epochs)

    def after_backward(self) -> None:
        """Tell the method."""
        self.method.after_backward()

    def after_step(self) -> None:
        """Tell the method."""
        self.method.after_step()

    def figures(self) -> dict[str, float]:
        """Return figures for the journal, taken between epochs in evaluation mode; by default those from inside."""
        return self.method.figures() if isinstance(self.method, Around) else {}


def inside(method: nn.Module) -> nn.Module:
    """Return the method that has others around it, or itself."""
    while isinstance(method, Around):
        method = method.method
    return method


# --- The seam between data and networks: how one batch becomes two or more views of itself.
#
# A `View` is one augmentation pipeline. Drawing and applying are apart, so that a view can be replayed bit for
# bit, and so that two views can be made that differ in one transform only (the audit lives on that).
# Nothing here knows of images: a graph or a waveform pipeline has the same two functions.


Params = Mapping[str, Mapping[str, Tensor]]
"""Per-sample parameters by transform name, then by parameter name; the first axis of each tensor is the sample."""


@runtime_checkable
class View(Protocol):
    """One augmentation pipeline, batched, on the device of its input."""

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw the parameters of one view of `batch`; looks only at the number and the sizes of its samples."""
        ...

    def apply(self, batch: Any, params: Params) -> Any:
        """Make the view that `params` describes. Deterministic: same batch and params, same view, bit for bit.

        A transform that is missing from `params` is not applied: `apply(batch, {})` is the view without any. The audit
        lives on that. Where one transform cannot do without the parameters of another, an `AdjustableView` says so.
        """
        ...


@runtime_checkable
class AdjustableView(View, Protocol):
    """A `View` that also tells how strong its transforms are; without it an audit has no curves of strength.

    Attributes:
        parts: transform -> parameter -> (name of the part, value that changes nothing), for transforms with several
            independent magnitudes: {"jitter": {"hue": ("hue", 0.0), ...}}.
        joined: keys of the parameters that together are one transform, the one that switches the others first.
    """

    parts: Mapping[str, Mapping[str, tuple[str, float]]]
    joined: tuple[str, ...]

    def scaled(self, transform: str, magnitude: float) -> View:
        """Return the view with one transform weaker (below 1) or stronger; ValueError where that cannot be."""
        ...

    def drawn_by(self, transform: str) -> Any:
        """Return the numbers a transform is drawn by: equal for two views that draw it from one distribution."""
        ...


def is_shared(view: View) -> bool:
    """Whether the parameters of a view belong to the whole batch, as a mask of edges does: its attribute `shared`.

    Then the samples of a batch are no independent draws of the augmentation, and the batch is what an error is taken
    over; several processes draw the same parameters; and a pass costs the same however many samples are asked for.
    """
    return bool(getattr(view, "shared", False))


def limits_of(view: View) -> str:
    """Return what an audit cannot do with a view, a sentence that the view has as `limits`; "" for nothing."""
    return str(getattr(view, "limits", ""))


def is_replayable(view: View) -> bool:
    """Whether the same parameters give the same view again: all do that have not shown otherwise (`replayable`)."""
    return bool(getattr(view, "replayable", True))


def nothing_applied(view: View, batch: Any) -> Any:
    """Return the view of a batch without any transform; ValueError for a view that cannot leave one out."""
    try:
        return view.apply(batch, {})
    except KeyError as error:
        raise ValueError(
            f"views: {type(view).__name__}.apply fails without {error}; a transform that is missing from params is "
            "not to be applied, because an audit leaves out one after the other"
        ) from error


def unchanged(batch: Any) -> Any:
    """Return the batch as it is: the plain view of a modality whose samples need no preparation."""
    return batch


@dataclass(frozen=True)
class Views:
    """The pipelines of a run, one per view, and what the network sees when nothing is augmented.

    Attributes:
        pipelines: one `View` per view; the same object twice gives exchangeable (i.i.d.) views, the case for
            which the theory of the paper is exact.
        plain: batch -> network input without augmentation, used for evaluation, embedding and export.
        prepare: batch -> what all pipelines start from, made once per batch (log-mels of waves). Pipelines and `plain`
            take a batch as it is, too.
        studied_at: place of the pipeline that figures and audits draw: never one that changes nothing.
    """

    pipelines: tuple[View, ...]
    plain: Callable[[Any], Any] = unchanged
    prepare: Callable[[Any], Any] = unchanged
    studied_at: int = 0

    @property
    def studied(self) -> View:
        """The pipeline that figures and audits draw."""
        return self.pipelines[self.studied_at]

    def draw(self, batch: Any, generator: torch.Generator) -> list[Any]:
        """Prepare a batch, then draw and apply every pipeline once, in order."""
        batch = self.prepare(batch)
        return [view.apply(batch, view.sample(batch, generator)) for view in self.pipelines]

    def bare(self) -> "Views":
        """Return the same views as the backbone alone takes them: a view that carries more has that one as `bare`."""
        return replace(self, pipelines=tuple(getattr(view, "bare", view) for view in self.pipelines))


# --- What a backbone has to be: anything that maps a view of N samples to (N, d).


def check_backbone(module: nn.Module, example: Any) -> int:
    """Run a batch through any module, in eval mode and without gradient, and count its features.

    Args:
        module: maps a batch (N, ...) to features (N, d); left in the modes it came in.
        example: a batch (N, ...) as the module will see it; two samples are enough.

    Returns:
        The width d.

    Raises:
        ValueError: the module fails on the batch, or what it returns is no finite floating-point (N, d); the
            message says what to do.
    """
    who = f"backbone: {type(module).__name__}"
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad():
            features = module.eval()(example)
    except Exception as error:  # a foreign module may raise anything, and all of it means the same here
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{who} fails on a batch of {_shape_of(example)}: {reason}") from error
    finally:
        for part, training in modes:
            part.training = training
    if not isinstance(features, Tensor):
        raise ValueError(f"{who} returns {type(features).__name__}; wanted: one tensor of shape (N, d)")
    shape = tuple(features.shape)
    if features.ndim != 2 or shape[0] != len(example):
        hints = {3: "; take one token, or their mean", 4: "; add nn.AdaptiveAvgPool2d(1) and nn.Flatten()"}
        hint = hints.get(features.ndim, "")
        raise ValueError(f"{who} returns shape {shape}; wanted: ({len(example)}, d){hint}")
    if not features.is_floating_point():
        raise ValueError(f"{who} returns {features.dtype}; wanted: floating-point features")
    if not features.isfinite().all():
        raise ValueError(f"{who} returns NaN or infinity on a batch of {_shape_of(example)}")
    return shape[1]


def _shape_of(example: Any) -> str:
    return f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else f"type {type(example).__name__}"


# --- What differs between images, sound and graphs, and nothing else: the core knows a modality by these functions.


Facts = Mapping[str, Any]
"""What `recipe.json` says of the data of a run: JSON types only."""


@dataclass(frozen=True)
class Pretrained:
    """A network trained elsewhere, ready to be audited.

    Attributes:
        backbone: view -> h, in evaluation mode.
        projector: h -> z, None where there is none or it is unknown.
        facts: of the data to look at, with whatever the network wants otherwise (its own mean and std).
        normalization: of its loss where the file tells it, else "".
        untrained: whether the weights are fresh, so that BatchNorm statistics have to come from the data.
        notes: what should be known of it, such as tensors that did not match.
    """

    backbone: nn.Module
    projector: nn.Module | None
    facts: Facts
    normalization: str = ""
    untrained: bool = False
    notes: Sequence[str] = ()


def flattened(view: Any) -> Float[Tensor, "n d"]:
    """Return the values of a view as features: the bar beside every network where a modality has no better one."""
    if not isinstance(view, Tensor):
        raise ValueError(f"plain: gave {type(view).__name__}, wanted a tensor to take raw values from")
    return view.reshape(len(view), -1)


def _zeros_like_input(recipe: Recipe, facts: Facts) -> Tensor:
    return torch.zeros(2, *facts["input_shape"])


@dataclass(frozen=True)
class Preparation:
    """How samples become network input, for a program that has the network without barlow.

    Attributes:
        metadata: what that program has to know, by name; JSON types.
        module: raw samples (N, ...) -> network input, for any N; None where only words can say it.
        axes: number of an axis of raw samples that may have any length -> its name.
        examples: (raw samples, the same as samples of a `Source`, how far features of the two may be apart as a
            fraction of the largest one), of several numbers and lengths, to compare on.
    """

    metadata: Mapping[str, Any]
    module: nn.Module | None = None
    axes: Mapping[int, str] = field(default_factory=dict)
    examples: Sequence[tuple[Tensor, Tensor, float]] = ()


@dataclass(frozen=True)
class Head:
    """A linear classifier of features, for programs that have the network with it.

    Attributes:
        weight: (c, d), of features as the network gives them.
        bias: (c,); the softmax of weight h + bias are the probabilities.
        class_names: c names.
    """

    weight: Float[Tensor, "c d"]
    bias: Float[Tensor, " c"]
    class_names: Sequence[str]


@runtime_checkable
class Audible(Protocol):
    """What shows views and plays them.

    Attributes:
        rate: samples of a wave per second.
    """

    rate: int

    def __call__(self, view: Any) -> Tensor:
        """Return uint8 pictures (N, C, H, W) of a view."""
        ...

    def waves(self, samples: Any) -> Float[Tensor, "n t"]:
        """Return what is heard of samples or of views of them, in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Modality:
    """What the core knows of images, sound or graphs. `images/modality.py` is the example to read.

    A modality of one's own needs `name`, `noun` and `load`; with `views` and `backbone`, runs of it are opened,
    resumed, audited and exported from their folder alone.

    Attributes:
        name: as it is typed (`--modality`) and recorded: "images".
        noun: one sample, in messages and on pages: "image", "clip", "node".
        load: (data, split=, labels=, data_root=, min_samples=, recipe=, facts=, download=, memory_budget=, progress=)
            -> Source, for names, paths and foreign objects; a `Source` never gets there. `facts` are those of the run
            that the samples are for, or for training those of `reading` that are settled already, else None. What a
            user says of how the data are to be read comes by its name too (white_level=). Take what you need, leave
            the rest to `**_`.
        accepts: whether `data` look like this modality.
        splits: data -> names of the splits that `load` has.
        named: names of data that `load` knows without a path.
        facts: source -> what the run must know of its data (sizes, statistics); checked again on resume.
        suits: (source, facts) raises ValueError where samples cannot go into the network of a run.
        recipe: (name or None, data) -> Recipe.
        plan: (recipe, kept, source, seconds_per_sample) -> the recipe for its `minutes`, for a run whose recipe nobody
            has named whole; without minutes it settles them too. `kept` are the fields that were given by hand, and
            `seconds_per_sample` measures a recipe in a step on this machine. None: only the steps are settled.
        lacks_epochs: whether a recipe that nobody asked for gets a time where none was said, and no epochs.
        fit: (recipe, facts) -> the recipe with what it leaves to the data settled.
        views: (recipe, facts) -> Views, from names in the recipe; (recipe, facts, memory) where there is a `memory`.
        memory: (recipe, facts, source) -> tensors by name that views are made with, such as clips to mix in; they are
            kept in the run folder, and `views` is given them as its third argument. None: views need none.
        backbone: (recipe, facts) -> the network that the recipe names, from torch's generator.
        names: (recipe) raises ValueError, before data are read, where no views or network have the names in it.
        plain: (transform, view) -> what a network that was trained on such views of single samples sees without
            augmentation, as a function of a batch, and a sentence about it; None: that cannot be told.
        check: (recipe, backbone, views, samples, on_cpu) raises ValueError before the first step.
        notes: (recipe, source) -> sentences before the first step on what the network will not see of the samples.
        save: (folder, backbone, recipe, facts) writes the backbone; None: weights only.
        open: (folder, backbone or None) -> the backbone that `save` wrote; None: built by `backbone` and filled.
        libraries: what names of networks begin with that `pretrained` knows: "timm:".
        pretrained: (target, facts, recipe, kind=, weights=, arch=, prefix=) -> Pretrained, for a name of a library
            (kind "model") or a file of weights (kind "checkpoint").
        audit_views: data -> name of the views that an audit draws where nobody says which; "": those of the recipe.
        bars: name -> raw features of a plain view (n, d), to stand beside the trained ones.
        predictors: name -> (source, labels, train, validation, seed) -> a class for every sample: what learns from
            labels itself, to stand beside the features on a split of the data's own; labels of others are -1.
        readings: (source, features) -> name -> number: what else features are good for, such as clusters.
        portrait: source -> arrays by name for `evidence.npz`, which the page draws the data from.
        supervised: views -> the augmentation of the papers' supervised protocols, None where there is none.
        show: facts -> (view -> uint8 pictures (N, C, H, W)) for the page; None: nothing is shown. Where that is an
            `Audible`, samples and views can be played there.
        example: (recipe, facts) -> network input (2, ...), for export.
        preparation: (recipe, facts) -> how samples become network input, kept in files of ONNX; None: not known.
        exports: name -> (backbone, path, recipe, facts), other programs' formats beside ONNX; gives sentences on what
            the other program does in another way.
        listed: ("views" or "networks", word) -> name -> a line on it, of names that a recipe may have; with a word
            those of the libraries that have it too. For `barlow views`, `barlow networks` and completion.
        with_head: those of `exports` that take a classifier too: (..., head=`Head`).
        windows: whether `load` takes window= and hop=, seconds, and then gives every window of longer samples.
        statistics: facts by name that may differ a little when a file of the data broke.
        reading: facts by name that say how the data were read: a run that goes on has them read so again.
    """

    name: str
    noun: str
    load: Callable[..., Source]
    accepts: Callable[[Any], bool] = lambda data: False
    splits: Callable[[Any], Sequence[str]] = lambda data: ("train",)
    named: Collection[str] = ()
    facts: Callable[[Source], Facts] = lambda source: {}
    suits: Callable[[Source, Facts], None] = lambda source, facts: None
    recipe: Callable[[str | None, Any], Recipe] = recipe_for
    plan: Callable[[Recipe, Collection[str], Source, Callable[[Recipe], float]], Recipe] | None = None
    lacks_epochs: Callable[[Recipe], bool] = lambda recipe: False
    fit: Callable[[Recipe, Facts], Recipe] = lambda recipe, facts: recipe
    views: Callable[..., Views] | None = None
    memory: Callable[[Recipe, Facts, Source], Mapping[str, Tensor]] | None = None
    backbone: Callable[[Recipe, Facts], nn.Module] | None = None
    names: Callable[[Recipe], None] = lambda recipe: None
    plain: Callable[[Any, Any], tuple[Callable[[Any], Any], str]] | None = None
    check: Callable[[Recipe, nn.Module, Views, Any, bool], None] = lambda *_: None
    notes: Callable[[Recipe, Source], Sequence[str]] = lambda recipe, source: ()
    save: Callable[[Path, nn.Module, Recipe, Facts], None] | None = None
    open: Callable[[Path, nn.Module | None], nn.Module] | None = None
    libraries: tuple[str, ...] = ()
    pretrained: Callable[..., Pretrained] | None = None
    audit_views: Callable[[Any], str] = lambda data: ""
    bars: Mapping[str, Callable[[Any], Tensor]] = field(default_factory=lambda: {"raw samples": flattened})
    predictors: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    readings: Callable[[Source, Any], Mapping[str, float]] | None = None
    portrait: Callable[[Source], Mapping[str, Any]] = lambda source: {}
    supervised: Callable[[Views], View | None] = lambda views: None
    show: Callable[[Facts], Callable[[Tensor], Tensor] | None] = lambda facts: None
    example: Callable[[Recipe, Facts], Tensor] = _zeros_like_input
    preparation: Callable[[Recipe, Facts], Preparation | None] = lambda recipe, facts: None
    exports: Mapping[str, Callable[..., Sequence[str]]] = field(default_factory=dict)
    listed: Callable[[str, str], Mapping[str, str]] = lambda what, word: {}
    with_head: Collection[str] = ()
    windows: bool = False
    statistics: Collection[str] = ()
    reading: Collection[str] = ()
