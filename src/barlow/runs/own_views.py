"""Views of the user's own: pipelines or transforms of single samples, and what the network sees without any of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.data.each_batch import EachBatch
from barlow.data.each_sample import UNREPLAYABLE, EachSample, foreign_part
from barlow.data.foreign_transforms import as_view
from barlow.data.order import generators_restored
from barlow.seams import Modality, Source, View, Views, check_backbone, to_device, unchanged

Given = Views | View | Callable[[Any], Any] | Sequence[View | Callable[[Any], Any]]
"""What `pretrain` takes as views that go by no name."""


def own_views(given: Given) -> Views:
    """Make Views of one pipeline (used for both views), of several, or of transforms of single samples."""
    if isinstance(given, Views):
        return replace(given, pipelines=tuple(map(_pipeline, given.pipelines)))
    if not isinstance(given, Sequence):
        given = (given, given)
    pipelines = tuple(map(_pipeline, given))
    return Views(pipelines if len(pipelines) > 1 else pipelines * 2)


def _pipeline(given: Any) -> View:
    if not isinstance(given, type):
        if isinstance(given, View):
            return given
        if callable(given):
            return as_view(given)
    raise ValueError(
        f"views: got {given if isinstance(given, (type, str)) else type(given).__name__!r}, wanted a name, a View "
        "(sample and apply), a transform of one sample, or several of them"
    )


def first_samples(source: Source) -> Any:
    """Return two samples as a batch holds them, after seeing that they keep the contract of `Samples`."""
    batch = next(iter(source.batches(range(min(len(source), 64)), 2)), None)
    who = f"data: {type(source).__name__}"
    if batch is None:
        raise ValueError(f"{who} gave none of its first samples, wanted batches of those that can be read")
    if not (hasattr(batch, "samples") and isinstance(getattr(batch, "indices", None), Tensor)):
        raise ValueError(f"{who}.batches gives {type(batch).__name__}, wanted barlow.Batch(samples, indices)")
    kind = type(batch.samples).__name__
    try:
        num = len(batch.indices) if isinstance(batch.samples, dict) else len(batch.samples)
        to_device(batch.samples, "cpu")
    except Exception as error:
        raise ValueError(f"{who} gives {kind} as samples: {error}; wanted len, [positions] and .to(device)") from error
    if num != len(batch.indices):
        raise ValueError(f"{who} gives {kind} of length {num} for {len(batch.indices)} indices, wanted as many samples")
    return batch.samples


def with_plain(modality: Modality, views: Views, samples: Any) -> tuple[Views, str]:
    """Draw every pipeline once, and settle what the network sees without augmentation where nobody has said it.

    Of a pipeline that is the view without any of its transforms; of a transform of single samples, where the modality
    knows, samples brought to the form of its view. Also returns a sentence for the user in the second case.
    """
    drawn = _drawn_once(views, samples)
    views, chance = _tried_again(views, samples)
    if views.plain is not unchanged:
        return _with_plain_parts(views), chance
    first = views.pipelines[0]
    if isinstance(first, (EachSample, EachBatch)):
        transform = foreign_part(first.transform)
        if modality.plain is None:
            raise ValueError(_no_plain(transform))
        plain, said = modality.plain(transform, drawn[0])
        return _with_plain_parts(replace(views, plain=plain)), "; ".join(filter(None, [said, chance]))
    try:
        first.apply(samples, {})
    except Exception:  # such a view leaves nothing out; an audit of it is refused
        return views, chance
    return replace(views, plain=lambda batch: first.apply(batch, {})), chance


def _with_plain_parts(views: Views) -> Views:
    """Let transforms of other libraries be left out, as an audit does: what is seen then is what is plain."""
    plain = views.plain
    given = (EachSample, EachBatch)
    return replace(
        views, pipelines=tuple(replace(one, plain=plain) if isinstance(one, given) else one for one in views.pipelines)
    )


def _tried_again(views: Views, samples: Any) -> tuple[Views, str]:
    """Draw every pipeline twice with the same parameters, mark those that do not repeat themselves, and say so."""
    pipelines, said = [], ""
    with generators_restored():
        for view in views.pipelines:
            params = view.sample(samples, torch.Generator().manual_seed(1))
            if not _equal(view.apply(samples, params), view.apply(samples, params)):
                said = f"views: {UNREPLAYABLE.format(type(foreign_part(getattr(view, 'transform', view))).__name__)}"
                view = replace(view, replayable=False) if isinstance(view, (EachSample, EachBatch)) else view
            pipelines.append(view)
    return replace(views, pipelines=tuple(pipelines)), said


def _equal(first: Any, second: Any) -> bool:
    """Whether two draws are the same; of what is neither a tensor nor a list of them nobody asks."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    return True


def _drawn_once(views: Views, samples: Any) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    drawn = []
    with generators_restored():
        for view in views.pipelines:
            try:
                drawn.append(view.apply(samples, view.sample(samples, generator)))
            except Exception as error:
                if str(error).startswith("views: "):
                    raise
                reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
                raise ValueError(f"views: {type(view).__name__} fails on {_what(samples)}: {reason}") from error
    return drawn


def facts_of_input(modality: Modality, source: Source, example: Any) -> dict[str, Any]:
    """Return the facts from which a network by name is built, of what views of the user's own give it.

    Without the statistics of the data, which such views do not normalise by, and without how they were read.
    """
    seen = modality.facts(ArraySource(example, name=source.name)) if isinstance(example, Tensor) else {}
    not_of_input = (*modality.statistics, *modality.reading)
    return {name: fact for name, fact in seen.items() if name not in not_of_input}


def check_input(backbone: nn.Module, views: Views, samples: Any) -> int:
    """Return the number of features of a backbone on views of the user's own; where it fails, say whose fault it is."""
    plain = views.plain(samples)
    first = views.bare().pipelines[0]
    view = _drawn_once(replace(views, pipelines=(first,)), samples)[0]
    if isinstance(view, Tensor) and not view.is_floating_point():
        raise ValueError(f"views: {type(first).__name__} gives {_what(view)}, wanted floats, as the network takes")
    try:
        return check_backbone(backbone, plain)
    except ValueError as error:
        if _what(plain) == _what(view):
            raise
        raise ValueError(
            f"views: without augmentation the network is given {_what(plain)}, from a view {_what(view)}, and fails on "
            f"the former; wanted barlow.Views(pipelines, plain=...), a function from a batch to network input"
        ) from error


def _no_plain(transform: Any) -> str:
    return (
        f"views: {type(transform).__name__} changes one sample at a time and does not say what the network sees "
        "without augmentation, wanted barlow.Views((transform, transform), plain=...), a function from a batch to "
        "network input"
    )


def _what(samples: Any) -> str:
    if isinstance(samples, Tensor):
        return f"a {samples.dtype} tensor {tuple(samples.shape)}"
    if isinstance(samples, list) and samples and isinstance(samples[0], Tensor):
        return f"a list of {samples[0].dtype} tensors such as {tuple(samples[0].shape)}"
    return f"a {type(samples).__name__}"
