"""A backbone as a folder that segmentation-models-pytorch loads: a U-Net of its own around our encoder."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from barlow.images.networks.backbones import Backbone, BackboneRecord
from barlow.images.networks.basic_resnet import PUBLISHED_WIDTH
from barlow.images.networks.segmenter import Encoder
from barlow.images.networks.unet import is_unet

TOLERANCE = 1e-4
"""Largest difference allowed between their last map and ours, as a fraction of its largest value."""
TRIED_SIDE = 64
FILES = ("config.json", "model.safetensors")
"""What `smp.from_pretrained` reads."""


def export_smp(backbone: nn.Module, folder: Path | str) -> list[str]:
    """Write a folder that `segmentation_models_pytorch.from_pretrained(folder)` loads: a Unet with one output.

    Its encoder has the weights of the backbone, its decoder fresh ones. Before the files appear, it was loaded from
    them and has given the same last map as ours. For another decoder or number of classes:
    `model.encoder.load_state_dict(smp.from_pretrained(folder).encoder.state_dict())`. Returns sentences on what was
    left out. ValueError: the extra is not installed, or smp does not have this network.
    """
    smp = _library()
    if not isinstance(backbone, Backbone):
        raise _obstacle(f"{type(backbone).__name__} is a network of your own")
    record, folder = backbone.record, Path(folder)
    name = smp_name(record, smp.encoders.encoders)
    try:
        model = smp.Unet(name, encoder_weights=None, in_channels=record.in_channels, classes=1)
    except Exception as error:  # of timm's networks not every one has maps, and each says so in its own way
        raise _obstacle(f"smp cannot build {name}: {error}") from error
    unused = _fill(model.encoder, backbone.network.state_dict(), name)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".export-") as aside:
        model.save_pretrained(aside)
        loaded = smp.from_pretrained(aside).eval()
        if not _same_map(backbone, loaded.encoder, record):
            raise _obstacle(f"smp's {name} computes other maps than {record.library}'s {record.architecture}")
        for file in FILES:
            Path(aside, file).replace(folder / file)
    notes = [f'smp.from_pretrained("{folder}") is a Unet with the encoder {name} and a fresh decoder']
    if unused:
        notes.append(f"not part of smp's encoder, so left out: {', '.join(unused)}")
    return notes


def smp_name(record: BackboneRecord, encoders: Mapping[str, Any]) -> str:
    """Return what smp calls a network that may be the same: that is still to be compared."""
    if is_unet(record.architecture):
        raise _obstacle(f"smp has no encoder like {record.architecture}; barlow segment has a decoder for it")
    if record.stem == "small":
        raise _obstacle("smp's ResNets have no 3x3 stem without pooling; wanted a run with --stem imagenet")
    if record.width != PUBLISHED_WIDTH:
        raise _obstacle(f"smp's ResNets have a stem of {PUBLISHED_WIDTH} channels, this one has {record.width}")
    if record.architecture in encoders:
        return record.architecture
    if record.library != "timm":
        raise _obstacle(f"smp has no {record.architecture}; of ours it has resnet18 and resnet34")
    return f"tu-{record.architecture}"


def _fill(encoder: nn.Module, weights: Mapping[str, Tensor], name: str) -> list[str]:
    """Put the weights in by name; what smp's timm encoders flatten ("stages.0" is "stages_0") counts as equal."""
    ours = {_plain(key): key for key in weights}
    theirs = {key: ours.get(_plain(key.removeprefix("model."))) for key in encoder.state_dict()}
    missing = [key for key, own in theirs.items() if own is None]
    if missing:
        raise _obstacle(f"smp's {name} has {len(missing)} tensors that the backbone lacks, such as {missing[0]}")
    try:
        encoder.load_state_dict({key: weights[own] for key, own in theirs.items() if own is not None})
    except RuntimeError as error:
        raise _obstacle(f"smp's {name} has tensors of other shapes: {str(error).splitlines()[-1].strip()}") from error
    used = set(theirs.values())
    return [key for key in weights if key not in used and not key.startswith(("fc.", "classifier."))]


def _plain(name: str) -> str:
    return name.replace("_", ".")


def _same_map(backbone: Backbone, encoder: nn.Module, record: BackboneRecord) -> bool:
    side = max(TRIED_SIDE, record.image_size // 32 * 32)
    images = torch.randn(2, record.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    training = backbone.training
    device = next(iter(backbone.parameters())).device
    with torch.no_grad():
        wanted = Encoder(backbone.eval(), record.in_channels)(images.to(device))[-1].cpu()
        got: Tensor = encoder(images)[-1]
    backbone.train(training)
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max())


def _library() -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ValueError(
            "to: 'smp' needs segmentation-models-pytorch, wanted pip install \"barlow[segmentation]\""
        ) from error
    return segmentation_models_pytorch


def _obstacle(reason: str) -> ValueError:
    return ValueError(f"to: 'smp' cannot hold this backbone: {reason}")
