"""Fine-tuning on masks: the same images, windows, steps and schedule for every arm."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from barlow.applications.segmentation.losses import segmentation_loss
from barlow.applications.segmentation.pictures import (
    IGNORED,
    MaskedSource,
    Seen,
    Segmenter,
    mask_with_short_side,
    statistics_of,
)
from barlow.applications.segmentation.settings import SegmentSettings
from barlow.training.optimizers import build_optimizer
from barlow.training.plan import set_learning_rate, warmup_cosine

WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""
CURVE_POINTS = 30
"""Points of the curve of the loss that is kept."""
KEPT_BYTES = 2**29
"""Most bytes of prepared images that stay in memory."""
LOOKED_AT = 50
"""Images from which mean and deviation are taken: pixels enough."""

Example = tuple[Tensor, Tensor]
"""A prepared image (C, H, W) in [0, 1] and its mask (H, W)."""


class LabelledImages:
    """Images with masks as the network will see them; those that were read stay in memory up to a limit."""

    def __init__(self, source: MaskedSource, seen: Seen) -> None:
        self._source, self._seen = source, seen
        self._kept: dict[int, Example] = {}
        self._bytes = 0

    def __getitem__(self, position: int) -> Example | None:
        """Return one image and its mask; None where the image cannot be read."""
        if position in self._kept:
            return self._kept[position]
        batch = next(self._source.batches([position], 1), None)
        if batch is None:
            return None
        image = self._seen.prepared(batch.samples[0])
        mask = mask_with_short_side(self._source.targets([position])[0], self._seen.short_side)
        self._bytes += image.numel() * image.element_size() + mask.numel()
        if self._bytes <= KEPT_BYTES:
            self._kept[position] = image, mask
        return image, mask


def tell_seen(source: MaskedSource, settings: SegmentSettings) -> Seen:
    """Return how images are seen, mean and deviation told from labelled images, the same for every arm."""
    channels = source.batches([0], 1)
    count = len(next(channels).samples[0])
    plain = Seen(settings.short_side, settings.normalise, (0.0,) * count, (1.0,) * count)
    looked_at = range(min(len(source), LOOKED_AT))
    images = (plain.prepared(image) for batch in source.batches(looked_at, 1) for image in batch.samples)
    mean, std = statistics_of(list(images))
    return Seen(settings.short_side, settings.normalise, mean, std)


def fit_masks(
    network: Segmenter, source: MaskedSource, seen: Seen, settings: SegmentSettings, *, frozen: bool, seed: int
) -> list[float]:
    """Train a network on all images of a source; return the loss, averaged over stretches of steps.

    `frozen`: the weights of the encoder stay as they are, the statistics of its BatchNorm follow the images. `seed`
    decides the order of the images and their windows. The network comes back in evaluation mode.
    """
    images, windows = LabelledImages(source, seen), seen.windows(settings.window)
    device = next(iter(network.parameters())).device
    network.encoder.requires_grad_(not frozen)
    optimizer = build_optimizer(
        network,
        name="adamw",
        learning_rate=settings.learning_rate,
        bias_learning_rate=0.0,
        momentum=0.0,
        weight_decay=settings.weight_decay,
        exclude_biases=True,
        constant_part="",
        fused=device.type == "cpu",
    )
    warmup = min(int(WARMUP * settings.steps), settings.steps - 1)
    factor = partial(warmup_cosine, total_steps=settings.steps, warmup_steps=warmup, final=0.0)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # of dropout
    network.train()
    losses = []
    for step, examples in zip(range(settings.steps), _batches(images, len(source), settings, generator), strict=False):
        set_learning_rate(optimizer, factor(step))
        pictures, masks = [image for image, _ in examples], [mask for _, mask in examples]
        params = windows.sample(pictures, generator)
        targets = windows.apply_to_masks(masks, params, outside=IGNORED).to(device)
        optimizer.zero_grad()
        loss = segmentation_loss(network(windows.apply(pictures, params).to(device)), targets, ignored=IGNORED)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.total.detach()))
    network.eval()
    return _averaged(losses)


def _batches(
    images: LabelledImages, number: int, settings: SegmentSettings, generator: torch.Generator
) -> Iterator[list[Example]]:
    """Yield batches without end: every image once before any comes again; one that cannot be read is passed over."""
    batch: list[Example] = []
    while True:
        found = 0
        for position in torch.randperm(number, generator=generator).tolist():
            if (example := images[position]) is None:
                continue
            found += 1
            batch.append(example)
            if len(batch) == settings.batch_size:
                yield batch
                batch = []
        if not found:
            raise ValueError(f"labels: none of {number} labelled images can be read")


def _averaged(losses: Sequence[float]) -> list[float]:
    ends = [round(len(losses) * place / CURVE_POINTS) for place in range(CURVE_POINTS + 1)]
    return [sum(losses[a:b]) / (b - a) for a, b in pairwise(ends) if b > a]


def num_parameters(network: nn.Module) -> int:
    """Return how many numbers of a network are trained."""
    return sum(one.numel() for one in network.parameters() if one.requires_grad)
