"""The seam between data and networks: how one batch becomes two or more views of itself.

A `View` is one augmentation pipeline. Drawing and applying are apart, so that a view can be replayed bit for
bit, and so that two views can be made that differ in one transform only (the audit lives on that).
Nothing here knows of images: a graph or a waveform pipeline has the same two functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Params = Mapping[str, Mapping[str, Tensor]]
"""Per-sample parameters by transform name, then by parameter name; the first axis of each tensor is the sample."""


@runtime_checkable
class View(Protocol):
    """One augmentation pipeline, batched, on the device of its input."""

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw the parameters of one view of `batch`; looks only at the number and the sizes of its samples."""
        ...

    def apply(self, batch: Any, params: Params) -> Any:
        """Make the view that `params` describes. Deterministic: same batch and params, same view, bit for bit."""
        ...


def unchanged(batch: Any) -> Any:
    """Return the batch as it is: the plain view of a modality whose samples need no preparation."""
    return batch


@dataclass(frozen=True)
class _Moved:
    """A pipeline whose batches are moved to a device first."""

    view: View
    to_device: Callable[[Any], Any]

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        return self.view.sample(self.to_device(batch), generator)

    def apply(self, batch: Any, params: Params) -> Any:
        return self.view.apply(self.to_device(batch), params)


@dataclass(frozen=True)
class Views:
    """The pipelines of a run, one per view, and what the network sees when nothing is augmented.

    Attributes:
        pipelines: one `View` per view; the same object twice gives exchangeable (i.i.d.) views, the case for
            which the theory of the paper is exact.
        plain: batch -> network input without augmentation, used for evaluation, embedding and export.
    """

    pipelines: tuple[View, ...]
    plain: Callable[[Any], Any] = unchanged

    def draw(self, batch: Any, generator: torch.Generator) -> list[Any]:
        """Draw and apply every pipeline once, in order."""
        return [view.apply(batch, view.sample(batch, generator)) for view in self.pipelines]

    def on(self, to_device: Callable[[Any], Any]) -> "Views":
        """Return the same views of batches that are moved by `to_device` first."""
        return Views(
            tuple(_Moved(view, to_device) for view in self.pipelines), lambda batch: self.plain(to_device(batch))
        )
