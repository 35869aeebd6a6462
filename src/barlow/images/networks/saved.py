"""A backbone in a folder: `backbone.safetensors`, and the `config.json` from which it is built again.

Where the network is timm's own, unmodified, `config.json` is also what timm reads, so that the folder itself
loads with `timm.create_model("local-dir:<folder>", pretrained=True)`: timm looks for model.safetensors first,
then takes the one safetensors file that is there, whatever its name (timm 1.0.16 and later).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
from torch import nn

from barlow.files import read_json, write_json
from barlow.images.networks.backbones import Backbone, BackboneRecord, rebuild_backbone
from barlow.training.weights import WEIGHTS, read_weights, write_weights

CONFIG = "config.json"


def save_backbone(
    folder: Path | str,
    backbone: nn.Module,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> None:
    """Save the weights of a backbone and what is needed to build it again.

    Each file is durable: the old one or the whole new one. Of a module that is no `Backbone` only the weights are
    saved. `mean` and `std`, per channel, are what was subtracted from images in [0, 1] and by what they were then
    divided; None: unknown.
    """
    folder = Path(folder)
    config: dict[str, Any] = {}
    if isinstance(backbone, Backbone):
        record = backbone.record
        _check_channels(record, mean, std)
        if record.library == "timm" and record.stem == "imagenet":
            config = timm_config(record, record.architecture, record.arguments, mean=mean, std=std)
        config["backbone"] = asdict(record)
        write_weights(folder / WEIGHTS, backbone.network)
    else:
        config["backbone"] = None
        write_weights(folder / WEIGHTS, backbone)
    config["normalization"] = {"mean": _plain(mean), "std": _plain(std)}
    write_json(folder / CONFIG, config)


def load_backbone(folder: Path | str, module: nn.Module | None = None) -> nn.Module:
    """Build the backbone that `save_backbone` left in a folder, weights included, in eval mode.

    `module` is the network to fill where it was the user's own; None: it is built from its record.
    """
    folder = Path(folder)
    record = _read_record(folder)
    if module is None:
        if record is None:
            raise ValueError(f"module: {str(folder)!r} has weights of your own network; wanted: that network")
        module = rebuild_backbone(record)
    read_weights(folder / WEIGHTS, module.network if isinstance(module, Backbone) else module)
    return module.eval()


def timm_config(
    record: BackboneRecord,
    architecture: str,
    arguments: Mapping[str, Any],
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> dict[str, Any]:
    """Return the content of `config.json` with which timm loads a network without classifier.

    `arguments` go to timm's constructor; where `mean` and `std` are None, timm's default holds.
    """
    size = [record.in_channels, record.image_size, record.image_size]
    pretrained: dict[str, Any] = {"input_size": size}
    published = timm.get_pretrained_cfg(architecture)
    if published is not None:
        # timm needs these to give the weights another number of channels, or a new classifier.
        pretrained["first_conv"] = published.first_conv
        pretrained["classifier"] = published.classifier
        pretrained["fixed_input_size"] = published.fixed_input_size
    _check_channels(record, mean, std)
    pretrained |= {} if mean is None else {"mean": _plain(mean)}
    pretrained |= {} if std is None else {"std": _plain(std)}
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": record.num_features,
        "model_args": dict(arguments),
        "pretrained_cfg": pretrained,
    }


def _read_record(folder: Path) -> BackboneRecord | None:
    for path in (folder / WEIGHTS, folder / CONFIG):
        if not path.is_file():
            raise ValueError(f"folder: {str(folder)!r} has no {path.name}; wanted: what save_backbone left")
    try:
        saved = read_json(folder / CONFIG)["backbone"]
        return None if saved is None else BackboneRecord(**saved)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"folder: {str(folder / CONFIG)!r} holds no record of a backbone: {error}") from error


def _check_channels(record: BackboneRecord, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    for argument, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != record.in_channels:
            raise ValueError(f"{argument}: {len(values)} came for {record.in_channels} channels")


def _plain(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
