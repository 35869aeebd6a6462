"""Invariance layer by layer: stages of the backbone, its features h, the blocks of the projector, and its output z.

What the loss makes invariant is z. How much of that is there in h, and where in between it is made, is not implied by
the loss (a non-linear projector can drop what h still holds), so it is measured: the same views go through all layers
once, and each layer gets its share of augmentation tr W / tr T and its mean intraclass correlation mean_i B_ii / T_ii,
which for z is the mean diagonal of the complete Pearson matrix.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.audits.blocks import arranged
from barlow.seams import Source, View, Views
from barlow.theory.invariance import variance_components
from barlow.theory.spectrum import covariance_eigenvalues, effective_rank

LAYER_IMAGES = 1024
"""Samples behind the shares: two views of 8,192 float32 features each are 64 MB per layer."""
BATCH_SIZE = 256
STAGE_LISTS = ("stages", "blocks", "features")
"""Names under which networks keep a list of stages: ConvNeXt, vision transformers, torchvision's older networks."""


@dataclass(frozen=True)
class LayerShare:
    """How invariant one layer is; NaN for a layer without variance.

    Attributes:
        name: "h", "z", "projector.1" (first block of the projector), or that of a stage.
        num_features: width of the layer, after the mean over positions.
        augmentation_share: tr W / tr T.
        error: standard error of `augmentation_share` over samples.
        mean_correlation: mean over features of B_ii / T_ii; features that are constant do not count.
        effective_rank: number of equally strong directions of one view, augmentation included.
    """

    name: str
    num_features: int
    augmentation_share: float
    error: float
    mean_correlation: float
    mean_correlation_error: float
    effective_rank: float


@torch.inference_mode()
def layer_shares(
    represent: Callable[[Any], Tensor],
    projector: nn.Module | None,
    source: Source,
    view: View,
    *,
    stages: Mapping[str, nn.Module] | None = None,
    num_images: int = LAYER_IMAGES,
    num_views: int = 2,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> dict[str, LayerShare]:
    """Measure how invariant each layer is, on the same views; by name, from the first stage to z.

    `represent` (view -> h) and `projector` (h -> z; None: h is the last layer) are in evaluation mode. `stages` are
    parts of the network behind `represent` whose outputs are measured too, see `backbone_stages`; maps and token
    sequences are averaged over positions. Of a located view the samples are taken. Fewer than 3 samples or 2 views, a
    stage that `represent` does not pass through, or features that are not finite raise ValueError.
    """
    _check(projector, num_images, num_views)
    (view,) = Views((view,)).bare().pipelines
    blocks = [] if projector is None else projector_blocks(projector)
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, list[Tensor]] = {}
    plan = arranged(source, view, num_images, batch_size)
    for batch in source.batches(plan.order, plan.batch_size):
        drawn: dict[str, list[Tensor]] = {}
        for _ in range(num_views):
            made = view.apply(batch.samples, view.sample(batch.samples, generator))
            for name, features in _outputs(represent, blocks, stages or {}, made):
                drawn.setdefault(name, []).append(features.float().cpu())
        for name, views in drawn.items():
            layers.setdefault(name, []).append(torch.stack(views, dim=1))
    if not layers:
        raise ValueError("source: no sample could be read, wanted at least 3")
    shares: dict[str, LayerShare] = {}
    for name in list(layers):
        shares[name] = layer_share(name, plan.rows(torch.cat(layers.pop(name))))  # one layer in float64 at a time
    return shares


def projector_blocks(projector: nn.Module) -> list[tuple[str, nn.Module]]:
    """Split a projector into its linear layers, each with the norm and activation that follow it.

    They are named "projector.1", "projector.2", ..., and the last one "z". What is not a `Sequential` that starts a
    block with each linear layer is one block.
    """
    if not isinstance(projector, nn.Sequential) or len(projector) == 0:
        return [("z", projector)]
    starts = [i for i, part in enumerate(projector) if isinstance(part, nn.Linear)]
    bounds = [0, *starts[1:], len(projector)]
    blocks = [projector[start:end] for start, end in itertools.pairwise(bounds)]
    names = [f"projector.{number}" for number in range(1, len(blocks))]
    return list(zip([*names, "z"], blocks, strict=True))


def backbone_stages(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return the stages of a backbone by name, where it has them under a usual name; else none.

    "layer1" to "layer4" of a ResNet; the entries of "stages", "blocks" or "features" of others, such as "stages.0".
    """
    network = getattr(backbone, "network", backbone)  # ours wrap the library's
    children = dict(network.named_children())
    layers = {name: part for name, part in children.items() if re.fullmatch(r"layer\d+", name)}
    if layers:
        return layers
    for name in STAGE_LISTS:
        if isinstance(children.get(name), nn.Sequential | nn.ModuleList):
            return {f"{name}.{number}": part for number, part in children[name].named_children()}
    return {}


def _outputs(
    represent: Callable[[Any], Tensor],
    blocks: list[tuple[str, nn.Module]],
    stages: Mapping[str, nn.Module],
    view: Any,
) -> Iterator[tuple[str, Tensor]]:
    """Put one view through everything: (name, features) of every layer in order."""
    with _recording(stages) as outputs:
        h = represent(view)
    for name in stages:
        if name not in outputs:
            raise ValueError(f"stages: {name!r} is not a part of what represent calls")
        yield name, _without_positions(name, outputs[name])
    yield "h", h
    for name, block in blocks:
        h = block(h)
        yield name, h


@contextmanager
def _recording(stages: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Keep what each stage returned last, while the context lasts."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[name] = output

        return hook

    handles = [stage.register_forward_hook(keep(name)) for name, stage in stages.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _without_positions(name: str, output: Any) -> Float[Tensor, "n d"]:
    """Average over positions: (N, C, H, W), (N, H, W, C) where only the first two of three sides agree, (N, L, C)."""
    if not isinstance(output, Tensor) or not 2 <= output.ndim <= 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"stages: {name!r} returns {shape}, wanted a tensor of 2 to 4 axes")
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        return output.mean(dim=1)
    channels_last = output.shape[1] == output.shape[2] != output.shape[3]
    return output.mean(dim=(1, 2) if channels_last else (2, 3))


def layer_share(name: str, h_views: Float[Tensor, "n k d"]) -> LayerShare:
    """Return how invariant one layer is, from the features of K views of each sample."""
    components = variance_components(h_views)
    share = components.within_trace / components.total_trace
    correlation = components.correlations.map(torch.nanmean)
    return LayerShare(
        name=name,
        num_features=h_views.shape[-1],
        augmentation_share=float(share.value),
        error=float(share.standard_error),
        mean_correlation=float(correlation.value),
        mean_correlation_error=float(correlation.standard_error),
        effective_rank=effective_rank(covariance_eigenvalues(h_views[:, 0])),
    )


def _check(projector: nn.Module | None, num_images: int, num_views: int) -> None:
    if num_images < 3 or num_views < 2:
        raise ValueError(
            f"num_images, num_views: got {num_images} and {num_views}, wanted at least 3 and 2 to compare views"
        )
    if projector is not None and projector.training:
        raise ValueError("projector: is in training mode, where z depends on the batch; wanted projector.eval()")
