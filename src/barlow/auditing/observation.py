"""What an audit sees of a subject: K views of n images, once through the network, in sums that can be merged.

The K views of the sums are i.i.d. draws of the first pipeline, for which the theory is exact. The pair a, b is drawn as
in training, one view of each pipeline, and is what the loss is taken from.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.auditing.subjects import Networks, Subject
from barlow.data.source import Source
from barlow.evidence import spread
from barlow.theory.moments import Moments
from barlow.training.progress import Progress
from barlow.views.views import View, Views

NUM_VIEWS = 8
"""K: the null edge falls about as 1/K; at 8 a few thousand images are enough for some hundred features."""
MOST_IMAGES = 8192
FEWEST_IMAGES = 512
"""Below it nothing about some hundred features can be said."""
BATCH_SIZE = 128
SUMS_BYTES = 1 << 30
"""Largest memory of the sums; wide features get fewer blocks."""
MOST_BLOCKS, FEWEST_BLOCKS = 20, 4


@dataclass(frozen=True)
class Observation:
    """Features of n images.

    Attributes:
        moments: sums over images and K views of h.
        h: (n, d) of the plain images; None where only views exist.
        h_a: (n, d) of view a.
        h_b: (n, d) of view b.
        z_a: (n, D) of view a; None without a projector.
        z_b: (n, D) of view b.
        num_views: K.
        h_views: (n, K, d) of every view, where something is to be fitted on them; else None.
    """

    moments: Moments
    h: Float[Tensor, "n d"] | None
    h_a: Float[Tensor, "n d"]
    h_b: Float[Tensor, "n d"]
    z_a: Float[Tensor, "n p"] | None
    z_b: Float[Tensor, "n p"] | None
    num_views: int
    h_views: Float[Tensor, "n k d"] | None = None


@torch.inference_mode()
def observe(
    networks: Networks,
    source: Source,
    views: Views,
    *,
    num_images: int,
    num_views: int = NUM_VIEWS,
    seed: int = 0,
    keep_views: bool = False,
    progress: Progress | None = None,
) -> Observation:
    """Put images and their views through the networks.

    Args:
        networks: in evaluation mode.
        source: `num_images` of its samples, evenly spread, are used.
        views: the pipelines; more than two are the first two.
        num_images: n.
        num_views: K.
        seed: of the views.
        keep_views: keep the features of every view, n K d numbers.
        progress: told how many images are done.
    """
    generator = torch.Generator().manual_seed(seed)
    moments: Moments | None = None
    kept: dict[str, list[Tensor]] = {name: [] for name in ("h", "h_a", "h_b", "views")}
    first, second = views.pipelines[0], views.pipelines[min(1, len(views.pipelines) - 1)]
    done = 0
    for batch in source.batches(spread(len(source), num_images), BATCH_SIZE):
        drawn = [_drawn(networks.backbone, first, batch.samples, generator) for _ in range(num_views)]
        h_views = torch.stack(drawn, dim=1)
        moments = moments or Moments(h_views.shape[2], num_blocks=num_blocks(h_views.shape[2]))
        moments.add(h_views, torch.as_tensor(batch.indices))
        kept["h"].append(features_of(networks.backbone, views.plain(batch.samples)))
        kept["h_a"].append(h_views[:, 0])
        if keep_views:
            kept["views"].append(h_views)
        other = h_views[:, 1] if first == second else _drawn(networks.backbone, second, batch.samples, generator)
        kept["h_b"].append(other)
        done += len(h_views)
        if progress:
            progress.update(done)
    if moments is None:
        raise ValueError("source: no sample could be read")
    whole = {name: torch.cat(rows) for name, rows in kept.items() if rows}
    z_a, z_b = (
        None if networks.projector is None else project(networks.projector, whole[name]) for name in ("h_a", "h_b")
    )
    return Observation(moments, whole["h"], whole["h_a"], whole["h_b"], z_a, z_b, num_views, whole.get("views"))


def observation_of_features(features: Float[Tensor, "n k d"]) -> Observation:
    """Take features that exist already: K views of n images.

    Raises:
        ValueError: fewer than 2 views or too few images.
    """
    n, k, d = features.shape
    if k < 2 or n < 2 * FEWEST_BLOCKS:
        raise ValueError(f"features: got {n} images with {k} views, wanted at least {2 * FEWEST_BLOCKS} with 2")
    moments = Moments(d, num_blocks=num_blocks(d))
    moments.add(features)
    return Observation(moments, None, features[:, 0].float(), features[:, 1].float(), None, None, k)


def num_blocks(num_features: int) -> int:
    """Return the number of blocks of images: 20, fewer where their sums would take too much memory."""
    return max(FEWEST_BLOCKS, min(MOST_BLOCKS, SUMS_BYTES // (16 * num_features**2)))


@torch.inference_mode()
def project(projector: nn.Module, h: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
    """Return z = p(h), in pieces."""
    return torch.cat([projector(part).float().cpu() for part in h.split(1024)])


@torch.inference_mode()
def images_that_fit(subject: Subject, *, seconds: float, num_views: int, most: int = MOST_IMAGES) -> int:
    """Return how many images go through the network in about so many seconds, `FEWEST_IMAGES` to `most`."""
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        raise ValueError(f"subject: {subject.name} has no network to time")
    batch = next(source.batches(spread(len(source), 64), 64))
    generator = torch.Generator().manual_seed(0)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        _drawn(trained.backbone, views.pipelines[0], batch.samples, generator)
        times.append(time.perf_counter() - started)
    fitting = int(seconds * len(batch.indices) / (min(times) * (num_views + 2)))
    return min(len(source), max(FEWEST_IMAGES, min(most, fitting)))


def _drawn(backbone: Callable[[Any], Tensor], view: View, samples: Any, generator: torch.Generator) -> Tensor:
    return features_of(backbone, view.apply(samples, view.sample(samples, generator)))


def features_of(backbone: Callable[[Any], Tensor], view: Any) -> Float[Tensor, "n d"]:
    """Return h of a view, in float32 on the CPU.

    Raises:
        ValueError: the network returns anything but (n, d).
    """
    h = backbone(view)
    if not isinstance(h, Tensor) or h.ndim != 2:
        shape = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"target: returns {shape}, wanted features of shape (n, d)")
    return h.detach().float().cpu()
