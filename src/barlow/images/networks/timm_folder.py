"""A backbone as a folder that timm loads, compared with timm's own network before it counts."""

import copy
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
from torch import nn

from barlow.files import write_json
from barlow.images.networks.backbones import Backbone, BackboneRecord
from barlow.images.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH
from barlow.images.networks.saved import CONFIG, timm_config
from barlow.training.weights import write_weights

TOLERANCE = 1e-4
"""Largest difference allowed between exported and own features, as a fraction of the largest feature."""
TIMM_WEIGHTS = "model.safetensors"
"""The file name that timm prefers in a folder."""


def export_timm(
    backbone: nn.Module, folder: Path | str, *, mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True, num_classes=0)` loads.

    Before the files appear, timm has built the network from them and given the same features. `mean` and `std`, per
    channel, are what is subtracted from images in [0, 1] and by what they are then divided. The error for a network
    that timm does not have says what is in the way, and what else there is.
    """
    if not isinstance(backbone, Backbone):
        raise _obstacle(f"{type(backbone).__name__} is a network of your own")
    record = backbone.record
    architecture, arguments = _timm_equivalent(record)
    config = timm_config(record, architecture, arguments, mean=mean, std=std)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".export-") as aside:
        write_weights(Path(aside, TIMM_WEIGHTS), backbone.network)
        write_json(Path(aside, CONFIG), config)
        try:
            loaded = timm.create_model(f"local-dir:{aside}", pretrained=True, num_classes=0)
        except Exception as error:  # timm's converters of weights may raise anything on names they do not know
            raise _obstacle(f"timm's {architecture} has other weights than {record.library}'s") from error
        if not _same_features(backbone, loaded.eval(), (record.in_channels, record.image_size, record.image_size)):
            raise _obstacle(f"timm's {architecture} computes other features than {record.library}'s")
        for file in (TIMM_WEIGHTS, CONFIG):
            Path(aside, file).replace(folder / file)


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


def _same_features(backbone: nn.Module, loaded: nn.Module, shape: tuple[int, ...]) -> bool:
    own = copy.deepcopy(backbone).eval().float().cpu().to(memory_format=torch.contiguous_format)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = own(images), loaded(images)
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max())
