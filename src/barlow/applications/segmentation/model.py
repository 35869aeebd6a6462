"""A segmentation model in a folder: weights, and all that is needed to make masks of new images.

segmenter.json          backbone, classes, how images are seen
segmenter.safetensors   weights of encoder and decoder
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from barlow.applications.segmentation.pictures import (
    MaskTable,
    Seen,
    Segmenter,
    build_segmenter,
    open_images,
)
from barlow.applications.segmentation.predict import predict_mask
from barlow.files import durable_path, read_json, require_own, write_json
from barlow.modalities import modality_of
from barlow.recipes import Recipe
from barlow.runs.build import untrained_backbone
from barlow.seams import Facts
from barlow.training.engine import device_of
from barlow.training.weights import read_weights, write_weights

CONFIG, WEIGHTS = "segmenter.json", "segmenter.safetensors"


@dataclass(frozen=True)
class SegmentationModel:
    """A network that makes masks, and what it needs for it.

    Attributes:
        network: normalised images -> scores, in evaluation mode.
        table: the classes, and the values that masks have for them.
        seen: how images are seen.
        recipe, facts: of the run whose backbone the encoder is.
        num_labels: images that it was fine-tuned on.
    """

    network: Segmenter
    table: MaskTable
    seen: Seen
    recipe: Recipe
    facts: Facts
    num_labels: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.table.names

    def predict(self, images: Any, *, accelerator: str = "auto") -> list[UInt8[Tensor, "h w"]]:
        """Return the mask of every image that can be read, of the image's own size, in classes from 0.

        Args:
            images: paths, or uint8 tensors (C, H, W).
            accelerator: auto, cpu, cuda or mps.
        """
        paths = [one for one in images if isinstance(one, (str, Path))]
        pictures: Iterable[Tensor] = images
        if paths:
            source = open_images([Path(one) for one in paths], self.facts)
            pictures = (one for batch in source.batches(range(len(source)), 1) for one in batch.samples)
        device = device_of(accelerator)
        network: nn.Module = self.network.to(device)
        return [predict_mask(network, picture, self.seen) for picture in pictures]

    def save(self, folder: Path) -> None:
        """Write the model into a folder."""
        kept = ("image_shape", "mean", "std", "white_level", "channels_axis", "modality", "noun")
        write_json(
            folder / CONFIG,
            {
                "recipe": asdict(self.recipe),
                "facts": {name: value for name, value in self.facts.items() if name in kept},
                "table": self.table.as_json(),
                "seen": asdict(self.seen),
                "num_labels": self.num_labels,
            },
        )
        write_weights(folder / WEIGHTS, self.network)

    def write_masks(self, paths: Iterable[Path], out: Path, *, accelerator: str = "auto") -> list[str]:
        """Write a mask for every image as `out/<name>.png`, in the values of the masks that it learnt from.

        Returns what could not be read, with the reason. Two images of one name in different folders keep the folders.
        """
        found = list(paths)
        source = open_images(found, self.facts)
        top = _common(found)
        network = self.network.to(device_of(accelerator))
        for batch in source.batches(range(len(source)), 1):
            path = found[int(batch.indices[0])]
            mask = predict_mask(network, batch.samples[0], self.seen)
            write_mask(self.table, mask, (out / path.relative_to(top)).with_suffix(".png"))
        return [f"{source.describe(place)}: {reason}" for place, reason in source.bad.items()]


def _common(paths: Iterable[Path]) -> Path:
    parents = [path.parent.parts for path in paths]
    depth = 0
    while all(len(parts) > depth and parts[depth] == parents[0][depth] for parts in parents):
        depth += 1
    return Path(*parents[0][:depth])


def write_mask(table: MaskTable, mask: UInt8[Tensor, "h w"], path: Path) -> None:
    """Write a mask as a PNG file, durably."""
    with durable_path(path) as aside:
        table.picture(mask).save(aside, format="PNG")


def is_model(folder: Path) -> bool:
    """Whether a folder holds a segmentation model."""
    return (folder / CONFIG).is_file()


def open_model(folder: str | Path) -> SegmentationModel:
    """Open what `SegmentationModel.save` wrote; ValueError where a folder holds no such thing."""
    folder = Path(folder).expanduser()
    for name in (CONFIG, WEIGHTS):
        require_own(folder / name, folder)
    if not is_model(folder):
        raise ValueError(f"model: got {str(folder)!r}, wanted a folder with {CONFIG}, as barlow segment writes it")
    try:
        content = read_json(folder / CONFIG)
        recipe, facts = Recipe(**content["recipe"]), content["facts"]
        table, seen = MaskTable.from_json(content["table"]), Seen(**_tuples(content["seen"]))
        kind = modality_of(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"model: {str(folder / CONFIG)!r} is not what barlow segment writes: {error}") from error
    with torch.random.fork_rng(devices=[]):
        backbone = untrained_backbone(kind, replace(recipe, pretrained=""), facts)  # nothing that it names is opened
        network = build_segmenter(backbone, len(table.names), facts, seed=0)
    read_weights(folder / WEIGHTS, network)
    return SegmentationModel(network.eval(), table, seen, recipe, facts, int(content.get("num_labels", 0)))


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
