"""A backbone as a folder that timm loads, compared with timm's own network before it counts."""

import copy
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm
import timm.data
import torch
from PIL import Image
from torch import Tensor, nn

from barlow.files import write_json
from barlow.images.data.decode import image_to_tensor
from barlow.images.networks.backbones import Backbone, BackboneRecord
from barlow.images.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH
from barlow.images.networks.saved import CONFIG, timm_config
from barlow.images.views.geometry import Fit
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import PLAIN_INTERPOLATION
from barlow.seams import Head
from barlow.training.weights import write_weights

TOLERANCE = 1e-4
"""Largest difference allowed between exported and own features, as a fraction of the largest feature."""
PICTURE_TOLERANCE = 2e-2
"""The same for features of Pillow images, whose resize rounds to 8 bits in one of the two programs and not always in
the other."""
TIMM_WEIGHTS = "model.safetensors"
"""The file name that timm prefers in a folder."""


def export_timm(
    backbone: nn.Module,
    folder: Path | str,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    fit: Fit = "square",
    head: Head | None = None,
) -> list[str]:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True, num_classes=0)` loads.

    With a `head` the network is loaded with it where `num_classes` is left out: the softmax of what it gives are the
    probabilities of its classes, whose names are in `config.json` ("label_names").

    Before the files appear, timm has built the network from them and given the same features, of tensors and of Pillow
    images through its own `create_transform(**resolve_model_data_config(model))`. `mean` and `std`, per channel, are
    what is subtracted from images in [0, 1] and by what they are then divided; `fit` is what of an image that is not
    square the network sees. The error for a network that timm does not have says what is in the way, and what else
    there is. Returns sentences on what timm does in another way: it crops after it has resized.
    """
    if not isinstance(backbone, Backbone):
        raise _obstacle(f"{type(backbone).__name__} is a network of your own")
    record = backbone.record
    architecture, arguments = _timm_equivalent(record)
    config = timm_config(record, architecture, arguments, mean=mean, std=std, fit=fit)
    layer = _layer_of(head, config)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".export-") as aside:
        write_weights(Path(aside, TIMM_WEIGHTS), backbone.network, layer)
        write_json(Path(aside, CONFIG), config)
        try:
            loaded = timm.create_model(f"local-dir:{aside}", pretrained=True, num_classes=0)
        except Exception as error:  # timm's converters of weights may raise anything on names they do not know
            raise _obstacle(f"timm's {architecture} has other weights than {record.library}'s") from error
        if not _same_features(backbone, loaded.eval(), (record.in_channels, record.image_size, record.image_size)):
            raise _obstacle(f"timm's {architecture} computes other features than {record.library}'s")
        notes = _compared_on_pictures(backbone, loaded, None if mean is None or std is None else fit)
        if head is not None and not _same_classes(backbone, head, aside):
            raise _obstacle(f"timm's {architecture} has another way from features to classes")
        for file in (TIMM_WEIGHTS, CONFIG):
            Path(aside, file).replace(folder / file)
    return notes


def _layer_of(head: Head | None, config: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a head under timm's names; `config` gets the number and the names of its classes."""
    if head is None:
        return {}
    layer = config["pretrained_cfg"].get("classifier")
    if not isinstance(layer, str):
        raise _obstacle(f"timm's {config['architecture']} has no single layer that classifies")
    config |= {"num_classes": len(head.class_names), "label_names": list(head.class_names)}
    return {f"{layer}.weight": head.weight.float(), f"{layer}.bias": head.bias.float()}


def _same_classes(backbone: Backbone, head: Head, folder: str) -> bool:
    """Whether timm gives the probabilities of the head, from a folder and nothing else."""
    loaded: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    if list(loaded.pretrained_cfg.get("label_names") or ()) != list(head.class_names):
        return False
    own, size = _on_cpu(backbone), backbone.record.image_size
    images = torch.randn(3, backbone.record.in_channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = (own(images) @ head.weight.T + head.bias).softmax(dim=1)
        got = loaded(images).softmax(dim=1)
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE)


def _timm_equivalent(record: BackboneRecord) -> tuple[str, dict[str, Any]]:
    """Return timm's name and arguments for a network that may be the same: that is still to be compared."""
    if record.stem == "small":
        raise _obstacle("timm's ResNets have no 3x3 stem without pooling (stem='small')")
    if record.library == "timm":
        return record.architecture, record.arguments
    if record.width != PUBLISHED_WIDTH:
        raise _obstacle(f"timm's ResNets have a stem of {PUBLISHED_WIDTH} channels, this one has {record.width}")
    channels = {"in_chans": record.in_channels}
    if record.library == "barlow":
        return "resnet18", channels | {"layers": list(BASIC_RESNETS[record.architecture])}
    if not timm.is_model(record.architecture):
        raise _obstacle(f"timm has no {record.architecture} ({record.library} has)")
    return record.architecture, channels


def _obstacle(reason: str) -> ValueError:
    return ValueError(f"to: 'timm' cannot hold this backbone: {reason}; wanted: to='onnx'")


def _compared_on_pictures(backbone: Backbone, loaded: nn.Module, fit: Fit | None) -> list[str]:
    """Compare the features of Pillow images through timm's own transform with those of the plain view.

    An obstacle where they differ; sentences on what cannot be the same. `fit` is None where the input of the network is
    not known.
    """
    channels, size = backbone.record.in_channels, backbone.record.image_size
    if fit is None:
        return ["how images are normalised is not known, for the run had views of its own: timm's default is written"]
    if channels not in (1, 3):
        return [f"no file of images has {channels} channels, so only tensors were compared"]
    square = [(size, size), (size * 3 // 2, size * 3 // 2)]
    wide = (size * 4 // 3, size)
    apart = max(_apart(backbone, loaded, picture, fit) for picture in (*square, *([wide] if fit == "whole" else [])))
    if apart > PICTURE_TOLERANCE:
        raise _obstacle(f"timm's own transform gives features that are {apart:.0%} off")
    if fit == "whole":
        return []
    return [
        "of images that are not square timm cuts out the centre after it has resized them, up to a pixel off: features "
        f"of a 4:3 image differ by {_apart(backbone, loaded, wide, fit):.1%}; those of square images are the same. "
        "Crop such images to squares before, or train with --fit whole"
    ]


def _apart(backbone: Backbone, loaded: nn.Module, shape: tuple[int, int], fit: Fit) -> float:
    """Return the largest difference between the features of an image, as a fraction of the largest feature."""
    consumer: Any = timm.data
    known = consumer.resolve_model_data_config(loaded)
    width, height = shape
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    colours = [np.sin(7 * x + 5 * y), np.cos(9 * y), np.sin(11 * x * y)][: backbone.record.in_channels]
    pixels = np.round(127 + 120 * np.stack(colours, axis=-1)).astype(np.uint8)
    picture = Image.fromarray(pixels if len(colours) == 3 else pixels[..., 0])
    plain = ImagePipeline(
        size=backbone.record.image_size,
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
        interpolation=PLAIN_INTERPOLATION,
        fit=fit,
    )
    with torch.no_grad():
        wanted = _on_cpu(backbone)(plain.apply(image_to_tensor(picture, len(colours))[None], {}))
        got = loaded(consumer.create_transform(**known, is_training=False)(picture)[None])
    return float((wanted - got).abs().max() / wanted.abs().max())


def _on_cpu(backbone: nn.Module) -> nn.Module:
    return copy.deepcopy(backbone).eval().float().cpu().to(memory_format=torch.contiguous_format)


def _same_features(backbone: nn.Module, loaded: nn.Module, shape: tuple[int, ...]) -> bool:
    own = _on_cpu(backbone)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = own(images), loaded(images)
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max())
