"""What masks without any pretraining are worth: a threshold, everything, the usual class, and local features.

Otsu's threshold is that of each image, of its grey level; whether what is brighter or what is darker is the foreground
is told from the masks of the training images. The pixel classifier is a random forest on local features (the channels,
smoothed over four distances; edges and blobs of the grey level), trained on the same labelled images as the networks.

Sources: Otsu 1979; the features are those usual in interactive pixel classification (Berg et al. 2019, ilastik).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from barlow.applications.segmentation.pictures import IGNORED, MaskedSource, Seen, mask_with_short_side

SMOOTHED = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations in pixels over which channels are smoothed."""
EDGES = (1.0, 2.0, 4.0)
"""Those at which edges and blobs are looked for."""
MOST_PIXELS = 20_000
"""Labelled pixels that the forest sees, as many of each image."""
TREES, LEAST_IN_LEAF = 50, 5
GREY = (0.299, 0.587, 0.114)
"""ITU-R 601 luma."""

Predict = Callable[[UInt8[Tensor, "c h w"]], UInt8[Tensor, "h w"]]
"""Image -> classes of its pixels."""


def grey(image: Tensor) -> Float[Tensor, "h w"]:
    """Return the grey level of an image, as floats in its own units."""
    if len(image) == 3:
        return (image.float() * torch.tensor(GREY)[:, None, None]).sum(0)
    return image.float().mean(0)


def otsu_threshold(values: Float[Tensor, "h w"], *, bins: int = 256) -> float:
    """Return the threshold that leaves the least variance within the two sides: brighter is above it.

    Over a histogram of 256 bins from the darkest to the brightest pixel; of several equal ones the middle.
    """
    array = values.double().numpy()
    counts, edges = np.histogram(array, bins=bins)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    between = np.nan_to_num(between)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean())


def otsu_masks(*, brighter: bool) -> Predict:
    """Return images -> 1 above (or below) Otsu's threshold of each."""

    def predict(image: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "h w"]:
        level = grey(image)
        above = level > otsu_threshold(level)
        return (above if brighter else ~above).to(torch.uint8)

    return predict


def foreground_is_brighter(source: MaskedSource) -> bool:
    """Whether the second class is brighter than the first, over the masks of a source, each image counted once."""
    votes = 0
    for batch in source.batches(range(len(source)), 1):
        (mask,) = source.targets(batch.indices.tolist())
        level = grey(batch.samples[0])
        if (mask == 1).any() and (mask == 0).any():
            votes += 1 if float(level[mask == 1].mean()) > float(level[mask == 0].mean()) else -1
    return votes >= 0


def constant(number: int) -> Predict:
    """Return images -> one class everywhere."""
    return lambda image: torch.full(image.shape[-2:], number, dtype=torch.uint8)


def usual_class(source: MaskedSource, num_classes: int) -> int:
    """Return the class that most labelled pixels of a source have."""
    counts = torch.zeros(IGNORED + 1, dtype=torch.int64)
    for position in range(len(source)):
        counts += torch.bincount(source.targets([position])[0].flatten().int(), minlength=IGNORED + 1)
    return int(counts[:num_classes].argmax())


def local_features(image: Float[Tensor, "c h w"]) -> npt.NDArray[np.float32]:
    """Return (H, W, F): every channel, smoothed, and edges and blobs of the grey level."""
    channels, level = image.numpy(), grey(image).numpy()
    found = [*channels]
    found += [gaussian_filter(channel, sigma) for sigma in SMOOTHED for channel in channels]
    for sigma in EDGES:
        found += [gaussian_gradient_magnitude(level, sigma), gaussian_laplace(level, sigma)]
    return np.stack(found, -1).astype(np.float32)


def pixel_classifier(source: MaskedSource, seen: Seen, *, seed: int) -> Predict:
    """Fit a random forest on the labelled pixels of a source, seen as networks see them; masks come at full size."""
    generator = np.random.default_rng(seed)
    features, classes = [], []
    for batch in source.batches(range(len(source)), 1):
        mask = mask_with_short_side(source.targets(batch.indices.tolist())[0], seen.short_side).numpy()
        known = np.flatnonzero(mask.reshape(-1) != IGNORED)
        some = generator.permutation(known)[: max(1, MOST_PIXELS // len(source))]
        features.append(local_features(seen.prepared(batch.samples[0])).reshape(mask.size, -1)[some])
        classes.append(mask.reshape(-1)[some])
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAST_IN_LEAF, random_state=seed, n_jobs=1)
    forest.fit(np.concatenate(features), np.concatenate(classes))

    def predict(image: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "h w"]:
        local = local_features(seen.prepared(image))
        found = forest.predict(local.reshape(-1, local.shape[-1])).reshape(local.shape[:2])
        return _at_size(torch.from_numpy(found.astype(np.uint8)), image.shape[-2:])

    return predict


def _at_size(mask: UInt8[Tensor, "h w"], size: Sequence[int]) -> UInt8[Tensor, "h2 w2"]:
    """Enlarge a mask, each pixel the nearest one."""
    rows, columns = (((torch.arange(n) + 0.5) * m / n).long() for n, m in zip(size, mask.shape, strict=True))
    return mask[rows][:, columns]
