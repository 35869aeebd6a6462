"""Data sets whose items are views already, as the collections of other projects draw them: a source and its views.

source, views = barlow.views_of_items(dataset)
run = barlow.pretrain(source, views=views, backbone=network)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels
from barlow.data.order import generators_restored, seed_generators
from barlow.data.streaming import StreamSource
from barlow.seams import Params, Views

DRAWN_BY_ITEMS = (
    "the views are drawn by the data set: an audit can leave nothing out of them, so that single effects and strengths "
    "are not among the figures, and features are those of the first view, as it was drawn"
)


def views_of_items(dataset: Any, num_views: int = 2, *, labels: Any = "auto", num_workers: int | None = None) -> Any:
    """Return the samples of a data set whose items are their own views, and those views.

    Args:
        dataset: map-style; an item is ((view_a, view_b, ...), label), (view_a, view_b, ...) or (view_a, view_b, label),
            each view a tensor of floats of one shape, as the network takes it. What is random in an item follows from a
            seed, so that a run that was stopped goes on with the views it would have had.
        num_views: how many views an item has.
        labels: "auto" (the attribute `targets` or `labels` of the data set), "none", or one whole number per item.
        num_workers: processes that read; None: one per core.

    Returns:
        (source, views), for `pretrain(source, views=views, backbone=...)`, or for a loop of your own.

    Raises:
        ValueError: items that are no views; what came and what is wanted.
    """
    reader = ItemReader(dataset, num_views)
    with generators_restored():
        seed_generators(0)
        reader.read(0)  # now, with its own words, and not as a bad sample
    reason = "the data set has no attribute `targets` with a class for each item"
    known = choose_labels(labels, _labels_of(dataset), reason, len(dataset))
    source = StreamSource(reader, name=type(dataset).__name__, labels=known, num_workers=num_workers)
    return source, Views(tuple(ViewOfItem(place) for place in range(num_views)), plain=ViewOfItem(0).picked)


def _labels_of(dataset: Any) -> Labels:
    found = next((kept for name in ("targets", "labels") if (kept := getattr(dataset, name, None)) is not None), None)
    names = getattr(dataset, "classes", ())
    return UNLABELLED if found is None else as_labels(found, len(dataset), [str(name) for name in names])


@dataclass(frozen=True)
class ViewOfItem:
    """The view at one place of every item; nothing is drawn here."""

    place: int
    limits: str = DRAWN_BY_ITEMS

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Return nothing: the item has drawn."""
        return {}

    def apply(self, batch: Any, params: Params) -> Any:
        """Return the view."""
        return self.picked(batch)

    def picked(self, batch: Any) -> Any:
        """Return the view at this place of each sample."""
        return batch[:, self.place] if isinstance(batch, Tensor) else torch.stack([one[self.place] for one in batch])


@dataclass(frozen=True)
class ItemReader:
    """Reads the views of an item as one tensor (V, ...)."""

    dataset: Any
    num_views: int

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.dataset)

    def read(self, position: int) -> Tensor:
        """Return the views of one item."""
        item = self.dataset[position]
        found = item[0] if isinstance(item, (tuple, list)) and isinstance(item[0], (tuple, list)) else item
        if isinstance(found, Mapping) or not isinstance(found, (tuple, list)) or len(found) < self.num_views:
            raise ValueError(
                f"data: an item is a {type(found).__name__}, wanted {self.num_views} views: {self._forms()}"
            )
        views = [torch.from_numpy(view) if isinstance(view, np.ndarray) else view for view in found[: self.num_views]]
        shapes = {tuple(view.shape) if isinstance(view, Tensor) else type(view).__name__ for view in views}
        floats = all(isinstance(view, Tensor) and view.is_floating_point() for view in views)
        if len(shapes) > 1 or not floats:
            kinds = ", ".join(str(view.dtype) if isinstance(view, Tensor) else type(view).__name__ for view in views)
            raise ValueError(f"data: an item has views {kinds}, wanted tensors of floats of one shape: {self._forms()}")
        return torch.stack(views)

    def describe(self, position: int) -> str:
        """Return the number of the item."""
        return f"item {position}"

    def _forms(self) -> str:
        return "((view_a, view_b), label) or (view_a, view_b)"
