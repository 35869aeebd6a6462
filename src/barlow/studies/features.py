"""What studies measure on: data with their views, small networks, and features of several views of each image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.assembly import fitted, image_views_of, untrained_backbone
from barlow.data.source import Source
from barlow.data.sources import load_source
from barlow.recipes import Recipe, recipe_for
from barlow.scores import calibrate
from barlow.views.views import View, Views

Network = Literal["resnet", "mlp", "pixels"]
"""resnet: the backbone of the data's recipe. mlp: pixels - 256 - ReLU - 128. pixels: as they are, no network."""

HIDDEN, OUTPUTS = 256, 128
"""Widths of the multilayer perceptron: its features are as many as the smallest ResNet of the recipes has."""
BATCH = 256


@dataclass(frozen=True)
class Material:
    """Data and what is made of them.

    Attributes:
        source: the training images.
        recipe: made for the data, with sizes settled.
        views: of that recipe.
        channels: of the images.
    """

    source: Source
    recipe: Recipe
    views: Views
    channels: int

    @property
    def view(self) -> View:
        """The first pipeline: every view is drawn from it, so that views are i.i.d. as the theory has them."""
        return self.views.pipelines[0]


def load_material(data: str, data_root: str = "") -> Material:
    """Load the images of a study with the views and sizes of the recipe that is made for them.

    Args:
        data: a name or a path, as for `barlow pretrain`.
        data_root: where named data sets live; empty: nowhere in particular.
    """
    source = load_source(data, data_root=data_root or None)
    recipe, facts = fitted(recipe_for(None, data), source, images=True)
    return Material(source, recipe, image_views_of(recipe, facts), facts["image_shape"][0])


def random_network(kind: Network, material: Material, seed: int) -> nn.Module:
    """Return an untrained network in evaluation mode, its BatchNorm statistics from the data.

    Args:
        kind: resnet, mlp or pixels.
        material: for which images.
        seed: of the weights.
    """
    inputs = material.channels * material.recipe.image_size**2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "pixels":
            return nn.Flatten().eval()
        if kind == "mlp":
            hidden, outputs = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
            return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), outputs).eval()
        network = untrained_backbone(material.recipe, material.channels)
        return calibrate(network, material.source, material.views.plain)


def two_halves(material: Material, most: int, seed: int) -> tuple[list[int], list[int]]:
    """Return positions of images to measure on and of as many others, at most `most` each, mixed by the seed."""
    order = torch.randperm(len(material.source), generator=torch.Generator().manual_seed(seed)).tolist()
    size = min(most, len(order) // 2)
    return order[:size], order[size : 2 * size]


@torch.inference_mode()
def view_features(
    represent: Callable[[Any], Tensor], material: Material, order: Sequence[int], *, num_views: int, seed: int
) -> Float[Tensor, "n k d"]:
    """Return features of K views of every image, in float64.

    Args:
        represent: view -> (N, d), in evaluation mode.
        material: images and views.
        order: positions of the images.
        num_views: K; 0: one view without augmentation.
        seed: of the views.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for batch in material.source.batches(order, BATCH):
        samples = batch.samples
        if num_views:
            drawn = [material.view.apply(samples, material.view.sample(samples, generator)) for _ in range(num_views)]
        else:
            drawn = [material.views.plain(samples)]
        found.append(torch.stack([represent(view).double() for view in drawn], dim=1))
    return torch.cat(found).clone()
