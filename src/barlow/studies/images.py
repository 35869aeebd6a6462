"""What studies measure on: images with their views, and untrained networks. The only module of studies about images.

Views are drawn as a run draws them (`SampledImages`), or they are few enough to list them all (`EnumeratedImages`),
so that complete losses are exact:

    T = {-15, 0, 15 degrees} x {-1/8, 0, 1/8 of the side}^2 x {contrast as it is, halved}      54 views

There, training draws t uniformly from the set that the measurement enumerates: views are i.i.d. given the image, as the
theory has them. The labelled training part is divided into images to train on and images to choose a learning rate on;
the test part is for measuring alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from barlow.evaluation.scores import calibrate, labelled_parts
from barlow.evaluation.splits import validation_split
from barlow.images.data.image_statistics import channel_statistics, image_shape
from barlow.images.modality import IMAGES
from barlow.images.views.pipeline import ImagePipeline
from barlow.modalities import load_samples
from barlow.recipes import Recipe, recipe_for
from barlow.runs.build import build_views, fitted, untrained_backbone
from barlow.seams import Facts, Params, Source, Views
from barlow.theory.cross_correlation import Pairs
from barlow.theory.moments import Covariances, population_covariances

Network = Literal["resnet", "mlp", "pixels"]
"""resnet: the backbone of the data's recipe. mlp: pixels - 256 - ReLU - 128. pixels: as they are, no network."""
HIDDEN, OUTPUTS = 256, 128
"""Widths of the multilayer perceptron: its features are as many as the smallest ResNet of the recipes has."""
BATCH = 256

ANGLES = (0.0, -15.0, 15.0)
SHIFTS = (0.0, -0.125, 0.125)
GAINS = (1.0, 0.5)
TRANSFORMS = tuple(product(ANGLES, SHIFTS, SHIFTS, GAINS))
"""All augmentations of `EnumeratedImages`; the first changes nothing."""
LARGEST_SIDE = 32
"""Larger images are scaled down: a grid of runs has to end."""
VALIDATION_SHARE = 1 / 6
"""Of the labelled training images; learning rates are chosen there, never on the test images."""
MOST_VALIDATION = 500
"""Enough to tell three learning rates apart, each image with all of its views."""
IMAGES_AT_ONCE = 64
"""So many images go through the network with all of their views: a few thousand views."""


@dataclass(frozen=True)
class SampledImages:
    """Images, and views of them as a run with the recipe that is made for them draws them.

    Attributes:
        source: the training images, without labels.
        recipe: with sizes settled.
        views: of that recipe.
    """

    source: Source
    recipe: Recipe
    views: Views
    facts: Facts

    def untrained_network(self, kind: Network, seed: int) -> nn.Module:
        """Return an untrained network in evaluation mode, its BatchNorm statistics from the images."""
        inputs = self.facts["image_shape"][0] * self.recipe.image_size**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if kind == "pixels":
                return nn.Flatten().eval()
            if kind == "mlp":
                hidden, outputs = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
                return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), outputs).eval()
            recipe = replace(self.recipe, seed=seed)  # by which the weights are drawn, whatever torch's seed is
            return calibrate(untrained_backbone(IMAGES, recipe, self.facts), self.source, self.views.plain)

    def two_halves(self, most: int, seed: int) -> tuple[list[int], list[int]]:
        """Return positions of images to measure on and of as many others, at most `most` each, mixed by the seed."""
        order = torch.randperm(len(self.source), generator=torch.Generator().manual_seed(seed)).tolist()
        size = min(most, len(order) // 2)
        return order[:size], order[size : 2 * size]

    @torch.inference_mode()
    def features(
        self, network: Callable[[Any], Tensor], order: Sequence[int], *, num_views: int, seed: int
    ) -> Float[Tensor, "n k d"]:
        """Return features of K views of every image in float64; for K = 0 of one view without augmentation.

        All views are drawn from the first pipeline, so that they are i.i.d. as the theory has them.
        """
        view, generator = self.views.pipelines[0], torch.Generator().manual_seed(seed)
        found = []
        for batch in self.source.batches(order, BATCH):
            samples = batch.samples
            drawn = [view.apply(samples, view.sample(samples, generator)) for _ in range(num_views)]
            found.append(torch.stack([network(one).double() for one in drawn or [self.views.plain(samples)]], dim=1))
        return torch.cat(found).clone()


def load_sampled(data: str, data_root: str = "") -> SampledImages:
    """Load images, by a name or a path as for `barlow pretrain`, with the views and sizes of their recipe."""
    source = load_samples(IMAGES, data, data_root=data_root or None, labels="none")
    recipe, facts = fitted(IMAGES, recipe_for(None, data), source)
    return SampledImages(source, recipe, build_views(IMAGES, recipe, facts), facts)


@dataclass(frozen=True)
class LabelledImages:
    """Images of one part of the data, all of one size, and their classes."""

    pixels: UInt8[Tensor, "n c s s"]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class EnumeratedImages:
    """Images whose views are the members of `TRANSFORMS`, which `pipeline` makes.

    Those of `fit` are to train on, of `validation` to choose learning rates on, of `test` to measure on.
    """

    fit: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    pipeline: ImagePipeline

    pairs: ClassVar[Pairs] = "all"
    batch: ClassVar[int] = 256
    """N of the training of studies, well above their D = 32, so that the batch loss has no floor of its own."""

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.fit.pixels.shape[1]

    @property
    def side(self) -> int:
        """Height and width of the views in pixels."""
        return self.pipeline.size

    def draw(self, pixels: UInt8[Tensor, "n c s s"], generator: torch.Generator) -> Float[Tensor, "n c s s"]:
        """Return one view of each image, its augmentation uniform among all."""
        return self._view(pixels, torch.randint(len(TRANSFORMS), (len(pixels),), generator=generator))

    def plain(self, pixels: UInt8[Tensor, "n c s s"]) -> Float[Tensor, "n c s s"]:
        """Return the images without augmentation."""
        return self._view(pixels, torch.zeros(len(pixels), dtype=torch.int64))

    def every(self, pixels: UInt8[Tensor, "n c s s"]) -> Iterator[Float[Tensor, "m k c s s"]]:
        """Yield all views of all images, some images at a time."""
        numbers = torch.arange(len(TRANSFORMS))
        for part in pixels.split(IMAGES_AT_ONCE):
            views = self._view(part.repeat_interleave(len(numbers), dim=0), numbers.repeat(len(part)))
            yield views.unflatten(0, (len(part), len(numbers)))

    @torch.inference_mode()
    def features(self, backbone: nn.Module, pixels: UInt8[Tensor, "n c s s"]) -> Float[Tensor, "n k d"]:
        """Return features of every view of every image, in float32; the backbone is in evaluation mode."""
        found = [backbone(views.flatten(0, 1)).unflatten(0, views.shape[:2]) for views in self.every(pixels)]
        return torch.cat(found).clone()

    def covariances(self, h: Float[Tensor, "n k d"]) -> Covariances:
        """Return the exact B and W, as the views are all there are."""
        return population_covariances(h)

    def _view(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        return self.pipeline.apply(pixels, _parameters(numbers))


@lru_cache(maxsize=2)
def load_enumerated(data: str, data_root: str, *, most_train: int, most_test: int, seed: int) -> EnumeratedImages:
    """Load labelled images whose views can be enumerated; the last two are kept, for all variants of a seed.

    The seed draws the images to train on and to choose on; the test images are the same for every seed.
    """
    parts = labelled_parts(IMAGES, data, data_root=data_root or None)
    if parts is None:
        raise ValueError(f"data: {data!r} has no labels, wanted labelled images: accuracy is one of the figures")
    shape = image_shape(parts.train)
    side = min(shape.short_side, LARGEST_SIDE)
    square = ImagePipeline(side, (0.0,) * shape.channels, (1.0,) * shape.channels)
    mean, std = channel_statistics(parts.train)
    known = _squares(parts.train, square, most_train, seed)
    split = validation_split(known.labels, fraction=VALIDATION_SHARE, most=MOST_VALIDATION, seed=seed)
    fit, validation = (LabelledImages(known.pixels[rows], known.labels[rows]) for rows in (split.fit, split.validation))
    test = _squares(parts.test, square, most_test, 0)
    return EnumeratedImages(fit, validation, test, ImagePipeline(side, mean, std))


def _squares(source: Source, square: ImagePipeline, most: int, seed: int) -> LabelledImages:
    """At most so many images of a labelled source as squares of one size."""
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))[:most].sort().values.tolist()
    pixels, rows = [], []
    for batch in source.batches(order, BATCH):
        pixels.append((square.apply(batch.samples, {}) * 255).round().clamp(0, 255).to(torch.uint8))
        rows.append(batch.indices)
    assert source.labels is not None  # both parts of labelled data have labels
    return LabelledImages(torch.cat(pixels), source.labels[torch.cat(rows)])


def _parameters(numbers: Tensor) -> Params:
    """What the pipeline has to do for these members of `TRANSFORMS`."""
    angle, across, down, gain = torch.tensor(TRANSFORMS)[numbers].unbind(1)
    ones = torch.ones(len(numbers))
    return {
        "affine": {"angle": angle, "shift": torch.stack([across, down], 1), "zoom": ones, "shear": 0 * ones},
        "contrast": {"gain": gain, "shift": 0 * ones},
    }
